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

// With which data services have run on a node is remembered there, and here as well:
// a node whose card was written anew knows nothing any more. The node's own record
// holds, unless a person has decided something since.

// remembered is with which data services have run, by node; each list is in order of
// the sources, and is replaced and never changed in place.
type remembered map[string][]otto.Data

// learned is what is remembered of a node once that has said what it remembers. It is
// was if that is nothing new.
func learned(was, said []otto.Data) []otto.Data {
	next := was
	for _, d := range said {
		d.Problem, d.Since = "", time.Time{}
		i, known := slices.BinarySearchFunc(next, d.Source, bySource)
		switch {
		case known && (next[i] == d || d.Generation < next[i].Generation):
		case known:
			next = slices.Clone(next)
			next[i] = d
		default:
			next = slices.Insert(slices.Clone(next), i, d)
		}
	}
	return next
}

func bySource(d otto.Data, source string) int { return strings.Compare(d.Source, source) }

// accepted is what is remembered once a person has said that of these sources whatever
// is there counts, or nothing.
func accepted(was []otto.Data, sources []string) []otto.Data {
	next := slices.Clone(was)
	for i, d := range next {
		if slices.Contains(sources, d.Source) {
			next[i] = otto.Data{Source: d.Source, Generation: d.Generation + 1, Accepted: true, Adopted: d.Adopted}
		}
	}
	return next
}

// with is what is remembered of all nodes with another list for one.
func (r remembered) with(node string, list []otto.Data) remembered {
	next := maps.Clone(r)
	if next == nil {
		next = remembered{}
	}
	next[node] = list
	return next
}

// expected is what the instances of an assignment have to find on its node.
func (r remembered) expected(node string, instances []otto.Instance) (list []otto.Data) {
	known := r[node]
	if len(known) == 0 {
		return nil
	}
	wanted := map[string]bool{}
	for _, inst := range instances {
		if !inst.Disposable {
			for _, m := range inst.Spec.Kept() {
				wanted[m.Source] = true
			}
		}
	}
	for _, d := range known {
		if wanted[d.Source] {
			list = append(list, d)
		}
	}
	return list
}

// held says on which nodes services have run with each volume.
func (r remembered) held() plan.Held {
	held := plan.Held{}
	for _, node := range slices.Sorted(maps.Keys(r)) {
		for _, d := range r[node] {
			if d.IsVolume() {
				held[d.Source] = append(held[d.Source], node)
			}
		}
	}
	return held
}

// volumesOn are the volumes that a node has, or had: what has run with one that is gone
// waits for it there, and begins nowhere else. Of those that it says it has and was never
// given it gets nothing, and nothing that has run with such a one begins elsewhere.
func (p *Plane) volumesOn(n *node) (having, claimed map[string]bool) {
	if n.having == nil {
		n.having, n.doubted = p.believed(n)
		for _, d := range p.data[n.ID] {
			if d.IsVolume() && !n.having[d.Source] {
				n.having = maps.Clone(n.having)
				if n.having == nil {
					n.having = map[string]bool{}
				}
				n.having[d.Source] = true
			}
		}
	}
	return n.having, n.doubted
}

// remember stores what nodes have said of their data since.
func (p *Plane) remember() {
	next := p.data
	for _, id := range p.ids() {
		n := p.nodes[id]
		if n.report == nil || n.report == n.learned || !p.isLive(n) {
			continue
		}
		n.learned = n.report
		if list := learned(next[id], p.vouched(id, next[id], n.report.Data)); !slices.Equal(list, next[id]) {
			next = next.with(id, list)
		}
	}
	if plan.Identical(next, p.data) {
		return
	}
	if err := p.putData(next); err != nil {
		p.Log.Error("what nodes remember of data is not stored", "err", err)
		for _, n := range p.nodes {
			n.learned = nil // again
		}
	}
}

