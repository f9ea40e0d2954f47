package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/otto-edge/otto"
)

func someFiles(list ...otto.File) otto.ContainerSpec {
	for i := range list {
		list[i].Kind, list[i].Name = otto.FileSecret, list[i].Content
		list[i].Target = "/run/secrets/" + list[i].Content
	}
	return otto.ContainerSpec{Image: "web", Files: list}
}

func TestFilesHaveTheirOwnerAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	f := &files{dir: filepath.Join(t.TempDir(), "memory")}
	spec := someFiles(otto.File{Content: "a"}, otto.File{Content: "b", UID: "999", GID: "1000", Mode: 0o440}, otto.File{Content: "c", GID: "5", Mode: 0o640})
	contents := otto.NewContents(map[string][]byte{"a": []byte("1"), "b": []byte("2"), "c": {}})
	paths, err := f.place(spec, spec.Hash(), contents)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		mode     os.FileMode
		uid, gid uint32
		content  string
	}{{0o444, 0, 0, "1"}, {0o440, 999, 1000, "2"}, {0o640, 0, 5, ""}} {
		info, err := os.Stat(paths[i])
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		b, err := os.ReadFile(paths[i])
		if err != nil || string(b) != want.content || info.Mode() != want.mode || owner.Uid != want.uid || owner.Gid != want.gid {
			t.Errorf("file %d is %v %d:%d %q (%v), want %+v", i, info.Mode(), owner.Uid, owner.Gid, b, err, want)
		}
	}
	for _, dir := range []string{f.dir, filepath.Dir(paths[0])} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is for others, too: %v (%v)", dir, info.Mode(), err)
		}
	}
}

// TestFilesThatAreThereAreLeft: a container that runs has the very files.
func TestFilesThatAreThereAreLeft(t *testing.T) {
	f := &files{dir: filepath.Join(t.TempDir(), "memory")}
	spec, contents := someFiles(otto.File{Content: "a"}), otto.NewContents(map[string][]byte{"a": []byte("1")})
	inode := func(path string) uint64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	paths, err := f.place(spec, "hash", contents)
	if err != nil {
		t.Fatal(err)
	}
	was := inode(paths[0])
	if _, err := f.place(spec, "hash", contents); err != nil || inode(paths[0]) != was {
		t.Errorf("it was written again (%v)", err)
	}
	if err := errors.Join(os.Chmod(paths[0], 0o600), os.WriteFile(paths[0], []byte("other"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.place(spec, "hash", contents); err != nil || !is(paths[0], contents["a"]) {
		t.Errorf("what somebody has changed is left (%v)", err)
	}
}

// TestHalfOfFilesIsNeverUsed: an agent that was killed has left what it had begun.
func TestHalfOfFilesIsNeverUsed(t *testing.T) {
	f := &files{dir: filepath.Join(t.TempDir(), "memory")}
	half := filepath.Join(f.dir, newFiles+"123")
	if err := errors.Join(os.MkdirAll(half, 0o700), os.WriteFile(filepath.Join(half, "0"), []byte("ha"), 0o600),
		os.MkdirAll(filepath.Join(f.dir, "gone"), 0o700), os.MkdirAll(filepath.Join(f.dir, "hash"), 0o700)); err != nil {
		t.Fatal(err)
	}
	spec, contents := someFiles(otto.File{Content: "a"}, otto.File{Content: "b"}), otto.NewContents(map[string][]byte{"a": []byte("1"), "b": []byte("2")})
	paths, err := f.place(spec, "hash", contents)
	if err != nil || !is(paths[0], contents["a"]) || !is(paths[1], contents["b"]) {
		t.Fatal(err)
	}
	if err := f.tidy(map[string]bool{"hash": true, newFiles + "123": true}); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(f.dir)
	if err != nil || len(list) != 1 || list[0].Name() != "hash" {
		t.Errorf("left are %v (%v)", list, err)
	}
}

func TestFilesThatCannotBeHadAreAnError(t *testing.T) {
	spec, contents := someFiles(otto.File{Content: "a"}), otto.NewContents(map[string][]byte{"a": []byte("hunter2")})
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(dir, "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		f        *files
		contents otto.Contents
		want     string
	}{
		"no memory": {&files{why: "its container engine is on another machine"}, contents, "this node cannot have secrets and configs: its container engine is on another machine"},
		"not come":  {&files{dir: filepath.Join(dir, "a")}, nil, "its secret a has not come from the control plane"},
		"a link":    {&files{dir: link}, contents, "is there and somebody else's: remove it"},
		"a file":    {&files{dir: occupied}, contents, "not a directory"},
	} {
		_, err := tt.f.place(spec, "hash", tt.contents)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if paths, err := (&files{}).place(otto.ContainerSpec{}, "hash", nil); paths != nil || err != nil {
		t.Errorf("what needs none: %v %v", paths, err)
	}
}
