package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Clock is a machine's time since its boot, which goes on while the machine is
// suspended and which nobody can set.
type Clock struct {
	Hardware string // names the machine itself; empty if it does not say
	Boot     string // names this boot of the machine
	Now      func() time.Duration
}

// lease is the node's right to run stateful instances. The control plane renews
// it in answer to heartbeats, and it counts from when the heartbeat was sent. Its
// end is kept in a file, so that an agent that was killed goes on with it; after
// a reboot of the machine it is void.
type lease struct {
	clock Clock
	path  string

	mu    sync.Mutex
	sent  [sentKept]sentBeat // a ring by sequence number
	until time.Duration      // on the clock; 0 if there was none since the boot
	of    otto.Revision      // of the assignment that it was granted for
	by    otto.Revision      // of the assignment by which the node acts
	next  grant              // for another one than that, which counts when it is acted upon
	saved time.Duration      // until, as it is in the file
	runs  []otto.Container   // what runs under it, kept in the file: an engine may not say any more
	owed  []string           // instances that ran on after the end of a lease, and still may
	begun []otto.Container   // what a lease let begin and is not gone: an engine may start it late
	newly bool               // that is not in the file yet
	ended bool               // as told last by tick

	file sync.Mutex // held while the file is written, without mu
}

type sentBeat struct {
	seq uint64
	at  time.Duration
}

// grant is what a lease says: how long instances of an assignment may run, on the clock.
type grant struct {
	of    otto.Revision
	until time.Duration
}

const (
	sentKept    = 64
	fenceBefore = 3 * time.Second // the end of the lease, so that all is down by then
	killBefore  = time.Second     // the end of the lease at the latest
	leaseFile   = "lease.json"
	aside       = ".ended" // the file of a lease by which no other agent may go on
)

type savedLease struct {
	Boot  string        `json:"boot"`
	Until time.Duration `json:"until_ns"`
	Of    otto.Revision `json:"of"`
	// Runs is what ran under it.
	Runs []otto.Container `json:"runs,omitempty"`
	// Overdue are the instances among them that a former lease was for, and not this one.
	Overdue []string `json:"overdue,omitempty"`
	// Begun are the containers that it, or a former lease, let begin: an engine may start them
	// long after it was asked to.
	Begun []otto.Container `json:"begun,omitempty"`
}

// openLease takes up the lease that the former agent had. An unreadable file is
// no lease: it costs a restart of the services at most.
func openLease(dir string, clock Clock) (*lease, error) {
	l := &lease{clock: clock, path: filepath.Join(dir, leaseFile)}
	s, err := readJSON[savedLease](l.path)
	if err != nil {
		return l, fmt.Errorf("the lease is unknown: %w", err)
	}
	if s.Boot == "" { // there is none
		if s, err = readJSON[savedLease](l.path + aside); err != nil {
			return l, fmt.Errorf("what ran under the lease is unknown: %w", err)
		}
		s.Until, s.Of = 0, otto.Revision{}
	}
	if s.Boot == clock.Boot {
		l.until, l.saved, l.of = s.Until, s.Until, s.Of
		l.runs, l.owed, l.begun = s.Runs, s.Overdue, s.Begun
	}
	return l, nil
}

// sending notes that a heartbeat is about to be sent.
func (l *lease) sending(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[seq%sentKept] = sentBeat{seq, l.clock.Now()}
}

// renew takes in a lease that answers one of our heartbeats. It is called by one
// goroutine.
func (l *lease) renew(granted wire.Lease) error {
	if !l.extend(granted) {
		return nil
	}
	return l.save()
}

// extend reports whether there is a new end that is worth a file.
func (l *lease) extend(granted wire.Lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	beat := l.sent[granted.Seq%sentKept]
	if beat.seq != granted.Seq || granted.Seq == 0 {
		return false // too late to say from when it counts
	}
	until := beat.at + granted.Duration
	if granted.Revision != l.by {
		l.next = grant{granted.Revision, until}
		return false
	}
	if until <= l.until {
		return false
	}
	fresh := l.of != granted.Revision
	l.until, l.of = until, granted.Revision
	return fresh || l.newly || l.until-l.saved >= granted.Duration/6
}

// actsBy says which assignment the node acts by from now on. A lease that came with it says
// nothing of what the former one asked for: that may run on another node by now.
func (l *lease) actsBy(r otto.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by = r
	if l.next.of == r && l.next.until > l.until {
		l.until, l.of = l.next.until, r
	}
	l.next = grant{}
}

