package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/durable"
)

// state keeps the newest assignment, in memory and as the signed bytes on disk.
// The signature doubles as a checksum: a torn file does not verify, and the
// generation before it is used. The revision in force is that of the
// assignment, so the two cannot disagree.
type state struct {
	dir string

	mu      *sync.Mutex
	current *otto.Assignment // nil until the first one
	floor   otto.Revision    // what came with the enrolment: nothing older is taken for the first one
	unsaved []byte           // the signed bytes of current, while they are not on disk
}

const (
	currentFile  = "assignment.json"
	previousFile = "assignment.previous.json"
	// setAside ends the name of what could not be used.
	setAside = ".bad"
)

// openState reads the newest assignment that open accepts. Files that it does
// not accept are set aside for a person to look at.
func openState(dir string, log *slog.Logger, open func([]byte) (otto.Assignment, error)) (state, error) {
	s := state{dir: dir, mu: new(sync.Mutex)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, err
	}
	for _, name := range []string{currentFile, previousFile} {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var asg otto.Assignment
		if err == nil {
			asg, err = open(b)
		}
		if err == nil {
			s.current = &asg
			return s, nil
		}
		log.Error("a stored assignment is unusable and set aside", "file", path, "err", err)
		if err := os.Rename(path, path+setAside); err != nil {
			log.Error("cannot set the file aside", "err", err)
		}
	}
	return s, nil
}

// accept makes asg the one in force if it is newer, and reports whether it is.
// It is in force also if an error says that it could not be written to disk; save
// tries again.
func (s *state) accept(asg otto.Assignment, signed []byte) (fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && !s.current.Revision.Before(asg.Revision) || s.current == nil && asg.Revision.Before(s.floor) {
		return false, nil
	}
	s.current, s.unsaved = &asg, signed
	return true, s.flush()
}

// save writes the assignment in force if that has failed before.
func (s *state) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
}

// flush writes what is not on disk; the caller holds the lock.
func (s *state) flush() error {
	if s.unsaved == nil {
		return nil
	}
	if err := s.write(s.unsaved); err != nil {
		return fmt.Errorf("assignment %s: %w", s.current.Revision, err)
	}
	s.unsaved = nil
	return nil
}

// inForce reports whether the assignment in force is of this revision.
func (s *state) inForce(r otto.Revision) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil && s.current.Revision == r
}

func (s *state) write(b []byte) error { return replaceKeeping(s.dir, currentFile, previousFile, b) }

// replaceKeeping replaces a file, of which previous keeps the former content, so that a
// power cut at any point leaves the new one, or the former one, whole.
func replaceKeeping(dir, name, previous string, b []byte) error {
	current := filepath.Join(dir, name)
	temp := current + durable.Suffix
	if err := durable.Write(temp, b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(current, filepath.Join(dir, previous)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, current); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
