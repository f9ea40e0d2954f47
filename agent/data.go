package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// found is what there is of a volume or directory at one moment.
type found struct {
	there   bool
	id      otto.DataID
	unclear string // why nothing is known; empty if it is
	skip    bool   // nothing can be said of it: it is of another machine, or anonymous
	bare    bool   // nothing is kept in it: a file, or in memory
	hidden  bool   // it is taken for there
	others  string // whose it is, if it is not this cluster's by its labels
}

// fate is what follows for a service from what is there of its data.
type fate int

const (
	fateFits    fate = iota // it is as remembered, or nothing is and it is there
	fateNew                 // nothing is remembered and nothing is there: it may be made
	fateMissing             // it was there and is gone
	fateOther               // another one is in its place
	fateUnclear             // it was there, and what is there now is not known
)

// fateOf judges what was found by what is remembered.
func fateOf(known otto.Data, remembered bool, f found) fate {
	switch {
	case f.skip:
		return fateFits
	case !remembered || known.Accepted:
		if f.there || f.unclear != "" {
			return fateFits
		}
		return fateNew
	case f.unclear != "":
		return fateUnclear
	case !f.there:
		return fateMissing
	case f.bare || !known.ID.Is(f.id):
		return fateOther
	}
	return fateFits
}

// foreign reports whether a volume is not for this cluster to use. One that it has run
// with is its own, and so is one that a person has it adopt; what is in any other one
// nobody here may look at, so that it counts as full.
func foreign(known otto.Data, remembered bool, f found) bool {
	return f.there && f.others != "" && !known.Adopted && (!remembered || known.Accepted || !known.ID.Is(f.id))
}

// problem says for people what is wrong; empty if a service may start.
func (f fate) problem(why string) string {
	switch f {
	case fateMissing:
		return otto.DataMissing
	case fateOther:
		return "is another one than before"
	case fateUnclear:
		return "cannot be looked at (" + why + ")"
	default:
		return ""
	}
}

// lostReason says why a service waits for its data, and what helps.
func lostReason(service string, lost []otto.Data) string {
	if len(lost) == 0 {
		return ""
	}
	var texts []string
	for _, d := range lost {
		texts = append(texts, "its "+d.Lost())
	}
	return fmt.Sprintf(
		"waiting: %s: bring it back; if it is lost, or restored by hand, run `otto service accept-data %s`",
		strings.Join(texts, ", "),
		service,
	)
}

// ledger remembers with which data services have run on this node. It is on disk,
// whole at any moment, with the generation before it beside it. What cannot be
// written, because the disk is full, holds until the agent ends.
type ledger struct {
	dir string
	now func() time.Time

	mu      sync.Mutex
	known   map[string]otto.Data // by source
	trying  map[string]int       // starts under way that would be the first with a source
	written map[string]bool      // sources that some instance writes to
	unsaved bool
	virgin  bool // there was no file, not even an unreadable one
}

const (
	dataFile         = "data.json"
	dataPreviousFile = "data.previous.json"
)

