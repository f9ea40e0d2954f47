package cli

import (
	"errors"
	"io"
	"os"
	"sync"
)

// logFile writes a log that is open for appending elsewhere, too, and bounds it: what is
// there becomes the former log beside it, and the file is emptied in place.
type logFile struct {
	to    io.Writer // appends to the file at path
	path  string
	limit int64

	mu   sync.Mutex
	size int64
}

func newLogFile(to io.Writer, path string, limit int64) *logFile {
	l := &logFile{to: to, path: path, limit: limit}
	if info, err := os.Stat(path); err == nil {
		l.size = info.Size()
	}
	return l
}

// Write implements io.Writer.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(b)) > l.limit && l.size > 0 {
		l.turn()
	}
	n, err := l.to.Write(b)
	l.size += int64(n)
	return n, err
}

// turn begins the file anew. Where the former log cannot be kept, on a full disk, it is
// dropped: that it is bounded matters more.
func (l *logFile) turn() {
	former := l.path + ".1"
	if err := copyFile(former, l.path); err != nil {
		_ = os.Remove(former)
	}
	if os.Truncate(l.path, 0) == nil {
		l.size = 0
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
