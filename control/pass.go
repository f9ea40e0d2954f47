package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// pass makes everything follow from what is known now, and returns when to
// look again. It is cheap when nothing has changed, and harmless when repeated.
func (p *Plane) pass(now time.Time) (next time.Duration) {
	look := p.look || p.dirty || !now.Before(p.judged)
	if look {
		p.look, p.judged = false, now.Add(p.judge(now))
	}
	next = p.judged.Sub(now)
	if p.deciding() != nil {
		return next
	}
	p.storeMachines(now)
	p.storeRecords()
	if p.desired.Restored {
		return next
	}
	p.remember()
	p.endReleases()
	p.recount(now)
	p.retireFormer()
	p.requireProofs()
	p.endRenewal(now)
	if look {
		p.snapshot(now)
		p.bringFolders(now)
		p.seedNodes(now)
	}
	p.evaluate(now)
	if at := p.required.lasted; at.After(now) {
		next = min(next, at.Sub(now))
	}
	if !p.dirty && now.Before(p.again) {
		return min(next, p.again.Sub(now))
	}
	p.dirty, p.again = false, now.Add(p.untilLeaseEnd(now))
	p.keepAll()
	p.advance(now)
	p.decide(now) // before place, which sees to it that what has moved waits for its former node
	p.place(now)
	p.roll(now)
	p.require()
	p.assign(now)
	p.summarize(now)
	p.part()
	return min(next, p.again.Sub(now))
}

// keepAll sees to it that there is a keeper for each node that should have one.
func (p *Plane) keepAll() {
	if p.desired.Wanted.Stopped {
		return
	}
	var ids []string
	for _, id := range p.ids() {
		if n := p.nodes[id]; !n.leaving && n.keeper == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		_ = p.enroll(ids...) // what fails is tried again by each keeper, which says so
	}
	for _, id := range ids {
		p.keep(p.nodes[id])
	}
}

const (
	// placeAfter is how long instances without a home wait for all nodes to be
	// ready before they are placed on those that are.
	placeAfter = 5 * time.Second
	// sickAfter is how long an engine may be out of order before services that may
	// move leave the node.
	sickAfter = 30 * time.Second
	// troubleAfter is how long an instance may fail, for all its restarts, before
	// it is tried on another node if it may move.
	troubleAfter = time.Minute
	// wellAfter is how long it must run well before its trouble is over: one that is
	// restarted because it is unhealthy always runs well for a while.
	wellAfter = 2 * time.Minute
)

// place finds a node for every instance, decides who holds the stateful ones, and
// writes it down.
func (p *Plane) place(now time.Time) {
	w := p.desired.Wanted
	if w.Stopped {
		return
	}
	settled := now.Sub(p.started) > placeAfter
	undecided := false
	for _, n := range w.Nodes {
		known := p.nodes[n.ID]
		undecided = undecided || known.problem == "" && (known.state == otto.NodeJoining || known.report == nil)
	}
	placed, again := p.settled.Place(p.index(), p.recalled(now), p.plannedNodes(now), p.troubled(now))
	if undecided && !settled { // more nodes may come: keep to homes and former places
		for name := range placed.Placement {
			if p.desired.Placement[name] == "" && !p.homed(name) {
				delete(placed.Placement, name)
				placed.Waiting[name] = "waiting for all nodes to be ready"
			}
		}
		placed.Moves = slices.DeleteFunc(placed.Moves,
			func(m plan.Move) bool { return placed.Placement[m.Instance] == "" })
	}
	holders, bound, waiting := p.hold(placed.Placement, again, now)
	for i, why := range placed.Waiting {
		if waiting[i] == "" && placed.Placement[i] == "" || p.waiting[i] != why {
			p.tellWaiting(i, placed.Placement[i], why)
		}
	}
	given := p.give(placed.Placement)
	if !same(placed.Placement, p.desired.Placement) || !same(holders, p.desired.Holders) ||
		!same(bound, p.desired.Bound) ||
		!plan.Identical(given, p.desired.Given) {
		next := p.desired
		next.Placement, next.Holders, next.Bound, next.Given = placed.Placement, holders, bound, given
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			p.Log.Error("placement not stored, nothing is changed", "err", err)
			return
		}
		p.desired = next
		p.forgetHaving()
		for _, m := range placed.Moves {
			p.tellMove(m, now)
		}
	}
	for i, why := range waiting {
		if s, ok := p.index().Owner(i); ok && otto.Wording(p.held[i]) != otto.Wording(why) {
			p.event("service-waiting", placed.Placement[i], s.Name, i+": "+why)
		}
	}
	if p.held = waiting; !same(placed.Waiting, p.waiting) { // what has not changed is not told anew
		p.waiting = placed.Waiting
	}
}

