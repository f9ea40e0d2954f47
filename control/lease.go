package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
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
	if p.deciding() != nil || !p.isNode(n, h.Machine) || p.desired.Wanted.Stopped || n.published == "" || !p.holdsAll(n) {
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
	signed, err := wire.SignLease(p.identity.Key, wire.Lease{
		ClusterID: p.identity.ClusterID, Node: n.ID, Revision: n.revision, BootID: h.BootID, Seq: h.Seq, Duration: duration,
	})
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
	return known && is == machine
}

// recognize takes in that a node's agent was heard from a boot of a machine. After a
// reboot, or with the disk in another machine, the node is that one from then on; but
// not before the lease of the former one has ended, and not while that is heard: it
// may run what needs no lease. Which one it is, is stored: a control plane that has
// just started could not tell it from a copy.
func (p *Plane) recognize(n *node, machine string, now time.Time) {
	if p.isNode(n, machine) {
		n.recognized = now
		return
	}
	if p.deciding() != nil || !n.leaseOver(now) || now.Sub(n.recognized) <= p.desired.Wanted.LeaseOf(n.Node)+leaseMargin {
		return
	}
	next := p.desired
	next.Machines = maps.Clone(next.Machines)
	if next.Machines == nil {
		next.Machines = map[string]string{}
	}
	next.Machines[n.ID] = machine
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		p.Log.Error("machine not stored, it gets no lease", "node", n.ID, "err", err)
		return
	}
	p.desired, p.dirty, n.recognized = next, true, now
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
func (p *Plane) hold(w otto.Wanted, placed map[string]string, now time.Time) (holders map[string]string, bound map[string]bool, waiting map[string]string) {
	holders, bound, waiting = map[string]string{}, map[string]bool{}, map[string]string{}
	for instance, holder := range p.desired.Holders {
		if p.unreleased(instance, holder, now) != "" {
			holders[instance] = holder
			if p.desired.Bound[instance] && !p.fencedOn(holder, instance) {
				bound[instance] = true
			}
		}
	}
	for _, s := range w.Services {
		if !s.Stateful() {
			continue
		}
		for _, i := range w.InstanceNames(s) {
			at, holder := placed[i], holders[i]
			switch {
			case at == "":
			case holder == "" || holder == at:
				holders[i] = at
				if !s.Mobile() {
					bound[i] = true
				}
			default:
				waiting[i] = p.unreleased(i, holder, now)
			}
		}
	}
	return holders, bound, waiting
}

// fencedOn reports whether a node has said that it obeys an assignment by which an
// instance must not run without a lease.
func (p *Plane) fencedOn(node, instance string) bool {
	said, heard := p.live(node)
	return heard && said.Revision == p.nodes[node].revision && slices.Contains(p.nodes[node].fenced, instance)
}

// unreleased says why a holder may still run an instance, or "" if it cannot.
func (p *Plane) unreleased(instance, holder string, now time.Time) string {
	n := p.nodes[holder]
	if n == nil {
		if now.After(p.dismissed[holder].Add(leaseMargin)) {
			return ""
		}
		return fmt.Sprintf("waiting for its lease on %s, which has left, to end", holder)
	}
	over := n.leaseOver(now)
	if n.state == otto.NodeLost {
		if p.desired.Bound[instance] {
			return fmt.Sprintf("it may still run on %s, which is lost and would not stop it: bring %s back, or take it out with `otto node rm %s`", holder, holder, holder)
		}
		if over {
			return ""
		}
		return fmt.Sprintf("waiting for its lease on %s, which is lost, to end", holder)
	}
	r, heard := p.live(holder)
	if !heard || n.published == "" || r.Revision != n.revision {
		return fmt.Sprintf("waiting for %s to say that it does not run there", holder)
	}
	if k := slices.IndexFunc(r.Instances, func(s otto.InstanceStatus) bool { return s.Name == instance }); k >= 0 {
		if r.Instances[k].Fenced && over {
			return ""
		}
		return fmt.Sprintf("waiting for %s to stop it", holder)
	}
	if r.Engine.Problem != "" || slices.Contains(r.Strays, instance) {
		return fmt.Sprintf("waiting for %s to stop it", holder)
	}
	return ""
}

// unsure says of each stateful instance that could run elsewhere why it must not be
// started yet. What is stored may be old: a copy of yesterday that was put back, after
// which another node was told to run it. So, at first, every node says what it
// runs, or its lease has ended.
func (p *Plane) unsure(now time.Time) map[string]string {
	list := map[string]string{}
	if p.Create || now.After(p.started.Add(p.desired.Lease+leaseMargin)) {
		return list
	}
	for instance, holder := range p.desired.Holders {
		if at, _ := p.live(holder); at.runs(instance) {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
			if other, heard := p.live(id); id != holder && (!heard || other.may(instance)) {
				list[instance] = fmt.Sprintf("not started before %s has said that it does not run it", id)
			}
		}
	}
	return list
}

// said is what a node reports.
type said struct{ wire.Report }

// live is what the agent heard last reports of its node, if that is where it runs.
func (p *Plane) live(id string) (s said, heard bool) {
	n := p.nodes[id]
	if n == nil || n.report == nil || n.report.BootID != n.bootID || !p.isNode(n, n.heardFrom) {
		return s, false
	}
	return said{*n.report}, true
}

// runs reports whether an instance runs, or is about to.
func (s said) runs(instance string) bool {
	return slices.ContainsFunc(s.Instances, func(i otto.InstanceStatus) bool {
		return i.Name == instance && (i.State == otto.InstanceRunning || i.State == otto.InstanceStarting || i.State == otto.InstanceUnhealthy)
	})
}

// may reports whether an instance may run, now or soon.
func (s said) may(instance string) bool {
	return slices.Contains(s.Strays, instance) || slices.ContainsFunc(s.Instances, func(i otto.InstanceStatus) bool {
		return i.Name == instance && !i.Fenced
	})
}
