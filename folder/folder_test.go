package folder_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/folder"
)

// project makes a directory with files; a name that ends with / is a folder, and a
// content that begins with -> a link.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		var err error
		switch to, link := strings.CutPrefix(content, "-> "); {
		case link:
			err = os.Symlink(to, at)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o750)
		default:
			err = os.WriteFile(at, []byte(content), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, dir, name string) folder.Manifest {
	t.Helper()
	m, err := folder.Read(dir, name, folder.NewBudget())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func packed(t *testing.T, dir, name string) (key string, pack []byte) {
	t.Helper()
	m := read(t, dir, name)
	var b bytes.Buffer
	if err := folder.Pack(&b, dir, name, m); err != nil {
		t.Fatal(err)
	}
	return m.Key(), b.Bytes()
}

var some = map[string]string{
	"conf/nginx.conf": "worker_processes 1;\n", "conf/sites/a.conf": "a", "conf/sites-b": "b", "conf/sites/": "",
	"conf/empty/": "", "conf/none": "", "conf/name\xff\n\"x": "not UTF-8", "conf/current": "-> sites/a.conf",
	"conf/sites/up": "-> ../none", "single.json": "{}",
}

func TestFolderIsTheSameElsewhere(t *testing.T) {
	dir, to := project(t, some), filepath.Join(t.TempDir(), "files")
	if err := os.Chmod(filepath.Join(dir, "conf/empty"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "conf/none"), 0o751); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"conf", "single.json"} {
		key, pack := packed(t, dir, name)
		if err := folder.Unpack(to, key, bytes.NewReader(pack)); err != nil {
			t.Fatal(err)
		}
		if err := folder.Verify(to, key); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(listing(t, filepath.Join(dir, name)), listing(t, folder.Path(to, key))); diff != "" {
			t.Errorf("%s (-here +there)\n%s", name, diff)
		}
		if got := folder.InPath(to, folder.Path(to, key)); got != key {
			t.Errorf("its path is of %q", got)
		}
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may enter: %v %v", info.Mode(), err)
	}
}

// listing is what there is at a path, by the standard library alone.
func listing(t *testing.T, at string) (lines []string) {
	t.Helper()
	err := filepath.Walk(at, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %s", strings.TrimPrefix(path, at), info.Mode())
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			line += fmt.Sprintf(" %d:%d", s.Uid, s.Gid)
		}
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			lines = append(lines, line+" -> "+to)
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

func TestKeyFollowsWhatIsThere(t *testing.T) {
	dir := project(t, some)
	was := read(t, dir, "conf").Key()
	if again := read(t, dir, "conf").Key(); again != was {
		t.Error("the same folder has two keys")
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "conf/none"), later, later); err != nil {
		t.Fatal(err)
	}
	if again := read(t, dir, "conf").Key(); again != was {
		t.Error("a time is part of the key")
	}
	changes := map[string]func() error{
		"content":    func() error { return os.WriteFile(filepath.Join(dir, "conf/none"), []byte("x"), 0o600) },
		"permission": func() error { return os.Chmod(filepath.Join(dir, "conf/none"), 0o400) },
		"name":       func() error { return os.Rename(filepath.Join(dir, "conf/none"), filepath.Join(dir, "conf/none2")) },
		"folder":     func() error { return os.Mkdir(filepath.Join(dir, "conf/more"), 0o700) },
		"link": func() error {
			return errors.Join(os.Remove(filepath.Join(dir, "conf/current")), os.Symlink("sites", filepath.Join(dir, "conf/current")))
		},
	}
	for name, change := range changes {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		now := read(t, dir, "conf").Key()
		if now == was {
			t.Errorf("another %s is the same key", name)
		}
		was = now
	}
}

