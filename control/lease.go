package control

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// A stateful instance runs on its holder and nowhere else. The holder is stored
// before it is told, and changes only when the former one has released the
// instance: it has said so, or it is lost and its lease has ended.

// leaseMargin is how much longer than a lease the control plane waits, for clocks
// that do not run alike.
const leaseMargin = time.Second

// sameAgain is how long an agent must be silent before a newer one of its node on
// the same machine gets a lease: longer than a client takes to come back that another
// has thrown out. Two agents of one node must not both have one. It is well within a
// lease, with which an agent that was only restarted goes on.
const sameAgain = 3 * time.Second

// renew answers a node's heartbeat with a lease, if it holds what it was told to
// run and its engine works.
func (p *Plane) renew(n *node, h wire.Heartbeat, now time.Time) {
	if p.deciding() != nil || !p.isNode(n, h.Machine) || p.desired.Wanted.Stopped || n.published == "" ||
		!p.holdsAll(n) {
		return
	}
	if r := n.report; r != nil && r.BootID == h.BootID && r.Engine.Problem != "" {
		return
	}
	switch {
	case n.leaseBoot == h.BootID:
		n.leaseBeat = now
	case now.Sub(n.leaseBeat) < sameAgain:
		return
	}
	duration := p.desired.Wanted.LeaseOf(n.Node)
	if n.leaseOf == n.revision && n.leaseBoot == h.BootID && now.Sub(n.leased) < duration/6 {
		return
	}
	key, also := p.identity.signers()
	signed, err := wire.SignLease(key, wire.Lease{
		ClusterID: p.identity.ClusterID,
		Node:      n.ID,
		Revision:  n.revision,
		BootID:    h.BootID,
		Seq:       h.Seq,
		Duration:  duration,
	}, also...)
	if err != nil {
		p.Log.Error("lease", "node", n.ID, "err", err)
		return
	}
	// Before it is sent: one that is lost on the way may have arrived.
	n.leased, n.leaseOf, n.leaseBoot, n.leaseBeat = now, n.revision, h.BootID, now
	n.leaseEnd = latest(n.leaseEnd, now.Add(duration))
	if err := p.publish(wire.NodeTopic(n.ID, wire.KindLease), 0, false, signed); err != nil {
		p.Log.Warn("lease not published", "node", n.ID, "err", err)
	}
}

// isNode reports whether this boot of a machine is the one that the node is. What an
// agent says on another machine, booted from a copy of the disk, is not true of it.
func (p *Plane) isNode(n *node, machine string) bool {
	is, known := p.desired.Machines[n.ID]
	return known && wire.ParseMachine(is).Boot == wire.ParseMachine(machine).Boot
}

// recognize takes in that a node's agent was heard from a boot of a machine. After a
// reboot, or with the disk in another machine, the node is that one from then on; but
// not before the lease of the former one has ended, and not while that is heard. What is
// stateful may run on a former machine that nobody hears: without a lease for good, and
// with one if its agent stands still. Then a person has to say that it does not.
func (p *Plane) recognize(n *node, machine string, now time.Time) {
	was, known := p.desired.Machines[n.ID]
	is, heard := wire.ParseMachine(was), wire.ParseMachine(machine)
	if known && is.Same(heard) {
		n.recognized, n.another = now, "" // another boot of it has ended the former one
	}
	switch {
	case known && is == heard || p.deciding() != nil:
	case known && is.Boot == heard.Boot: // an agent that says more of its machine
		if is.Hardware == "" {
			p.become(n, machine)
		}
	case !n.leaseOver(now):
	case is.Same(heard):
		p.become(n, machine)
	case p.formerMayRun(n, now):
	case is.Other(heard) && len(p.heldBy(n.ID)) > 0:
		if n.another == "" {
			p.event("node-problem", n.ID, "", p.anotherMachine(n.ID))
		}
		n.another, p.dirty = machine, true
	default:
		p.become(n, machine)
	}
}

// formerMayRun reports whether the machine that a node was has not been silent for
// longer than a lease.
func (p *Plane) formerMayRun(n *node, now time.Time) bool {
	return now.Sub(n.recognized) <= p.desired.Wanted.LeaseOf(n.Node)+leaseMargin
}

