// Package scheduler chooses a node for one more instance of a service, and says
// why it is that one and not another.
//
// A State is the nodes with what has its place on them. Filters refuse nodes that
// must not have the instance; of the others the one with the highest score is
// picked, and the first by id of equals. A score is a weighted mean of parts, each
// from 0 to 1 in absolute terms, of the node as it would be with the instance on
// it.
//
// Pick and Explain read the same tables of filters and parts. Pick makes no
// strings, and looks at nodes in the order of what their score has in common for
// all services, so that it can stop where no node behind can be better; Explain
// looks at all of them and makes sentences.
package scheduler

import (
	"cmp"
	"math"
	"slices"

	"github.com/otto-edge/otto"
)

// Candidate is a node as the scheduler sees it.
type Candidate struct {
	ID string
	// Refuse says why the node takes nothing new; empty when it does.
	Refuse string
	Memory uint64 // of the machine, in bytes; 0 if unknown
	// Failures say how much each service's former failures here weigh.
	Failures map[string]float64
	Machine
}

// Machine is what else placement depends on. Its zero value is a machine of which
// nothing is known, which stands for nothing but average.
type Machine struct {
	Labels map[string]string // of otto.Node.PlacementLabels
	Arch   string            // as otto.NodeFacts.Arch
	Cores  float64
	// CPU and MemoryUse are measured, as shares of the machine.
	CPU, MemoryUse Load
	Temperature    *float64          // degrees Celsius
	Images         map[string]int64  // bytes of those that are there, by the name that Docker lists, 0 if not known; nil if they are not
	Devices        map[string]bool   // whether paths are there; one that is not in it is not known yet; nil if none is
	Volumes        map[string]bool   // of the cluster that are there
	Claimed        map[string]bool   // likewise, but by the node's word alone
	Untold         bool              // there may be more, of which it has not said yet
	Unbuilt        map[string]string // why images are not for its architecture, of those that are known not to be
	Bans           map[string]string // why services are not to come for a time
}

// Ask is one more instance of a service, with what else is known of it.
type Ask struct {
	Service *otto.Service
	// Only is the one node that it may be on, and Why it may; empty for any.
	Only, Why string
	// Also, if set, says why a node that would otherwise do is none; empty if it is.
	Also func(node string) string
	// Banned says that bans do not count.
	Banned bool
}

// State is nodes and what is placed on them. It is for one goroutine.
type State struct {
	nodes    []node           // by id
	index    map[string]int32 // of nodes
	order    []int32          // of nodes, the best base first, then by id
	ordered  bool             // not before the first pick: what is put until then is cheap
	services map[string]*service
	groups   map[string]groups // of nodes, by label
	met      map[string][]bool // whether each node meets an expression, by its text
	text     []byte            // of an expression, while it is looked for
	filters  []filter
	base     []part // of the score, the same for all services that reserve nothing
	more     []part
	images   bool                  // they are known of some node
	unbuilts bool                  // some are known not to be for some node
	mounting map[string][]*service // that mount a volume, by its name
	volumes  map[string][]int32    // nodes that have one, in order; nil until it is asked for
	untold   []int32               // nodes that may have more; as of volumes
	claimed  map[string]int32      // the first node that claims to have one; as of volumes
	failing  map[string]bool       // services that have failed somewhere
	room     room

	// Of the ask that is being answered, and cleared after it.
	ask
	own, near []uint16 // by node: instances of the service, and services that it wants to be near
	apart     []*service
	touched   []int32 // nodes that the three above say something of
	inGroup   []int
}

type node struct {
	*Candidate
	reserved  amount
	instances int
	ports     []taken
	score     float64 // the base parts, weighted
}

// amount is what is reserved, in whole numbers so that sums do not depend on
// their order.
type amount struct {
	cpu    int64 // millionths of a core
	memory int64 // bytes
}

func amountOf(r otto.Resources) amount {
	return amount{int64(math.Round(max(r.CPU, 0) * 1e6)), max(r.MemoryBytes, 0)}
}

func (a amount) cores() float64 { return float64(a.cpu) / 1e6 }

func (a amount) bytes() float64 { return float64(a.memory) }

type taken struct {
	otto.Port
	by *service
}

// groups are the nodes with the same value of a label, numbered.
type groups struct {
	of []int32 // by node
	n  int
}