// covers takes in what runs under the lease.
func (l *lease) covers(list []otto.Container) {
	var runs []otto.Container
	for i := range list {
		c := &list[i]
		runs = append(runs, otto.Container{
			ID:       c.ID,
			Name:     c.Name,
			Service:  c.Service,
			Instance: c.Instance,
			SpecHash: c.SpecHash,
			State:    c.State,
			Pid:      c.Pid,
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	same := slices.EqualFunc(runs, l.runs, func(a, b otto.Container) bool { return a.ID == b.ID && a.Pid == b.Pid })
	l.runs, l.newly = runs, l.newly || !same
}

// owes takes in which instances ran on after the end of their lease. The file says so before
// it says anything of another lease.
func (l *lease) owes(overdue map[string]bool) {
	names := slices.Sorted(maps.Keys(overdue))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newly = l.newly || !slices.Equal(names, l.owed)
	l.owed = names
}

// overdue are the instances that ran on after the end of a lease, as far as was known last.
func (l *lease) overdue() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := map[string]bool{}
	for _, name := range l.owed {
		set[name] = true
	}
	return set
}

// begins takes in that a container is about to be started that the lease allows. The file says
// so first: what has been asked of an engine may be done when this agent has been killed.
func (l *lease) begins(inst otto.Instance, id string) error {
	l.mu.Lock()
	known := slices.ContainsFunc(l.begun, func(o otto.Container) bool { return o.ID == id })
	if !known {
		l.begun = append(l.begun, otto.Container{ID: id, Service: inst.Service, Instance: inst.Name})
	}
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.save()
}

// dropBegun forgets what is over.
func (l *lease) dropBegun(over func(otto.Container) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := len(l.begun)
	l.begun = slices.DeleteFunc(l.begun, over)
	l.newly = l.newly || len(l.begun) != was
}

// mayRun are the containers that may run because a lease let them begin.
func (l *lease) mayRun() []otto.Container {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.begun)
}

// covered is what runs under the lease, as far as was known last.
func (l *lease) covered() []otto.Container {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.runs)
}

// save writes the file without forcing it to disk: it need not survive a power cut, which ends
// the lease. Nobody who asks for the lease waits for the disk.
func (l *lease) save() error {
	l.file.Lock()
	defer l.file.Unlock()
	l.mu.Lock()
	l.newly = false
	until := l.until
	b, err := json.Marshal(savedLease{
		Boot: l.clock.Boot, Until: until, Of: l.of, Runs: l.runs, Overdue: l.owed, Begun: l.begun,
	})
	l.mu.Unlock()
	if err != nil {
		return err
	}
	temp := l.path + ".new"
	if err = os.WriteFile(temp, b, 0o600); err == nil {
		err = os.Rename(temp, l.path)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.forget() // a full disk still lets go
		return err
	}
	l.saved = until
	_ = os.Remove(l.path + aside) // the other file is the newer one, whatever becomes of this
	return nil
}

// forget, with the lock held, makes that the next agent does not go on with the lease, because it could be one for
// an assignment that is older than ours. What ran under it is still to be known: the file is
// only put aside, which needs no room on a full disk.
func (l *lease) forget() {
	if err := os.Rename(l.path, l.path+aside); err == nil || errors.Is(err, fs.ErrNotExist) {
		l.saved = 0
	}
}

// outdated says that the assignment on disk is older than the one in force.
func (l *lease) outdated() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
}

// left is how long instances may still run; 0 or less when they must be down.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until - l.clock.Now() - fenceBefore
}

// grace is how long a container may take to stop when the lease has come to its end.
func (l *lease) grace() time.Duration {
	return max(l.left()+fenceBefore-killBefore, 0)
}

// tick reports whether the lease has ended, or begun, since the last call.
func (l *lease) tick() bool {
	ended := l.left() <= 0
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := ended != l.ended
	l.ended = ended
	return changed
}

// judge says why an instance must not be started now, and whether it must not
// even run. A lease says nothing of assignments older than the one it was granted
// for: what they ask for may run on another node by now. Nor is anything begun under a lease
// that was asked for before the assignment in force.
func (l *lease) judge(inst otto.Instance, by otto.Revision) (reason string, stop bool) {
	if !inst.Spec.Stateful() {
		return "", false
	}
	if inst.Fenced && l.left() <= 0 {
		return "its lease has ended: the control plane is not heard, and may start it on another node", true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if by.Before(l.of) || inst.Fenced && by.Before(l.by) {
		return "there is a newer assignment", false
	}
	if l.until == 0 {
		return "this machine has restarted: waiting for the control plane to say that no other node runs it", false
	}
	return "", false
}
