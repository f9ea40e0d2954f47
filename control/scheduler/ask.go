package scheduler

import (
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// ask is an Ask with what it means for nodes.
type ask struct {
	Ask
	of       *service
	arch     string
	image    string // as in Machine.Images
	reserve  amount
	wanted   int      // services that it wants to be near and that are somewhere
	data     []data   // that it must not be away from
	refusing []filter // that can refuse it
	scoring  []part   // of more, that differ between nodes
	most     []float64
	group    groups
	require  [][]bool // of State.met, for each of the service's expressions
	prefer   [][]bool
	avoid    [][]bool
}

// begin makes an ask the one that is being answered.
func (s *State) begin(a Ask) *service {
	svc := a.Service
	k := s.introduce(svc)
	s.ask = ask{
		Ask: a, of: k, arch: svc.Arch(), image: s.listed(svc.Spec.Image), reserve: amountOf(svc.Reserve),
		data:     s.dataOf(svc, s.data[:0]),
		refusing: s.refusing[:0], scoring: s.scoring[:0], most: s.most[:0],
		require: s.meeting(svc.Placement.Require, s.require[:0]),
		prefer:  s.meeting(svc.Placement.Prefer, s.prefer[:0]),
		avoid:   s.meeting(svc.Placement.Avoid, s.avoid[:0]),
	}
	return k
}

// prepareOn is as much of prepare as says whether one node is refused.
func (s *State) prepareOn(a Ask, i int32) {
	k := s.begin(a)
	s.touched = append(s.touched, i)
	if p := k.on(i); p >= 0 {
		s.own[i] = k.places[p].count
	}
	apart := func(o *service) {
		if o.on(i) >= 0 {
			s.apart[i] = o
		}
	}
	for _, name := range a.Service.Placement.ApartFrom {
		apart(s.named(name))
	}
	for _, o := range k.shunnedBy {
		apart(o)
	}
	for _, f := range s.filters {
		if f.applies(s) {
			s.refusing = append(s.refusing, f)
		}
	}
}

// prepare begins an ask and notes what it means for nodes.
func (s *State) prepare(a Ask) {
	svc := a.Service
	k := s.begin(a)
	for _, p := range k.places {
		s.own[p.node] = p.count
		s.touched = append(s.touched, p.node)
	}
	for _, name := range svc.Placement.ApartFrom {
		s.mark(s.named(name))
	}
	for _, o := range k.shunnedBy {
		s.mark(o)
	}
	for _, name := range svc.Placement.Near {
		s.approach(s.named(name))
	}
	for _, o := range k.soughtBy {
		if !slices.Contains(svc.Placement.Near, o.name) {
			s.approach(o)
		}
	}
	if label := svc.Placement.Spread; label != "" {
		s.group = s.grouped(label)
		s.inGroup = append(s.inGroup[:0], make([]int, s.group.n)...)
		for _, p := range k.places {
			s.inGroup[s.group.of[p.node]] += int(p.count)
		}
	}
	for _, f := range s.filters {
		if f.applies(s) {
			s.refusing = append(s.refusing, f)
		}
	}
	for _, p := range s.more {
		if p.applies(s) {
			s.scoring = append(s.scoring, p)
			s.most = append(s.most, p.weight*p.most(s))
		}
	}
}

// meeting appends for each expression which nodes meet it. Services share their
// expressions, so that each is read once for each node.
func (s *State) meeting(list []otto.Expression, met [][]bool) [][]bool {
	for _, e := range list {
		s.text = append(append(append(s.text[:0], e.Label...), 0), e.Op...)
		for _, v := range e.Values {
			s.text = append(append(s.text, 0), v...)
		}
		nodes, known := s.met[string(s.text)]
		if !known {
			nodes = make([]bool, len(s.nodes))
			for i := range s.nodes {
				nodes[i] = e.Matches(s.nodes[i].Labels)
			}
			s.met[string(s.text)] = nodes
		}
		met = append(met, nodes)
	}
	return met
}

// listed is an image as Docker lists it: without the name of its own registry, and
// with a tag.
func (s *State) listed(image string) string {
	if !s.images {
		return ""
	}
	image = strings.TrimPrefix(strings.TrimPrefix(image, "docker.io/"), "library/")
	if tagged := image[strings.LastIndexByte(image, '/')+1:]; !strings.ContainsAny(tagged, ":@") {
		image += ":latest"
	}
	return image
}

func (s *State) mark(o *service) {
	for _, p := range o.places {
		s.apart[p.node] = o
		s.touched = append(s.touched, p.node)
	}
}

// approach counts a service that the asked one wants to be near. One that is on
// every node says nothing.
func (s *State) approach(o *service) {
	if len(o.places) == 0 || o.isGlobal || o == s.ask.of {
		return
	}
	s.wanted++
	for _, p := range o.places {
		s.near[p.node]++
		s.touched = append(s.touched, p.node)
	}
}

// forget undoes prepare.
func (s *State) forget() {
	for _, i := range s.touched {
		s.own[i], s.near[i], s.apart[i] = 0, 0, nil
	}
	s.touched = s.touched[:0]
	s.Ask = Ask{}
}

func (s *State) grouped(label string) groups {
	if g, ok := s.groups[label]; ok {
		return g
	}
	g := groups{of: make([]int32, len(s.nodes))}
	numbers := map[string]int32{}
	for i := range s.nodes {
		value := s.nodes[i].Labels[label]
		if _, ok := numbers[value]; !ok {
			numbers[value] = int32(len(numbers))
		}
		g.of[i] = numbers[value]
	}
	g.n = len(numbers)
	s.groups[label] = g
	return g
}
