package control

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// basis is all that what nodes and readers are told of instances depends on. It is
// remembered, so that only what has changed since is made anew: everything in it is
// replaced and never changed in place.
type basis struct {
	index     *plan.Index
	stopped   bool
	placement plan.Placement
	kept      map[string]string
	held      map[string]string
	unsure    map[string]string
	waiting   map[string]string
	restarts  map[string]uint64
	rollouts  map[string]plan.Rollout
	acts      []decide.Act
	nodes     map[string]nodeBasis
	peers     []otto.Peer
	watches   map[string][]otto.Watch
	data      remembered
	takeovers adoptions
}

// nodeBasis is what it depends on of a node.
type nodeBasis struct {
	state    otto.NodeState
	report   *wire.Report
	revision otto.Revision
	boot     string
	live     bool // what it reports is of the agent heard last
}

func (p *Plane) basis(now time.Time) basis {
	b := basis{
		index:     p.index(),
		stopped:   p.desired.Wanted.Stopped,
		placement: p.desired.Placement,
		kept:      p.keptAt(now),
		held:      p.held,
		unsure:    p.unsure(now),
		waiting:   p.waiting,
		restarts:  p.desired.Restarts,
		rollouts:  p.desired.Rollouts,
		acts:      p.desired.Memory.Acts,
		nodes:     make(map[string]nodeBasis, len(p.nodes)),
		peers:     p.required.peers,
		watches:   p.required.watches,
		data:      p.data,
		takeovers: p.takeovers,
	}
	for id, n := range p.nodes {
		b.nodes[id] = nodeBasis{n.state, n.report, n.revision, n.bootID, p.isLive(n)}
	}
	return b
}

// index is of what is wanted now.
func (p *Plane) index() *plan.Index {
	if !p.indexed.IsOf(p.desired.Wanted) {
		p.indexed = plan.NewIndex(p.desired.Wanted, p.indexed)
	}
	return p.indexed
}

// instancesSince are the instances of which something has changed that does not
// come from nodes.
func (b basis) instancesSince(was basis) map[string]bool {
	list := map[string]bool{}
	services := func(all []*plan.Service) {
		for _, s := range all {
			for _, name := range s.Names {
				list[name] = true
			}
		}
	}
	now, before := b.index.Since(was.index)
	services(now)
	services(before)
	differ(list, was.placement, b.placement)
	differ(list, was.kept, b.kept)
	differ(list, was.held, b.held)
	differ(list, was.unsure, b.unsure)
	differ(list, was.waiting, b.waiting)
	differ(list, was.restarts, b.restarts)
	if !plan.Identical(was.rollouts, b.rollouts) {
		for _, rollouts := range []map[string]plan.Rollout{was.rollouts, b.rollouts} {
			for name := range rollouts {
				if s, ok := b.index.Service(name); ok {
					services([]*plan.Service{s})
				}
			}
		}
	}
	for _, acts := range [][]decide.Act{was.acts, b.acts} {
		for _, a := range acts {
			list[a.Instance] = true
		}
	}
	return list
}

// differ adds the keys under which two maps differ.
func differ[M ~map[string]V, V comparable](into map[string]bool, a, b M) {
	if plan.Identical(a, b) {
		return
	}
	for k, v := range b {
		if was, ok := a[k]; !ok || was != v {
			into[k] = true
		}
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			into[k] = true
		}
	}
}

// toAssign are the nodes whose assignment may have changed since.
func (b basis) toAssign(was basis) map[string]bool {
	instances := b.instancesSince(was)
	b.addDependents(instances, was)
	nodes := map[string]bool{}
	for name := range instances {
		for _, at := range []string{was.placement[name], b.placement[name], was.kept[name], b.kept[name]} {
			nodes[at] = true
		}
	}
	all := was.index == nil || was.stopped != b.stopped || !slices.Equal(was.index.Devices, b.index.Devices) ||
		!slices.Equal(was.peers, b.peers) || !plan.Identical(was.takeovers, b.takeovers)
	if !all {
		for _, id := range b.takeovers.backSince(was.index, b.index) {
			nodes[id] = true
		}
	}
	otherData := !plan.Identical(was.data, b.data)
	for id := range b.nodes {
		_, known := was.nodes[id]
		if all || otherData && !slices.Equal(was.data[id], b.data[id]) || !known ||
			!reflect.DeepEqual(was.watches[id], b.watches[id]) {
			nodes[id] = true
		}
	}
	return nodes
}

// addDependents adds the instances of services that depend on one of which something
// has changed, or on another node.
func (b basis) addDependents(instances map[string]bool, was basis) {
	if len(b.index.Dependents) == 0 {
		return
	}
	changed := map[string]bool{}
	for _, x := range []*plan.Index{was.index, b.index} {
		if x == nil {
			continue
		}
		for name := range instances {
			if s, ok := x.Owner(name); ok {
				changed[s.Name] = true
			}
		}
	}
	for id, n := range b.nodes {
		before := was.nodes[id]
		if n.report == before.report {
			continue
		}
		for _, r := range []*wire.Report{before.report, n.report} {
			if r != nil {
				for i := range r.Instances {
					changed[r.Instances[i].Service] = true
				}
			}
		}
	}
	for id, n := range was.nodes { // gone, and its report with it
		if _, known := b.nodes[id]; !known && n.report != nil {
			for i := range n.report.Instances {
				changed[n.report.Instances[i].Service] = true
			}
		}
	}
	for name := range changed {
		for _, s := range b.index.Dependents[name] {
			for _, name := range s.Names {
				instances[name] = true
			}
		}
	}
}

// toSummarize are the services of which something has changed that is told.
func (b basis) toSummarize(was basis, where whereabouts) map[string]bool {
	services := map[string]bool{}
	note := func(instances map[string]bool) {
		for name := range instances {
			if s, ok := b.index.Owner(name); ok {
				services[s.Name] = true
			}
		}
	}
	now, _ := b.index.Since(was.index)
	for _, s := range now {
		services[s.Name] = true
	}
	note(b.instancesSince(was))
	for id, n := range b.nodes {
		if n != was.nodes[id] {
			note(where.on[id])
		}
	}
	for id := range was.nodes {
		if _, known := b.nodes[id]; !known {
			note(where.on[id])
		}
	}
	for _, a := range b.acts { // one that moves is told of where it comes from
		if was.nodes[a.From] != b.nodes[a.From] {
			services[a.Service] = true
		}
	}
	maps.DeleteFunc(services, func(name string, _ bool) bool {
		_, wanted := b.index.Service(name)
		return !wanted
	})
	return services
}

// whereabouts are the instances on each node: a placement, read the other way round.
type whereabouts struct {
	of plan.Placement
	on map[string]map[string]bool
}

// follow makes it that of another placement, by what differs.
func (w *whereabouts) follow(placement plan.Placement) {
	moved := map[string]bool{}
	differ(moved, w.of, placement)
	for instance := range moved {
		delete(w.on[w.of[instance]], instance)
		at, placed := placement[instance]
		if !placed {
			continue
		}
		if w.on == nil {
			w.on = map[string]map[string]bool{}
		}
		if w.on[at] == nil {
			w.on[at] = map[string]bool{}
		}
		w.on[at][instance] = true
	}
	w.of = placement
}
