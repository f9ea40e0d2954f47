package plan

import (
	"maps"
	"reflect"
	"slices"
)

// Settled places again and again. Where everything is where it should be, or waits for
// that, nothing else moves until something changes of what could move it; it remembers
// that, and asks again only for what waits. The zero value remembers nothing.
type Settled struct {
	units   gathered
	settled settled
}

// gathered is a placement with each unit as one instance, as it was made last.
type gathered struct {
	of    *Index
	was   Placement
	as    Placement
	whole bool              // was says nothing that is not in it
	apart map[string]string // why instances are not where their unit is
}

type settled struct {
	index     *Index
	placement Placement
	nodes     []Node
	troubled  map[string]string
	waiting   *placing // nil if nothing waits
}

// Place is the function of that name, and reports whether it is as it was the last
// time. The placement that it returns may be the one that it was given: neither is to
// be changed.
func (d *Settled) Place(x *Index, was Placement, nodes []Node, troubled map[string]string) (placed Placed, again bool) {
	if x.whole == nil {
		d.units = gathered{}
		return d.settled.place(x, was, nodes, troubled)
	}
	if u := &d.units; u.of == nil || !Identical(u.was, was) || !x.unitesLike(u.of) {
		*u = gathered{was: was, as: x.gather(was)}
		placed := x.spread(Placed{Placement: u.as}, was, nodes)
		u.whole, u.apart = maps.Equal(placed.Placement, was), placed.Waiting
	}
	d.units.of = x
	if !d.units.whole {
		d.settled = settled{}
	}
	placed, again = d.settled.place(x.whole, d.units.as, x.gatherNodes(nodes), x.gatherTroubles(troubled, was, nodes))
	if again {
		return Placed{Placement: was, Waiting: x.stillWaiting(placed.Waiting, d.units.apart)}, true
	}
	placed = x.spread(placed, was, nodes)
	if maps.Equal(placed.Placement, was) {
		placed.Placement = was
	}
	return placed, false
}

// unitesLike reports whether units have the same members as in another index, which keep
// data likewise.
func (x *Index) unitesLike(was *Index) bool {
	now, before := x.Since(was)
	return slices.EqualFunc(now, before, func(a, b *Service) bool {
		return a.Name == b.Name && a.Unit == b.Unit && a.keepsData() == b.keepsData() && slices.Equal(a.Names, b.Names)
	})
}

func (d *settled) place(x *Index, was Placement, nodes []Node, troubled map[string]string) (placed Placed, again bool) {
	if d.holds(x, was, nodes, troubled) && (d.waiting == nil || d.waiting.askAgain(x, nodes)) {
		d.index, d.nodes = x, nodes
		placed = Placed{Placement: was, Waiting: map[string]string{}}
		if d.waiting != nil {
			placed.Waiting = d.waiting.Waiting
		}
		return placed, true
	}
	p := place(x.of, was, nodes, troubled)
	placed = p.Placed
	*d = settled{}
	if len(placed.Moves) == 0 && maps.Equal(placed.Placement, was) {
		*d = settled{index: x, placement: was, nodes: nodes, troubled: troubled}
		placed.Placement = was
		if p.waits() {
			d.waiting = p
		}
	}
	return placed, false
}

// holds reports whether nothing has changed since that could move anything. How busy
// nodes are and what they have free is only for what has to find a place.
func (d *settled) holds(x *Index, was Placement, nodes []Node, troubled map[string]string) bool {
	if d.index == nil || !Identical(d.placement, was) || !maps.Equal(d.troubled, troubled) || !slices.EqualFunc(d.nodes, nodes, alike) {
		return false
	}
	now, before := x.Since(d.index)
	return maps.Equal(x.of.Scheduler.Weights, d.index.of.Scheduler.Weights) && slices.EqualFunc(now, before, (*Service).Alike)
}

// alike reports whether two nodes, or a node at two times, drive away the same.
func alike(a, b Node) bool {
	failed := func(x, y float64) bool { return (x == 0) == (y == 0) }
	return a.ID == b.ID && a.Gone == b.Gone && a.Drained == b.Drained && a.Unfenced == b.Unfenced && a.Stable == b.Stable && a.Arch == b.Arch &&
		maps.Equal(a.Left, b.Left) && maps.Equal(a.Devices, b.Devices) && (a.Devices == nil) == (b.Devices == nil) && maps.EqualFunc(a.Failures, b.Failures, failed) &&
		(Identical(a.Labels, b.Labels) || maps.Equal(a.Labels, b.Labels))
}

// Identical reports whether two maps are one and the same, or empty both.
func Identical[M ~map[K]V, K comparable, V any](a, b M) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer())
}