// New returns a state without instances. Weights that are not there have their
// defaults. The candidates are read as long as the state is used.
func New(candidates []Candidate, weights map[string]float64) *State {
	s := &State{
		nodes: make([]node, len(candidates)), order: make([]int32, len(candidates)), index: make(map[string]int32, len(candidates)),
		services: map[string]*service{}, groups: map[string]groups{}, met: map[string][]bool{}, filters: filters(), failing: map[string]bool{}, mounting: map[string][]*service{},
		own: make([]uint16, len(candidates)), near: make([]uint16, len(candidates)), apart: make([]*service, len(candidates)),
	}
	all := otto.DefaultWeights()
	for name, w := range weights {
		all[name] = max(w, 0)
	}
	s.base, s.more = baseParts(all), moreParts(all)
	for i := range candidates {
		s.nodes[i].Candidate = &candidates[i]
		s.know(&candidates[i])
	}
	slices.SortStableFunc(s.nodes, func(a, b node) int { return cmp.Compare(a.ID, b.ID) })
	for i := range s.nodes {
		s.index[s.nodes[i].ID], s.order[i] = int32(i), int32(i)
	}
	return s
}

// Renew takes over what is known now of the nodes, which must be the same ones; what is
// placed on them stays. The candidates are read as long as the state is used.
func (s *State) Renew(candidates []Candidate) {
	s.images, s.unbuilts, s.volumes, s.room.known = false, false, nil, false
	clear(s.failing)
	clear(s.groups)
	clear(s.met)
	for i := range candidates {
		c := &candidates[i]
		s.nodes[s.index[c.ID]].Candidate = c
		s.know(c)
	}
	s.ordered = false
	s.measure()
}

func (s *State) know(c *Candidate) {
	s.images, s.unbuilts = s.images || c.Images != nil, s.unbuilts || len(c.Unbuilt) > 0
	for name := range c.Failures {
		s.failing[name] = true
	}
}

// arrange brings the nodes into order before the first pick.
func (s *State) arrange() {
	if s.ordered {
		return
	}
	for i := range s.nodes {
		s.nodes[i].score = s.baseScore(&ask{}, &s.nodes[i])
	}
	slices.SortFunc(s.order, s.before)
	s.ordered = true
}

// before orders nodes by their base score, then by id.
func (s *State) before(a, b int32) int {
	return cmp.Or(cmp.Compare(s.nodes[b].score, s.nodes[a].score), cmp.Compare(a, b))
}

// Put gives an instance of a service its place on a node.
func (s *State) Put(svc *otto.Service, node string) { s.change(svc, node, 1) }

// Take takes away an instance that was put there.
func (s *State) Take(svc *otto.Service, node string) { s.change(svc, node, -1) }

func (s *State) change(svc *otto.Service, id string, by int) {
	i, ok := s.index[id]
	if !ok {
		return
	}
	k, n := s.introduce(svc), &s.nodes[i]
	p := k.on(i)
	switch {
	case p < 0 && by < 0:
		return
	case p < 0:
		k.add(i)
	case by > 0:
		k.places[p].count++
	case k.places[p].count > 1:
		k.places[p].count--
	default:
		k.remove(p)
	}
	n.instances += by
	reserve := amountOf(svc.Reserve)
	n.reserved.cpu += int64(by) * reserve.cpu
	n.reserved.memory += int64(by) * reserve.memory
	for _, port := range svc.Spec.Ports {
		if t := (taken{port, k}); port.Host != 0 && by > 0 {
			n.ports = append(n.ports, t)
		} else if at := slices.Index(n.ports, t); at >= 0 && by < 0 {
			n.ports = slices.Delete(n.ports, at, at+1)
		}
	}
	s.reserved(i, by)
	s.reorder(i)
}

// reorder puts a node where it belongs after a change of its base score.
func (s *State) reorder(i int32) {
	if !s.ordered {
		return
	}
	n := &s.nodes[i]
	from, _ := slices.BinarySearchFunc(s.order, i, s.before)
	s.order = slices.Delete(s.order, from, from+1)
	n.score = s.baseScore(&ask{}, n)
	to, _ := slices.BinarySearchFunc(s.order, i, s.before)
	s.order = slices.Insert(s.order, to, i)
}

// Has is how many instances of a service are on a node.
func (s *State) Has(name, node string) int {
	i, ok := s.index[node]
	k := s.services[name]
	if !ok || k == nil {
		return 0
	}
	if p := k.on(i); p >= 0 {
		return int(k.places[p].count)
	}
	return 0
}

