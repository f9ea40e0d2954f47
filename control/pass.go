package control

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/health"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// pass makes everything follow from what is known now. It is cheap when nothing
// has changed, and harmless when repeated.
func (p *Plane) pass() {
	now := time.Now()
	for _, n := range p.nodes {
		p.judge(n, now)
		if !p.desired.Wanted.Stopped && !n.leaving && n.keeper == nil {
			p.keep(n)
		}
	}
	p.place(now)
	p.assign()
	p.summarize()
	p.part()
}

// judge updates a node's state.
func (p *Plane) judge(n *node, now time.Time) {
	state, reason := health.Judge(health.Evidence{
		Watching: p.watching, Heard: n.heard, Goodbye: n.goodbye,
		Unreachable: n.unreachable, Stopped: p.desired.Wanted.Stopped,
	}, p.Limits, now)
	if n.leaving {
		state, reason = otto.NodeLeaving, "taken out of the cluster"
	}
	changed := state != n.state
	n.reason = reason
	if !changed {
		return
	}
	n.state, n.since = state, now
	if state == otto.NodeSuspect {
		n.wake()
	}
	message := "node is " + string(state)
	if reason != "" {
		message += ": " + reason
	}
	p.event("node-"+string(state), n.ID, "", message)
}

// placeAfter is how long instances without a home wait for all nodes to be
// ready before they are placed on those that are.
const placeAfter = 5 * time.Second

// place finds a node for every instance that has none, and writes it down.
func (p *Plane) place(now time.Time) {
	w := p.desired.Wanted
	if w.Stopped {
		return
	}
	var nodes []plan.Node
	settled := now.Sub(p.started) > placeAfter
	undecided := false
	for _, n := range w.Nodes {
		known := p.nodes[n.ID]
		nodes = append(nodes, plan.Node{ID: n.ID, Ready: known.state == otto.NodeReady})
		undecided = undecided || known.state != otto.NodeReady && known.problem == ""
	}
	placed, unplaced := plan.Place(w, p.desired.Placement, nodes)
	if undecided && !settled { // more nodes may come: keep to homes and former places
		for name := range placed {
			if p.desired.Placement[name] == "" && !homed(w, name) {
				delete(placed, name)
				unplaced[name] = "waiting for all nodes to be ready"
			}
		}
	}
	p.unplaced = unplaced
	if maps.Equal(placed, p.desired.Placement) {
		return
	}
	next := p.desired
	next.Placement = placed
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		p.Log.Error("placement not stored, nothing is changed", "err", err)
		return
	}
	p.desired = next
}

func homed(w otto.Wanted, instance string) bool {
	return slices.ContainsFunc(w.Services, func(s otto.Service) bool {
		return s.Node != "" && slices.Contains(s.InstanceNames(), instance)
	})
}

// assign publishes the assignment of every node for which it has changed.
func (p *Plane) assign() {
	if p.watching.IsZero() {
		return
	}
	reports := map[string][]otto.InstanceStatus{}
	for id, n := range p.nodes {
		if n.report != nil {
			reports[id] = n.report.Instances
		}
	}
	ids := slices.Sorted(maps.Keys(p.nodes))
	for id, a := range plan.Assignments(p.desired.Wanted, p.desired.Placement, ids, reports) {
		n := p.nodes[id]
		content, err := json.Marshal(a)
		if err != nil {
			p.Log.Error("assignment", "node", id, "err", err)
			continue
		}
		if string(content) == n.published {
			continue
		}
		p.number++
		a.ClusterID = p.identity.ClusterID
		a.Revision = otto.Revision{Epoch: p.epoch, Number: p.number}
		signed, err := wire.SignAssignment(p.identity.Key, a)
		if err != nil {
			n.problem = "its assignment cannot be sent: " + err.Error()
			p.Log.Error("assignment", "node", id, "err", err)
			continue
		}
		if err := p.publish(wire.NodeTopic(id, wire.KindAssignment), 1, true, signed); err != nil {
			p.Log.Warn("assignment not published", "node", id, "err", err)
			continue
		}
		n.published, n.revision = string(content), a.Revision
	}
}

// part takes leave of nodes that are no longer wanted: first their containers
// go, by an empty assignment, then Otto itself.
func (p *Plane) part() {
	for _, n := range p.nodes {
		if !n.leaving || n.step != "" {
			continue
		}
		done := n.report != nil && n.report.Settled && !n.revision.Before(otto.Revision{Epoch: p.epoch}) && n.report.Revision == n.revision
		if !done && time.Since(n.since) < leaveWithin {
			continue
		}
		n.step = "uninstalling"
		p.background.Go(func() { p.sayGoodbye(n) })
	}
}

// leaveWithin is how long a leaving node has to remove its containers before
// Otto is taken off it over SSH, containers and all.
const leaveWithin = 30 * time.Second

func (p *Plane) sayGoodbye(n *node) {
	n.keeper.release()
	err := p.Reach.Uninstall(p.ctx, n.Node, p.Name, false)
	p.tell(p.ctx, func() {
		if err != nil {
			p.event("node-problem", n.ID, "", "left the cluster, but Otto could not be removed from it: "+err.Error())
		}
		next := p.desired
		next.Leaving = slices.DeleteFunc(slices.Clone(next.Leaving), func(l otto.Node) bool { return l.ID == n.ID })
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			p.Log.Error("leaving node not forgotten", "err", err)
			return
		}
		p.desired = next
		delete(p.nodes, n.ID)
		if err := p.dismiss(n.ID); err != nil {
			p.Log.Error("secrets of a node not forgotten", "node", n.ID, "err", err)
		}
		for _, k := range []wire.Kind{wire.KindAssignment, wire.KindStatus, wire.KindInstances} {
			_ = p.publish(wire.NodeTopic(n.ID, k), 1, true, []byte{})
		}
		p.event("node-left", n.ID, "", "node has left the cluster")
	})
}

// summarize publishes each service's summary when it has changed.
func (p *Plane) summarize() {
	if p.watching.IsZero() {
		return
	}
	for _, s := range p.services() {
		sum := wire.ServiceSummary{Service: s.Name, State: string(otto.InstanceRunning), Nodes: []string{}, Wanted: s.Replicas}
		for _, i := range s.Instances {
			if i.Node != "" && !slices.Contains(sum.Nodes, i.Node) {
				sum.Nodes = append(sum.Nodes, i.Node)
			}
			if i.Up() {
				sum.Up++
			} else {
				sum.State, sum.Error = string(i.State), i.Error
			}
		}
		b, err := wire.Encode(sum)
		if err != nil || p.summaries[s.Name] == string(b) {
			continue
		}
		p.tellState(s.Name, sum)
		if p.publish(wire.ServiceTopic(s.Name), 1, true, b) == nil {
			p.summaries[s.Name] = string(b)
		}
	}
}

// tellState makes an event of a service that has come up or gone wrong; the
// steps between are not worth one.
func (p *Plane) tellState(service string, sum wire.ServiceSummary) {
	switch otto.InstanceState(sum.State) {
	case otto.InstanceRunning, otto.InstanceFailed, otto.InstanceUnhealthy:
	default:
		return
	}
	if p.told[service] == sum.State {
		return
	}
	p.told[service] = sum.State
	message := "service is " + sum.State
	if sum.Error != "" {
		message += ": " + sum.Error
	}
	p.event("service-"+sum.State, strings.Join(sum.Nodes, ","), service, message)
}