// become makes a node the boot of a machine from now on. That is stored by the next
// pass, for all nodes together: a control plane that has just started could not tell it
// from a copy.
func (p *Plane) become(n *node, machine string) {
	if _, another := p.machines[n.ID]; another {
		return
	}
	if p.machines == nil {
		p.machines = map[string]string{}
	}
	p.machines[n.ID], p.dirty, n.another = machine, true, ""
}

// heldBy are the stateful instances that a node may run.
func (p *Plane) heldBy(node string) (list []string) {
	for instance, holder := range p.desired.Holders {
		if holder == node {
			list = append(list, instance)
		}
	}
	slices.Sort(list)
	return list
}

// anotherMachine says what is wrong with a node whose disk, or a copy of it, runs in
// another machine than before.
func (p *Plane) anotherMachine(node string) string {
	return fmt.Sprintf(
		"its disk or a copy of it runs in another machine, and %s may still run on the former one: if that is off for good, say so with `otto node accept-machine %s`",
		strings.Join(p.heldBy(node), ", "),
		node,
	)
}

// AcceptMachine takes a person's word that the machine that a node was is off for good.
func (p *Plane) AcceptMachine(ctx context.Context, id string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(id); err != nil {
			return err
		}
		n, now := p.nodes[id], time.Now()
		switch {
		case n.another == "":
			return fmt.Errorf("node %s is the machine that it was: there is nothing to accept", id)
		case p.formerMayRun(n, now):
			return fmt.Errorf("the former machine of node %s was heard a moment ago: switch it off first", id)
		}
		p.become(n, n.another)
		n.askAgain(now)
		n.wake()
		p.record(asked(ctx, "node-machine", id, "node is another machine from now on"))
		p.pass(now)
		p.publishView()
		return nil
	})
}

// storeMachines stores which machines were recognized. One that could not be is
// recognized again by its next heartbeat.
func (p *Plane) storeMachines(now time.Time) {
	machines := p.machines
	p.machines = nil
	maps.DeleteFunc(machines, func(id, _ string) bool { return p.nodes[id] == nil })
	if len(machines) == 0 {
		return
	}
	next := p.desired
	next.Machines = maps.Clone(next.Machines)
	if next.Machines == nil {
		next.Machines = map[string]string{}
	}
	maps.Copy(next.Machines, machines)
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		p.Log.Error("machines not stored, they get no lease", "err", err)
		return
	}
	p.desired, p.dirty = next, true
	for id := range machines {
		p.nodes[id].recognized = now
	}
}

// holdsAll reports whether there is anything stateful in the assignment that the
// node was sent, and the node is the holder of all of it.
func (p *Plane) holdsAll(n *node) bool {
	for _, i := range n.stateful {
		if p.desired.Holders[i] != n.ID {
			return false
		}
	}
	return len(n.stateful) > 0
}

// leaseOver reports whether no lease of the node can be valid any more.
func (n *node) leaseOver(now time.Time) bool { return now.After(n.leaseEnd.Add(leaseMargin)) }

// untilLeaseEnd is how long until the lease of a lost node is over, a tick at most.
func (p *Plane) untilLeaseEnd(now time.Time) time.Duration {
	next := tick
	for _, n := range p.nodes {
		if left := n.leaseEnd.Add(leaseMargin).Sub(now); n.state == otto.NodeLost && left >= 0 {
			next = min(next, left+time.Millisecond)
		}
	}
	return next
}

