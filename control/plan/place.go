package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// Placement says on which node each instance is, by instance name.
type Placement map[string]string

// Node is what Place needs to know of a node.
type Node struct {
	ID string
	// Refuse says why it takes nothing new; empty when it does.
	Refuse string
	// Gone says why what is there has to leave if it may: the node is lost, or
	// being drained. Empty when it may stay.
	Gone string
	// Unfenced says why stateful services that are there may not be started
	// elsewhere yet: they may still run.
	Unfenced string
	// Stable says that it has been ready for so long that services go home to it.
	Stable   bool
	Memory   uint64             // in bytes; 0 if unknown
	Failures map[string]float64 // how much each service's failures there weigh
}

// Move is an instance that changes its node, and why.
type Move struct {
	Instance, Service string
	From, To          string // From is empty for its first place
	Reason            string
}

// Placed is what Place decides.
type Placed struct {
	Placement Placement
	Moves     []Move
	// Waiting says why an instance has no node, or is still on one that it has to
	// leave.
	Waiting map[string]string
}

// Place returns the placement for what is wanted. An instance keeps its node
// for as long as that node exists and nothing drives it away; one that may not
// move is at home whatever happens; for the others a node is picked. troubled
// says, by instance, why it does not work where it is.
func Place(w otto.Wanted, was Placement, nodes []Node, troubled map[string]string) Placed {
	p := placing{Placed: Placed{Placement: Placement{}, Waiting: map[string]string{}}, index: map[string]int{}, nodes: nodes}
	for i, n := range nodes {
		p.index[n.ID] = i
		p.candidates = append(p.candidates, scheduler.Candidate{ID: n.ID, Refuse: n.Refuse, Memory: n.Memory, Failures: n.Failures})
	}
	var homeless, leaving []instance
	for _, s := range w.Services {
		for _, name := range s.InstanceNames() {
			i := p.consider(s, name, was[name], troubled[name])
			switch {
			case i.at == "":
				homeless = append(homeless, i)
			case i.reason != "":
				leaving = append(leaving, i)
				p.put(i, i.at) // until another one takes it
			default:
				p.put(i, i.at)
			}
		}
	}
	for _, i := range leaving {
		p.leave(i)
	}
	for _, i := range homeless {
		if node, refused := p.pick(i, nil); node != "" {
			p.move(i, node)
		} else {
			p.Waiting[i.name] = "no node can take it: " + strings.Join(refused, "; ")
		}
	}
	return p.Placed
}

// placing is a placement in the making.
type placing struct {
	Placed
	nodes      []Node
	candidates []scheduler.Candidate
	index      map[string]int // of nodes and candidates, by id
}

// instance is an instance on its way to a place.
type instance struct {
	name   string
	of     otto.Service
	at     string // where it is; empty without a place
	reason string // why it leaves; empty if it stays
	homing bool   // it leaves only to go home
}

// consider says where an instance is and whether it has to leave.
func (p *placing) consider(s otto.Service, name, was, trouble string) instance {
	i := instance{name: name, of: s, at: was}
	_, there := p.index[i.at]
	_, hasHome := p.index[s.Node]
	if !there || hasHome && !s.Mobile() {
		i.at = ""
		if hasHome {
			i.at = s.Node
		}
	}
	if i.at == "" || !s.Mobile() {
		return i
	}
	at := p.nodes[p.index[i.at]]
	switch {
	case at.Gone != "":
		i.reason = fmt.Sprintf("node %s %s", at.ID, at.Gone)
	case trouble != "":
		i.reason = fmt.Sprintf("it does not work on node %s: %s", at.ID, trouble)
	case p.goesHome(i):
		i.reason, i.homing = fmt.Sprintf("its home %s is back", s.Node), true
	}
	return i
}

// goesHome reports whether an instance wants to be on its home node and on no
// other: the node is stable, and it has not failed there lately.
func (p *placing) goesHome(i instance) bool {
	home, ok := p.index[i.of.Node]
	return ok && i.of.Rejoin == otto.RejoinHome && i.of.Node != i.at &&
		p.nodes[home].Stable && p.nodes[home].Failures[i.of.Name] == 0
}

// leave finds another node for an instance that has to leave the one it is on.
func (p *placing) leave(i instance) {
	if why := p.nodes[p.index[i.at]].Unfenced; why != "" && i.of.Stateful() {
		p.Waiting[i.name] = fmt.Sprintf("%s; it %s", i.reason, why)
		return
	}
	var node string
	var refused []string
	if p.goesHome(i) {
		node, refused = p.pick(i, func(n Node) bool { return n.ID == i.of.Node })
	}
	if node == "" && !i.homing {
		node, refused = p.pick(i, func(n Node) bool { return n.ID != i.at })
	}
	if node == "" {
		p.Waiting[i.name] = i.reason + ", but no other node can take it"
		if len(refused) > 0 {
			p.Waiting[i.name] += ": " + strings.Join(refused, "; ")
		}
		return
	}
	if from := p.nodes[p.index[i.at]]; from.Gone == "" && p.nodes[p.index[node]].Failures[i.of.Name] > 0 {
		p.Waiting[i.name] = i.reason + ", but it has failed on every other node that can take it"
		return
	}
	c := &p.candidates[p.index[i.at]]
	k := slices.IndexFunc(c.Placed, func(o scheduler.Placed) bool { return o.Service == i.of.Name })
	c.Placed = slices.Delete(c.Placed, k, k+1)
	p.move(i, node)
}

func (p *placing) pick(i instance, may func(Node) bool) (node string, refused []string) {
	var list []scheduler.Candidate
	for k, c := range p.candidates {
		if may == nil || may(p.nodes[k]) {
			list = append(list, c)
		}
	}
	return scheduler.Pick(takes(i.of), list)
}

func (p *placing) move(i instance, node string) {
	p.Moves = append(p.Moves, Move{Instance: i.name, Service: i.of.Name, From: i.at, To: node, Reason: i.reason})
	p.put(i, node)
}

func (p *placing) put(i instance, node string) {
	p.Placement[i.name] = node
	c := &p.candidates[p.index[node]]
	c.Placed = append(c.Placed, takes(i.of))
}

func takes(s otto.Service) scheduler.Placed {
	return scheduler.Placed{Service: s.Name, Ports: s.Spec.Ports, Memory: s.Spec.Resources.MemoryBytes}
}