// putData stores what is remembered, and then goes by it.
func (p *Plane) putData(next remembered) error {
	if err := p.Store.Put(p.ctx, keyData, next); err != nil {
		return err
	}
	p.data, p.dirty = next, true
	p.forgetHaving()
	return nil
}

// forgetData forgets what was on nodes that have left with all that they had.
func (p *Plane) forgetData(nodes ...string) {
	p.forgetAdopted(nodes)
	next := maps.Clone(p.data)
	maps.DeleteFunc(next, func(id string, _ []otto.Data) bool { return slices.Contains(nodes, id) })
	if len(next) == len(p.data) {
		return
	}
	if err := p.putData(next); err != nil {
		p.Log.Error("data of a node not forgotten", "nodes", nodes, "err", err)
	}
}

// AcceptData says that a service has to go on with what is there of the data that it
// waits for: it is lost, or was restored by hand.
func (p *Plane) AcceptData(ctx context.Context, service string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		s, wanted := p.service(service)
		if !wanted {
			return p.unknown(service)
		}
		next, events := p.data, []otto.Event{}
		for _, name := range p.desired.Wanted.InstanceNames(s) {
			n := p.nodes[p.desired.Placement[name]]
			if n == nil || n.report == nil {
				continue
			}
			lost := lostBy(s, n.report.Data)
			if len(lost) == 0 {
				continue
			}
			var sources, names []string
			for _, d := range lost {
				sources, names = append(sources, d.Source), append(names, d.String())
			}
			next = next.with(n.ID, accepted(learned(next[n.ID], n.report.Data), sources))
			e := asked(ctx, "data-accepted", n.ID,
				fmt.Sprintf("%s goes on with what is there now of %s", name, strings.Join(names, ", ")))
			e.Service = service
			events = append(events, e)
		}
		if len(events) == 0 {
			return fmt.Errorf("service %s does not wait for data: nothing that it has run with is known to be gone",
				service)
		}
		if err := p.putData(next); err != nil {
			return err
		}
		for _, e := range events {
			p.record(e)
		}
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}

// lostBy is what a service has run with, and what its node says is gone.
func lostBy(s otto.Service, said []otto.Data) (lost []otto.Data) {
	for _, m := range s.Spec.Kept() {
		for _, d := range said {
			if d.Source == m.Source && d.Problem != "" {
				lost = append(lost, d)
			}
		}
	}
	return lost
}

// adopted is what is remembered of a volume of a node that a person has adopted: the one
// with which a service has run there, if the node says so, even if it is gone, else whatever
// is there.
func (p *Plane) adopted(node, volume string) otto.Data {
	if said := p.nodes[node].report; said != nil {
		for _, d := range said.Data {
			if d.Source == volume && d.ID != (otto.DataID{}) && (d.Problem == "" || d.Problem == otto.DataMissing) {
				d.Generation++
				return d
			}
		}
	}
	return otto.Data{Source: volume, Accepted: true, Adopted: true, Generation: 1}
}

// AdoptVolume makes a volume of a node the cluster's, although it was made for another
// one or by hand: whatever is in it counts.
func (p *Plane) AdoptVolume(ctx context.Context, node, volume string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if err := p.known(node); err != nil {
			return err
		}
		mounts := func(s otto.Service) bool { return slices.Contains(s.Spec.Volumes(), volume) }
		if !slices.ContainsFunc(p.desired.Wanted.Services, mounts) {
			return fmt.Errorf("no service has a volume %s", volume)
		}
		was := p.data[node]
		i, known := slices.BinarySearchFunc(was, volume, bySource)
		d := p.adopted(node, volume)
		next := slices.Clone(was)
		if known {
			d.Generation = max(d.Generation, was[i].Generation+1)
			next[i] = d
		} else {
			next = slices.Insert(next, i, d)
		}
		if err := p.putData(p.data.with(node, next)); err != nil {
			return err
		}
		p.record(asked(ctx, "volume-adopted", node, "volume "+volume+" is this cluster's now, with what is in it"))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}
