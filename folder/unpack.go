package folder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/otto-edge/otto/durable"
)

const (
	manifestFile = "manifest"
	treeName     = "tree"
	newPrefix    = ".new-"
	wrongPrefix  = ".wrong-"
	abandoned    = time.Hour // after that nobody writes to what is being made any more
)

// Path is where the folder with a key is below a directory of unpacked ones.
func Path(dir, key string) string { return filepath.Join(dir, key, treeName) }

// InPath is the key of the folder that a path leads to, below a directory of unpacked
// ones; empty if it leads to none.
func InPath(dir, path string) string {
	rest, ok := strings.CutPrefix(path, filepath.Clean(dir)+"/")
	key, _, _ := strings.Cut(rest, "/")
	if !ok || !ValidKey(key) {
		return ""
	}
	return key
}

// There reports whether a folder has come whole to a directory. What may have happened to
// it since, Verify finds out.
func There(dir, key string) bool {
	_, err := os.Lstat(filepath.Join(dir, key, manifestFile))
	return err == nil
}

// Unpack makes the folder with a key below a directory, from its pack. It is written
// beside, brought to the disk, and renamed: whoever looks sees all of it or nothing. One
// that is there is left if it is whole, and put aside otherwise.
func Unpack(dir, key string, r io.Reader) error {
	if !ValidKey(key) {
		return errManifest
	}
	if Verify(dir, key) == nil {
		return nil
	}
	p, err := openPack(r)
	if err != nil {
		return err
	}
	if p.key != key {
		return errors.New("it is another folder than the one that was asked for")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // whatever the modes in it are, nobody else gets there
		return err
	}
	temp, err := os.MkdirTemp(dir, newPrefix)
	if err != nil {
		return err
	}
	if err := p.unpack(temp); err != nil {
		return errors.Join(err, Remove(temp))
	}
	if _, there := os.Lstat(filepath.Join(dir, key)); there == nil && Verify(dir, key) != nil {
		if err := Reject(dir, key); err != nil {
			return errors.Join(err, Remove(temp))
		}
	}
	if err := os.Rename(temp, filepath.Join(dir, key)); err != nil {
		err = errors.Join(err, Remove(temp))
		if Verify(dir, key) == nil { // somebody else was first
			return nil
		}
		return err
	}
	return durable.SyncDir(dir)
}

