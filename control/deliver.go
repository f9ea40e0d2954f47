package control

import (
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

const (
	bringAfter = 2 * time.Second  // one that failed; doubles
	bringMost  = time.Minute      // at most
	bringAgain = 10 * time.Second // what has arrived, if the node still asks for it
)

// deliveries is what the loop knows of things that a node asks for and gets over SSH: files by
// their keys, or data by its volumes. One is under way at a time, and one that fails holds up
// no other.
type deliveries struct {
	busy  bool
	tries map[string]delivery // by name
}

// delivery is how one went last.
type delivery struct {
	next    time.Time // not before
	wait    time.Duration
	problem string // why it did not arrive
}

// due is the first of what a node asks for that is to be brought now; empty if none is. What it
// does not ask for any more is forgotten.
func (d *deliveries) due(asked []string, now time.Time) (name string) {
	maps.DeleteFunc(d.tries, func(name string, _ delivery) bool { return !slices.Contains(asked, name) })
	i := slices.IndexFunc(asked, func(name string) bool { return !now.Before(d.tries[name].next) })
	if d.busy || i < 0 {
		return ""
	}
	return asked[i]
}

// arrived takes in that one has been brought.
func (d *deliveries) arrived(name string, now time.Time) {
	d.put(name, delivery{next: now.Add(bringAgain)}) // the node's next report may still be on its way
}

// failed takes in why one could not be brought to a node, and reports whether that is new.
func (d *deliveries) failed(name, node, problem string, now time.Time) (news bool) {
	news = true
	for _, t := range d.tries {
		news = news && otto.Wording(t.problem) != otto.Wording(problem)
	}
	wait := min(max(2*d.tries[name].wait, bringAfter), bringMost)
	d.put(name, delivery{now.Add(otto.Spread(wait, node+name)), wait, problem})
	return news
}

func (d *deliveries) put(name string, last delivery) {
	if d.tries == nil {
		d.tries = map[string]delivery{}
	}
	d.busy, d.tries[name] = false, last
}

// problems are why something does not arrive, each once.
func (d *deliveries) problems() (list []string) {
	for _, t := range d.tries {
		if t.problem != "" {
			list = append(list, t.problem)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
