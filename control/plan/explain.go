package plan

import (
	"fmt"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// Explain says, for each instance of a service, why it is where it is and not on
// another node, as things are now. waiting are the reasons of Place.
func Explain(w otto.Wanted, placed Placement, nodes []Node, waiting map[string]string,
	s otto.Service,
) []otto.InstanceExplanation {
	var x *Index
	if s.Unit != "" {
		x = NewIndex(w, nil)
	}
	return explain(x, w, placed, placed, nodes, waiting, s)
}

// explain is Explain with the index of what is wanted, which only units need. What was
// not placed is explained as new.
func explain(x *Index, w otto.Wanted, was, placed Placement, nodes []Node, waiting map[string]string,
	s otto.Service,
) []otto.InstanceExplanation {
	if s.Unit != "" {
		return explainUnit(x, was, placed, nodes, waiting, s)
	}
	p := inPlace(w, placed, nodes)
	list := []otto.InstanceExplanation{}
	for _, name := range w.InstanceNames(s) {
		if s.Global() && placed[name] == "" && waiting[name] == "" {
			continue // its node does not fit
		}
		list = append(list, p.explain(instance{name: name, of: &s, at: placed[name], fresh: was[name] == ""}, waiting[name]))
	}
	return list
}

// ExplainNode says why each instance of a node is there, by its name, and which
// services the node could not be given now.
func ExplainNode(w otto.Wanted, placed Placement, nodes []Node,
	id string,
) (here map[string]string, refused []otto.ServiceRefusal) {
	p := inPlace(w, placed, nodes)
	here, refused = map[string]string{}, []otto.ServiceRefusal{}
	for k := range w.Services {
		s := &w.Services[k]
		there := false
		for _, name := range w.InstanceNames(*s) {
			if placed[name] == id {
				here[name], there = p.explain(instance{name: name, of: s, at: id}, "").Why, true
			}
		}
		if there {
			continue
		}
		_, refusals := p.state.Explain(scheduler.Ask{Service: s})
		for _, r := range refusals {
			if r.Node == id {
				refused = append(refused, otto.ServiceRefusal{Service: s.Name, Refusal: r})
			}
		}
	}
	return here, refused
}

// explainUnit says it of a service that is where its unit is: it is the unit that other
// nodes could take or not.
func explainUnit(x *Index, was, placed Placement, nodes []Node, waiting map[string]string,
	s otto.Service,
) (list []otto.InstanceExplanation) {
	p := inPlace(x.whole.of, x.gather(placed), x.gatherNodes(nodes))
	u, own := x.unitOf[s.Unit], inPlace(x.of, placed, nodes)
	whole, _ := x.whole.Service(u.Name)
	one := whole.Service
	if one.Tied != "" {
		one.Tied = s.Stays() // the one that ties the others is not tied to itself
	}
	fresh := x.gather(was)[u.Name] == ""
	for _, name := range x.of.InstanceNames(s) {
		e := p.explain(instance{name: u.Name, of: &one, at: placed[name], fresh: fresh}, waiting[name])
		e.Name, e.Rules = name, nil
		if !fresh && was[name] == "" && placed[name] != "" {
			e.Why = "the rest of its stack is there"
		}
		if _, there := own.index[placed[name]]; there {
			own.state.Take(&s, placed[name])
			e.Rules = own.rules(instance{name: name, of: &s, at: placed[name]})
			own.state.Put(&s, placed[name])
		}
		list = append(list, e)
	}
	return list
}

// inPlace is a placement with everything where it is.
func inPlace(w otto.Wanted, placed Placement, nodes []Node) *placing {
	p := newPlacing(w, nodes)
	for k := range w.Services {
		s := &w.Services[k]
		for _, name := range w.InstanceNames(*s) {
			if at := placed[name]; at != "" {
				p.put(instance{name: name, of: s}, at)
			}
		}
	}
	return p
}

// explain judges all nodes for an instance as if it were nowhere.
func (p *placing) explain(i instance, waits string) otto.InstanceExplanation {
	ask := scheduler.Ask{Service: i.of}
	if i.at != "" {
		if why := i.of.Stays(); why != "" && !i.fresh {
			ask.Only, ask.Why = i.at, why
		}
		p.state.Take(i.of, i.at)
		defer p.state.Put(i.of, i.at)
	}
	e := otto.InstanceExplanation{Name: i.name, Node: i.at, Waits: waits}
	e.Scores, e.Refusals = p.state.Explain(ask)
	e.Why = p.why(i, e)
	if _, there := p.index[i.at]; there {
		e.Rules = p.rules(i)
	}
	return e
}

func (p *placing) why(i instance, e otto.InstanceExplanation) string {
	s, rank := i.of, slices.IndexFunc(e.Scores, func(s otto.Score) bool { return s.Node == i.at })
	switch {
	case i.at == "":
		return "it has no place: " + e.Waits
	case s.Global():
		return "it is on every node that fits"
	case s.Node == i.at:
		return "it is at home"
	case i.fresh:
		return p.chosen(i, e)
	case !s.Mobile():
		return "it stays: " + s.Stays()
	case s.Node != "":
		return fmt.Sprintf(
			"its home is %s, and it stays where it is until it has to leave, or home is well and it has rejoin: home",
			s.Node,
		)
	case rank == 0:
		return fmt.Sprintf("%s is the best of %d that can take it", i.at, len(e.Scores))
	case rank > 0:
		best := e.Scores[0]
		return fmt.Sprintf("it stays where it is: %s would be better now, with %.2f to %.2f, but is no reason to move",
			best.Node, best.Total, e.Scores[rank].Total)
	}
	return "it stays where it is, though it would not be placed there now"
}

// chosen says why a node is the first one of an instance.
func (p *placing) chosen(i instance, e otto.InstanceExplanation) string {
	for _, v := range i.of.Spec.Volumes() {
		if k, known := p.index[i.at]; known && p.nodes[k].Volumes[v] {
			return fmt.Sprintf("its volume %s is on %s", v, i.at)
		}
	}
	switch {
	case len(e.Scores) == 1 && e.Scores[0].Node == i.at:
		return i.at + " is the only node that can take it"
	case len(e.Scores) > 0 && e.Scores[0].Node == i.at:
		return fmt.Sprintf("%s is the best of %d that can take it", i.at, len(e.Scores))
	}
	return i.at + " can take it"
}

// rules are those of an instance that has a place, which is taken away.
func (p *placing) rules(i instance) (list []otto.RuleHeld) {
	r, labels := i.of.Placement, p.nodes[p.index[i.at]].Labels
	add := func(rule string, holds bool) { list = append(list, otto.RuleHeld{Rule: rule, Holds: holds}) }
	there := func(service string) bool { return p.state.Has(service, i.at) > 0 }
	for _, e := range r.Require {
		add("require "+e.String(), e.Matches(labels))
	}
	for _, e := range r.Prefer {
		add("prefer "+e.String(), e.Matches(labels))
	}
	for _, e := range r.Avoid {
		add("avoid "+e.String(), !e.Matches(labels))
	}
	for _, o := range r.Near {
		add("near "+o, there(o))
	}
	for _, o := range r.ApartFrom {
		add("apart_from "+o, !there(o))
	}
	if r.MaxPerNode > 0 {
		add(fmt.Sprintf("max_per_node %d", r.MaxPerNode), p.state.Has(i.of.Name, i.at) < r.MaxPerNode)
	}
	if arch := i.of.Arch(); arch != "" {
		add("platform "+i.of.Platform, p.nodes[p.index[i.at]].Arch == arch)
	}
	for _, d := range i.of.Spec.Devices {
		add("device "+d.Host, p.nodes[p.index[i.at]].Devices[d.Host])
	}
	return list
}
