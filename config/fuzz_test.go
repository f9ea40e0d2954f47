package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/wire"
)

// FuzzParse checks that no file makes the reader panic or think for long, that
// each mistake is one line, and that what is accepted keeps its promises.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "../examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		file, err := Parse("otto.yaml", data, dir, noEnv)
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("took %s", d)
		}
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got %T %v", err, err)
			}
			for _, p := range problems {
				if strings.ContainsAny(p.Error(), "\n\x00") {
					t.Errorf("%q is not one clear line", p.Error())
				}
			}
			return
		}
		if _, err := parsePolicy("mine.yaml", data, policyNames(), noEnv); err == nil && file.Name != "" && len(file.Wanted.Services) > 0 {
			t.Error("an otto.yaml with services is taken for a policy file")
		}
		for _, s := range file.Wanted.Services {
			if !wire.ValidID(s.Name) || s.Spec.Image == "" || s.Replicas < 1 {
				t.Errorf("accepted %+v", s)
			}
		}
	})
}
