package sampler

import (
	"errors"

	"golang.org/x/sys/unix"
)

// file is a small file of the kernel. It is opened when it is first read, and
// reading it again is one pread at offset 0. The zero value with a path is ready.
type file struct {
	path string
	fd   int  // valid if open
	open bool // kept open
}

// opener reads files into one buffer and keeps them open as long as its budget
// lasts; beyond it, they are opened for each reading.
type opener struct {
	buf    []byte
	budget int // how many more files may be kept open
}

func newOpener(budget int) *opener {
	return &opener{buf: make([]byte, 16<<10), budget: budget}
}

// read returns the contents of f, which are valid until the next read. The
// error is a unix.Errno: ENOENT if there is no such file, ENODEV or ESRCH if
// what it was about has gone.
func (o *opener) read(f *file) ([]byte, error) {
	if f.path == "" {
		return nil, unix.ENOENT
	}
	if f.open {
		return o.pread(f.fd)
	}
	fd, err := unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if o.budget > 0 {
		o.budget--
		f.fd, f.open = fd, true
		return o.pread(fd)
	}
	defer unix.Close(fd)
	return o.pread(fd)
}

// wholePage is how much the kernel hands out of a file at once, less its longest
// line: a reading shorter than this is the whole file.
const wholePage = 4096 - 512

func (o *opener) pread(fd int) ([]byte, error) {
	have := 0
	for {
		if have == len(o.buf) {
			o.buf = append(o.buf, make([]byte, len(o.buf))...)
		}
		n, err := unix.Pread(fd, o.buf[have:], int64(have))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		have += n
		if n < wholePage {
			return o.buf[:have], nil
		}
	}
}

// close closes f; the next read opens it again.
func (o *opener) close(f *file) {
	if !f.open {
		return
	}
	_ = unix.Close(f.fd)
	f.open = false
	o.budget++
}
