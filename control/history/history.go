// Package history keeps what was measured of nodes and services, in which states they were
// and how their requirements were judged: an hour of each second, a day of each minute and a
// month of each ten minutes, with the least, the mean and the most of each.
//
// It follows the views of the control plane, which it never holds up: a view for which there
// is no room is dropped and counted. What was measured within a minute is in memory, and is
// written at its end, in one write to one file. So a killed process loses a minute at most,
// and a power cut what the kernel had not written yet, about another half.
//
// The files of an hour are put together in one with a step of a minute, and those of a day in
// one with steps of ten minutes. Nothing else is kept, in memory or elsewhere: what a process
// did not come to, the next one does. There are so many files of each kind and no more, and
// each subject (a node, or a service with its instances) has a piece of its own in each, so
// that a reader reads little. Where nothing was measured there is nothing, and no zero.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
)

// waiting is how many views may wait to be looked at.
const waiting = 64

// History may be used by several goroutines.
type History struct {
	dir     string
	disk    disk
	log     *slog.Logger
	inbox   chan *otto.Cluster
	missed  atomic.Uint64
	problem atomic.Pointer[string] // why nothing is written
	// There, if set, says whether the directory is still the one that was opened.
	There func() bool

	mu     sync.Mutex
	shelf  *shelf // nil while the directory cannot be used
	now    collector
	view   *otto.Cluster // the last one
	viewed time.Time
}

// Open opens the history in a directory, or begins one. That it cannot be used is no error: it
// is a Problem, and tried again each minute.
func Open(dir string, log *slog.Logger) *History {
	return open(dir, log, realDisk())
}

func open(dir string, log *slog.Logger, d disk) *History {
	h := &History{dir: dir, disk: d, log: log, inbox: make(chan *otto.Cluster, waiting), now: newCollector()}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = h.take()
	}
	h.tell(err)
	return h
}

// take opens the files.
func (h *History) take() error {
	s, err := openShelf(h.dir, h.disk)
	if err != nil {
		return err
	}
	h.shelf = s
	s.clean()
	return s.catchUp(s.full[:max(0, len(s.full)-1)]) // the last one may go on
}

// Take has a view looked at, soon. It never waits.
func (h *History) Take(c *otto.Cluster) {
	select {
	case h.inbox <- c:
	default:
		h.missed.Add(1)
	}
}

// Problem says why nothing is kept at this moment; empty if all is well. It never waits.
func (h *History) Problem() string {
	if p := h.problem.Load(); p != nil {
		return *p
	}
	return ""
}

// Run keeps what it is given until ctx ends, and writes then what is not written yet.
func (h *History) Run(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case c := <-h.inbox:
			h.see(c, time.Now())
		case <-second.C:
			h.second(time.Now())
		case <-ctx.Done():
			h.mu.Lock()
			defer h.mu.Unlock()
			h.flush()
			return ctx.Err()
		}
	}
}

// see takes in a view.
func (h *History) see(c *otto.Cluster, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	h.view, h.viewed = c, now
	h.now.take(c, now)
}

// second notes what is so in this second. If nobody has said anything for a while, it is not
// known.
func (h *History) second(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	if h.view == nil || now.Sub(h.viewed) > trusted {
		return
	}
	h.now.second(h.view, now)
}

// turn begins another minute, if it is another one: the next, or any when the clock was set.
func (h *History) turn(now time.Time) {
	at := minuteAt(now.Unix()).start
	if h.now.minute != nil && h.now.minute.start == at {
		return
	}
	h.flush()
	h.now.minute = newMinute(at)
	if h.view != nil {
		h.now.forget(h.view)
	}
}

// flush writes the present minute. What cannot be written is dropped.
func (h *History) flush() {
	m := h.now.minute
	if m == nil || m.size == 0 {
		return
	}
	h.now.minute = newMinute(m.start)
	if m.start < 0 { // no clock is so wrong
		return
	}
	if h.There != nil && !h.There() { // whoever made another one has his own history there
		return
	}
	var err error
	if h.shelf == nil { // it could not be opened before
		err = h.take()
	}
	if h.shelf != nil {
		err = errors.Join(err, h.shelf.add(frame(m.span, 0, m.chunks()), m.start))
	}
	if err != nil {
		h.now.dropped += uint64(m.size)
	}
	h.tell(err)
}

// tell says once that nothing is kept, and once that it is again.
func (h *History) tell(err error) {
	was := h.Problem()
	if err == nil {
		if was != "" {
			h.problem.Store(nil)
			h.log.Info("history is kept again", "dir", h.dir)
		}
		return
	}
	text := "no history is kept: " + oneLine(err)
	h.problem.Store(&text)
	if was == "" {
		h.log.Warn("no history is kept", "dir", h.dir, "err", oneLine(err))
	}
}

func oneLine(err error) string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) && len(many.Unwrap()) > 0 {
		return oneLine(many.Unwrap()[0])
	}
	return fmt.Sprint(err)
}
