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
)

// What is taken over from Compose has no label that says so, and labels cannot be changed.
// So the cluster owns it by a record: here, and on the node with its assignment. What
// follows from the record is ordinary: a container of Compose's is the former one of its
// instance's first update, and a volume is data that was there.

// adoptions are the records, by stack. They are replaced and never changed in place.
type adoptions map[string]otto.Adoption

// on is what is the cluster's by record on a node that has these instances. Containers of
// services that are not wanted anywhere any more are Compose's again.
func (a adoptions) on(node string, instances []otto.Instance, wanted *plan.Index) (t otto.Taken) {
	for _, stack := range slices.Sorted(maps.Keys(a)) {
		of := a[stack]
		if of.Node != node {
			continue
		}
		here := slices.ContainsFunc(instances, func(i otto.Instance) bool { return strings.HasPrefix(i.Service, stack+"/") })
		if !here {
			t.Given = append(t.Given, of.Given...)
		}
		for i := range instances {
			if _, releasing := of.Releasing[instances[i].Name]; releasing {
				t.Releasing = append(t.Releasing, instances[i].Name)
			}
		}
		t.Networks = append(t.Networks, of.Networks...)
		for _, c := range of.Containers {
			switch {
			case slices.ContainsFunc(instances, func(i otto.Instance) bool { return i.Name == c.Instance }):
				t.Containers = append(t.Containers, c)
			case !isWanted(wanted, c.Service):
				t.Back = append(t.Back, c)
			}
		}
	}
	return t
}

func isWanted(wanted *plan.Index, service string) bool {
	_, is := wanted.Service(service)
	return is
}

// backSince are the nodes on which containers of Compose's are its own again, or no more, by
// what is wanted now.
func (a adoptions) backSince(was, now *plan.Index) (nodes []string) {
	for _, of := range a {
		changed := func(c otto.TakenContainer) bool { return isWanted(was, c.Service) != isWanted(now, c.Service) }
		if slices.ContainsFunc(of.Containers, changed) {
			nodes = append(nodes, of.Node)
		}
	}
	return nodes
}

// release notes in instances of a node which of them are given back, and how.
func (a adoptions) release(node string, instances []otto.Instance) {
	for _, of := range a {
		if of.Node != node {
			continue
		}
		for i := range instances {
			if r, releasing := of.Releasing[instances[i].Name]; releasing {
				instances[i].Release, instances[i].StartFirst = &r, false
			}
		}
	}
}

// with is a record with what is new of the same stack on the same node. What was taken over
// before stays: one that is told again has less to tell.
func (a adoptions) with(of otto.Adoption) adoptions {
	if was, known := a[of.Stack]; known && was.Node == of.Node {
		composed := maps.Clone(was.Composed)
		if composed == nil {
			composed = map[string]otto.Composed{}
		}
		maps.Copy(composed, of.Composed)
		of.Composed = composed
		for _, c := range was.Containers {
			if _, again := of.Container(c.ID); !again {
				of.Containers = append(of.Containers, c)
			}
		}
		for _, n := range was.Networks {
			if _, again := of.Network(n.ID); !again {
				of.Networks = append(of.Networks, n)
			}
		}
	}
	return a.put(of)
}

func (a adoptions) put(of otto.Adoption) adoptions {
	next := maps.Clone(a)
	if next == nil {
		next = adoptions{}
	}
	next[of.Stack] = of
	return next
}

// Adopt makes containers, networks and volumes of a Compose project the cluster's, with what
// is in them. Nothing of them is changed before a service follows them.
func (p *Plane) Adopt(ctx context.Context, of otto.Adoption) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(of.Node); err != nil {
			return err
		}
		for stack, other := range p.takeovers {
			for _, c := range of.Containers {
				if _, twice := other.Container(c.ID); twice && stack != of.Stack {
					return fmt.Errorf("container %.12s is taken over by stack %s already", c.ID, stack)
				}
			}
		}
		// The data first: what is not remembered would be somebody's to whoever starts.
		if list := withVolumes(p.data[of.Node], of.Volumes); !slices.Equal(list, p.data[of.Node]) {
			if err := p.putData(p.data.with(of.Node, list)); err != nil {
				return err
			}
		}
		of.Back, of.Volumes, of.Releasing, of.Given = nil, nil, nil, nil
		if err := p.putAdopted(p.takeovers.with(of)); err != nil {
			return err
		}
		p.record(asked(ctx, "stack-adopted", of.Node, fmt.Sprintf("stack %s takes over %d containers and %d networks of Compose",
			of.Stack, len(of.Containers), len(of.Networks))))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}

// withVolumes is what is remembered of a node with volumes that are the cluster's from now
// on. They were there: were one gone, what needs it would wait, and not begin anew.
func withVolumes(was []otto.Data, volumes []otto.DataRecord) []otto.Data {
	next := slices.Clone(was)
	for _, v := range volumes {
		d := otto.Data{Source: v.Name, ID: otto.DataID{Volume: v.ID}, Adopted: true, Generation: 1}
		i, known := slices.BinarySearchFunc(next, v.Name, bySource)
		switch {
		case !known:
			next = slices.Insert(next, i, d)
		case next[i].Accepted || next[i].ID != d.ID || !next[i].Adopted:
			d.Generation = next[i].Generation + 1
			next[i] = d
		}
	}
	return next
}

// putAdopted stores the records, and then goes by them.
func (p *Plane) putAdopted(next adoptions) error {
	if err := p.Store.Put(p.ctx, keyTakeovers, next); err != nil {
		return err
	}
	p.takeovers, p.dirty = next, true
	return nil
}

// forgetAdopted forgets what was taken over on nodes that have left.
func (p *Plane) forgetAdopted(nodes []string) {
	next := maps.Clone(p.takeovers)
	maps.DeleteFunc(next, func(_ string, of otto.Adoption) bool { return slices.Contains(nodes, of.Node) })
	if len(next) == len(p.takeovers) {
		return
	}
	if err := p.putAdopted(next); err != nil {
		p.Log.Error("what was taken over on a node not forgotten", "nodes", nodes, "err", err)
	}
}
