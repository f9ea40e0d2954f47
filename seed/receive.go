package seed

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Receive makes what a stream has at the path tree of a directory, which must be there and have
// none. When it returns nil, all of it is there and on the disk. It needs the rights to give
// files to others.
func Receive(from io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t := receiver{root: root, in: tar.NewReader(from)}
	for {
		h, err := t.in.Next()
		switch {
		case err != nil:
			return cut(err)
		case h.Name == endName:
			if _, err := t.in.Next(); !errors.Is(err, io.EOF) {
				return errCut
			}
			discard(from)
			return t.end()
		}
		if err := t.take(h); err != nil {
			return fmt.Errorf("%.200q: %w", strings.TrimPrefix(h.Name, treeName+"/"), err)
		}
	}
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
		return errCut
	}
	return err
}

type receiver struct {
	root    *os.Root
	in      *tar.Reader
	folders []tar.Header
}

func (t *receiver) take(h *tar.Header) error {
	name := path.Clean(h.Name)
	if name != treeName && !strings.HasPrefix(name, treeName+"/") {
		return errors.New("is not what data is called")
	}
	h.Name = name
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		t.folders = append(t.folders, *h)
		return reasonOf(t.root.Mkdir(name, 0o700))
	case tar.TypeReg:
		return t.file(h)
	case tar.TypeLink:
		return reasonOf(t.root.Link(path.Clean(h.Linkname), name))
	case tar.TypeSymlink:
		if err = t.root.Symlink(h.Linkname, name); err == nil {
			err = t.root.Lchown(name, h.Uid, h.Gid)
		}
		if err == nil {
			err = t.times(h)
		}
		return reasonOf(err)
	}
	return errors.New("is neither a file nor a folder or a link")
}

func (t *receiver) file(h *tar.Header) error {
	f, err := t.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return reasonOf(err)
	}
	_, err = io.Copy(f, t.in)
	if err != nil {
		err = cut(reasonOf(err))
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = t.settle(h)
	}
	return err
}

// settle gives a file or a folder its owner, then its permissions, which another owner takes
// from a program that runs as its owner, and its times.
func (t *receiver) settle(h *tar.Header) error {
	err := t.root.Lchown(h.Name, h.Uid, h.Gid)
	if err == nil {
		err = t.root.Chmod(h.Name, h.FileInfo().Mode())
	}
	if err == nil {
		err = t.times(h)
	}
	return reasonOf(err)
}

// times gives an entry its time of modification, also a link itself.
func (t *receiver) times(h *tar.Header) error {
	in, err := t.root.Open(path.Dir(h.Name))
	if err != nil {
		return err
	}
	defer in.Close()
	at := unix.NsecToTimespec(h.ModTime.UnixNano())
	if h.ModTime.Year() < 1900 || h.ModTime.Year() > 2200 { // beyond what nanoseconds of that kind can say
		at = unix.NsecToTimespec(time.Unix(0, 0).UnixNano())
	}
	return unix.UtimesNanoAt(int(in.Fd()), path.Base(h.Name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW) //nolint:gosec // a descriptor
}

// end gives folders what they are to have, from the innermost on, as what is in them changes
// it, and brings all to the disk.
func (t *receiver) end() error {
	for i := len(t.folders) - 1; i >= 0; i-- {
		if err := t.settle(&t.folders[i]); err != nil {
			return fmt.Errorf("%.200q: %w", t.folders[i].Name, err)
		}
	}
	if _, err := t.root.Lstat(treeName); err != nil {
		return errCut
	}
	f, err := t.root.Open(self)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd())) //nolint:gosec // a descriptor
}