func (p *pack) unpack(temp string) error {
	root, err := os.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer root.Close()
	for i := range p.Entries {
		e := &p.Entries[i]
		at := filepath.Join(treeName, e.Path)
		switch {
		case e.Mode.IsDir():
			err = root.Mkdir(at, 0o700)
		case e.Mode.IsRegular():
			err = p.file(root, at, e)
		default:
			if err = root.Symlink(e.Link, at); err == nil && os.Geteuid() == 0 {
				err = root.Lchown(at, e.UID, e.GID)
			}
		}
		if err != nil {
			return fmt.Errorf("%.200q: %w", e.Path, reasonOf(err))
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	for i := len(p.Entries) - 1; i >= 0; i-- { // what is in a folder before it cannot be written to
		if e := &p.Entries[i]; e.Mode.IsDir() {
			if err := p.settle(root, filepath.Join(treeName, e.Path), e); err != nil {
				return fmt.Errorf("%.200q: %w", e.Path, reasonOf(err))
			}
		}
	}
	manifest := p.Encode()
	if err := root.WriteFile(manifestFile, manifest, 0o600); err != nil {
		return err
	}
	f, err := root.OpenFile(manifestFile, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return durable.SyncDir(temp)
}

func (p *pack) file(root *os.Root, at string, e *Entry) error {
	f, err := root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = p.content(e, f)
	return errors.Join(err, finish(f, e), f.Close())
}

// settle gives a folder its owner and permissions.
func (p *pack) settle(root *os.Root, at string, e *Entry) error {
	f, err := root.Open(at)
	if err != nil {
		return err
	}
	return errors.Join(finish(f, e), f.Close())
}

// finish gives what is open its owner and its permissions, and brings it to the disk.
func finish(f *os.File, e *Entry) error {
	var err error
	if os.Geteuid() == 0 {
		err = f.Chown(e.UID, e.GID)
	}
	return errors.Join(err, f.Chmod(modeHere(e)), f.Sync())
}

// modeHere are the permissions that an entry has on this machine. Who is not root can
// give nothing to others: instead all in the container may read it, as its owner could.
// On the machine nobody else gets there.
func modeHere(e *Entry) fs.FileMode {
	mode := e.Mode.Perm()
	if os.Geteuid() == 0 {
		return mode
	}
	if e.UID != os.Geteuid() {
		owner := mode >> 6 & 0o5
		mode |= owner<<3 | owner
	}
	if e.Mode.IsDir() {
		return mode | 0o700
	}
	return mode | 0o400
}

// Verify says what is wrong with the folder with a key below a directory of unpacked ones;
// nil if it is whole and what its key says. It reads all of it.
func Verify(dir, key string) error {
	if !ValidKey(key) {
		return errManifest
	}
	root, err := os.OpenRoot(filepath.Join(dir, key))
	if err != nil {
		return reasonOf(err)
	}
	defer root.Close()
	f, err := open(root, manifestFile)
	if err != nil {
		return reasonOf(err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	f.Close()
	if err != nil {
		return reasonOf(err)
	}
	if KeyOf(text) != key {
		return errors.New("its list is not what it should be")
	}
	m, err := Parse(text)
	if err != nil {
		return err
	}
	for i := range m.Entries {
		if err := verifyEntry(root, &m.Entries[i]); err != nil {
			return fmt.Errorf("%.200q %w", m.Entries[i].Path, err)
		}
	}
	return m.nothingElse(root)
}

var errOther = errors.New("is not what it should be")

func verifyEntry(root *os.Root, e *Entry) error {
	at := filepath.Join(treeName, e.Path)
	info, err := root.Lstat(at)
	if err != nil || info.Mode().Type() != e.Mode.Type() {
		return errOther
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && (int(s.Uid) != e.UID || int(s.Gid) != e.GID) {
		return errors.New("has another owner")
	}
	switch {
	case e.Mode.Type() == fs.ModeSymlink:
		if to, err := root.Readlink(at); err != nil || to != e.Link {
			return errOther
		}
		return nil
	case info.Mode().Perm() != modeHere(e):
		return errors.New("has other permissions")
	case e.Mode.IsDir():
		return nil
	case info.Size() != e.Size:
		return errOther
	}
	f, err := open(root, at)
	if err != nil {
		return reasonOf(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, e.Size+1)); err != nil {
		return reasonOf(err)
	}
	if string(h.Sum(nil)) != string(e.Sum[:]) {
		return errOther
	}
	return nil
}

// nothingElse fails if there is more than the manifest has.
func (m Manifest) nothingElse(root *os.Root) error {
	below := map[string]int{}
	for i := range m.Entries {
		if e := &m.Entries[i]; e.Path != self {
			below[filepath.Dir(e.Path)]++
		}
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		if !e.Mode.IsDir() {
			continue
		}
		f, err := root.Open(filepath.Join(treeName, e.Path))
		if err != nil {
			return reasonOf(err)
		}
		list, err := f.ReadDir(below[e.Path] + 1)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return reasonOf(err)
		}
		if len(list) > below[e.Path] {
			return fmt.Errorf("%.200q has more in it than it should", e.Path)
		}
	}
	return nil
}

// Reject puts a folder aside that is not what its key says. Who has it mounted keeps it
// until Tidy is told that nobody has.
func Reject(dir, key string) error {
	aside, err := os.MkdirTemp(dir, wrongPrefix+key+"-")
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, key), filepath.Join(aside, key))
}

// Tidy removes the folders below a directory but for those with some keys, and what was
// left half by somebody who was killed.
func Tidy(dir string, keep map[string]bool, now time.Time) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range list {
		name := d.Name()
		switch {
		case ValidKey(name) && keep[name]:
			continue
		case ValidKey(name): // so that it never looks whole while it goes
			gone := filepath.Join(dir, wrongPrefix+name+"-gone")
			if os.Rename(filepath.Join(dir, name), gone) == nil {
				name = filepath.Base(gone)
			}
		case strings.HasPrefix(name, newPrefix):
			info, e := d.Info()
			if e != nil || now.Sub(info.ModTime()).Abs() < abandoned {
				continue
			}
		case strings.HasPrefix(name, wrongPrefix):
			if key, _, _ := strings.Cut(strings.TrimPrefix(name, wrongPrefix), "-"); keep[key] {
				continue
			}
		default:
			continue
		}
		err = errors.Join(err, Remove(filepath.Join(dir, name)))
	}
	return err
}

// Remove removes a folder, also one whose permissions keep even its owner from that.
func Remove(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(at, 0o700) //nolint:gosec // before it is removed
		}
		return nil
	})
	return os.RemoveAll(path)
}

// reasonOf is an error about a file without its path.
func reasonOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
