package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/otto-edge/otto/durable"
)

func TestFileIsReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"former, which is longer", "new"} {
		if err := durable.Replace(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("the file is %q, %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

// What cannot be replaced stays as it was, and nothing is left beside it.
func TestFailureLeavesTheFormerContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("former"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+durable.Suffix, 0o700); err != nil { // in the way of the new one
		t.Fatal(err)
	}
	if err := durable.Replace(path, []byte("new"), 0o600); err == nil {
		t.Error("no error")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "former" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if _, err := os.Stat(path + durable.Suffix); err == nil {
		t.Error("something is left beside it")
	}
	if err := durable.Replace(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil {
		t.Error("no error where there is no directory")
	}
}
