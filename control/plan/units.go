package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/otto-edge/otto"
)

// Unit is services that are placed together: those of a stack, which expect to find
// each other on one host. Placement sees it as one service, which asks for all that
// they ask for, and so never has to choose a node for a part of it.
type Unit struct {
	Name    string // no service can be called so: stack shop
	Members []*Service
	// Service is all of them as one, for questions to a scheduler that has them one by
	// one: what it is apart from are services.
	Service otto.Service
	sum     otto.Service // the same without what others want to be apart from
}

// unite finds the units, and makes the index in which each is one service. What is in
// both indexes is taken over from the former one.
func (x *Index) unite(was *Index) {
	for _, s := range x.Services {
		if s.Unit == "" {
			continue
		}
		u := x.unitOf[s.Unit]
		if u == nil {
			if x.unitOf == nil {
				x.unitOf = map[string]*Unit{}
			}
			u = &Unit{Name: "stack " + s.Unit}
			x.unitOf[s.Unit], x.units = u, append(x.units, u)
		}
		u.Members = append(u.Members, s)
	}
	if len(x.units) == 0 {
		return
	}
	name := func(service string) string {
		if s, ok := x.Service(service); ok && s.Unit != "" {
			return x.unitOf[s.Unit].Name
		}
		return service
	}
	apart := x.apartFromUnits()
	whole := x.of
	whole.Services = make([]otto.Service, 0, len(x.Services))
	for _, s := range x.Services {
		one := s.Service
		if s.Unit != "" {
			u := x.unitOf[s.Unit]
			if u.Members[0] != s {
				continue
			}
			u.sum = u.sumAsIn(was)
			u.Service = u.sum
			u.Service.Placement.ApartFrom = slices.Concat(u.sum.Placement.ApartFrom, apart[u])
			one = u.Service
		}
		one.Placement.Near = renamed(one.Placement.Near, name)
		one.Placement.ApartFrom = renamed(one.Placement.ApartFrom, name)
		whole.Services = append(whole.Services, one)
	}
	var before *Index
	if was != nil {
		before = was.whole
	}
	x.whole = NewIndex(whole, before)
}

// apartFromUnits are the services that want to be apart from a member of a unit and are
// not in it: the unit is then apart from them, too.
func (x *Index) apartFromUnits() map[*Unit][]string {
	apart := map[*Unit][]string{}
	for _, o := range x.Services {
		for _, n := range o.Placement.ApartFrom {
			s, ok := x.Service(n)
			if !ok || s.Unit == "" || s.Unit == o.Unit {
				continue
			}
			if u := x.unitOf[s.Unit]; !slices.Contains(apart[u], o.Name) {
				apart[u] = append(apart[u], o.Name)
			}
		}
	}
	return apart
}

// sumAsIn is all members as one service, taken from a former index if none has changed.
func (u *Unit) sumAsIn(was *Index) otto.Service {
	if was != nil {
		if same := was.unitOf[u.Members[0].Unit]; same != nil && slices.Equal(same.Members, u.Members) {
			return same.sum
		}
	}
	return u.asOne()
}

