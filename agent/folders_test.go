package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/folder"
)

// broughtFiles is a pack of files with its key.
func broughtFiles(t *testing.T) (key string, pack []byte) {
	t.Helper()
	project := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(project, "conf"), 0o700),
		os.WriteFile(filepath.Join(project, "conf/a"), []byte("content"), 0o600)); err != nil {
		t.Fatal(err)
	}
	m, err := folder.Read(project, "conf", folder.NewBudget())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := folder.Pack(&b, project, "conf", m); err != nil {
		t.Fatal(err)
	}
	return m.Key(), b.Bytes()
}

func TestFilesThatAreMissingHalfOrWrongAreNotUsed(t *testing.T) {
	key, pack := broughtFiles(t)
	f := folders{filepath.Join(t.TempDir(), "files")}
	spec := otto.ContainerSpec{Mounts: []otto.Mount{
		{Type: otto.MountFiles, Source: "./conf", Target: "/conf", ReadOnly: true, Content: key},
	}}
	waits := func(what string) {
		t.Helper()
		if why := f.lack(spec); why != "./conf has not come from the control plane yet" {
			t.Errorf("%s: it lacks %q", what, why)
		}
		if err := f.verify(spec); !errors.Is(err, errNotNow) || errors.Is(err, errSpoiled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	waits("missing")
	if err := Bring(f.dir, key, bytes.NewReader(pack[:len(pack)-1])); err == nil {
		t.Error("half of it is taken in")
	}
	waits("half")
	// What an agent's command that was killed leaves, and a folder without its list.
	if err := errors.Join(os.MkdirAll(filepath.Join(f.dir, ".new-1", "tree"), 0o700),
		os.MkdirAll(folder.Path(f.dir, key), 0o700)); err != nil {
		t.Fatal(err)
	}
	waits("killed")
	if err := Bring(f.dir, key, bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	if err := f.verify(spec); err != nil || f.lack(spec) != "" {
		t.Fatalf("whole: %v %s", err, f.lack(spec))
	}
	if at := f.paths(spec)[key]; f.in(at) != key || f.in(f.dir) != "" || f.in("/etc") != "" {
		t.Errorf("%s is of %q", at, f.in(at))
	}
	if err := os.WriteFile(filepath.Join(folder.Path(f.dir, key), "a"), []byte("CONTENT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.verify(spec); !errors.Is(err, errNotNow) || !errors.Is(err, errSpoiled) || !strings.Contains(err.Error(), "./conf") {
		t.Errorf("wrong: %v", err)
	}
	waits("put aside")
	spec.Mounts[0].Content = strings.Repeat("0", 64) // another one is not taken for it
	waits("another one")
	if err := (folders{}).verify(spec); err == nil || !strings.Contains(err.Error(), "on another machine") {
		t.Errorf("no directory: %v", err)
	}
}
