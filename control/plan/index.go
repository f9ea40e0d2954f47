package plan

import (
	"reflect"
	"slices"

	"github.com/otto-edge/otto"
)

// Index is what is wanted with what follows from that alone, so that no pass over
// it has to be found out again. It is immutable.
type Index struct {
	of        otto.Wanted
	Services  []*Service // in the order of the file
	byName    map[string]*Service
	positions map[string]int
	instances map[string]*Service
	nodes     map[string]*otto.Node
	// Dependents are the services that depend on one, by its name.
	Dependents map[string][]*Service
	Metrics    map[string]bool // that something is required of
	Devices    []string        // that some service uses
	units      []*Unit         // in the order of the file
	unitOf     map[string]*Unit
	whole      *Index // with each unit as one service; nil without any
}

// Service is a wanted service with what follows from it. The same pointer in two
// indexes means that nothing of it has changed. It is a copy, so that it does not keep
// alive all that was wanted with it.
type Service struct {
	otto.Service
	Names    []string           // of its instances
	Hash     string             // of its spec
	Required []otto.Requirement // all that concern it
	Fixed    bool               // it is stateful, and may not run twice
	Moves    bool               // it may be started on another node
}

// NewIndex returns the index of what is wanted. What has not changed since another
// one was made is taken over from there; was may be nil.
func NewIndex(w otto.Wanted, was *Index) *Index {
	x := &Index{
		of:         w,
		Services:   make([]*Service, len(w.Services)),
		byName:     make(map[string]*Service, len(w.Services)),
		positions:  make(map[string]int, len(w.Services)),
		instances:  map[string]*Service{},
		nodes:      map[string]*otto.Node{},
		Dependents: map[string][]*Service{},
		Metrics:    map[string]bool{},
	}
	sameNodes := was != nil &&
		slices.EqualFunc(was.of.Nodes, w.Nodes, func(a, b otto.Node) bool { return a.ID == b.ID })
	sameAll := was != nil && reflect.DeepEqual(was.of.Requirements, w.Requirements)
	same := was != nil && identical(was.of.Services, w.Services)
	for k := range w.Services {
		s := &w.Services[k]
		var e *Service
		if sameAll && (sameNodes || !s.Global()) {
			e, _ = was.Service(s.Name)
		}
		if e == nil || !same && !reflect.DeepEqual(&e.Service, s) {
			e = &Service{
				Service:  *s,
				Names:    w.InstanceNames(*s),
				Hash:     s.Spec.Hash(),
				Required: w.RequirementsOf(*s),
				Fixed:    s.Stateful(),
				Moves:    s.Mobile(),
			}
		}
		x.Services[k], x.byName[s.Name], x.positions[s.Name] = e, e, k
		for _, d := range s.DependsOn {
			x.Dependents[d.Service] = append(x.Dependents[d.Service], e)
		}
		x.measure(e.Required)
		for _, name := range e.Names {
			if _, taken := x.instances[name]; !taken {
				x.instances[name] = e
			}
		}
	}
	x.Devices = w.Devices()
	x.measure(w.Requirements)
	for i := range w.Nodes {
		x.nodes[w.Nodes[i].ID] = &w.Nodes[i]
		x.measure(w.Nodes[i].Requirements)
	}
	x.unite(was)
	return x
}

func (x *Index) measure(list []otto.Requirement) {
	for i := range list {
		x.Metrics[list[i].Metric] = true
	}
}

// IsOf reports whether the index is of what is wanted. What is wanted is never
// changed in place, so it is compared by where it is.
func (x *Index) IsOf(w otto.Wanted) bool {
	return x != nil && x.of.Stopped == w.Stopped && identical(x.of.Services, w.Services) &&
		identical(x.of.Nodes, w.Nodes) &&
		identical(x.of.Requirements, w.Requirements)
}

// SameForAll reports whether nodes, and what is required of all, are the same in two
// indexes.
func (x *Index) SameForAll(other *Index) bool {
	return (identical(x.of.Nodes, other.of.Nodes) || reflect.DeepEqual(x.of.Nodes, other.of.Nodes)) &&
		(identical(x.of.Requirements, other.of.Requirements) || reflect.DeepEqual(x.of.Requirements, other.of.Requirements))
}

// Node is the wanted node of an id, nil if there is none.
func (x *Index) Node(id string) *otto.Node { return x.nodes[id] }

func identical[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Service is the wanted service of a name.
func (x *Index) Service(name string) (*Service, bool) {
	s, ok := x.byName[name]
	return s, ok
}

// Owner is the wanted service of an instance.
func (x *Index) Owner(instance string) (*Service, bool) {
	s, ok := x.instances[instance]
	return s, ok
}

// RequirementsOn are all that concern a node.
func (x *Index) RequirementsOn(n otto.Node) []otto.Requirement { return x.of.RequirementsOn(n) }

// Position is where a service stands in the file.
func (x *Index) Position(s *Service) int { return x.positions[s.Name] }

// Alike reports whether two services, or a service before and after a change, ask the
// same of the nodes that they are on.
func (s *Service) Alike(o *Service) bool {
	return s.Mode == o.Mode && s.Node == o.Node && s.Unit == o.Unit && s.Rejoin == o.Rejoin && s.Platform == o.Platform && s.Fixed == o.Fixed && s.Moves == o.Moves &&
		s.Reserve == o.Reserve && slices.Equal(s.Names, o.Names) && slices.Equal(s.Spec.Ports, o.Spec.Ports) &&
		slices.Equal(s.Spec.Devices, o.Spec.Devices) &&
		reflect.DeepEqual(s.Spec.Mounts, o.Spec.Mounts) &&
		reflect.DeepEqual(s.Placement, o.Placement)
}

// Since are the services that are not the same in another index, which may be nil:
// those that have come or changed, and of those that have gone or changed what they
// were.
func (x *Index) Since(was *Index) (now, before []*Service) {
	if was == nil {
		return x.Services, nil
	}
	if x == was {
		return nil, nil
	}
	if len(x.Services) == len(was.Services) { // one after the other, as long as nothing has moved
		for k, s := range x.Services {
			if was.Services[k] != s {
				now, before = append(now, s), append(before, was.Services[k])
			}
		}
		return now, before
	}
	for _, s := range x.Services {
		if was.byName[s.Name] != s {
			now = append(now, s)
		}
	}
	for _, s := range was.Services {
		if x.byName[s.Name] != s {
			before = append(before, s)
		}
	}
	return now, before
}