// hold returns the holders for a placement, and which instances are bound to them,
// and says for each instance that may not run at its place yet what it waits for.
// again says that placement has found everything as it was the last time. If then each
// instance was held where it is, it is so again, whatever nodes have said.
func (p *Plane) hold(placed map[string]string, again bool,
	now time.Time,
) (holders map[string]string, bound map[string]bool, waiting map[string]string) {
	if again && plan.Identical(p.holding.holders, p.desired.Holders) &&
		plan.Identical(p.holding.bound, p.desired.Bound) &&
		p.holding.steady {
		return p.desired.Holders, p.desired.Bound, nil
	}
	p.holding = holding{holders: p.desired.Holders, bound: p.desired.Bound}
	stay := 0 // instances that are held where they are, for good or with a lease
	holders, bound, waiting = map[string]string{}, map[string]bool{}, map[string]string{}
	for instance, holder := range p.desired.Holders {
		if p.unreleased(instance, holder, now).format != "" {
			holders[instance] = holder
			if p.desired.Bound[instance] && !p.fencedOn(holder, instance) {
				bound[instance] = true
			}
		}
	}
	for _, s := range p.index().Services {
		if !s.Fixed {
			continue
		}
		for _, i := range s.Names {
			at, holder := placed[i], holders[i]
			switch {
			case at == "":
			case holder == "" || holder == at:
				holders[i] = at
				if !s.Moves {
					bound[i] = true
				}
				if bound[i] != s.Moves {
					stay++
				}
			default:
				waiting[i] = p.unreleased(i, holder, now).String()
			}
		}
	}
	p.holding.steady = len(waiting) == 0 && stay == len(holders) && same(holders, p.desired.Holders) &&
		same(bound, p.desired.Bound)
	return holders, bound, waiting
}

// holding is what hold has found out of, and whether nothing was left to change.
type holding struct {
	holders map[string]string
	bound   map[string]bool
	steady  bool
}

// fencedOn reports whether a node has said that it obeys an assignment by which an
// instance must not run without a lease.
func (p *Plane) fencedOn(node, instance string) bool {
	said, heard := p.live(node)
	return heard && said.Revision == p.nodes[node].revision && slices.Contains(p.nodes[node].fenced, instance)
}

// why is a reason about a node, made into words when somebody asks.
type why struct{ format, node string }

func (w why) String() string { return strings.ReplaceAll(w.format, "NODE", w.node) }

// unreleased says why a holder may still run an instance; its zero value says that
// it cannot.
func (p *Plane) unreleased(instance, holder string, now time.Time) why {
	n := p.nodes[holder]
	if n == nil {
		if now.After(p.dismissed[holder].Add(leaseMargin)) {
			return why{}
		}
		return why{"waiting for its lease on NODE, which has left, to end", holder}
	}
	over := n.leaseOver(now)
	if n.state == otto.NodeLost {
		if p.desired.Bound[instance] {
			return why{
				"it may still run on NODE, which is lost and would not stop it: bring NODE back, or take it out with `otto node rm NODE`",
				holder,
			}
		}
		switch {
		case !over:
			return why{"waiting for its lease on NODE, which is lost, to end", holder}
		case n.unreachable == "":
			return why{"waiting to see whether NODE, which was lost, answers by now", holder}
		}
		return why{}
	}
	r, heard := p.live(holder)
	if !heard || n.published == "" || r.Revision != n.revision {
		return why{"waiting for NODE to say that it does not run there", holder}
	}
	if s := statusIn(r.Instances, instance); s != nil {
		if n.state == otto.NodeUnresponsive {
			return why{"it may still run on NODE, which is unresponsive and cannot stop it: restart NODE", holder}
		}
		if s.Fenced && over && n.state != otto.NodeSuspect { // it may have begun anew since it said so
			return why{}
		}
		return why{"waiting for NODE to stop it", holder}
	}
	if r.Engine.Problem != "" || slices.Contains(r.Strays, instance) {
		return why{"waiting for NODE to stop it", holder}
	}
	return why{}
}