// renamed is a list of services by other names, each once.
func renamed(list []string, name func(string) string) (out []string) {
	for _, n := range list {
		if n = name(n); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// asOne is one service that asks for what all members ask for. It may be started
// elsewhere only if each of them may.
func (u *Unit) asOne() otto.Service {
	first := u.Members[0].Service
	one := otto.Service{
		Name:     u.Name,
		Node:     first.Node,
		Replicas: 1,
		Failover: first.Failover,
		Rejoin:   first.Rejoin,
		Data:     otto.DataDisposable,
	}
	within := func(service string) bool {
		return slices.ContainsFunc(u.Members, func(m *Service) bool { return m.Name == service })
	}
	for _, s := range u.Members {
		if s.Failover != one.Failover {
			one.Failover = otto.FailoverStay
		}
		if s.Rejoin != one.Rejoin {
			one.Rejoin = ""
		}
		one.Platform, one.Tied = cmp.Or(one.Platform, s.Platform), cmp.Or(one.Tied, s.Tied)
		one.Reserve.CPU += float64(s.Replicas) * s.Reserve.CPU
		one.Reserve.MemoryBytes += int64(s.Replicas) * s.Reserve.MemoryBytes
		one.Spec.Resources.MemoryBytes = max(one.Spec.Resources.MemoryBytes, s.Spec.Resources.MemoryBytes)
		one.Spec.Ports = append(one.Spec.Ports, s.Spec.Ports...)
		one.Spec.Devices = append(one.Spec.Devices, s.Spec.Devices...)
		one.Spec.Exclusive = one.Spec.Exclusive || s.Fixed
		r := s.Placement
		one.Placement.Require = withNew(one.Placement.Require, r.Require)
		one.Placement.Prefer = withNew(one.Placement.Prefer, r.Prefer)
		one.Placement.Avoid = withNew(one.Placement.Avoid, r.Avoid)
		one.Placement.Near = append(one.Placement.Near, slices.DeleteFunc(slices.Clone(r.Near), within)...)
		one.Placement.ApartFrom = append(
			one.Placement.ApartFrom,
			slices.DeleteFunc(slices.Clone(r.ApartFrom), within)...)
		if s.Fixed && s.Data != otto.DataDisposable {
			one.Data = ""
			one.Spec.Mounts = append(one.Spec.Mounts, s.Spec.Mounts...)
		}
	}
	return one
}

// withNew adds expressions that are not there: what is said of a stack is said of each
// of its services.
func withNew(list, more []otto.Expression) []otto.Expression {
	for _, e := range more {
		if !slices.ContainsFunc(list, func(o otto.Expression) bool { return o.String() == e.String() }) {
			list = append(list, e)
		}
	}
	return list
}

// UnitOf is the unit of a service, nil if it is placed by itself.
func (x *Index) UnitOf(s *Service) *Unit { return x.unitOf[s.Unit] }

// Together are the instances that are where this one is, itself among them.
func (x *Index) Together(instance string) []string {
	s, ok := x.Owner(instance)
	if !ok || s.Unit == "" {
		return []string{instance}
	}
	return x.unitOf[s.Unit].instances()
}

func (u *Unit) instances() (names []string) {
	for _, s := range u.Members {
		names = append(names, s.Names...)
	}
	return names
}

// at is where a unit is: where its data is, else where most of its instances are.
func (u *Unit) at(was Placement) (node string) {
	count, most := map[string]int{}, 0
	for _, s := range u.Members {
		for _, name := range s.Names {
			at := was[name]
			if at == "" {
				continue
			}
			if s.keepsData() {
				return at
			}
			if count[at]++; count[at] > most {
				node, most = at, count[at]
			}
		}
	}
	return node
}

// keepsData reports whether the service needs the data of its node.
func (s *Service) keepsData() bool { return s.Fixed && s.Data != otto.DataDisposable }

// gather is a placement with each unit as one instance.
func (x *Index) gather(was Placement) Placement {
	out := maps.Clone(was)
	if out == nil {
		out = Placement{}
	}
	for _, u := range x.units {
		at := u.at(was)
		for _, name := range u.instances() {
			delete(out, name)
		}
		if at != "" {
			out[u.Name] = at
		}
	}
	return out
}

// gatherNodes is what is known of nodes with each unit as one service.
func (x *Index) gatherNodes(nodes []Node) []Node {
	out := slices.Clone(nodes)
	for i := range out {
		n := &out[i]
		for u := range x.unitsWithPast(n) {
			for _, s := range u.Members {
				if f := n.Failures[s.Name]; f > 0 {
					n.Failures = with(n.Failures, nodes[i].Failures, u.Name, max(f, n.Failures[u.Name]))
				}
				if n.Left[s.Name] {
					n.Left = with(n.Left, nodes[i].Left, u.Name, true)
				}
				if why := n.Bans[s.Name]; why != "" {
					n.Bans = with(n.Bans, nodes[i].Bans, u.Name, why)
				}
				if why := n.Unbuilt[s.Spec.Image]; why != "" {
					n.Unbuilt = with(n.Unbuilt, nodes[i].Unbuilt, u.Name, why)
				}
			}
		}
	}
	return out
}

// unitsWithPast are the units of which a node has anything to say. There are thousands of
// units and nodes, and hardly any pair of them has a past.
func (x *Index) unitsWithPast(n *Node) map[*Unit]bool {
	if len(n.Failures)+len(n.Left)+len(n.Bans)+len(n.Unbuilt) == 0 {
		return nil
	}
	units := map[*Unit]bool{}
	add := func(service string) {
		if s, ok := x.byName[service]; ok && s.Unit != "" {
			units[x.unitOf[s.Unit]] = true
		}
	}
	for name := range n.Failures {
		add(name)
	}
	for name := range n.Left {
		add(name)
	}
	for name := range n.Bans {
		add(name)
	}
	if len(n.Unbuilt) == 0 {
		return units
	}
	for _, u := range x.units {
		if slices.ContainsFunc(u.Members, func(s *Service) bool { return n.Unbuilt[s.Spec.Image] != "" }) {
			units[u] = true
		}
	}
	return units
}

// with sets a value in a map, which is copied if it is still the original.
func with[V any](m, original map[string]V, key string, v V) map[string]V {
	if Identical(m, original) {
		m = maps.Clone(m)
	}
	m[key] = v
	return m
}

// gatherTroubles are the units of which nothing works where they are, or whose image is
// not made for it. One member that fails takes the others nowhere.
func (x *Index) gatherTroubles(troubled map[string]string, was Placement, nodes []Node) map[string]string {
	out := maps.Clone(troubled)
	units, at := map[*Unit]bool{}, map[string]*Node{}
	for name := range troubled {
		if s, ok := x.Owner(name); ok && s.Unit != "" {
			units[x.unitOf[s.Unit]] = true
		}
	}
	if len(units) > 0 {
		at = byID(nodes)
	}
	for u := range units {
		all, why, unbuilt := true, "", ""
		for _, s := range u.Members {
			for _, name := range s.Names {
				delete(out, name)
				t := troubled[name]
				all, why = all && t != "", cmp.Or(why, t)
				if n := at[was[name]]; t != "" && n != nil && n.Unbuilt[s.Spec.Image] != "" {
					unbuilt = t
				}
			}
		}
		if why = cmp.Or(unbuilt, why); all || unbuilt != "" {
			out[u.Name] = why
		}
	}
	return out
}

func byID(nodes []Node) map[string]*Node {
	out := make(map[string]*Node, len(nodes))
	for i := range nodes {
		out[nodes[i].ID] = &nodes[i]
	}
	return out
}

// spread is a placement of units as one of their instances. What has its data on another
// node than the others stays there and says so.
func (x *Index) spread(p Placed, was Placement, nodes []Node) Placed {
	out := Placed{Placement: maps.Clone(p.Placement), Waiting: maps.Clone(p.Waiting)}
	if out.Waiting == nil {
		out.Waiting = map[string]string{}
	}
	reasons := map[string]string{}
	for _, m := range p.Moves {
		if _, single := x.byName[m.Service]; single {
			out.Moves = append(out.Moves, m)
			continue
		}
		reasons[m.Instance] = m.Reason
	}
	there := byID(nodes)
	for _, u := range x.units {
		at := p.Placement[u.Name]
		delete(out.Placement, u.Name)
		u.wait(out.Waiting, p.Waiting[u.Name])
		reason := cmp.Or(reasons[u.Name], "the rest of "+u.Name+" is there")
		for _, s := range u.Members {
			for _, name := range s.Names {
				from := was[name]
				exists := there[from] != nil
				switch {
				case from != "" && from != at && exists && s.keepsData():
					out.Placement[name] = from
					out.Waiting[name] = fmt.Sprintf("its data is on %s, and the rest of %s on %s", from, u.Name,
						cmp.Or(at, "no node"))
				case at == "":
				case from != at:
					m := Move{Instance: name, Service: s.Name, To: at}
					if exists {
						m.From, m.Reason = from, reason
					}
					out.Placement[name], out.Moves = at, append(out.Moves, m)
				default:
					out.Placement[name] = at
				}
			}
		}
	}
	return out
}

// wait has all instances of a unit wait for why, if that is not empty, and not the unit.
func (u *Unit) wait(waiting map[string]string, why string) {
	delete(waiting, u.Name)
	if why == "" {
		return
	}
	for _, name := range u.instances() {
		waiting[name] = why
	}
}

// stillWaiting is what waits while all stays where it is: what waits now, with units as
// one, and apart, which is where the data of a member is not with its unit.
func (x *Index) stillWaiting(now, apart map[string]string) map[string]string {
	out := maps.Clone(now)
	if out == nil {
		out = map[string]string{}
	}
	if len(now) > 0 {
		for _, u := range x.units {
			u.wait(out, now[u.Name])
		}
	}
	maps.Copy(out, apart)
	return out
}