func TestWhatCannotBeBroughtIsRefused(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct {
		name, read, want string
		make             func(dir string) error
	}{
		{"missing", "gone", `there is no "./gone"`, nil},
		{"socket", "conf", `"./conf/s" is a socket, which is of this machine alone`, func(dir string) error {
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "conf/s"))
			t.Cleanup(func() { l.Close() })
			return err
		}},
		{"pipe", "conf", `"./conf/p" is a named pipe, which is of this machine alone`, func(dir string) error {
			return syscall.Mkfifo(filepath.Join(dir, "conf/p"), 0o600)
		}},
		{"pipe itself", "p", `"./p" is a named pipe, which is of this machine alone`, func(dir string) error {
			return syscall.Mkfifo(filepath.Join(dir, "p"), 0o600)
		}},
		{
			"link out", "conf", `"./conf/l" is a symlink out of the folder, to "../outside", and what is there would be missing elsewhere`,
			func(dir string) error { return os.Symlink("../outside", filepath.Join(dir, "conf/l")) },
		},
		{
			"absolute link", "conf", `"./conf/l" is a symlink out of the folder, to "/etc/hosts", and what is there would be missing elsewhere`,
			func(dir string) error { return os.Symlink("/etc/hosts", filepath.Join(dir, "conf/l")) },
		},
		{
			"itself a link out", "l", `"./l" leads out of the folder of the project`,
			func(dir string) error { return os.Symlink("/etc", filepath.Join(dir, "l")) },
		},
		{
			"state of Otto", "conf", `"./conf/.otto" is Otto's own, and changes all the time`,
			func(dir string) error { return os.Mkdir(filepath.Join(dir, "conf/.otto"), 0o700) },
		},
		{
			"too large", "conf", `"./conf" is too large: Otto brings 64 MiB of a stack to another machine`,
			func(dir string) error {
				return errors.Join(os.WriteFile(filepath.Join(dir, "conf/big"), nil, 0o600),
					os.Truncate(filepath.Join(dir, "conf/big"), 5<<30))
			},
		},
		{
			"too many", "conf", `"./conf" has too many files: Otto brings 2000 of a stack to another machine, folders included`,
			func(dir string) (err error) {
				for i := range 40 {
					err = errors.Join(err, os.WriteFile(filepath.Join(dir, "conf", fmt.Sprint(i)), nil, 0o600))
				}
				return err
			},
		},
		{"names too long", "conf", `the names in "./conf" are too long`, func(dir string) (err error) {
			deep := filepath.Join(dir, "conf", long, long, long, long, long, long)
			err = os.MkdirAll(deep, 0o700)
			for i := range 1900 {
				err = errors.Join(err, os.WriteFile(filepath.Join(deep, fmt.Sprint(i)), nil, 0o600))
			}
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := project(t, some)
			if tt.make != nil {
				if err := tt.make(dir); err != nil {
					t.Fatal(err)
				}
			}
			left := folder.NewBudget()
			if tt.name == "too many" {
				left.Files = 30
			}
			_, err := folder.Read(dir, tt.read, left)
			var refused *folder.Refusal
			if !errors.As(err, &refused) || !strings.HasPrefix(refused.What, tt.want) || refused.Try == "" {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A budget is that of a stack: what one folder takes is gone for the next one.
func TestBudgetIsShared(t *testing.T) {
	dir := project(t, map[string]string{"a/x": "0123456789", "b/x": "0123456789"})
	left := &folder.Budget{Bytes: 15, Files: 10}
	if _, err := folder.Read(dir, "a", left); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Read(dir, "b", left); err == nil {
		t.Error("more than the budget was read")
	}
}

func TestWhatChangesIsNotPacked(t *testing.T) {
	dir := project(t, some)
	m := read(t, dir, "conf")
	if err := os.WriteFile(filepath.Join(dir, "conf/sites-b"), []byte("c"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := folder.Pack(io.Discard, dir, "conf", m)
	if err == nil || !strings.HasPrefix(err.Error(), `"./conf/sites-b" has changed since it was read`) {
		t.Error(err)
	}
}

// TestNothingHalfIsEverThere cuts a pack off at each byte, and damages each.
func TestNothingHalfIsEverThere(t *testing.T) {
	dir, to := project(t, map[string]string{"conf/a": "some content", "conf/b/c": "more of it"}), t.TempDir()
	key, pack := packed(t, dir, "conf")
	other := strings.Repeat("0", 64)
	if err := folder.Unpack(to, other, bytes.NewReader(pack)); err == nil || folder.There(to, other) {
		t.Errorf("it is taken for another one: %v", err)
	}
	for i := range pack {
		damaged := bytes.Clone(pack)
		damaged[i] ^= 0x40
		for what, b := range map[string][]byte{"cut off": pack[:i], "damaged": damaged} {
			err := folder.Unpack(to, key, bytes.NewReader(b))
			if err == nil && folder.Verify(to, key) == nil { // in a header's field without meaning
				if err := folder.Remove(filepath.Join(to, key)); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err == nil || folder.There(to, key) {
				t.Fatalf("%s at %d: %v, there %t", what, i, err, folder.There(to, key))
			}
		}
	}
	if list, err := os.ReadDir(to); err != nil || len(list) != 0 {
		t.Errorf("%v is left (%v)", list, err)
	}
}

func TestVerifyFindsEachChange(t *testing.T) {
	dir := project(t, some)
	key, pack := packed(t, dir, "conf")
	changes := map[string]func(tree string) error{
		"other content": func(tree string) error { return os.WriteFile(filepath.Join(tree, "sites/a.conf"), []byte("b"), 0o600) },
		"longer":        func(tree string) error { return os.WriteFile(filepath.Join(tree, "sites/a.conf"), []byte("ab"), 0o600) },
		"permissions":   func(tree string) error { return os.Chmod(filepath.Join(tree, "sites/a.conf"), 0o666) },
		"missing":       func(tree string) error { return os.Remove(filepath.Join(tree, "none")) },
		"more":          func(tree string) error { return os.WriteFile(filepath.Join(tree, "more"), nil, 0o600) },
		"other link": func(tree string) error {
			return errors.Join(os.Remove(filepath.Join(tree, "current")), os.Symlink("none", filepath.Join(tree, "current")))
		},
		"link for a file": func(tree string) error {
			return errors.Join(os.Remove(filepath.Join(tree, "none")), os.Symlink("sites-b", filepath.Join(tree, "none")))
		},
		"list": func(tree string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(tree), "manifest"), []byte("otto folder 1\nsalt \n"), 0o600)
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if err := folder.Unpack(to, key, bytes.NewReader(pack)); err != nil {
				t.Fatal(err)
			}
			if err := change(folder.Path(to, key)); err != nil {
				t.Fatal(err)
			}
			if err := folder.Verify(to, key); err == nil {
				t.Fatal("it is taken for what it was")
			}
			if err := folder.Unpack(to, key, bytes.NewReader(pack)); err != nil {
				t.Fatal(err)
			}
			if err := folder.Verify(to, key); err != nil {
				t.Errorf("brought again: %v", err)
			}
		})
	}
}

func TestTidyKeepsWhatIsUsed(t *testing.T) {
	dir, to, now := project(t, map[string]string{"a/x": "a", "b/x": "b"}), t.TempDir(), time.Now()
	a, packA := packed(t, dir, "a")
	b, packB := packed(t, dir, "b")
	for key, pack := range map[string][]byte{a: packA, b: packB} {
		if err := folder.Unpack(to, key, bytes.NewReader(pack)); err != nil {
			t.Fatal(err)
		}
	}
	if err := folder.Reject(to, b); err != nil { // somebody may have it mounted
		t.Fatal(err)
	}
	for _, name := range []string{".new-1", ".new-2"} { // one is being written, the other was left by a kill
		if err := os.Mkdir(filepath.Join(to, name), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	old := now.Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(to, ".new-2"), old, old); err != nil {
		t.Fatal(err)
	}
	tidy := func(keep ...string) (names []string) {
		t.Helper()
		all := map[string]bool{}
		for _, key := range keep {
			all[key] = true
		}
		if err := folder.Tidy(to, all, now); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			name, _, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(d.Name(), a, "a"), b, "b"), "b-")
			names = append(names, name)
		}
		return names
	}
	if diff := cmp.Diff([]string{".new-1", ".wrong-", "a"}, tidy(a, b)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{".new-1", "a"}, tidy(a)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{".new-1"}, tidy()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzParse has a list be anything: it is refused, or it is what Encode makes.
func FuzzParse(f *testing.F) {
	dir := f.TempDir()
	if err := os.Symlink(".", filepath.Join(dir, "link")); err != nil {
		f.Fatal(err)
	}
	m, err := folder.Read(dir, ".", folder.NewBudget())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Encode())
	f.Add([]byte("otto folder 1\nsalt 00\nd 755 0 0 0 - \".\"\nf 644 0 0 1 " + strings.Repeat("0", 64) + " \"../x\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := folder.Parse(b)
		if err == nil && !bytes.Equal(m.Encode(), b) {
			t.Errorf("%q has another form", b)
		}
		if err == nil && (strings.Contains(string(b), `"../`) && strings.Contains(string(b), "\nf 644 0 0 1")) {
			t.Errorf("a path leads out: %q", b)
		}
	})
}

// FuzzUnpack has a pack be anything: it is taken in whole, or nothing is there.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		to, key := t.TempDir(), strings.Repeat("a", 64)
		if err := folder.Unpack(to, key, bytes.NewReader(b)); err == nil || folder.There(to, key) {
			t.Errorf("%q was taken in", b)
		}
	})
}

