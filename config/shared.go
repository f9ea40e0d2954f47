package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// shared is a network or volume that several stacks use. It is another one on each node,
// so that they have to be on one.
type shared struct {
	what string // such as network proxy
	by   []*stack
}

// join makes stacks that share a network or volume one unit of placement. It would be
// another one on each node, and their services would look for each other in vain.
func (d *document) join(r *reader) {
	if len(d.nodes) < 2 {
		return
	}
	d.warnOfAlone(r)
	all := d.allShared()
	for _, group := range joined(d.stacks, all) {
		var names []string
		var home *stack
		for _, st := range group {
			names = append(names, st.name)
			switch {
			case st.node == "":
			case home == nil:
				home = st
			case home.node != st.node:
				d.rejectHomes(r, all, home, st)
				return
			}
		}
		if len(names) > 3 {
			names = append(names[:3], fmt.Sprintf("%d more", len(group)-3))
		}
		unit := strings.Join(names, "+")
		var members []*service
		for i := range d.services {
			s := &d.services[i]
			k := slices.IndexFunc(group, func(st *stack) bool { return st.name == s.Unit })
			if k < 0 {
				continue
			}
			s.Unit, s.Shares = unit, sharesWith(all, group[k])
			if home != nil {
				s.Node = home.node
			}
			members = append(members, s)
		}
		if home == nil && len(r.problems) == 0 {
			d.checkTogether(r, stack{name: unit}, members)
		}
		tie(members)
	}
}

// allShared are the networks and volumes that more than one stack uses, in the order of
// the file.
func (d *document) allShared() (all []*shared) {
	find := func(what string) *shared {
		i := slices.IndexFunc(all, func(s *shared) bool { return s.what == what })
		if i < 0 {
			i, all = len(all), append(all, &shared{what: what})
		}
		return all[i]
	}
	for _, s := range d.services {
		i := slices.IndexFunc(d.stacks, func(st stack) bool { return st.name == s.Unit })
		if i < 0 {
			continue
		}
		for _, what := range uses(s.Spec) {
			sh := find(what)
			if !slices.Contains(sh.by, &d.stacks[i]) {
				sh.by = append(sh.by, &d.stacks[i])
			}
		}
	}
	return slices.DeleteFunc(all, func(sh *shared) bool { return len(sh.by) < 2 })
}

// uses are the networks and volumes of a spec that others may use as well.
func uses(spec otto.ContainerSpec) (names []string) {
	for _, n := range spec.Networks {
		if !slices.Contains([]string{"", "bridge", "host", "none"}, n.Name) { // those are the engine's
			names = append(names, "network "+n.Name)
		}
	}
	for _, m := range spec.Mounts {
		if m.Type == otto.MountVolume && m.Source != "" {
			names = append(names, "volume "+m.Source)
		}
	}
	return names
}

// joined are the stacks that share something, directly or through others. Those that have
// homes share nothing with those of another one, if nobody else is between them.
func joined(stacks []stack, all []*shared) (groups [][]*stack) {
	of := map[*stack]*stack{} // the first one of its group
	for i := range stacks {
		of[&stacks[i]] = &stacks[i]
	}
	for _, sh := range all {
		free := slices.ContainsFunc(sh.by, func(st *stack) bool { return st.node == "" })
		for _, st := range sh.by {
			with := sh.by[slices.IndexFunc(sh.by, func(o *stack) bool { return free || o.node == st.node })]
			from, to := of[st], of[with]
			for other, first := range of {
				if first == from {
					of[other] = to
				}
			}
		}
	}
	for i := range stacks {
		var group []*stack
		for k := range stacks {
			if of[&stacks[k]] == of[&stacks[i]] {
				group = append(group, &stacks[k])
			}
		}
		if len(group) > 1 && group[0] == &stacks[i] {
			groups = append(groups, group)
		}
	}
	return groups
}

// rejectHomes says that stacks which share something have two homes.
func (d *document) rejectHomes(r *reader, all []*shared, a, b *stack) {
	for _, sh := range all { // between them stands one that may be anywhere
		i := slices.IndexFunc(sh.by, func(st *stack) bool { return st.node == "" })
		if i < 0 || !slices.ContainsFunc(sh.by, func(st *stack) bool { return st.node == a.node || st.node == b.node }) {
			continue
		}
		r.reject(sh.by[i].nameAt, "write node: "+a.node+" or node: "+b.node+" at it",
			"stack %s shares %s, and cannot be both with stack %s of node %s, in line %d, and with stack %s of node %s, in line %d",
			sh.by[i].name, sh.what, a.name, a.node, a.nodeAt.line, b.name, b.node, b.nodeAt.line)
		return
	}
}

// sharesWith is what a stack shares first, and with whom, as people say it.
func sharesWith(all []*shared, st *stack) string {
	for _, sh := range all {
		for _, o := range sh.by {
			if o != st && slices.Contains(sh.by, st) {
				return fmt.Sprintf("the %s of stack %s", sh.what, o.name)
			}
		}
	}
	return ""
}

// tie says of services that are placed together why they stay, if one of them has to.
func tie(members []*service) {
	i := slices.IndexFunc(members, func(s *service) bool { return s.Stays() != "" && s.Tied == "" })
	if i < 0 {
		return
	}
	for _, s := range members {
		if s.Stays() == "" {
			s.Tied = fmt.Sprintf("it is where %s is: %s", members[i].Name, members[i].Stays())
		}
	}
}

// warnOfAlone finds services that are placed one by one and use what stacks share with
// them.
func (d *document) warnOfAlone(r *reader) {
	for i := range d.services {
		s := &d.services[i]
		if s.Unit != "" || s.Global() {
			continue
		}
		for _, what := range uses(s.Spec) {
			k := slices.IndexFunc(d.services, func(o service) bool {
				return o.Unit != "" && !strings.HasPrefix(s.Name, o.Unit+"/") && !together(s.Service, o.Service) &&
					slices.Contains(uses(o.Spec), what)
			})
			if k >= 0 {
				r.warn(s.pos, "write the same node at both, or put it into a stack",
					"services %s and %s share %s, which is another one on each node, and may be placed on two",
					s.Name, d.services[k].Name, what)
			}
		}
	}
}
