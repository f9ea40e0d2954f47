package scheduler

import (
	"fmt"
	"math"
	"strings"

	"github.com/otto-edge/otto"
)

// room is the most that any node has free of those that take anything new. In a full
// cluster it says at once that nothing else fits, which all nodes had to be asked
// for otherwise.
type room struct {
	known             bool
	cores, memory     float64 // minus infinity if no node takes anything
	coresAt, memoryAt int32   // nodes that have as much
}

// measure finds out how much room there is.
func (s *State) measure() {
	if s.room.known {
		return
	}
	s.room = room{known: true, cores: math.Inf(-1), memory: math.Inf(-1)}
	for i := range s.nodes {
		s.widen(int32(i))
	}
}

// widen takes in what a node has free, if that is more than is known.
func (s *State) widen(i int32) {
	n, r := &s.nodes[i], &s.room
	if n.Refuse != "" {
		return
	}
	if cores := n.freeCPU(); cores > r.cores {
		r.cores, r.coresAt = cores, i
	}
	if memory := n.freeMemory(); memory > r.memory {
		r.memory, r.memoryAt = memory, i
	}
}

// reserved takes in that more is reserved on a node, or less.
func (s *State) reserved(i int32, by int) {
	switch r := &s.room; {
	case !r.known:
	case by < 0:
		s.widen(i)
	case i == r.coresAt || i == r.memoryAt:
		r.known = false // until somebody is refused again
	}
}

// lacking says what a service reserves and no node has, by what is known already;
// empty if there is nothing of that.
func (s *State) lacking(svc *otto.Service) (resource string) {
	reserve := amountOf(svc.Reserve)
	switch {
	case !s.room.known:
	case reserve.memory > 0 && reserve.bytes() > s.room.memory:
		return "memory"
	case reserve.cpu > 0 && reserve.cores() > s.room.cores:
		return "cpu"
	}
	return ""
}

// few is of how many nodes each has its reason told, why it does not take an instance.
const few = 10

// WhyNot says in short why no node can take one more instance, where Pick has found
// none: for each node, or in a large cluster for each kind of reason. Of the node
// except, nothing is said.
func (s *State) WhyNot(a Ask, except string) string {
	if len(s.nodes) > few {
		s.measure()
		reserve := amountOf(a.Service.Reserve)
		switch resource := s.lacking(a.Service); {
		case math.IsInf(s.room.cores, -1): // they have other reasons
		case resource == "memory":
			return fmt.Sprintf("%s reserves %.0f MiB of memory, and the most that is free on a node is %.0f", a.Service.Name, math.Ceil(reserve.bytes()/(1<<20)), math.Floor(max(s.room.memory, 0)/(1<<20)))
		case resource == "cpu":
			return fmt.Sprintf("%s reserves %g cores, and the most that is free on a node is %s", a.Service.Name, reserve.cores(), short(s.room.cores))
		}
	}
	s.prepare(a)
	defer s.forget()
	var lines []string
	var more []int            // nodes that each line stands for, beside its own
	kinds := map[string]int{} // which line is of a filter
	for k := range s.nodes {
		i := int32(k)
		f := s.refusal(i)
		if f == nil || s.nodes[k].ID == except {
			continue
		}
		if line, told := kinds[f.name]; told && len(s.nodes) > few {
			more[line]++
			continue
		}
		kinds[f.name] = len(lines)
		lines, more = append(lines, s.nodes[k].ID+": "+f.why(s, i)), append(more, 0)
	}
	for k, n := range more {
		if n > 0 {
			lines[k] += fmt.Sprintf(", and %d more likewise", n)
		}
	}
	return strings.Join(lines, "; ")
}
