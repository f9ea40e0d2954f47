package config

import (
	"slices"

	"github.com/otto-edge/otto"
)

// unite makes the services of a stack ones that are placed together, but for those that
// run on every node: what keeps one of them on its node keeps all of them there, and
// if one must not run twice none of them may.
func (d *document) unite(r *reader, st stack, services []service) {
	var members []*service
	for i := range services {
		if services[i].Unit != "" {
			members = append(members, &services[i])
		}
	}
	if st.node == "" {
		d.checkTogether(r, st, members)
	}
	tie(members)
	stays := func(s *service) bool { return s.Stays() != "" }
	stateful := func(s *service) bool { return s.Stateful() }
	if !slices.ContainsFunc(members, stateful) || slices.ContainsFunc(members, stays) {
		return
	}
	for _, s := range members {
		if !s.Stateful() {
			s.Spec.Exclusive, s.leased, s.Data = true, true, otto.DataDisposable
		}
	}
}

// checkTogether finds what no node of the file can meet of what the services of a stack
// require together, although it can of each alone.
func (d *document) checkTogether(r *reader, st stack, members []*service) {
	type required struct {
		of *service
		at pos
		e  otto.Expression
	}
	var all []required
	var platform *service
	for _, s := range members {
		for i, e := range s.Placement.Require {
			all = append(all, required{s, s.placed.requireAt[i], e})
		}
		switch {
		case s.Platform == "":
		case platform == nil:
			platform = s
		case platform.Arch() != s.Arch():
			r.reject(s.placed.platformAt, "write node: at the stack, or another platform here",
				"stack %s is placed on one node, and service %s is for %s, service %s in line %d for %s", st.name,
				s.Name, s.Platform, platform.Name, platform.placed.platformAt.line, platform.Platform)
		}
	}
	meets := func(n node, list ...required) bool {
		return !slices.ContainsFunc(list, func(q required) bool { return !canMeet(n, q.e) })
	}
	some := func(list ...required) bool {
		return slices.ContainsFunc(d.nodes, func(n node) bool { return meets(n, list...) })
	}
	for i, b := range all {
		for _, a := range all[:i] {
			if a.of != b.of && some(a) && some(b) && !some(a, b) {
				r.reject(
					b.at,
					"require less, or give a node both labels",
					"stack %s is placed on one node, and none meets %.80q of service %s and %.80q of service %s in line %d",
					st.name,
					b.e,
					b.of.Name,
					a.e,
					a.of.Name,
					a.at.line,
				)
				return
			}
		}
	}
	if len(all) > 0 && !some(all...) && !slices.ContainsFunc(all, func(q required) bool { return !some(q) }) {
		last := all[len(all)-1]
		r.reject(last.at, "require less, or give a node all labels",
			"stack %s is placed on one node, and none meets all that its services require", st.name)
	}
}