// Pick returns the node for one more instance, or false if there is none.
func (s *State) Pick(a Ask) (node string, ok bool) {
	if s.lacking(a.Service) != "" {
		return "", false
	}
	s.arrange()
	s.prepare(a)
	defer s.forget()
	best, most := int32(-1), math.Inf(-1)
	for _, i := range s.order {
		if best >= 0 {
			if bound := s.bound(s.nodes[i].score, 0); bound < most || bound == most && best < i {
				break // no node behind is better, or as good and first by id
			}
		}
		if s.refuses(i) {
			continue
		}
		if t, ok := s.total(i, most); ok && (best < 0 || t > most || t == most && i < best) {
			best, most = i, t
		}
	}
	if best < 0 {
		if s.reserve != (amount{}) {
			s.measure()
		}
		return "", false
	}
	return s.nodes[best].ID, true
}

// Explain returns the scores of all nodes that could take one more instance, in
// the order in which Pick prefers them, and every reason against the others, by id.
func (s *State) Explain(a Ask) ([]otto.Score, []otto.Refusal) {
	s.arrange()
	s.prepare(a)
	defer s.forget()
	scores, refusals := []otto.Score{}, []otto.Refusal{}
	totals := map[string]float64{}
	for i := range s.nodes {
		at, n := int32(i), &s.nodes[i]
		before := len(refusals)
		for _, f := range s.refusing {
			if f.refuses(s, at) {
				refusals = append(refusals, otto.Refusal{Node: n.ID, Filter: f.name, Reason: f.why(s, at)})
			}
		}
		if len(refusals) == before {
			scores = append(scores, s.explainScore(at))
			totals[n.ID], _ = s.total(at, math.Inf(-1))
		}
	}
	slices.SortStableFunc(scores, func(a, b otto.Score) int { return cmp.Compare(totals[b.Node], totals[a.Node]) })
	return scores, refusals
}

// Refusal says why a node cannot take one more instance, or returns false if it can. It
// is the first reason that Explain has.
func (s *State) Refusal(a Ask, node string) (why string, refused bool) {
	i, known := s.index[node]
	if !known {
		return "", false
	}
	s.prepareOn(a, i)
	defer s.forget()
	if f := s.refusal(i); f != nil {
		return f.why(s, i), true
	}
	return "", false
}

// Breaks says why an instance that is on a node may not be there, by what the file
// says of it and what is known for certain; the instance must have been taken away
// before. What passes, such as a node that takes nothing new, is no reason.
func (s *State) Breaks(svc *otto.Service, node string) string {
	i, ok := s.index[node]
	if !ok {
		return ""
	}
	s.prepareOn(Ask{Service: svc}, i)
	defer s.forget()
	for _, f := range s.refusing {
		if f.lasts && f.refuses(s, i) && (f.pending == nil || !f.pending(s, i)) {
			return f.why(s, i)
		}
	}
	return ""
}

// refuses reports whether the node must not have what is asked for.
func (s *State) refuses(i int32) bool { return s.refusal(i) != nil }

// refusal is the first filter by which a node must not have it, nil if there is none.
func (s *State) refusal(i int32) *filter {
	for k := range s.refusing {
		if f := &s.refusing[k]; f.refuses(s, i) {
			return f
		}
	}
	return nil
}

// total is the weighted sum of a node's parts. It is given up as soon as it cannot
// reach least any more: what is reserved only takes from a base score, and no part
// is above its most. Sums are made in the same order everywhere, so that rounding
// cannot turn that round.
func (s *State) total(i int32, least float64) (t float64, ok bool) {
	n := &s.nodes[i]
	t = n.score
	if s.reserve != (amount{}) {
		if len(s.scoring) > 0 && s.bound(t+s.weighed(0, i), 1) < least {
			return 0, false
		}
		t = s.baseScore(&s.ask, n)
	}
	for k := range s.scoring {
		t += s.weighed(k, i)
		if s.bound(t, k+1) < least {
			return 0, false
		}
	}
	return t, true
}

func (s *State) weighed(k int, i int32) float64 {
	return s.scoring[k].weight * s.scoring[k].value(s, i)
}

// bound is the most that a sum can become with the parts from k on.
func (s *State) bound(t float64, k int) float64 {
	for _, m := range s.most[k:] {
		t += m
	}
	return t
}

func (s *State) baseScore(a *ask, n *node) (t float64) {
	for k := range s.base {
		t += s.base[k].weight * s.base[k].of(a, n)
	}
	return t
}

// clamp is x within 0..1, and 0 for what is no number.
func clamp(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return max(0, min(x, 1))
}

// Score is how good a node would be with one more instance, from 0 to 1, or false
// if it cannot take it.
func (s *State) Score(a Ask, node string) (total float64, ok bool) {
	i, known := s.index[node]
	if !known {
		return 0, false
	}
	s.arrange()
	s.prepare(a)
	defer s.forget()
	if s.refuses(i) {
		return 0, false
	}
	return s.explainScore(i).Total, true
}
