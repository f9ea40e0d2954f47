// Package journal keeps what has happened to a cluster, for people to read.
//
// It is a file of one JSON line an event. When the file is full it becomes the
// former one, beside it, and a new one begins; so there are always some thousand
// events and never more than two files of limited size. A line is written with
// the event and is not synced: it survives a killed process, and a power cut may
// cost the last seconds. A line torn by one is left out. What a full disk does not
// take is written with a later event, when there is space again.
//
// Events are numbered. The numbers go on after a restart, so that a reader who
// knows the last one misses nothing and sees nothing twice.
package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/otto-edge/otto"
)

// Limit is how large each of the two files may grow, in bytes.
const Limit = 512 << 10

// Journal may be used by several goroutines.
type Journal struct {
	path  string
	limit int

	mu      sync.Mutex
	file    *os.File     // nil without a path, and while it cannot be made
	former  []otto.Event // those of the former file
	current []otto.Event
	size    int // of current as lines, in bytes
	written int // of current, how many are in the file
	end     int // of their lines in the file, in bytes
	seq     uint64
	more    chan struct{} // closed with the next event
}

// Open opens the journal at path, or makes it. Without a path it is kept in
// memory alone.
func Open(path string, limit int) (*Journal, error) {
	j := &Journal{path: path, limit: limit, more: make(chan struct{})}
	if path == "" {
		return j, nil
	}
	var err error
	if j.former, _, err = read(formerPath(path)); err != nil {
		return nil, err
	}
	var whole int
	if j.current, whole, err = read(path); err != nil {
		return nil, err
	}
	for _, list := range [][]otto.Event{j.former, j.current} {
		if len(list) > 0 {
			j.seq = max(j.seq, list[len(list)-1].Seq)
		}
	}
	if j.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := j.file.Truncate(int64(whole)); err != nil {
		return nil, errors.Join(err, j.file.Close())
	}
	j.size, j.written, j.end = whole, len(j.current), whole
	return j, nil
}

// Add numbers an event and keeps it. On an error it is kept in memory alone until
// a later event can be written.
func (j *Journal) Add(e otto.Event) (otto.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	e.Seq = j.seq
	line, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	line = append(line, '\n')
	if j.size+len(line) > j.limit && len(j.current) > 0 {
		err = j.rotate()
	}
	j.current = append(j.current, e)
	j.size += len(line)
	close(j.more)
	j.more = make(chan struct{})
	return e, errors.Join(err, j.flush())
}

// flush writes the events that the file does not have yet, over what an earlier
// attempt may have left torn there.
func (j *Journal) flush() (err error) {
	if j.path == "" {
		return nil
	}
	if j.file == nil {
		if j.file, err = os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			j.file = nil
			return err
		}
	}
	var lines []byte
	for _, e := range j.current[j.written:] {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	if _, err := j.file.WriteAt(lines, int64(j.end)); err != nil {
		return err
	}
	j.written, j.end = len(j.current), j.end+len(lines)
	return nil
}

// rotate makes the full file the former one.
func (j *Journal) rotate() (err error) {
	j.former, j.current, j.size, j.written, j.end = j.current, nil, 0, 0, 0
	if j.file == nil {
		return nil
	}
	err = errors.Join(os.Rename(j.path, formerPath(j.path)), j.file.Close())
	j.file = nil
	return err
}

// After returns the kept events with a number above seq, and a channel that is
// closed when there are more.
func (j *Journal) After(seq uint64) ([]otto.Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return after(slices.Concat(j.former, j.current), seq), j.more
}

// Close closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// Read returns the events of a journal that nobody has open.
func Read(path string) ([]otto.Event, error) {
	former, _, err := read(formerPath(path))
	if err != nil {
		return nil, err
	}
	current, _, err := read(path)
	return slices.Concat(former, current), err
}

func after(list []otto.Event, seq uint64) []otto.Event {
	i, _ := slices.BinarySearchFunc(list, seq+1, func(e otto.Event, s uint64) int {
		switch {
		case e.Seq < s:
			return -1
		case e.Seq > s:
			return 1
		}
		return 0
	})
	return list[i:]
}

// read returns the events of a file, which need not be there, and how many
// bytes of it are whole lines.
func read(path string) (list []otto.Event, whole int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	var seq uint64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil { // the end, with or without a torn line
			return list, whole, nil
		}
		whole += len(line)
		var e otto.Event
		if json.Unmarshal(line, &e) == nil && e.Seq > seq {
			list, seq = append(list, e), e.Seq
		}
	}
}

// formerPath is events.1.jsonl for events.jsonl.
func formerPath(path string) string {
	return strings.TrimSuffix(path, ".jsonl") + ".1.jsonl"
}