func TestListsThatLeadOutAreRefused(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for name, line := range map[string]string{
		"above":          `f 644 0 0 1 ` + sum + ` "../x"`,
		"absolute":       `f 644 0 0 1 ` + sum + ` "/x"`,
		"within a file":  "f 644 0 0 1 " + sum + " \"a\"\nf 644 0 0 1 " + sum + ` "a/b"`,
		"within a link":  "l 777 0 0 0 - \"a\" \"b\"\nf 644 0 0 1 " + sum + ` "a/b"`,
		"without folder": `f 644 0 0 1 ` + sum + ` "a/b"`,
		"twice":          "f 644 0 0 1 " + sum + " \"a\"\nf 644 0 0 1 " + sum + ` "a"`,
		"setuid":         `f 4755 0 0 1 ` + sum + ` "a"`,
		"link out":       `l 777 0 0 0 - "a" "../../x"`,
		"link to /":      `l 777 0 0 0 - "a" "/etc/shadow"`,
		"too large":      `f 644 0 0 99999999999 ` + sum + ` "a"`,
		"negative":       `f 644 0 0 -1 ` + sum + ` "a"`,
		"dots":           `f 644 0 0 1 ` + sum + ` "a/../b"`,
	} {
		if _, err := folder.Parse([]byte("otto folder 1\nsalt \nd 755 0 0 0 - \".\"\n" + line + "\n")); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
