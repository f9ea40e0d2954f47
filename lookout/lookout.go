// Package lookout probes services from a machine that they may not run on, the way
// others reach them. Whether a container is well is judged beside it, by its agent;
// what is found here is only measured.
package lookout

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/knock"
)

// Lookout does the probes that it is told to do.
type Lookout struct {
	try func(ctx context.Context, p otto.Probe, address string) error

	mu      sync.Mutex
	watches map[string]*watch // by instance
	running sync.WaitGroup
}

// watch is one instance that is probed.
type watch struct {
	otto.Watch
	cancel context.CancelFunc
	found  []finding // since they were taken, oldest first
}

type finding struct {
	ended  time.Time
	took   time.Duration
	failed bool
}

// maxFound are kept of an instance; the oldest go.
const maxFound = 32

// New returns a Lookout that probes by try, such as knock.Try.
func New(try func(ctx context.Context, p otto.Probe, address string) error) *Lookout {
	return &Lookout{try: try, watches: map[string]*watch{}}
}

// Set says what is to be probed from now on. All of it ends with ctx, and with Wait
// it is known to have.
func (l *Lookout) Set(ctx context.Context, list []otto.Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	former := l.watches
	l.watches = make(map[string]*watch, len(list))
	for _, want := range list {
		if was := former[want.Instance]; was != nil && reflect.DeepEqual(was.Watch, want) {
			l.watches[want.Instance] = was
			delete(former, want.Instance)
			continue
		}
		within, cancel := context.WithCancel(ctx)
		w := &watch{Watch: want, cancel: cancel}
		l.watches[want.Instance] = w
		l.running.Go(func() { l.run(within, w) })
	}
	for _, w := range former {
		w.cancel()
	}
}

// Wait waits for all probes to end, which their context has to have done.
func (l *Lookout) Wait() { l.running.Wait() }

// Take returns what was found since the last time, by instance.
func (l *Lookout) Take(now time.Time) (found map[string][]otto.Probed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for instance, w := range l.watches {
		for _, f := range w.found {
			if found == nil {
				found = map[string][]otto.Probed{}
			}
			found[instance] = append(found[instance], otto.Probed{Ago: now.Sub(f.ended), Took: f.took, Failed: f.failed})
		}
		w.found = nil
	}
	return found
}

func (l *Lookout) run(ctx context.Context, w *watch) {
	p := w.Probe.WithDefaults()
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, p.Timeout)
		err := l.try(within, p, w.Address)
		cancel()
		if now := time.Now(); ctx.Err() == nil && !ours(err) {
			l.note(w, finding{now, now.Sub(began), err != nil})
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ours reports whether an error says nothing of the service: there is no way out of
// this machine, for one.
func ours(err error) bool {
	return knock.Ours(err) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN)
}

func (l *Lookout) note(w *watch, f finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.found = append(w.found, f)
	w.found = w.found[max(len(w.found)-maxFound, 0):]
}
