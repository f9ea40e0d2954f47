package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// repeatWithin is how soon the same event must follow itself to be counted only, and how
// often what was counted is told.
const repeatWithin = 10 * time.Minute

// repeats are the last events of each service and node. One that says the same as the
// one before is counted, and not written again: it is told with its number when another
// one follows, or after a while.
type repeats map[string]repeat

type repeat struct {
	last  otto.Event
	first time.Time // of those that are counted
	seen  time.Time // the last one, by our clock
	count int       // that were not written
}

// take returns what is to be written for an event. Nil counts nothing.
func (r repeats) take(e otto.Event, now time.Time) []otto.Event {
	about := cmp.Or(e.Service, "node "+e.Node)
	was, known := r[about]
	same := known && e.By == "" && was.last.By == "" && was.last.Kind == e.Kind && was.last.Node == e.Node &&
		was.last.Message == e.Message
	if same && now.Sub(was.seen) < repeatWithin {
		if was.count == 0 {
			was.first = now
		}
		was.last, was.seen = e, now
		was.count++
		r[about] = was
		return nil
	}
	if r != nil {
		r[about] = repeat{last: e, seen: now}
	}
	return append(was.told(), e)
}

// told is what was counted, as an event.
func (r repeat) told() []otto.Event {
	if r.count == 0 {
		return nil
	}
	e := r.last
	e.Message += fmt.Sprintf(" (again, %d times)", r.count)
	if r.count == 1 {
		e.Message = r.last.Message + " (again)"
	}
	return []otto.Event{e}
}

// rest returns all that was counted, for the journal of a control plane that ends. Of one
// that is killed the numbers of the last ten minutes are lost, not that it happened: what
// nodes tell again it does not know from its journal.
func (r repeats) rest() (list []otto.Event) {
	for _, about := range slices.Sorted(maps.Keys(r)) {
		list = append(list, r[about].told()...)
	}
	clear(r)
	return list
}

// due returns what has been counted for long enough, and forgets what is long ago.
func (r repeats) due(now time.Time) (list []otto.Event) {
	for _, about := range slices.Sorted(maps.Keys(r)) {
		was := r[about]
		switch {
		case was.count > 0 && now.Sub(was.first) >= repeatWithin:
			list = append(list, was.told()...)
			was.count = 0
			r[about] = was
		case was.count == 0 && now.Sub(was.seen) >= repeatWithin:
			delete(r, about)
		}
	}
	return list
}
