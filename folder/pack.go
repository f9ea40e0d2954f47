package folder

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

var errPack = errors.New("the pack of the folder is damaged, or not whole")

// Pack writes a folder that was read, with the contents that it has now. It fails with a
// Refusal if they are not those of the manifest any more.
func Pack(w io.Writer, project, name string, m Manifest) error {
	root, err := os.OpenRoot(project)
	if err != nil {
		return refuse(project, err)
	}
	defer root.Close()
	in, single := root, m.Entries[0].Mode.IsRegular()
	if !single {
		if in, err = root.OpenRoot(name); err != nil {
			return refuse(shown(name, self), err)
		}
		defer in.Close()
	}
	return write(w, m, func(e *Entry, to io.Writer) error {
		at := e.Path
		if single {
			at = name
		}
		f, err := open(in, at)
		if err != nil {
			return refuse(shown(name, e.Path), err)
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(f, e.Size+1))
		if err != nil {
			return err
		}
		if n != e.Size || string(h.Sum(nil)) != string(e.Sum[:]) {
			return &Refusal{shown(name, e.Path) + " has changed since it was read", tryAgain}
		}
		return nil
	})
}

// write writes a pack; content writes the content of a file.
func write(w io.Writer, m Manifest, content func(e *Entry, to io.Writer) error) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	manifest := m.Encode()
	if _, err := fmt.Fprintf(z, "%d\n%s", len(manifest), manifest); err != nil {
		return err
	}
	for i := range m.Entries {
		if e := &m.Entries[i]; e.Mode.IsRegular() {
			if err := content(e, z); err != nil {
				return err
			}
		}
	}
	return z.Close()
}

// pack is one that is being read.
type pack struct {
	Manifest
	key string
	in  *bufio.Reader
}

// openPack reads the manifest of a pack.
func openPack(r io.Reader) (*pack, error) {
	z, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, errPack
	}
	z.Multistream(false)
	p := &pack{in: bufio.NewReader(z)}
	line, err := p.in.ReadSlice('\n')
	if err != nil {
		return nil, errPack
	}
	size, err := strconv.Atoi(strings.TrimSuffix(string(line), "\n"))
	if err != nil || size < 0 || size > maxManifest {
		return nil, errPack
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(p.in, text); err != nil {
		return nil, errPack
	}
	p.key = KeyOf(text)
	p.Manifest, err = Parse(text)
	return p, err
}

// content copies the content of the next file, and fails if it is not that.
func (p *pack) content(e *Entry, to io.Writer) error {
	h := sha256.New()
	out := &keeping{w: io.MultiWriter(to, h)}
	if _, err := io.CopyN(out, p.in, e.Size); err != nil {
		return out.or(errPack)
	}
	if string(h.Sum(nil)) != string(e.Sum[:]) {
		return errPack
	}
	return nil
}

// end fails if there is more, or if the end is missing.
func (p *pack) end() error {
	if _, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errPack
	}
	return nil
}

// keeping keeps the error of a writer apart from that of the reader.
type keeping struct {
	w   io.Writer
	err error
}

func (k *keeping) Write(b []byte) (n int, err error) {
	n, err = k.w.Write(b)
	k.err = err
	return n, err
}

func (k *keeping) or(other error) error {
	if k.err != nil {
		return k.err
	}
	return other
}
