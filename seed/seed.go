// Package seed copies the data of a project to a node, once: files and folders with owner,
// group, permissions, times, symbolic and hard links, under names of any bytes.
//
// Scan says how much there is, or why it cannot be copied. Send writes it as a stream, which
// ends well only if nothing has changed meanwhile. Receive makes a tree of a stream, and fails
// unless all of it has come and is on the disk. A stream is a tar archive, with one more entry
// that says that it is whole.
package seed

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Refusal says why data cannot be copied, and what to do.
type Refusal struct{ What, Try string }

// Error implements error.
func (r *Refusal) Error() string { return r.What + ": " + r.Try }

// Size is how much there is.
type Size struct {
	Bytes int64 `json:"bytes"`
	Files int   `json:"files"` // folders and links included
}

// Empty reports whether there is nothing but a folder, or not even that.
func (s Size) Empty() bool { return s.Files <= 1 && s.Bytes == 0 }

const (
	self     = "." // path of what is copied itself
	tryStop  = "stop what writes to it, and try again"
	tryOut   = "stop what has made it, or take it out of the folder"
	tryRead  = "run otto as a user who may, such as root"
	tickWait = 60 * time.Millisecond // longer than a kernel's clock for times of files stands still
)

// Scan says how much is at a path of a project, which is a directory of this machine. What is
// not there is nothing. An error is a Refusal.
func Scan(project, name string) (Size, error) {
	w, err := openWalk(project, name)
	if err != nil || w == nil {
		return Size{}, err
	}
	defer w.close()
	err = w.all(func(e *entry) error {
		if e.mode.IsRegular() {
			f, err := w.open(e.path)
			if err != nil {
				return w.refuse(e.path, err)
			}
			f.Close()
		}
		return nil
	})
	return w.size, err
}

// entry is a file, a folder or a link.
type entry struct {
	path string
	mode fs.FileMode
	info fs.FileInfo
	stat *syscall.Stat_t
}

// walk is one pass over what is to be copied, in one order.
type walk struct {
	root   *os.Root
	name   string // of it in the project
	single bool   // it is a file of root, and not root itself
	size   Size
	sum    hash.Hash // of all that changes when something is changed
}

// openWalk returns nil if there is nothing.
func openWalk(project, name string) (*walk, error) {
	in, err := os.OpenRoot(project)
	if err != nil {
		return nil, &Refusal{
			fmt.Sprintf("%q cannot be looked at: %s", project, reasonOf(err)),
			"apply the file again on the machine that has the project",
		}
	}
	w := &walk{name: name, sum: newSum()}
	info, err := in.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, in.Close()
	case err != nil:
		return nil, errors.Join(w.refuse(self, err), in.Close())
	case !info.IsDir():
		w.root, w.single = in, true
		return w, nil
	}
	defer in.Close()
	if w.root, err = in.OpenRoot(name); err != nil {
		return nil, w.refuse(self, err)
	}
	return w, nil
}

func (w *walk) close() { w.root.Close() }

// at is where a path is in root.
func (w *walk) at(p string) string {
	if w.single {
		return w.name
	}
	return p
}

// open opens a file. What was put in its place meanwhile is neither followed nor waited for.
func (w *walk) open(p string) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_NONBLOCK
	if !w.single {
		flags |= syscall.O_NOFOLLOW
	}
	return w.root.OpenFile(w.at(p), flags, 0)
}

// all has take see everything, folders before what is in them.
func (w *walk) all(take func(*entry) error) error {
	info, err := w.root.Stat(w.at(self)) // a link is followed here, as a mount follows it
	if err != nil {
		return w.refuse(self, err)
	}
	return w.visit(self, info, take)
}

func (w *walk) visit(p string, info fs.FileInfo, take func(*entry) error) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return w.refuse(p, errors.ErrUnsupported)
	}
	kind := ""
	switch info.Mode().Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	case fs.ModeSocket:
		kind = "a socket"
	case fs.ModeNamedPipe:
		kind = "a named pipe"
	default:
		kind = "a device"
	}
	if kind != "" {
		return &Refusal{w.shown(p) + " is " + kind + ", which is of this machine alone", tryOut}
	}
	fmt.Fprintf(w.sum, "%q %d %d %d %d %d %d.%d\n", p, stat.Ino, stat.Mode, stat.Uid, stat.Gid, info.Size(),
		stat.Ctim.Sec, stat.Ctim.Nsec)
	w.size.Files++
	if info.Mode().IsRegular() {
		w.size.Bytes += info.Size()
	}
	if err := take(&entry{p, info.Mode(), info, stat}); err != nil || !info.IsDir() {
		return err
	}
	f, err := w.root.Open(w.at(p))
	if err != nil {
		return w.refuse(p, err)
	}
	list, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return w.refuse(p, err)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, d := range list {
		below := path.Join(p, d.Name())
		info, err := w.root.Lstat(below)
		if err != nil {
			return w.changed(below)
		}
		if err := w.visit(below, info, take); err != nil {
			return err
		}
	}
	return nil
}

// shown is a path as people read it.
func (w *walk) shown(p string) string { return strconv.Quote("./" + filepath.Join(w.name, p)) }

func (w *walk) changed(p string) error {
	return &Refusal{w.shown(p) + " changes while it is read", tryStop}
}

func (w *walk) refuse(p string, err error) error {
	what := w.shown(p) + " cannot be read: " + reasonOf(err).Error()
	if errors.Is(err, fs.ErrPermission) {
		return &Refusal{what, tryRead}
	}
	return &Refusal{what, "take it out of the folder"}
}

// reasonOf is an error about a file without its path.
func reasonOf(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		return at.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

var errCut = errors.New("the data has not come whole")

// discard reads what is left of a stream that nobody needs.
func discard(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

func newSum() hash.Hash { return sha256.New() }
