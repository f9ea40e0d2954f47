package folder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Refusal says why something cannot be brought to another machine, and what to do.
type Refusal struct{ What, Try string }

// Error implements error.
func (r *Refusal) Error() string { return r.What + ": " + r.Try }

// TooMuch reports whether there is more than Otto brings with each change.
func (r *Refusal) TooMuch() bool { return r.Try == tryLess }

// Budget is what is left to the folders of a stack.
type Budget struct {
	Bytes int64
	Files int
}

// NewBudget is that of one stack.
func NewBudget() *Budget { return &Budget{MaxBytes, MaxFiles} }

const (
	tryLess = "mount less of it; or copy it to the nodes yourself and write the absolute path it has there; " +
		"or write the node that is this machine as node"
	tryOut   = "take it out of the folder, or write the node that is this machine as node"
	tryAgain = "try again when nobody writes to it"
)

// Read lists the file or the folder at a path of a project, which is a directory of this
// machine, and takes what it has off the budget. It reads all of it, and refuses what
// changes meanwhile. An error is a Refusal.
func Read(project, name string, left *Budget) (Manifest, error) {
	root, err := os.OpenRoot(project)
	if err != nil {
		return Manifest{}, refuse(project, err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return Manifest{}, refuse(shown(name, self), err)
	}
	w := walk{name: name, left: left}
	if info.IsDir() {
		if w.root, err = root.OpenRoot(name); err != nil {
			return Manifest{}, refuse(shown(name, self), err)
		}
		defer w.root.Close()
		err = w.folder(self, info)
	} else {
		w.root, w.single = root, true
		err = w.take(self, info)
	}
	if err == nil {
		err = w.unchanged()
	}
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Entries: w.entries}
	if size := len(m.Encode()); size > maxManifest {
		return m, &Refusal{fmt.Sprintf("the names in %s are too long, with %d KiB", shown(name, self), size>>10), tryLess}
	}
	return m, m.check()
}

// walk is one reading.
type walk struct {
	root    *os.Root
	name    string // of what is mounted
	single  bool   // it is a file of root, and not root itself
	left    *Budget
	entries []Entry
	seen    []fs.FileInfo // of the entries, when they were read
}

// at is where a path is in root.
func (w *walk) at(p string) string {
	if w.single {
		return w.name
	}
	return p
}

// folder takes a folder and all that is in it, in the order of paths.
func (w *walk) folder(p string, info fs.FileInfo) error {
	if path.Base(path.Join(w.name, p)) == ".otto" {
		return &Refusal{shown(w.name, p) + " is Otto's own, and changes all the time", tryOut}
	}
	if err := w.take(p, info); err != nil {
		return err
	}
	f, err := w.root.Open(w.at(p))
	if err != nil {
		return refuse(shown(w.name, p), err)
	}
	list, err := f.ReadDir(w.left.Files + 1)
	f.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return refuse(shown(w.name, p), err)
	}
	if len(list) > w.left.Files {
		return w.tooMany()
	}
	for _, d := range list {
		below := path.Join(p, d.Name())
		info, err := w.root.Lstat(below)
		if err != nil {
			return w.changed(below)
		}
		if info.IsDir() {
			err = w.folder(below, info)
		} else {
			err = w.take(below, info)
		}
		if err != nil {
			return err
		}
	}
	if p == self { // as a text, a-b comes between a and a/b
		w.sort()
	}
	return nil
}

