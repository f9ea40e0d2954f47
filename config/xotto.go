package config

import (
	"path"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// xOtto is the key under which a Compose file says what Compose has no key for.
const xOtto = "x-otto"

// stackRules are the keys that a stack may have beside compose in otto.yaml, and under
// x-otto in its Compose file.
func stackRules() map[string]key[stack] {
	rules := object[service]{noun: "placement", keys: map[string]key[service]{}}
	for name, k := range placementRules() {
		if name != "spread" && name != "max_per_node" { // it is on one node
			rules.keys[name] = k
		}
	}
	placement := nested("On which nodes it may be, and would rather be.", rules)
	requirements := requirementsKey(
		"What must hold for each of its services.",
		ofService,
		func(s *service) *[]requirement { return &s.requirements },
	)
	of := func(s *stack) *service { return &s.rules }
	return map[string]key[stack]{
		"node": {
			"Id of the node that is the home of all of it; without it Otto chooses one.",
			schema{"type": "string"},
			func(r *reader, v value, s *stack) {
				s.node, _ = text("the id of a node").read(r, v)
				s.nodeAt = v.pos
			},
		},
		"failover": as("move or stay when its node is lost; a stack with a home stays, one without moves.",
			choice(otto.FailoverMove, otto.FailoverStay), func(s *stack) *string { return &s.failover }),
		"rejoin": as("keep (default) or home: whether it goes back when its home is back.",
			choice(otto.RejoinKeep, otto.RejoinHome), func(s *stack) *string { return &s.rejoin }),
		"data": as("disposable: it may start anew on another node without its data.",
			choice(otto.DataDisposable), func(s *stack) *string { return &s.data }),
		"paths":        pathsKey(),
		"placement":    within(placement, of),
		"requirements": within(requirements, of),
	}
}

// readXOtto reads what a Compose file says of its stack. What otto.yaml says of it as
// well counts there, but two homes are a mistake: data may be on either.
func (r *reader) readXOtto(v value, s *stack) {
	if v.kind == mapping {
		own := v
		own.fields = nil
		for _, f := range v.fields {
			i := slices.IndexFunc(s.given, func(g field) bool { return g.name == f.name })
			if _, rule := stackRules()[f.name]; i < 0 || !rule {
				own.fields = append(own.fields, f)
				continue
			}
			g := s.given[i]
			switch {
			case alike(g.value, f.value):
			case f.name == "node":
				r.reject(f.pos, "take one of them out", "stack %s has another node at line %d of %s",
					s.name, g.pos.line, path.Base(g.pos.file))
			default:
				r.warn(f.pos, "take one of them out", "line %d of %s says another %s of stack %s, and that counts",
					g.pos.line, path.Base(g.pos.file), f.name, s.name)
			}
		}
		v = own
	}
	object[stack]{noun: xOtto, keys: stackRules()}.read(r, v, s)
}

// alike reports whether two values say the same, wherever they stand.
func alike(a, b value) bool {
	return a.kind == b.kind && a.text == b.text && slices.EqualFunc(a.items, b.items, alike) &&
		slices.EqualFunc(sorted(a.fields), sorted(b.fields), func(a, b field) bool {
			return a.name == b.name && alike(a.value, b.value)
		})
}

func sorted(fields []field) []field {
	return slices.SortedFunc(slices.Values(fields), func(a, b field) int { return strings.Compare(a.name, b.name) })
}

// xOttoKey is what a service of a Compose file says that Compose has no key for.
func xOttoKey() key[service] {
	whole := wholeKeys()
	o := object[service]{noun: xOtto, keys: map[string]key[service]{
		"placement": placementKeys()["placement"],
		"apart": {
			"Whether it is placed by itself, and not with its stack.",
			boolean().schema,
			func(r *reader, v value, s *service) { s.apart, _ = boolean().read(r, v) },
		},
	}}
	alone := []string{"data", "failover", "node", "rejoin"}
	for _, name := range append(alone, "decisions", "probe", "requirements", "secret_environment", "stateful", "update") {
		o.keys[name] = whole[name]
	}
	return key[service]{"What Compose has no key for.", o.schema(), func(r *reader, v value, s *service) {
		s.xAt = v.pos
		if !o.read(r, v, s) || s.apart {
			return
		}
		for _, f := range v.fields {
			switch {
			case slices.Contains(alone, f.name):
				r.reject(f.pos, "write it under x-otto at the top, or apart: true beside it",
					"service %s goes where its stack goes, and has no %s of its own", s.Name, f.name)
			case f.name == "placement" && (f.has("spread") || f.has("max_per_node")):
				r.reject(f.pos, "write apart: true beside it, or take spread and max_per_node out",
					"all containers of service %s are on the node of its stack", s.Name)
			}
		}
	}}
}

// rule adds what a stack says of all its services to one, whose name is still without
// that of the stack, as are all in names.
func (s *service) rule(st stack, names []string) {
	of := st.rules
	if s.Unit != "" {
		p, more := &s.Placement, of.Placement
		p.Require, p.Prefer = append(p.Require, more.Require...), append(p.Prefer, more.Prefer...)
		p.Avoid = append(p.Avoid, more.Avoid...)
		s.placed.requireAt = append(s.placed.requireAt, of.placed.requireAt...)
		for i, n := range more.Near {
			if !slices.Contains(p.Near, n) {
				p.Near, s.placed.nearAt = append(p.Near, n), append(s.placed.nearAt, of.placed.nearAt[i])
			}
		}
		for i, n := range more.ApartFrom {
			if !slices.Contains(p.ApartFrom, n) {
				p.ApartFrom = append(p.ApartFrom, n)
				s.placed.apartAt = append(s.placed.apartAt, of.placed.apartAt[i])
			}
		}
	}
	for _, list := range [][]string{s.Placement.Near, s.Placement.ApartFrom} {
		for i, n := range list {
			if slices.Contains(names, n) {
				list[i] = st.name + "/" + n
			}
		}
	}
	s.requirements = append(s.requirements, of.requirements...)
}

// checkApart finds volumes that a service which is placed by itself shares with others of
// its stack: on another node it would have another one of that name.
func (d *document) checkApart(r *reader, services []service) {
	for i := range services {
		s := &services[i]
		if !s.apart {
			continue
		}
		for k := range services {
			o := &services[k]
			if o == s || o.apart && k < i || s.Node != "" && s.Node == o.Node {
				continue
			}
			mine := s.Spec.Volumes()
			for _, v := range o.Spec.Volumes() {
				if slices.Contains(mine, v) {
					r.reject(s.xAt, "take apart out, or write the same node for both",
						"services %s and %s share volume %s, and may be on two nodes with one each", o.Name, s.Name, v)
				}
			}
		}
	}
}

// overlay is a file with another one over it, for the places of what they say together.
func overlay(a, b value) value {
	if a.kind != mapping || b.kind != mapping {
		if b.line == 0 {
			return a
		}
		return b
	}
	a.fields = slices.Clone(a.fields)
	for _, f := range b.fields {
		i := slices.IndexFunc(a.fields, func(o field) bool { return o.name == f.name })
		if i < 0 {
			a.fields = append(a.fields, f)
			continue
		}
		over := overlay(a.fields[i].value, f.value)
		if over.kind != mapping {
			a.fields[i].pos = f.pos
		}
		a.fields[i].value = over
	}
	return a
}
