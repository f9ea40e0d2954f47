package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/target"
)

// unknown says that there is no service of a name, and what may be meant by it.
func (p *Plane) unknown(name string) error {
	t, err := target.Find(p.Cluster(), name)
	if err == nil && t.Node == "" {
		return fmt.Errorf("no service %q: did you mean %s?", name, cmp.Or(t.Instance, t.Service))
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is a node, and no service", name)
}

// ExplainService says why a service's instances are where they are, and not
// elsewhere.
func (p *Plane) ExplainService(ctx context.Context, name string) (e otto.Explanation, err error) {
	err = p.call(ctx, func() error {
		w := p.desired.Wanted
		s, wanted := p.index().Service(name)
		if !wanted {
			return p.unknown(name)
		}
		list := plan.Explain(w, p.desired.Placement, p.plannedNodes(time.Now()), p.waiting, s.Service)
		verdicts, decided := p.required.verdicts(owner{service: name}), p.decided(time.Now())
		for i := range list {
			at := &list[i]
			for _, v := range verdicts {
				if v.Instance == at.Name {
					at.Verdicts = append(at.Verdicts, v)
				}
			}
			for _, d := range decided {
				if d.Instance == at.Name || d.For == at.Name {
					at.Decisions = append(at.Decisions, d)
				}
			}
			now := p.instance(s, at.Name)
			at.State, at.Last = now.State, p.lastPlaced(s.Name, at.Name)
			if at.Node != "" && at.Waits == "" {
				at.Waits = now.Reason
			}
		}
		e.Service = &otto.ServiceExplanation{Name: name, Instances: list}
		return nil
	})
	return e, err
}

// ExplainNode says why a node is in its state, what is on it and what could not be.
func (p *Plane) ExplainNode(ctx context.Context, id string) (e otto.Explanation, err error) {
	err = p.call(ctx, func() error {
		if err := p.known(id); err != nil {
			return err
		}
		w, now := p.desired.Wanted, time.Now()
		n, planned := p.nodes[id], p.planned(p.nodes[id], now)
		here, refused := plan.ExplainNode(w, p.desired.Placement, p.plannedNodes(now), id)
		x := &otto.NodeExplanation{ID: id, State: n.state, Why: n.reason, Refuses: planned.Refuse, Leaves: planned.Gone, Instances: []otto.InstanceHere{}, Refused: refused}
		x.Verdicts = p.required.verdicts(owner{node: id})
		for _, d := range p.decided(now) {
			if d.Node == id || d.To == id {
				x.Decisions = append(x.Decisions, d)
			}
		}
		for _, s := range p.services() {
			for _, i := range s.Instances {
				if i.Node == id {
					x.Instances = append(x.Instances, otto.InstanceHere{Name: i.Name, State: i.State, Why: here[i.Name]})
				}
			}
		}
		e.Node = x
		return nil
	})
	return e, err
}

// plannedNodes is what placement knows of the wanted nodes.
func (p *Plane) plannedNodes(now time.Time) []plan.Node {
	nodes := make([]plan.Node, 0, len(p.desired.Wanted.Nodes))
	for _, n := range p.desired.Wanted.Nodes {
		nodes = append(nodes, p.planned(p.nodes[n.ID], now))
	}
	return p.withoutBuilt(p.banned(nodes, now), now)
}

// banned are the nodes with the services that are not to come to them for a time.
// Decisions weigh that themselves, as they say until when it is so.
func (p *Plane) banned(nodes []plan.Node, now time.Time) []plan.Node {
	bans := p.desired.Memory.Bans(p.desired.Placement, p.desired.Wanted.DecisionsOf(), now)
	for i := range nodes {
		nodes[i].Bans = bans[nodes[i].ID]
	}
	return nodes
}

// lastPlaced is the last event of how an instance came to its place.
func (p *Plane) lastPlaced(service, instance string) *otto.Event {
	kept, _ := p.Events(0)
	for _, e := range slices.Backward(kept) {
		switch e.Kind {
		case "service-placed", "service-moving", "service-moved", "service-move-failed", "service-stand-in", "service-kept":
			if e.Service == service && strings.HasPrefix(e.Message, instance+" ") {
				return &e
			}
		}
	}
	return nil
}