// same compares maps, most of which have not been made anew.
func same[M ~map[string]V, V comparable](a, b M) bool {
	return plan.Identical(a, b) || maps.Equal(a, b)
}

// planned is what placement needs to know of a node.
func (p *Plane) planned(n *node, now time.Time) plan.Node {
	intent := p.desired.Intents[n.ID]
	sick := ""
	if n.report != nil {
		sick = n.report.Engine.Problem
	}
	machine := n.machine()
	machine.Volumes, machine.Claimed = p.volumesOn(n)
	machine.Unbuilt = p.unbuiltFor(n.facts.Arch, now)
	_, member := p.desired.Machines[n.ID] // one that was never heard has nothing of the cluster's
	machine.Untold = member && n.volumes == nil
	out := plan.Node{
		ID:       n.ID,
		Memory:   n.facts.MemoryBytes,
		Failures: n.failing(now),
		Machine:  machine,
		Left:     p.away(n.ID, now),
		Stable: n.state == otto.NodeReady && now.Sub(n.since) > stableAfter && sick == "" && !intent.Cordoned &&
			!n.flaps.Suppressed(now),
	}
	switch {
	case n.state != otto.NodeReady:
		out.Refuse = "it is " + string(n.state)
		if n.state == otto.NodeJoining || n.state == otto.NodeSuspect {
			out.Refuse = "not ready"
		}
	case intent.Cordoned:
		out.Refuse = "cordoned"
	case sick != "" || n.report == nil:
		out.Refuse = "its engine is not ready"
	case n.flaps.Suppressed(now):
		out.Refuse = "it comes and goes too often"
	}
	switch {
	case p.doubts != "":
	case n.state == otto.NodeLost:
		out.Gone = "is lost"
		if !n.leaseOver(now) {
			out.Unfenced = "may still run there, until its lease ends"
		}
	case n.state == otto.NodeUnresponsive:
		out.Gone, out.Unfenced = "is unresponsive", "may still run there, and nobody can stop it"
	case n.state == otto.NodeDraining:
		out.Gone, out.Drained = "is being drained", true
	case n.state == otto.NodeReady && !n.sick.IsZero() && now.Sub(n.sick) > sickAfter:
		out.Gone = "has an engine that does not work: " + sick
		if !n.leaseOver(now) {
			out.Unfenced = "may still run there, until its lease ends"
		}
	}
	return out
}

// troubled are the instances that have failed for too long where they are.
func (p *Plane) troubled(now time.Time) map[string]string {
	var list map[string]string
	for instance, t := range p.troubles {
		if !t.well.IsZero() && now.Sub(t.well) > wellAfter {
			delete(p.troubles, instance)
		}
		if n := p.nodes[t.node]; n != nil && n.state == otto.NodeReady && p.desired.Placement[instance] == t.node &&
			t.well.IsZero() &&
			(t.hopeless || now.Sub(t.since) > troubleAfter) && (t.lacks == "" || p.holder(t.lacks, t.node) != "") {
			if list == nil {
				list = map[string]string{}
			}
			list[instance] = t.why
		}
	}
	return list
}

// trouble is an instance that has failed since.
type trouble struct {
	node, why string
	since     time.Time
	hopeless  bool      // it is not going to change
	lacks     string    // the image it waits for, which was built
	well      time.Time // since when it has been running well again; zero if it does not
}

