package scheduler

import (
	"slices"

	"github.com/otto-edge/otto"
)

// service is what is known of a service by what is placed or asked for.
type service struct {
	name                 string
	places               []place
	where                map[int32]int // in places a node is, once they are many
	shunnedBy, soughtBy  []*service    // that name it in apart_from and near
	introduced, isGlobal bool
}

type place struct {
	node  int32
	count uint16
}

// introduce notes what a service wants of others.
func (s *State) introduce(svc *otto.Service) *service {
	k := s.named(svc.Name)
	if !k.introduced {
		k.introduced, k.isGlobal = true, svc.Global()
		for _, other := range svc.Placement.ApartFrom {
			o := s.named(other)
			o.shunnedBy = append(o.shunnedBy, k)
		}
		for _, other := range svc.Placement.Near {
			o := s.named(other)
			o.soughtBy = append(o.soughtBy, k)
		}
		for _, v := range svc.Spec.Volumes() {
			s.mounting[v] = append(s.mounting[v], k)
		}
	}
	return k
}

func (s *State) named(name string) *service {
	k := s.services[name]
	if k == nil {
		k = &service{name: name}
		s.services[name] = k
	}
	return k
}

// many is how many places are looked for one after the other.
const many = 32

// on is where in its places a node is, or -1.
func (k *service) on(node int32) int {
	if len(k.places) <= many {
		return slices.IndexFunc(k.places, func(p place) bool { return p.node == node })
	}
	if k.where == nil {
		k.where = make(map[int32]int, len(k.places))
		for i, p := range k.places {
			k.where[p.node] = i
		}
	}
	if i, ok := k.where[node]; ok {
		return i
	}
	return -1
}

func (k *service) add(node int32) {
	if k.where != nil {
		k.where[node] = len(k.places)
	}
	k.places = append(k.places, place{node, 1})
}

// remove takes a place out; their order means nothing.
func (k *service) remove(i int) {
	last := len(k.places) - 1
	if k.where != nil {
		delete(k.where, k.places[i].node)
		if i < last {
			k.where[k.places[last].node] = i
		}
	}
	k.places[i] = k.places[last]
	k.places = k.places[:last]
}
