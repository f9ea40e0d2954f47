package control

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Data of projects: a service has where it is on this machine, and its mount the name of the
// volume that another node has it in. A node that has been given such an instance and has no
// such volume says so, and gets it from here, once. From then on it is the node's, as with any
// volume.

// withSeeds holds back what the agent of a node is too old for.
func (n *node) withSeeds(instances []otto.Instance) {
	n.seeds = nil
	for k := range instances {
		i := &instances[k]
		for _, m := range i.Spec.Seeded() {
			n.seeds = append(n.seeds, m.Source)
			if !n.knowsSeeds {
				i.Hold = cmp.Or(i.Hold,
					"the agent on "+n.ID+" takes in no data of a project: it is older and will be replaced, or its "+
						"container engine is on another machine")
			}
		}
	}
}

// takesSeeds takes in whether an agent knows data that is brought to it.
func (n *node) takesSeeds(yes bool) {
	if n.knowsSeeds != yes {
		n.knowsSeeds, n.untold = yes, true
	}
}

// seedNodes begins to bring nodes the data that they wait for, one volume at a time. The loop
// calls it all the time.
func (p *Plane) seedNodes(now time.Time) {
	if p.Seed == nil || p.desired.Wanted.Stopped {
		return
	}
	for id, n := range p.nodes {
		var asked []string // for what instances there have by its last assignment
		if n.report != nil {
			asked = slices.DeleteFunc(slices.Clone(n.report.Unseeded), func(v string) bool { return !slices.Contains(n.seeds, v) })
		}
		volume := n.seeding.due(asked, now)
		if volume == "" || n.state != otto.NodeReady {
			continue
		}
		seed, disposable, ok := seedOf(p.desired.Wanted, volume)
		if !ok {
			continue // what is wanted has changed since
		}
		if others := p.elsewhere(volume, id); len(others) > 0 && !disposable {
			p.seeded(id, volume, seed, fmt.Errorf("it is on node %s already, and belongs there: write node: %s",
				strings.Join(others, " and on node "), strings.Join(others, " or ")), now)
			continue
		}
		n.seeding.busy = true
		to := n.Node
		p.background.Go(func() {
			err := p.Seed(p.ctx, to, volume, seed)
			p.tell(p.ctx, func() { p.seeded(id, volume, seed, err, time.Now()) })
		})
	}
}

// elsewhere are the other nodes that have a volume or have run with it.
func (p *Plane) elsewhere(volume, node string) (nodes []string) {
	for _, id := range p.ids() {
		if id == node {
			continue
		}
		if having, claimed := p.volumesOn(p.nodes[id]); having[volume] || claimed[volume] {
			nodes = append(nodes, id)
		}
	}
	return nodes
}

// seedOf is where the data of a volume is on this machine, and whether all that has it may
// begin anew on another node.
func seedOf(w otto.Wanted, volume string) (of otto.Seed, disposable, ok bool) {
	disposable = true
	for i := range w.Services {
		if s, has := w.Services[i].Seeds[volume]; has {
			of, ok = s, true
			disposable = disposable && w.Services[i].Data == otto.DataDisposable
		}
	}
	return of, disposable, ok
}

// seeded takes in how that went.
func (p *Plane) seeded(id, volume string, of otto.Seed, err error, now time.Time) {
	n := p.nodes[id]
	if n == nil {
		return
	}
	p.dirty = true
	if err == nil {
		n.seeding.arrived(volume, now)
		p.event("data-brought", id, "", "the data "+of.String()+" is on node "+id+" now, and stays there")
		return
	}
	why := "the data " + of.String() + " could not be brought there: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	if n.seeding.failed(volume, id, why, now) {
		p.event("data-not-brought", id, "", why)
	}
}

// plannedSeeds is the data that would go to nodes, and what is said of data that would not, of
// services that would change.
func (p *Plane) plannedSeeds(w otto.Wanted, placed plan.Placement, changes []otto.Change) (seeds []otto.PlannedSeed, notes []string) {
	note := func(s *otto.Service, format string, args ...any) {
		if slices.ContainsFunc(changes, func(c otto.Change) bool { return c.Noun == "service" && c.Name == s.Name }) {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	for i := range w.Services {
		s := &w.Services[i]
		inUse := s.Spec.Volumes()
		for _, volume := range slices.Sorted(maps.Keys(s.Seeds)) {
			of := s.Seeds[volume]
			if !slices.Contains(inUse, volume) {
				note(s, "data %s of service %s is used in place on this machine", of, s.Name)
				continue
			}
			for _, name := range w.InstanceNames(*s) {
				at := cmp.Or(placed[name], s.Node)
				known := slices.ContainsFunc(seeds, func(o otto.PlannedSeed) bool { return o.Volume == volume && o.Node == at })
				if known || at == "" && len(p.elsewhere(volume, "")) > 0 {
					continue
				}
				if n := p.nodes[at]; n != nil {
					if having, _ := p.volumesOn(n); having[volume] {
						note(s, "data %s of service %s is on node %s", of, s.Name, at)
						continue
					}
				}
				seeds = append(seeds, otto.PlannedSeed{Volume: volume, Node: at, Seed: of})
			}
		}
	}
	return seeds, notes
}
