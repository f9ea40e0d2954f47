// Package compose compares what Otto makes of Compose files with what Compose makes of them:
// container by container, network by network, volume by volume, key by key, in the form in
// which an engine is asked for them.
//
// What Compose asks for is recorded in testdata/recordings; "make compose-recordings" makes
// them anew with the version that tool/go.mod names.
package compose

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	recordWith = flag.String("record", "", "path of a docker-compose to record with")
	update     = flag.Bool("update", false, "write the page of differences")
)

// cases are the folders of all cases, each in a place of its own.
func cases(t *testing.T) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/cases/*/compose.yaml")
	if err != nil || len(dirs) == 0 {
		t.Fatal(err, "no cases")
	}
	all := map[string]string{}
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		dir := filepath.Join(t.TempDir(), name)
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		all[name] = dir
	}
	return all
}

func TestOttoMakesWhatComposeMakes(t *testing.T) {
	all, occurred := cases(t), map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := filepath.Join("testdata/recordings", name+".json")
		if *recordWith != "" {
			write(t, path, byCompose(t, *recordWith, project{dir: all[name], variables: environment()}))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal("run make compose-recordings: ", err)
		}
		var compose recording
		if err := json.Unmarshal(data, &compose); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			otto, err := byOtto(t, project{dir: all[name], variables: environment()})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range differing(compose, otto) {
				i := slices.IndexFunc(differences(), func(of difference) bool { return of.covers(d) })
				if i < 0 {
					t.Errorf("%s\n\tCompose: %s\n\tOtto:    %s", d.path, d.compose, d.otto)
					continue
				}
				occurred[differences()[i].what] = true
			}
		})
	}
	for _, d := range differences() {
		if !occurred[d.what] {
			t.Errorf("a difference that is listed does not occur any more: %s", d.what)
		}
	}
}

func write(t *testing.T, path string, r recording) {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(r); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// leaf is one that two recordings have differently.
type leaf struct{ path, compose, otto string }

// differing finds every leaf in which two recordings differ.
func differing(compose, otto recording) (all []leaf) {
	want, got := compose.leaves(), otto.leaves()
	paths := slices.Sorted(maps.Keys(want))
	for path := range got {
		if _, ok := want[path]; !ok {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		if want[path] != got[path] {
			all = append(all, leaf{path, want[path], got[path]})
		}
	}
	return all
}

// difference is one that is meant.
type difference struct {
	what, why string
	// at is where it is, as words of a path: * is any one, a word that ends with * any
	// that begins so, and ... any number of them.
	at            []string
	compose, otto string // what it is there, if it has to be just that; - for nothing
}

func (d difference) covers(l leaf) bool {
	is := func(want, got string) bool { return want == "" || want == got || want == "-" && got == "" }
	there := slices.ContainsFunc(d.at, func(at string) bool { return matches(strings.Fields(at), strings.Split(l.path, " ")) })
	return there && is(d.compose, l.compose) && is(d.otto, l.otto)
}

func matches(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "...":
		return len(pattern) == 1 || len(words) > 0 && (matches(pattern[1:], words) || matches(pattern, words[1:]))
	case len(words) == 0:
		return false
	}
	begin, open := strings.CutSuffix(pattern[0], "*")
	return (pattern[0] == words[0] || open && strings.HasPrefix(words[0], begin)) && matches(pattern[1:], words[1:])
}

func TestPageOfDifferencesIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What an engine is asked for, compared with Compose\n\n" +
		"Cases of every key and form of the Compose specification that Otto accepts are read by Otto and by Compose itself, and what\n" +
		"both ask an engine for is compared, key by key: containers, networks, volumes and the files that are put into containers.\n" +
		"These are all the differences that there are. `go test ./e2e/compose` fails if there is another one, or one less.\n\n" +
		"| Otto | why |\n|---|---|\n")
	for _, d := range differences() {
		b.WriteString("| " + d.what + " | " + d.why + " |\n")
	}
	const path = "../../docs/compose-differences.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("run go test ./e2e/compose -update: %s", diff)
	}
}
