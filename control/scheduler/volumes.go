package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// data is a named volume of the service that is asked for.
type data struct {
	volume string
	on     []int32 // nodes that have it or are to have it, in order
	claims int32   // the first node that claims to have it, if none does; or -1
}

// dataOf appends the volumes that a service must not be away from. Where the file says
// where it is to be, or that it can do without, they are none; and a global service has
// its own on each node.
func (s *State) dataOf(svc *otto.Service, list []data) []data {
	if svc.Node != "" || svc.Global() || svc.Data == otto.DataDisposable {
		return list
	}
	for _, v := range svc.Spec.Volumes() {
		d := data{v, s.having(v), -1}
		if by, claimed := s.claimed[v]; claimed && len(d.on) == 0 {
			d.claims = by
		}
		list = append(list, d)
	}
	return list
}

// having are the nodes that have a volume, or will, as what mounts it has its place
// there.
func (s *State) having(volume string) []int32 {
	if s.volumes == nil {
		s.volumes, s.untold, s.claimed = map[string][]int32{}, s.untold[:0], nil
		for i := range s.nodes {
			for name := range s.nodes[i].Volumes {
				s.volumes[name] = append(s.volumes[name], int32(i))
			}
			for name := range s.nodes[i].Claimed {
				s.claim(name, int32(i))
			}
			if s.nodes[i].Untold {
				s.untold = append(s.untold, int32(i))
			}
		}
	}
	on := slices.Clone(s.volumes[volume])
	for _, k := range s.mounting[volume] {
		for _, p := range k.places {
			on = append(on, p.node)
		}
	}
	slices.Sort(on)
	return slices.Compact(on)
}

func (s *State) claim(volume string, i int32) {
	if s.claimed == nil {
		s.claimed = map[string]int32{}
	}
	if _, claimed := s.claimed[volume]; !claimed {
		s.claimed[volume] = i
	}
}

// without is the first volume that a node does not have although another one does, or
// that no node is known to have while one claims it or another one may have it; nil if
// there is none.
func (s *State) without(i int32) *data {
	for k := range s.data {
		d := &s.data[k]
		if _, there := slices.BinarySearch(d.on, i); !there && (len(d.on) > 0 || d.claims >= 0 || s.silent(i) >= 0) {
			return d
		}
	}
	return nil
}

// silent is the first other node that has not said which volumes it has, or -1.
func (s *State) silent(i int32) int32 {
	for _, n := range s.untold {
		if n != i {
			return n
		}
	}
	return -1
}

func whyWithout(s *State, i int32) string {
	d := s.without(i)
	if d.claims >= 0 {
		node := s.nodes[d.claims].ID
		return fmt.Sprintf(
			"%s says that it has or had its volume %s, which it was never given: `otto volume adopt %[1]s %s` if its data counts, else give the volume another name",
			node,
			d.volume,
		)
	}
	if len(d.on) == 0 {
		return fmt.Sprintf("its volume %s may be on %s, which has not said yet what it has", d.volume,
			s.nodes[s.silent(i)].ID)
	}
	ids := make([]string, len(d.on))
	for k, n := range d.on {
		ids[k] = s.nodes[n].ID
	}
	return fmt.Sprintf("its volume %s is on %s", d.volume, strings.Join(ids, ", "))
}
