package decide

import (
	"cmp"
	"maps"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

// Board is all instances at their places. It is kept between decisions, and follows
// what has changed: to put everything there anew takes longer than to decide. Its zero
// value is empty. It is for one goroutine, and a placement that it was given is never
// changed in place.
type Board struct {
	index     *plan.Index
	placement plan.Placement
	nodes     []string // in order
	weights   map[string]float64
	state     *scheduler.State
	instances map[string]*instance
	residents map[string][]*instance // by node, in the order of the file
	required  map[string][]requiredOf
}

type instance struct {
	name string
	of   *plan.Service
	at   string
}

// follow brings the board up to date. The nodes are in order.
func (b *Board) follow(x *plan.Index, placement plan.Placement, nodes []Node, weights map[string]float64) {
	candidates := make([]scheduler.Candidate, 0, len(nodes))
	same := b.index != nil && len(b.nodes) == len(nodes) && maps.Equal(b.weights, weights)
	for i, n := range nodes {
		candidates = append(candidates, scheduler.Candidate{ID: n.ID, Refuse: n.Refuse, Memory: n.Memory, Failures: n.Failures, Machine: n.Machine})
		same = same && b.nodes[i] == n.ID
	}
	if same {
		now, before := x.Since(b.index)
		same = slices.EqualFunc(now, before, (*plan.Service).Alike)
		b.state.Renew(candidates)
	}
	if !same {
		*b = Board{
			weights: weights, state: scheduler.New(candidates, weights), instances: map[string]*instance{},
			residents: map[string][]*instance{}, required: map[string][]requiredOf{},
		}
		for _, n := range nodes {
			b.nodes = append(b.nodes, n.ID)
		}
		b.index, b.placement = x, placement
		for _, s := range x.Services {
			for _, name := range s.Names {
				b.put(name, s)
			}
		}
		return
	}
	b.exchange(x)
	was := b.placement
	b.index, b.placement = x, placement
	if plan.Identical(was, placement) {
		return
	}
	for _, s := range x.Services {
		for _, name := range s.Names {
			if placement[name] != was[name] {
				b.take(name)
				b.put(name, s)
			}
		}
	}
}

// exchange takes over services that have changed in what their place does not depend on.
func (b *Board) exchange(x *plan.Index) {
	now, _ := x.Since(b.index)
	for _, s := range now {
		for _, name := range s.Names {
			if i := b.instances[name]; i != nil {
				i.of = s
				delete(b.required, i.at)
			}
		}
	}
	if !x.SameForAll(b.index) {
		clear(b.required)
	}
}

func (b *Board) put(name string, s *plan.Service) {
	at := b.placement[name]
	if at == "" {
		return
	}
	i := &instance{name, s, at}
	b.instances[name] = i
	b.state.Put(&s.Service, at)
	list := append(b.residents[at], i)
	if last := len(list) - 2; last >= 0 && b.inFile(list[last], i) > 0 {
		slices.SortStableFunc(list, b.inFile)
	}
	b.residents[at] = list
	delete(b.required, at)
}

func (b *Board) take(name string) {
	i := b.instances[name]
	if i == nil {
		return
	}
	delete(b.instances, name)
	b.state.Take(&i.of.Service, i.at)
	b.residents[i.at] = slices.DeleteFunc(b.residents[i.at], func(o *instance) bool { return o == i })
	delete(b.required, i.at)
}

// inFile compares instances by the order of the file.
func (b *Board) inFile(x, y *instance) int {
	return cmp.Or(cmp.Compare(b.index.Position(x.of), b.index.Position(y.of)), cmp.Compare(len(x.name), len(y.name)), cmp.Compare(x.name, y.name))
}

// requiredOf is a requirement of a node, or of a service.
type requiredOf struct {
	*otto.Requirement
	of  string
	own bool // it is about the service's own use, wherever it is
}

// requiredOn are the requirements about a node, by itself and by what is there.
func (b *Board) requiredOn(id string) []requiredOf {
	list, known := b.required[id]
	if known {
		return list
	}
	add := func(r *otto.Requirement, of string) {
		if m, _ := otto.FindMetric(r.Metric); m.Node {
			list = append(list, requiredOf{r, of, false})
		}
	}
	if n := b.index.Node(id); n != nil {
		for _, r := range b.index.RequirementsOn(*n) {
			add(&r, id)
		}
	}
	for _, i := range b.residents[id] {
		for k := range i.of.Required {
			add(&i.of.Required[k], i.of.Name)
		}
	}
	b.required[id] = list
	return list
}
