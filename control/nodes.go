package control

import (
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

// Intend writes down what a person wants of a node, and follows it. The node
// keeps it through restarts of everything, until another intent replaces it.
func (p *Plane) Intend(ctx context.Context, id string, intent otto.Intent) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(id); err != nil {
			return err
		}
		was := p.desired.Intents[id]
		if was.Cordoned == intent.Cordoned && was.Draining == intent.Draining && was.By != otto.ByOtto {
			return nil
		}
		intent.By, intent.Why = otto.By(ctx), ""
		next := p.desired
		next.Intents = maps.Clone(next.Intents)
		if next.Intents == nil {
			next.Intents = map[string]otto.Intent{}
		}
		kind, message := "node-cordoned", "node is cordoned: it takes nothing new"
		switch {
		case intent.Draining:
			kind, message = "node-drained", "node is drained: what can run elsewhere leaves it"
		case !intent.Cordoned:
			kind, message = "node-uncordoned", "node takes services again"
		}
		if intent.Cordoned || intent.Draining {
			next.Intents[id] = intent
		} else {
			delete(next.Intents, id)
		}
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			return err
		}
		p.desired, p.dirty = next, true
		p.record(asked(ctx, kind, id, message))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}

// Remove takes a node out of the cluster at once: it is cut off from the broker,
// its services go elsewhere if they may, and Otto is taken off it in the
// background if it can be reached.
func (p *Plane) Remove(ctx context.Context, id string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(id); err != nil {
			return err
		}
		w := p.desired.Wanted
		for _, s := range w.Services {
			if s.Node == id {
				return fmt.Errorf("service %s has its home on %s: give it another one in otto.yaml, or take it out, before the node goes", s.Name, id)
			}
			for _, i := range w.InstanceNames(s) {
				if p.desired.Placement[i] == id && !s.Mobile() && !s.Global() {
					return fmt.Errorf("service %s is on %s and cannot leave it: %s", i, id, s.Stays())
				}
			}
		}
		w.Nodes = slices.DeleteFunc(slices.Clone(w.Nodes), func(n otto.Node) bool { return n.ID == id })
		p.nodes[id].removed = true
		p.record(asked(ctx, "node-removed", id, "node is cut off and taken out of the cluster"))
		if err := p.want(ctx, w, plan.NewIndex(w, p.index())); err != nil {
			p.nodes[id].removed = false
			return err
		}
		if err := p.dismiss(id); err != nil {
			return err
		}
		if p.Kick != nil {
			p.Kick(id, nil)
		}
		p.forget(id)
		return nil
	})
}

// known is nil for a node that is wanted.
func (p *Plane) known(id string) error {
	var ids []string
	for _, n := range p.desired.Wanted.Nodes {
		if n.ID == id {
			return nil
		}
		ids = append(ids, n.ID)
	}
	return fmt.Errorf("no node %q: there are %s", id, strings.Join(ids, ", "))
}

// forget clears what the broker retains of a node.
func (p *Plane) forget(id string) {
	for _, k := range []wire.Kind{wire.KindAssignment, wire.KindStatus, wire.KindInstances, wire.KindEvents} {
		_ = p.publish(wire.NodeTopic(id, k), 1, true, []byte{})
	}
}
