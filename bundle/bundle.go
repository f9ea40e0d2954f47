// Package bundle makes the file that a user sends to those who maintain Otto when
// something went wrong: what there is to know, and no secret.
//
// Secrets are kept out twice. By their place: of an environment, of labels and of
// commands only keys and options are left, and what containers print is left out.
// And by their text: each value that was taken out in one place is looked for in
// all others, in logs above all, as is what looks like a password, a token or a
// key. Nothing gets into a bundle but through Text or JSON, which see to that.
//
// A bundle is bounded, whatever the logs are.
package bundle

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Bounds, in bytes.
const (
	MaxFile = 2 << 20 // of each file, before it is compressed
	maxAll  = 64 << 20
)

// Writer writes a bundle. A file that cannot be had is noted in it.
type Writer struct {
	Secrets
	now   time.Time
	dir   string // of all files in it
	gz    *gzip.Writer
	tar   *tar.Writer
	left  int
	notes strings.Builder
	err   error // the first one
}

// NewWriter returns a Writer of a bundle whose files are in the directory dir.
func NewWriter(w io.Writer, dir string, now time.Time) *Writer {
	b := &Writer{now: now, dir: dir, gz: gzip.NewWriter(w), left: maxAll}
	b.tar = tar.NewWriter(b.gz)
	return b
}

// Text adds a text, scrubbed. Of one that is too long the end is kept.
func (w *Writer) Text(name string, content []byte) {
	content = w.Secrets.Text(content)
	if most := min(MaxFile, w.left); len(content) > most {
		w.Note(name, fmt.Errorf("only the last %d of %d bytes are here", most, len(content)))
		content = content[len(content)-most:]
	}
	w.add(name, content)
}

// JSON adds a value, scrubbed.
func (w *Writer) JSON(name string, v any) {
	b, err := w.Secrets.JSON(v)
	if err == nil && len(b) > min(2*MaxFile, w.left) {
		err = fmt.Errorf("its %d bytes are too many", len(b))
	}
	if err != nil {
		w.Note(name, err)
		return
	}
	w.add(name, b)
}

// Note says in the bundle that something is missing, and why; nothing for nil.
func (w *Writer) Note(name string, err error) {
	if err != nil {
		fmt.Fprintf(&w.notes, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

func (w *Writer) add(name string, content []byte) {
	w.left -= len(content)
	if w.err != nil {
		return
	}
	w.err = w.tar.WriteHeader(&tar.Header{
		Name: path.Join(w.dir, name), Mode: 0o600, Size: int64(len(content)), ModTime: w.now, Format: tar.FormatPAX,
	})
	if w.err == nil {
		_, w.err = w.tar.Write(content)
	}
}

// Close adds the notes and ends the bundle. Its error is the first of all.
func (w *Writer) Close() error {
	if w.notes.Len() > 0 {
		w.add("notes.txt", w.Secrets.Text([]byte(w.notes.String())))
	}
	for _, c := range []io.Closer{w.tar, w.gz} {
		if err := c.Close(); w.err == nil {
			w.err = err
		}
	}
	return w.err
}

// Tail is the end of a file, at most n bytes of whole lines.
func Tail(name string, n int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-n)
	b, err := io.ReadAll(io.NewSectionReader(f, from, n))
	if _, rest, ok := strings.Cut(string(b), "\n"); ok && from > 0 {
		b = []byte(rest)
	}
	return b, err
}

// Files lists what is in a directory: mode, size and time of each, no content.
func Files(dir string) []byte {
	const most = 2000
	var b strings.Builder
	n := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintf(&b, "? %v\n", err)
			return nil
		}
		if n++; n > most {
			return fs.SkipAll
		}
		if info, err := d.Info(); err == nil { // else it is gone since
			rel, _ := filepath.Rel(dir, name) // inside it
			fmt.Fprintf(&b, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), rel)
		}
		return nil
	})
	if err != nil {
		fmt.Fprintf(&b, "? %v\n", err)
	}
	return []byte(b.String())
}