func (w *walk) sort() {
	order := make([]int, len(w.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order[1:], func(a, b int) int { return strings.Compare(w.entries[a].Path, w.entries[b].Path) })
	entries, seen := make([]Entry, len(order)), make([]fs.FileInfo, len(order))
	for to, from := range order {
		entries[to], seen[to] = w.entries[from], w.seen[from]
	}
	w.entries, w.seen = entries, seen
}

// take takes one file, folder or link.
func (w *walk) take(p string, info fs.FileInfo) error {
	if w.left.Files--; w.left.Files < 0 {
		return w.tooMany()
	}
	e := Entry{Path: p, Mode: info.Mode().Type() | info.Mode().Perm()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		e.UID, e.GID = id(s.Uid), id(s.Gid)
	}
	var err error
	switch {
	case info.IsDir():
	case info.Mode().IsRegular():
		err = w.content(&e, info)
	case info.Mode().Type() == fs.ModeSymlink:
		e.Mode = fs.ModeSymlink | 0o777 // which kernels differ about
		if e.Link, err = w.root.Readlink(p); err != nil {
			return w.changed(p)
		}
		if !leadsInside(p, e.Link) {
			return &Refusal{
				fmt.Sprintf("%s is a symlink out of the folder, to %.60q, and what is there would be missing elsewhere",
					shown(w.name, p), e.Link), tryOut,
			}
		}
	default:
		err = &Refusal{
			fmt.Sprintf("%s is a %s, which is of this machine alone", shown(w.name, p), kindName(info.Mode())), tryOut,
		}
	}
	w.entries, w.seen = append(w.entries, e), append(w.seen, info)
	return err
}

// id is a number of a user or group; a few systems have very large ones for nobody.
func id(n uint32) int {
	if n > maxID {
		return nobody
	}
	return int(n)
}

func kindName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	}
	return "file of a kind of its own"
}

// content reads a file.
func (w *walk) content(e *Entry, info fs.FileInfo) error {
	if w.left.Bytes -= info.Size(); w.left.Bytes < 0 {
		return w.tooLarge()
	}
	f, err := open(w.root, w.at(e.Path))
	if err != nil {
		return refuse(shown(w.name, e.Path), err)
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !same(info, now) {
		return w.changed(e.Path)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, info.Size()+1))
	if err != nil {
		return refuse(shown(w.name, e.Path), err)
	}
	if now, err := f.Stat(); err != nil || n != info.Size() || !same(info, now) {
		return w.changed(e.Path)
	}
	e.Size = n
	h.Sum(e.Sum[:0])
	return nil
}

// open opens a file, and nothing that has come in its place: a pipe would wait for ever.
func open(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// unchanged looks at everything once more, so that no two files are of different times.
func (w *walk) unchanged() error {
	for i := range w.entries {
		p := w.entries[i].Path
		look := w.root.Lstat
		if p == self {
			look = w.root.Stat
		}
		if now, err := look(w.at(p)); err != nil || !same(w.seen[i], now) {
			return w.changed(p)
		}
	}
	return nil
}

// same reports whether nothing has changed between two looks.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime()) &&
		(a.IsDir() || a.Size() == b.Size())
}

func (w *walk) changed(p string) error {
	return &Refusal{shown(w.name, p) + " changes while it is read", tryAgain}
}

func (w *walk) tooMany() error {
	return &Refusal{
		fmt.Sprintf("%s has too many files: Otto brings %d of a stack to another machine, folders included",
			shown(w.name, self), MaxFiles), tryLess,
	}
}

func (w *walk) tooLarge() error {
	return &Refusal{
		fmt.Sprintf("%s is too large: Otto brings %d MiB of a stack to another machine", shown(w.name, self),
			MaxBytes>>20), tryLess,
	}
}

// shown is a path for people.
func shown(name, p string) string {
	at := path.Join(name, p)
	if at != self && !path.IsAbs(at) {
		at = "./" + at
	}
	return fmt.Sprintf("%.200q", at)
}

// refuse is an error of the system as a Refusal.
func refuse(what string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	try := "make it readable for you, or write the node that is this machine as node"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Refusal{"there is no " + what, "write the path of a file or folder that is there"}
	case strings.Contains(err.Error(), "escapes"):
		return &Refusal{what + " leads out of the folder of the project", tryOut}
	}
	return &Refusal{what + ": " + err.Error(), try}
}
