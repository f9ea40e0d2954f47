package control

import (
	"maps"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Services go to their data, so a node that says it has some would be sent services, with
// all that they know. It is believed of what it was given with services. See ADR 16.

// giving is what the given was made from last.
type giving struct {
	index  *plan.Index
	placed plan.Placement
}

// give is what nodes were given, once instances have these places. What does not change
// is the same map.
func (p *Plane) give(placed plan.Placement) map[string][]string {
	given, from := p.desired.Given, giving{p.index(), placed}
	for _, id := range p.ids() {
		n := p.nodes[id]
		if _, known := given[id]; known || n.volumes == nil {
			continue
		}
		has := slices.Collect(maps.Keys(n.volumes)) // the first that it ever says
		for _, d := range n.report.Data {
			has = append(has, d.Source)
		}
		slices.Sort(has)
		given = with(given, p.desired.Given, id, slices.Compact(has))
		p.gave = giving{}
	}
	if p.gave.index == from.index && plan.Identical(p.gave.placed, placed) {
		return given
	}
	for _, s := range p.index().Services {
		if len(s.Spec.Mounts) == 0 { // most, and a spec is large to pass on
			continue
		}
		kept := s.Spec.Kept()
		for _, name := range s.Names {
			at := placed[name]
			had, known := given[at]
			if !known {
				continue
			}
			for _, m := range kept {
				if i, there := slices.BinarySearch(had, m.Source); !there {
					had = slices.Insert(slices.Clone(had), i, m.Source)
					given = with(given, p.desired.Given, at, had)
				}
			}
		}
	}
	if plan.Identical(given, p.desired.Given) {
		p.gave = from // else once it is stored
	}
	return given
}

// with sets a value in a map, which is copied if it is still the original.
func with(m, original map[string][]string, key string, value []string) map[string][]string {
	switch {
	case m == nil:
		m = map[string][]string{}
	case plan.Identical(m, original):
		m = maps.Clone(m)
	}
	m[key] = value
	return m
}

// givenTo is what nodes were given, once these are wanted: a new one was given nothing.
func (d desired) givenTo(nodes []otto.Node) map[string][]string {
	given := d.Given
	for _, n := range nodes {
		_, known := given[n.ID]
		if !known && !d.Restored && !hasNode(d.Wanted.Nodes, n.ID) && !hasNode(d.Leaving, n.ID) {
			given = with(given, d.Given, n.ID, []string{})
		}
	}
	return given
}

// takenFrom is what nodes were given without what some had, which is gone with them.
func takenFrom(given map[string][]string, nodes ...string) map[string][]string {
	given = maps.Clone(given)
	for _, id := range nodes {
		delete(given, id)
	}
	return given
}

// vouched is what a node says of data that it was given, or that is remembered of it.
func (p *Plane) vouched(node string, was, said []otto.Data) []otto.Data {
	given, known := p.desired.Given[node]
	if !known {
		return said
	}
	return slices.DeleteFunc(slices.Clone(said), func(d otto.Data) bool {
		_, remembered := slices.BinarySearchFunc(was, d.Source, bySource)
		_, there := slices.BinarySearch(given, d.Source)
		return !remembered && !there
	})
}

// believed are the volumes that a node says it has and was given, and those that it was
// not given: has, or had, as a state from before that may have been restored.
func (p *Plane) believed(n *node) (having, doubted map[string]bool) {
	given, known := p.desired.Given[n.ID]
	if !known {
		return n.volumes, nil
	}
	said := slices.Collect(maps.Keys(n.volumes))
	if n.report != nil {
		for _, d := range n.report.Data {
			if d.IsVolume() {
				said = append(said, d.Source)
			}
		}
	}
	for _, name := range said {
		_, there := slices.BinarySearch(given, name)
		_, remembered := slices.BinarySearchFunc(p.data[n.ID], name, bySource)
		if there || remembered {
			continue
		}
		if doubted == nil {
			having, doubted = maps.Clone(n.volumes), map[string]bool{}
		}
		delete(having, name)
		doubted[name] = true
	}
	if doubted == nil {
		having = n.volumes
	}
	return having, doubted
}

// forgetHaving has it found anew what nodes have.
func (p *Plane) forgetHaving() {
	for _, n := range p.nodes {
		n.having = nil
	}
}
