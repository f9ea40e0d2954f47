package seed_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/seed"
)

// put makes a file with a content.
func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode))
	if err != nil {
		t.Fatal(err)
	}
}

// project has data of all kinds below data, and a single file.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	put(t, filepath.Join(data, "base/1/large"), strings.Repeat("0123456789abcdef", 20000), 0o640)
	put(t, filepath.Join(data, "base/empty"), "", 0o400)
	put(t, filepath.Join(data, "name\xff\n\"x"), "not UTF-8", 0o644)
	put(t, filepath.Join(data, "run"), "#!/bin/sh\n", 0o755|os.ModeSetuid|os.ModeSetgid)
	put(t, filepath.Join(dir, "acme.json"), "{}", 0o600)
	long := filepath.Join(data, strings.Repeat("d", 200), strings.Repeat("e", 200))
	put(t, filepath.Join(long, "deep"), "deep", 0o600)
	err := errors.Join(
		os.Symlink("base/1/large", filepath.Join(data, "current")),
		os.Symlink("/nowhere/\xfe", filepath.Join(data, "dangling")),
		os.Link(filepath.Join(data, "base/empty"), filepath.Join(data, "zz-same")),
		os.MkdirAll(filepath.Join(data, "sticky"), 0o755), os.Chmod(filepath.Join(data, "sticky"), 0o777|os.ModeSticky),
		os.Mkdir(filepath.Join(data, "closed"), 0o500),
	)
	for at, id := range map[string][2]int{
		"": {999, 999}, "base": {999, 1000}, "base/1/large": {1000, 1000}, "base/empty": {999, 0}, "run": {1000, 0},
		"current": {1000, 999}, "closed": {999, 999},
	} {
		if os.Geteuid() == 0 {
			err = errors.Join(err, os.Lchown(filepath.Join(data, at), id[0], id[1]))
		}
	}
	err = errors.Join(err, os.Chmod(filepath.Join(data, "run"), 0o755|os.ModeSetuid|os.ModeSetgid)) // chown takes them
	then := time.Date(2021, 2, 3, 4, 5, 6, 789012345, time.UTC)
	err = errors.Join(err, os.Chtimes(filepath.Join(data, "base/1/large"), then, then), os.Chtimes(filepath.Join(data, "base"), then, then))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// listing is what there is at a path, by the standard library alone.
func listing(t *testing.T, at string) (lines []string) {
	t.Helper()
	first := map[uint64]string{}
	err := filepath.Walk(at, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		s := info.Sys().(*syscall.Stat_t)
		name := strings.TrimPrefix(path, at)
		line := fmt.Sprintf("%q %s %d:%d %d %s", name, info.Mode(), s.Uid, s.Gid, s.Nlink, info.ModTime())
		if s.Nlink > 1 && !info.IsDir() {
			if _, known := first[s.Ino]; !known {
				first[s.Ino] = name
			}
			line += " as " + first[s.Ino]
		}
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			lines = append(lines, fmt.Sprintf("%s -> %q", line, to))
			return err
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			lines = append(lines, fmt.Sprintf("%s %q", line, b))
			return err
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func sent(t *testing.T, dir, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := seed.Send(&b, dir, name); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDataIsTheSameElsewhere(t *testing.T) {
	dir := project(t)
	for _, name := range []string{"data", "acme.json", "data/base/1"} {
		to := t.TempDir()
		if err := seed.Receive(bytes.NewReader(sent(t, dir, name)), to); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(listing(t, filepath.Join(dir, name)), listing(t, filepath.Join(to, "tree"))); diff != "" {
			t.Errorf("%s (-here +there)\n%s", name, diff)
		}
	}
}

func TestNothingIsAnEmptyFolder(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	size, err := seed.Scan(dir, "none")
	if err != nil || !size.Empty() {
		t.Errorf("%+v %v", size, err)
	}
	if err := seed.Receive(bytes.NewReader(sent(t, dir, "none")), to); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(filepath.Join(to, "tree"))
	if err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := seed.Scan(filepath.Join(dir, "gone"), "data"); err == nil {
		t.Error("a project that is not here has no data")
	}
}

func TestScanCountsAll(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "data/a"), "0123456789", 0o600)
	put(t, filepath.Join(dir, "data/b/c"), "01234", 0o600)
	size, err := seed.Scan(dir, "data")
	if want := (seed.Size{Bytes: 15, Files: 4}); err != nil || size != want {
		t.Errorf("%+v %v", size, err)
	}
}

// TestNothingHalfIsTaken cuts a stream off everywhere.
func TestNothingHalfIsTaken(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	put(t, filepath.Join(dir, "data/a"), "some", 0o600)
	put(t, filepath.Join(dir, "data/b/c"), "more", 0o600)
	stream := sent(t, dir, "data")
	for n := 0; n < len(stream)-1024; n += 101 { // the last blocks say nothing
		to := filepath.Join(into, fmt.Sprint(n))
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := seed.Receive(bytes.NewReader(stream[:n]), to); err == nil {
			t.Fatalf("%d of %d bytes are taken for all", n, len(stream))
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}

// slow calls then when the first bytes were written.
type slow struct {
	io.Writer
	then func()
}

func (s *slow) Write(b []byte) (int, error) {
	if s.then != nil {
		s.then()
		s.then = nil
	}
	return s.Writer.Write(b)
}

func TestWhatChangesIsNotSentToItsEnd(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"longer":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "data/b"), []byte("longer"), 0o600) },
		"as long":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "data/b"), []byte("BBB"), 0o600) },
		"read":       func(dir string) error { return os.WriteFile(filepath.Join(dir, "data/a"), []byte("AAA"), 0o600) },
		"new":        func(dir string) error { return os.WriteFile(filepath.Join(dir, "data/c"), nil, 0o600) },
		"gone":       func(dir string) error { return os.Remove(filepath.Join(dir, "data/b")) },
		"other mode": func(dir string) error { return os.Chmod(filepath.Join(dir, "data/a"), 0o644) },
		"replaced": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "x"), []byte("BBB"), 0o600),
				os.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "data/b")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, to := t.TempDir(), t.TempDir()
			put(t, filepath.Join(dir, "data/a"), "aaa", 0o600)
			put(t, filepath.Join(dir, "data/b"), "bbb", 0o600)
			var b bytes.Buffer
			err := seed.Send(&slow{&b, func() {
				if err := change(dir); err != nil {
					t.Error(err)
				}
			}}, dir, "data")
			var refused *seed.Refusal
			if !errors.As(err, &refused) || refused.Try == "" {
				t.Errorf("it is sent: %v", err)
			}
			if seed.Receive(&b, to) == nil {
				t.Error("what has changed is taken for whole")
			}
		})
	}
}

