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
	*d = Settled{}
	if len(placed.Moves) == 0 && maps.Equal(placed.Placement, was) {
		*d = Settled{index: x, placement: was, nodes: nodes, troubled: troubled}
		placed.Placement = was
		if p.waits() {
			d.waiting = p
		}
	}
	return placed, false
}

// holds reports whether nothing has changed since that could move anything. How busy
// nodes are and what they have free is only for what has to find a place.
func (d *Settled) holds(x *Index, was Placement, nodes []Node, troubled map[string]string) bool {
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