// unsure says of each stateful instance that could run elsewhere why it must not be
// started yet. What is stored may be old: a copy of yesterday that was put back, after
// which another node was told to run it. So, at first, every node says what it
// runs, or its lease has ended. One of whose programs none has answered since, and which
// is not lost, may have been frozen, and has stopped nothing at the end of its lease. Nor
// has one that was lost, is there again and has not obeyed since: what went elsewhere
// meanwhile waits there if it has not begun.
func (p *Plane) unsure(now time.Time) map[string]string {
	list := map[string]string{}
	ended := p.Create || now.After(p.started.Add(p.desired.Lease+leaseMargin))
	if ended && !p.anyMayRunMore() {
		return list
	}
	var unheard []string
	where := map[string][]string{} // instances may run, as far as nodes say
	for _, id := range p.ids() {
		n := p.nodes[id]
		said, obeys := p.obedient(id)
		if !p.Create && (p.owes(n) || !ended && !obeys) {
			unheard = append(unheard, id)
		}
		var instances []string
		if ended {
			instances = p.mayRunMore(n)
		} else {
			instances = said.mayRun()
		}
		for _, instance := range instances {
			where[instance] = append(where[instance], id)
		}
	}
	judge := func(instance, holder string) {
		if at, obeys := p.obedient(holder); obeys && at.runs(instance) {
			return
		}
		if id := max(lastBut(holder, unheard), lastBut(holder, where[instance])); id != "" {
			list[instance] = fmt.Sprintf("not started before %s has said that it does not run it", id)
		}
	}
	if len(unheard) > 0 {
		for instance, holder := range p.desired.Holders {
			judge(instance, holder)
		}
		return list
	}
	for instance := range where { // of thousands that are held elsewhere there is nothing to say
		if holder, held := p.desired.Holders[instance]; held {
			judge(instance, holder)
		}
	}
	return list
}

// anyMayRunMore reports whether some node may run what it is not told to, although all
// leases of a former control plane have ended.
func (p *Plane) anyMayRunMore() bool {
	for _, n := range p.nodes {
		if !p.Create && p.owes(n) || len(p.mayRunMore(n)) > 0 {
			return true
		}
	}
	return false
}

// mayRunMore are the instances that a node has said it runs and should not, and, where it has
// not obeyed the newest assignment, those of the one before.
func (p *Plane) mayRunMore(n *node) []string {
	if n.report == nil || n.report.Revision == n.revision || n.state == otto.NodeLost || n.state == otto.NodeLeft {
		return p.strays(n)
	}
	return said{*n.report}.mayRun()
}

// owes reports whether a node has yet to obey this control plane and may be one that was
// frozen, or still is. One whose agent alone is silent is not, nor is one that is lost.
func (p *Plane) owes(n *node) bool {
	if n.obeyed {
		return false
	}
	if said, heard := p.live(n.ID); heard && bytes.Equal(said.Warrant, p.warrant) {
		n.obeyed = true
		return false
	}
	_, member := p.desired.Machines[n.ID]
	return member && n.reached == "" && n.state != otto.NodeLost && n.state != otto.NodeLeft
}

// strays are the instances that a node has said it runs and should not. That of an agent
// that has ended counts until the next one has reported, whose engine may let it wait.
func (p *Plane) strays(n *node) []string {
	if n.report == nil || n.state == otto.NodeLost && !p.isLive(n) {
		return nil
	}
	return n.report.Strays
}

// lastBut is the last of some ids that is not the one given; empty if there is none.
func lastBut(but string, ids []string) string {
	for _, id := range slices.Backward(ids) {
		if id != but {
			return id
		}
	}
	return ""
}

// said is what a node reports.
type said struct{ wire.Report }

// live is what the agent heard last reports of its node, if that is where it runs.
func (p *Plane) live(id string) (s said, heard bool) {
	n := p.nodes[id]
	if !p.isLive(n) {
		return s, false
	}
	return said{*n.report}, true
}

// obedient is what a node reports since it obeys this control plane. What it had
// reported before may have been overtaken by what a former one told it.
func (p *Plane) obedient(id string) (s said, obeys bool) {
	s, heard := p.live(id)
	return s, heard && bytes.Equal(s.Warrant, p.warrant) && s.Engine.Problem == ""
}

// isLive reports whether there is that of a node.
func (p *Plane) isLive(n *node) bool {
	return n != nil && n.report != nil && n.report.BootID == n.bootID && p.isNode(n, n.heardFrom)
}

// runs reports whether an instance runs, or is about to.
func (s said) runs(instance string) bool {
	return slices.ContainsFunc(s.Instances, func(i otto.InstanceStatus) bool {
		return i.Name == instance && i.State.Runs()
	})
}

// mayRun are the instances that may run, now or soon.
func (s said) mayRun() (names []string) {
	for i := range s.Instances {
		if !s.Instances[i].Fenced {
			names = append(names, s.Instances[i].Name)
		}
	}
	return append(names, s.Strays...)
}
