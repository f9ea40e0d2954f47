package sim

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is what a history showed.
type outcome struct {
	wrong   []string
	told    []string
	did     map[string]int // effects of faults
	applied int
	events  map[string]int // kinds of events, how often
	points  map[string]int // things that processes did, how often
	healed  time.Duration  // from the end of the last fault
	overlap time.Duration  // for which something ran twice on a host that was frozen, once that went on
	took    time.Duration  // of real time
}

// run runs a history in a world of its own.
func run(t *testing.T, h history) (o outcome) {
	t.Helper()
	defer func(began time.Time) { o.took = time.Since(began) }(time.Now())
	doing := new(activity)
	ends := time.AfterFunc(*simStuck, func() { doing.stuck(h, "for "+simStuck.String()+" of real time: somebody never waits") })
	defer ends.Stop()
	synctest.Test(t, func(t *testing.T) {
		limit := h.lasts() + longest
		ends := time.AfterFunc(limit, func() { doing.stuck(h, "within "+limit.String()+": somebody waits for what never comes") })
		defer ends.Stop()
		w := newWorld(t, h, doing)
		if err := w.play(h); err != nil {
			w.truth.broken("%v", err)
		}
		w.mend()
		o = w.judge()
		w.over.Store(true)
		doing.is("wait for what is under way: orders, restarts of processes")
		w.pending.Wait()
		doing.is("wait for the end of control plane and agents")
		w.Close()
	})
	return o
}

// longest is what a history may take after its last step, in virtual time: twice
// what it has for healing, and the longest pause of a process.
const longest = 2*healWithin + 2*time.Minute

// activity is what a history is doing.
type activity struct{ now atomic.Value }

func (a *activity) is(what string) { a.now.Store(what) }

// stuck ends the test binary because a history does not end, and shows what all
// goroutines are doing. Whoever waits in vain, in a world or in Otto, is found by it.
func (a *activity) stuck(h history, limit string) {
	debug.SetTraceback("all")
	panic(fmt.Sprintf("the history has not come to its end %s\nit is here: %v\n%s", limit, a.now.Load(), h))
}