// openLedger reads what is remembered. A file that is unreadable is set aside; the
// control plane remembers the same.
func openLedger(dir string, log *slog.Logger) *ledger {
	l := &ledger{dir: dir, known: map[string]otto.Data{}, trying: map[string]int{}, now: time.Now, virgin: true}
	for _, name := range []string{dataFile, dataPreviousFile} {
		path := filepath.Join(dir, name)
		list, err := readData(path)
		if err == nil {
			for _, d := range list {
				l.known[d.Source] = d
			}
			l.virgin = false
			return l
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		l.virgin = false
		log.Error("what is remembered of data is unusable and set aside", "file", path, "err", err)
		if err := os.Rename(path, path+".bad"); err != nil {
			log.Error("cannot set the file aside", "err", err)
		}
	}
	return l
}

func readData(path string) (list []otto.Data, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return list, json.Unmarshal(b, &list)
}

// Remembered is what an agent whose state is in dir remembers of data. It changes
// nothing.
func Remembered(dir string) []otto.Data {
	for _, name := range []string{dataFile, dataPreviousFile} {
		if list, err := readData(filepath.Join(dir, name)); err == nil {
			return list
		}
	}
	return nil
}

// of is what is remembered of a source.
func (l *ledger) of(source string) (d otto.Data, remembered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, remembered = l.known[source]
	return d, remembered
}

// all is everything that is remembered, in order.
func (l *ledger) all() []otto.Data {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sorted()
}

func (l *ledger) sorted() []otto.Data {
	list := slices.Collect(maps.Values(l.known))
	slices.SortFunc(list, func(a, b otto.Data) int { return strings.Compare(a.Source, b.Source) })
	return list
}

// ran takes in that a service runs with what was found, or is about to. What is
// remembered already is only completed, unless the service may begin anew.
func (l *ledger) ran(source string, f found, anew bool) error {
	if !f.there || f.skip || f.bare {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f = l.apart(source, f)
	was, remembered := l.known[source]
	d := was
	d.Source = source
	switch {
	case !remembered || was.Accepted || anew:
		d.ID, d.Accepted = f.id, false
	case was.ID.Is(f.id):
		d.ID = completed(was.ID, f.id)
	}
	return l.put(d)
}

// completed is an id with what was not known of it before. A volume never gets a
// label later.
func completed(id, more otto.DataID) otto.DataID {
	if id.FileSystem == "" {
		id.FileSystem = more.FileSystem
	}
	if id.Path == "" {
		id.Path = more.Path
	}
	if id.Inode == 0 {
		id.Inode = more.Inode
	}
	return id
}

// try remembers with what something is about to start. What is not remembered before
// is told to nobody until tried says whether it has started.
func (l *ledger) try(source string, f found, anew bool) (first bool, err error) {
	l.mu.Lock()
	_, remembered := l.known[source]
	first = !remembered || l.trying[source] > 0
	if first {
		l.trying[source]++
	}
	l.mu.Unlock()
	return first, l.ran(source, f, anew)
}

// tried says whether what was about to start first with these sources has started.
func (l *ledger) tried(sources []string, started bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, source := range sources {
		n, open := l.trying[source]
		switch {
		case !open: // another one has started with it
		case started:
			delete(l.trying, source)
		case n > 1:
			l.trying[source]--
		default:
			delete(l.trying, source)
			delete(l.known, source)
			l.unsaved = true
		}
	}
	_ = l.write() // else by save
}

// told is what others are told: all that something has run with.
func (l *ledger) told() []otto.Data {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.sorted(), func(d otto.Data) bool { return l.trying[d.Source] > 0 })
}

// judge notes what is wrong with what was found, and since when. It returns what is
// remembered now.
func (l *ledger) judge(source string, f found) (otto.Data, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f = l.apart(source, f)
	d, remembered := l.known[source]
	problem := fateOf(d, remembered, f).problem(f.unclear)
	if !remembered || d.Problem == problem {
		return d, nil
	}
	if d.Problem == "" {
		d.Since = l.now().UTC().Truncate(time.Second)
	}
	if d.Problem = problem; problem == "" {
		d.Since = time.Time{}
	}
	return d, l.put(d)
}

// mounted takes in to which sources instances write.
func (l *ledger) mounted(instances []otto.Instance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = map[string]bool{}
	for _, inst := range instances {
		for _, m := range inst.Spec.Kept() {
			l.written[m.Source] = l.written[m.Source] || !m.ReadOnly
		}
	}
}

// apart is what was found by what has to tell it apart: a directory that is only read
// may be replaced on its disk, as tools do with configuration.
func (l *ledger) apart(source string, f found) found {
	if !l.written[source] {
		f.id.Inode = 0
	}
	return f
}

// expect takes over what the control plane remembers of this node: what is not known
// here, as this directory may be new, and what a person has decided since.
func (l *ledger) expect(list []otto.Data) (news bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, d := range list {
		was, remembered := l.known[d.Source]
		if !remembered || was.Generation < d.Generation {
			errs = append(errs, l.put(d))
			news = true
		}
	}
	return news, errors.Join(errs...)
}

// put replaces what is remembered of a source; the caller holds the lock.
func (l *ledger) put(d otto.Data) error {
	if was, remembered := l.known[d.Source]; remembered && was == d {
		return nil
	}
	l.known[d.Source] = d
	l.unsaved = true
	return l.write()
}

// save writes what could not be written before.
func (l *ledger) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write()
}

func (l *ledger) write() error {
	if !l.unsaved {
		return nil
	}
	b, err := json.Marshal(l.sorted())
	if err == nil {
		err = replaceKeeping(l.dir, dataFile, dataPreviousFile, b)
	}
	if err != nil {
		return fmt.Errorf("what is remembered of data: %w", err)
	}
	l.unsaved, l.virgin = false, false
	return nil
}
