package plan

import (
	"fmt"
	"slices"

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
	// Drained says that it is to be left by everything, by global services too.
	Drained bool
	// Unfenced says why stateful services that are there may not be started
	// elsewhere yet: they may still run.
	Unfenced string
	// Stable says that it has been ready for so long that services go home to it.
	Stable bool
	// Left are services that have left it for what they require: they do not go home
	// to it yet.
	Left     map[string]bool
	Memory   uint64             // in bytes; 0 if unknown
	Failures map[string]float64 // how much each service's failures there weigh
	scheduler.Machine
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
// move is at home whatever happens; for the others a node is picked. A global
// service has an instance on every node that fits, and none on the others.
// troubled says, by instance, why it does not work where it is.
func Place(w otto.Wanted, was Placement, nodes []Node, troubled map[string]string) Placed {
	if !slices.ContainsFunc(w.Services, func(s otto.Service) bool { return s.Unit != "" }) {
		return place(w, was, nodes, troubled).Placed
	}
	x := NewIndex(w, nil)
	p := place(x.whole.of, x.gather(was), x.gatherNodes(nodes), x.gatherTroubles(troubled, was, nodes))
	return x.spread(p.Placed, was, nodes)
}

func place(w otto.Wanted, was Placement, nodes []Node, troubled map[string]string) *placing {
	p := newPlacing(w, nodes)
	p.Placement = make(Placement, len(was))
	var global []*otto.Service
	for k := range w.Services {
		s := &w.Services[k]
		if s.Global() {
			global = append(global, s)
			p.keep(w, s, was)
			continue
		}
		for _, name := range w.InstanceNames(*s) {
			i := p.consider(s, name, was[name], troubled[name])
			if i.at == "" {
				p.homeless = append(p.homeless, i)
				continue
			}
			if i.reason != "" || ruled(s) {
				p.leaving = append(p.leaving, i)
			}
			p.put(i, i.at) // until another one takes it
		}
	}
	for changed := true; changed; { // what leaves makes room for others
		changed = p.leaveAll()
		for _, s := range global {
			changed = p.unfit(w, s) || changed
		}
	}
	for _, s := range global {
		p.join(w, s)
	}
	p.house()
	return p
}

// placing is a placement in the making.
type placing struct {
	Placed
	nodes  []Node
	state  *scheduler.State
	index  map[string]int  // of nodes, by id
	banned map[string]bool // services that are banned from some node
	// leaving are the instances that may have to leave their node, joining those of
	// global services that their node does not take, and homeless those without a place.
	leaving, joining, homeless []instance
}

func newPlacing(w otto.Wanted, nodes []Node) *placing {
	p := &placing{Placed: Placed{Placement: Placement{}, Waiting: map[string]string{}}, index: map[string]int{}, nodes: nodes, banned: banned(nodes)}
	for i := range nodes {
		p.index[nodes[i].ID] = i
	}
	p.state = scheduler.New(candidates(nodes), w.Scheduler.Weights)
	return p
}

func banned(nodes []Node) map[string]bool {
	services := map[string]bool{}
	for i := range nodes {
		for name := range nodes[i].Bans {
			services[name] = true
		}
	}
	return services
}

func candidates(nodes []Node) []scheduler.Candidate {
	list := make([]scheduler.Candidate, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		list[i] = scheduler.Candidate{ID: n.ID, Refuse: n.Refuse, Memory: n.Memory, Failures: n.Failures, Machine: n.Machine}
	}
	return list
}

// waits reports whether anything waits for a place, or for another one, and leaves to
// ask what that is.
func (p *placing) waits() bool {
	p.leaving = slices.DeleteFunc(p.leaving, func(i instance) bool { return p.Waiting[i.name] == "" })
	return len(p.Waiting) > 0
}

// askAgain asks anew for what waits, once nothing else can have to leave or to come. It
// reports false if something gets a place: then all is to be placed anew.
func (p *placing) askAgain(x *Index, nodes []Node) bool {
	p.nodes, p.banned, p.Waiting = nodes, banned(nodes), make(map[string]string, len(p.Waiting))
	p.state.Renew(candidates(nodes))
	for _, list := range [][]instance{p.leaving, p.joining, p.homeless} {
		for k := range list {
			s, _ := x.Service(list[k].of.Name)
			list[k].of = &s.Service
		}
	}
	p.leaveAll()
	joining := p.joining
	p.joining = nil
	for _, i := range joining {
		p.enter(i.of, i.at)
	}
	p.house()
	return len(p.Moves) == 0
}

// instance is an instance on its way to a place.
type instance struct {
	name   string
	of     *otto.Service
	at     string // where it is; empty without a place
	reason string // why it leaves; empty if it stays
	homing bool   // it leaves only to go home
	fresh  bool   // it had no place so far
}

// keep puts the instances of a global service where they are.
func (p *placing) keep(w otto.Wanted, s *otto.Service, was Placement) {
	for _, n := range w.Nodes {
		i := instance{name: s.InstanceOn(n.ID), of: s}
		if _, there := p.index[n.ID]; there && was[i.name] == n.ID {
			p.put(i, n.ID)
		}
	}
}

// unfit takes the instances of a global service off nodes that do not fit any
// more, and reports whether there were any. On nodes that are lost they stay, as
// there is nowhere else for them.
func (p *placing) unfit(w otto.Wanted, s *otto.Service) (changed bool) {
	for _, n := range w.Nodes {
		i := instance{name: s.InstanceOn(n.ID), of: s, at: n.ID}
		if _, there := p.Placement[i.name]; there && (p.drained(n.ID) || p.breaks(i) != "") {
			p.state.Take(s, n.ID)
			delete(p.Placement, i.name)
			changed = true
		}
	}
	return changed
}

// closed reports whether no node takes anything new, whatever it is.
func (p *placing) closed() bool {
	return !slices.ContainsFunc(p.nodes, func(n Node) bool { return n.Refuse == "" })
}

func (p *placing) drained(id string) bool {
	k, known := p.index[id]
	return known && p.nodes[k].Drained
}

// join gives a global service an instance on each node that fits and has none, or
// says why that waits.
func (p *placing) join(w otto.Wanted, s *otto.Service) {
	for _, n := range w.Nodes {
		i := instance{name: s.InstanceOn(n.ID), of: s}
		_, known := p.index[n.ID]
		if _, there := p.Placement[i.name]; !known || there || p.drained(n.ID) || p.state.Breaks(s, n.ID) != "" {
			continue
		}
		p.enter(s, n.ID)
	}
}

// enter gives a global service an instance on a node, or says why that waits.
func (p *placing) enter(s *otto.Service, node string) {
	i := instance{name: s.InstanceOn(node), of: s}
	if why, refused := p.state.Refusal(scheduler.Ask{Service: s, Only: node}, node); refused {
		p.Waiting[i.name] = fmt.Sprintf("node %s cannot take it: %s", node, why)
		i.at = node
		p.joining = append(p.joining, i)
		return
	}
	p.move(i, node)
}

// house finds a node for what has no place, or says why there is none.
func (p *placing) house() {
	closed, refused, why := p.closed(), (*otto.Service)(nil), ""
	for _, i := range p.homeless {
		if refused == nil || !closed && refused != i.of { // else nothing is different for this one
			if node, ok := p.pick(scheduler.Ask{Service: i.of}); ok {
				p.move(i, node)
				continue
			}
			refused, why = i.of, "no node can take it: "+p.state.WhyNot(scheduler.Ask{Service: i.of}, "")
		}
		p.Waiting[i.name] = why
	}
}

// consider says where an instance is and whether it has to leave.
func (p *placing) consider(s *otto.Service, name, was, trouble string) instance {
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
		p.nodes[home].Stable && p.nodes[home].Failures[i.of.Name] == 0 && !p.nodes[home].Left[i.of.Name]
}

// ruled reports whether a service can be where the file says that it may not be,
// and has to leave then.
func ruled(s *otto.Service) bool {
	r := &s.Placement
	return (len(r.Require)+len(r.ApartFrom)+len(s.Spec.Devices)+r.MaxPerNode > 0 || s.Platform != "") && (s.Mobile() || s.Global())
}

// breaks says why an instance may not be where it is, by what the file says.
func (p *placing) breaks(i instance) string {
	if !ruled(i.of) {
		return ""
	}
	p.state.Take(i.of, i.at)
	defer p.state.Put(i.of, i.at)
	return p.state.Breaks(i.of, i.at)
}

// leaveAll has each instance leave that has to and has not yet, and reports
// whether any did.
func (p *placing) leaveAll() (changed bool) {
	for _, i := range p.leaving {
		if p.Placement[i.name] != i.at {
			continue
		}
		delete(p.Waiting, i.name)
		if i.reason == "" || i.homing {
			if breaks := p.breaks(i); breaks != "" {
				i.reason, i.homing = fmt.Sprintf("it may not be on node %s: %s", i.at, breaks), false
			}
		}
		if i.reason != "" {
			changed = p.leave(i) || changed
		}
	}
	return changed
}

// leave finds another node for an instance that has to leave the one it is on, and
// reports whether there is one.
func (p *placing) leave(i instance) bool {
	if why := p.nodes[p.index[i.at]].Unfenced; why != "" && i.of.Stateful() {
		p.Waiting[i.name] = fmt.Sprintf("%s; it %s", i.reason, why)
		return false
	}
	p.state.Take(i.of, i.at)
	node, ok := "", false
	elsewhere := func(node string) string {
		if node == i.at {
			return "it has to leave it"
		}
		return ""
	}
	if p.goesHome(i) {
		node, ok = p.state.Pick(scheduler.Ask{Service: i.of, Only: i.of.Node})
	}
	if !ok && !i.homing {
		node, ok = p.pick(scheduler.Ask{Service: i.of, Also: elsewhere})
	}
	if !ok {
		p.Waiting[i.name] = i.reason + ", but no other node can take it"
		if why := p.state.WhyNot(scheduler.Ask{Service: i.of, Also: elsewhere}, i.at); why != "" {
			p.Waiting[i.name] += ": " + why
		}
		p.state.Put(i.of, i.at)
		return false
	}
	if from := p.nodes[p.index[i.at]]; from.Gone == "" && p.nodes[p.index[node]].Failures[i.of.Name] > 0 {
		p.Waiting[i.name] = i.reason + ", but it has failed on every other node that can take it"
		p.state.Put(i.of, i.at)
		return false
	}
	p.move(i, node)
	return true
}

// pick finds a node: rather one that has been of no use to the service lately than none.
func (p *placing) pick(a scheduler.Ask) (node string, ok bool) {
	node, ok = p.state.Pick(a)
	if ok || !p.banned[a.Service.Name] {
		return node, ok
	}
	a.Banned = true
	return p.state.Pick(a)
}

func (p *placing) move(i instance, node string) {
	p.Moves = append(p.Moves, Move{Instance: i.name, Service: i.of.Name, From: i.at, To: node, Reason: i.reason})
	p.put(i, node)
}

func (p *placing) put(i instance, node string) {
	p.Placement[i.name] = node
	p.state.Put(i.of, node)
}
