package seed

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

const (
	treeName = "tree"  // what is copied is under that in a stream
	endName  = "whole" // the last entry
)

// Send writes what is at a path of a project as a stream. The stream has no end, and the error
// is a Refusal, if something changes meanwhile or cannot be read. What is not there is sent as
// an empty folder: mounted, an engine makes one of it.
func Send(to io.Writer, project, name string) error {
	before, err := openWalk(project, name)
	if err != nil {
		return err
	}
	if before == nil {
		return SendEmpty(to)
	}
	defer before.close()
	out := tar.NewWriter(to)
	before.flush()
	if err := before.all(func(*entry) error { return nil }); err != nil {
		return err
	}
	time.Sleep(tickWait) // what is written from now on has another time
	now, after := before.again(), before.again()
	s := sender{walk: now, out: out, linked: map[inode]string{}}
	if err := now.all(s.put); err != nil {
		return err
	}
	before.flush()
	if err := after.all(func(*entry) error { return nil }); err != nil {
		return err
	}
	if !bytes.Equal(before.sum.Sum(nil), after.sum.Sum(nil)) {
		return before.changed(self)
	}
	return finish(out)
}

// SendEmpty writes an empty folder as a stream.
func SendEmpty(to io.Writer) error {
	out := tar.NewWriter(to)
	return errors.Join(out.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: treeName, Mode: 0o755, ModTime: time.Now(), Format: tar.FormatPAX,
	}), finish(out))
}

func finish(out *tar.Writer) error {
	return errors.Join(out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: endName, Format: tar.FormatPAX}), out.Close())
}

// again is another pass over the same.
func (w *walk) again() *walk {
	next := *w
	next.sum, next.size = newSum(), Size{}
	return &next
}

// flush brings to the disk what is written through memory: otherwise that changes no time.
func (w *walk) flush() {
	if f, err := w.root.Open(w.at(self)); err == nil {
		_ = unix.Syncfs(int(f.Fd())) //nolint:gosec // a descriptor; and where it cannot be, times say most
		f.Close()
	}
}

type inode struct{ dev, ino uint64 }

type sender struct {
	*walk
	out    *tar.Writer
	linked map[inode]string // the first name of what has several
}

// put writes an entry.
func (s *sender) put(e *entry) error {
	h := &tar.Header{
		Name: path.Join(treeName, e.path), Mode: int64(e.stat.Mode & 0o7777), Uid: int(e.stat.Uid), Gid: int(e.stat.Gid),
		ModTime: e.info.ModTime(), Format: tar.FormatPAX,
	}
	switch {
	case e.mode.IsDir():
		h.Typeflag = tar.TypeDir
		return s.out.WriteHeader(h)
	case e.mode.Type() == fs.ModeSymlink:
		to, err := s.root.Readlink(e.path)
		if err != nil {
			return s.changed(e.path)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, to
		return s.out.WriteHeader(h)
	}
	if id := (inode{uint64(e.stat.Dev), e.stat.Ino}); e.stat.Nlink > 1 { //nolint:unconvert // which has 32 bits on some machines
		if first, known := s.linked[id]; known {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return s.out.WriteHeader(h)
		}
		s.linked[id] = h.Name
	}
	h.Typeflag, h.Size = tar.TypeReg, e.info.Size()
	f, err := s.open(e.path)
	if err != nil {
		return s.refuse(e.path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !os.SameFile(info, e.info) {
		return s.changed(e.path)
	}
	if err := s.out.WriteHeader(h); err != nil {
		return err
	}
	in := &source{r: f}
	n, err := io.Copy(s.out, io.LimitReader(in, h.Size))
	switch {
	case in.err != nil:
		return s.refuse(e.path, in.err)
	case err != nil:
		return fmt.Errorf("send %s: %w", s.shown(e.path), err)
	case n != h.Size:
		return s.changed(e.path)
	}
	return nil
}

// source keeps the error of a reader apart from that of a writer.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