func TestWhatCannotBeCopiedIsRefused(t *testing.T) {
	tests := map[string]struct {
		make func(dir string) error
		want string
	}{
		"socket": {func(dir string) error {
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
			t.Cleanup(func() { l.Close() })
			return err
		}, `"./data/s" is a socket, which is of this machine alone: stop what has made it, or take it out of the folder`},
		"pipe": {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600) }, `"./data/p" is a named pipe`},
		"link out": {func(dir string) error {
			return errors.Join(os.Remove(dir), os.Symlink("/etc", dir))
		}, `"./data" cannot be read: path escapes from parent`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(filepath.Join(dir, "data")); err != nil {
				t.Fatal(err)
			}
			_, err := seed.Scan(dir, "data")
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if again := seed.Send(io.Discard, dir, "data"); again == nil || again.Error() != err.Error() {
				t.Errorf("it is sent: %v", again)
			}
		})
	}
}

// asNobody runs something without root's right to read all files.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so that the thread ends with this
		if os.Geteuid() == 0 {
			_ = syscall.Setfsuid(65534)
		}
		f()
	}()
	<-done
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	for name, mode := range map[string]os.FileMode{"data/a": 0, "data/b": 0, "data": 0} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "data/a"), "aaa", 0o644)
		put(t, filepath.Join(dir, "data/b/c"), "bbb", 0o644)
		err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, name), mode))
		if err != nil {
			t.Fatal(err)
		}
		asNobody(func() {
			want := fmt.Sprintf("%q cannot be read: permission denied: run otto as a user who may, such as root", "./"+name)
			if _, err := seed.Scan(dir, "data"); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if err := seed.Send(io.Discard, dir, "data"); err == nil || err.Error() != want {
				t.Errorf("it is sent: %v", err)
			}
		})
		_ = os.Chmod(filepath.Join(dir, name), 0o700) // so that it can be removed
	}
}

// FuzzReceive has a stream be anything: nothing of it is outside of its directory.
func FuzzReceive(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := seed.Send(&b, dir, "."); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		to := filepath.Join(parent, "to")
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		err := seed.Receive(bytes.NewReader(b), to)
		list, _ := os.ReadDir(parent)
		if len(list) != 1 {
			t.Errorf("something is outside: %v (%v)", list, err)
		}
		_ = filepath.WalkDir(to, func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(path, 0o700)
			}
			return nil
		})
	})
}
