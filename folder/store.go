package folder

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto/durable"
)

// Store keeps packs in a directory, by the keys of their folders. What Put has returned
// survives a power cut, and what was not whole by then is not there.
type Store struct {
	dir string
	mu  sync.Mutex
}

const packSuffix = ".pack"

// NewStore is the one in a directory, which is made when it is needed.
func NewStore(dir string) *Store { return &Store{dir: dir} }

func (s *Store) path(key string) string { return filepath.Join(s.dir, key+packSuffix) }

// Has reports whether there is a pack.
func (s *Store) Has(key string) bool {
	_, err := os.Stat(s.path(key))
	return ValidKey(key) && err == nil
}

// Open opens a pack.
func (s *Store) Open(key string) (io.ReadCloser, error) {
	if !ValidKey(key) {
		return nil, fs.ErrNotExist
	}
	return os.Open(s.path(key))
}

// Put keeps a pack, with the salt that salt has for its manifest, and returns its key. It
// checks all of it on the way.
func (s *Store) Put(r io.Reader, salt func(m Manifest) string) (key string, err error) {
	p, err := openPack(r)
	if err != nil {
		return "", err
	}
	m := p.Salted(salt(p.Manifest))
	key = m.Key()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(s.dir, newPrefix)
	if err != nil {
		return "", err
	}
	err = write(f, m, p.content)
	if err == nil {
		err = p.end()
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(f.Name(), s.path(key)); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return key, durable.SyncDir(s.dir)
}

// Keep removes all packs but some, and those that came within the last hour: whoever
// brought them may be about to ask for what needs them.
func (s *Store) Keep(keys map[string]bool, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, d := range list {
		key, isPack := strings.CutSuffix(d.Name(), packSuffix)
		if isPack && keys[key] || !isPack && !strings.HasPrefix(d.Name(), newPrefix) {
			continue
		}
		info, e := d.Info()
		if e != nil || now.Sub(info.ModTime()).Abs() < abandoned {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(s.dir, d.Name())))
	}
	return err
}

// All reads the packs of some keys, for a backup: the small ones first, for as long as
// they have most bytes together. Those of the others, and of what is missing, are left out.
func (s *Store) All(keys map[string]bool, most int64) (packs map[string][]byte, without []string, err error) {
	sizes := map[string]int64{}
	for key := range keys {
		if info, err := os.Stat(s.path(key)); err == nil {
			sizes[key] = info.Size()
		}
	}
	order := slices.SortedFunc(maps.Keys(keys), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[a], sizes[b]), strings.Compare(a, b))
	})
	for _, key := range order {
		size, there := sizes[key]
		if most -= size; most < 0 || !there {
			without = append(without, key)
			continue
		}
		b, err := os.ReadFile(s.path(key))
		if err != nil {
			return nil, nil, fmt.Errorf("files of a stack: %w", reasonOf(err))
		}
		if packs == nil {
			packs = map[string][]byte{}
		}
		packs[key] = b
	}
	return packs, without, nil
}

// Restore keeps the packs of a backup.
func (s *Store) Restore(packs map[string][]byte) error {
	for key, b := range packs {
		got, err := s.Put(bytes.NewReader(b), func(m Manifest) string { return m.Salt })
		if err == nil && got != key {
			err = errPack
		}
		if err != nil {
			return fmt.Errorf("files of a stack: %w", err)
		}
	}
	return nil
}