// noteTroubles takes in from a report which instances fail.
func (p *Plane) noteTroubles(n *node, now time.Time) {
	maps.DeleteFunc(p.troubles, func(instance string, t trouble) bool {
		return t.node == n.ID && p.desired.Placement[instance] != n.ID
	})
	for _, i := range n.report.Instances {
		if p.desired.Placement[i.Name] != n.ID {
			continue // it is on its way out
		}
		p.noteBuild(n, i, now)
		lacks := p.awaited(i)
		failing := i.State == otto.InstanceFailed || i.State == otto.InstanceUnhealthy || lacks != ""
		t, known := p.troubles[i.Name]
		switch {
		case failing && (!known || t.node != n.ID || !t.well.IsZero() && now.Sub(t.well) > wellAfter):
			p.troubles[i.Name] = trouble{
				node:     n.ID,
				why:      string(i.State) + ": " + cmp.Or(i.Error, i.Reason),
				since:    now,
				hopeless: i.WrongPlatform,
				lacks:    lacks,
			}
		case failing:
			t.well, t.hopeless, t.lacks = time.Time{}, t.hopeless || i.WrongPlatform, lacks
			p.troubles[i.Name] = t
		case !known || t.node != n.ID:
		case i.State == otto.InstanceWaiting && t.lacks != "": // it has come
			delete(p.troubles, i.Name)
		case i.State == otto.InstanceCompleted || i.State == otto.InstanceStopped || i.State == otto.InstancePaused:
			delete(p.troubles, i.Name)
		case i.State == otto.InstanceRunning && t.well.IsZero():
			t.well = now
			p.troubles[i.Name] = t
		}
	}
	switch {
	case n.report.Engine.Problem == "":
		n.sick = time.Time{}
	case n.sick.IsZero():
		n.sick = now
	}
}

// tellMove makes an event of a decision.
func (p *Plane) tellMove(m plan.Move, now time.Time) {
	if m.From == "" {
		p.event("service-placed", m.To, m.Service, fmt.Sprintf("%s goes to %s", m.Instance, m.To))
		return
	}
	if p.standsIn(m, now) {
		return
	}
	if t, ok := p.troubles[m.Instance]; ok && t.node == m.From {
		p.nodes[m.From].fail(m.Service, now)
		delete(p.troubles, m.Instance)
	}
	p.event("service-moved", m.To, m.Service,
		fmt.Sprintf("%s moves from %s to %s: %s", m.Instance, m.From, m.To, m.Reason))
}

// tellWaiting makes an event of an instance that has to wait, once for each reason,
// whatever the numbers in it: what is free on a node changes all the time.
func (p *Plane) tellWaiting(instance, node, why string) {
	if was := p.waiting[instance]; was == why || otto.Wording(was) == otto.Wording(why) {
		return
	}
	if s, ok := p.index().Owner(instance); ok {
		p.event("service-waiting", node, s.Name, instance+": "+why)
	}
}

func (p *Plane) homed(instance string) bool {
	s, ok := p.index().Owner(instance)
	return ok && (s.Node != "" || s.Global())
}

// part takes leave of nodes that are no longer wanted: first their containers
// go, by an empty assignment, then Otto itself.
func (p *Plane) part() {
	for _, n := range p.nodes {
		if !n.leaving || n.step != "" {
			continue
		}
		done := n.removed ||
			n.report != nil && n.report.Settled && !n.revision.Before(otto.Revision{Epoch: p.epoch}) &&
				n.report.Revision == n.revision
		if !done && time.Since(n.since) < leaveWithin {
			continue
		}
		n.step = "uninstalling"
		by := p.authority()
		p.background.Go(func() { p.sayGoodbye(n, by) })
	}
}

// leaveWithin is how long a leaving node has to remove its containers before
// Otto is taken off it over SSH, containers and all.
const leaveWithin = 30 * time.Second

func (p *Plane) sayGoodbye(n *node, by wire.Authority) {
	n.keeper.release()
	err := p.Reach.Uninstall(p.ctx, n.Node, by, false)
	p.tell(p.ctx, func() {
		if err != nil {
			p.event("node-problem", n.ID, "", "left the cluster, but Otto could not be removed from it: "+err.Error())
		}
		next := p.desired
		next.Given = takenFrom(next.Given, n.ID)
		if err := p.departed(next, n.ID); err != nil {
			p.Log.Error("leaving node not forgotten", "node", n.ID, "err", err)
			return
		}
		p.forgetData(n.ID)
		p.event("node-left", n.ID, "", "node has left the cluster")
	})
}

// departed makes next what is desired, and forgets nodes that Otto has been taken off.
func (p *Plane) departed(next desired, nodes ...string) error {
	next.Leaving = slices.DeleteFunc(slices.Clone(next.Leaving),
		func(n otto.Node) bool { return slices.Contains(nodes, n.ID) })
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		return err
	}
	p.desired, p.dirty = next, true
	for _, id := range nodes {
		n := p.nodes[id]
		if n == nil {
			continue
		}
		delete(p.nodes, id)
		p.sorted = nil
		if err := p.dismiss(id); err != nil {
			p.Log.Error("secrets of a node not forgotten", "node", id, "err", err)
		}
		p.dismissed[id] = n.leaseEnd
		p.forget(id)
	}
	return nil
}
