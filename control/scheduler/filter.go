package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/otto-edge/otto"
)

// filter is one reason for which a node must not have an instance.
type filter struct {
	name    string
	lasts   bool // an instance that is there has to leave for it
	applies func(*State) bool
	refuses func(*State, int32) bool
	why     func(*State, int32) string // given that it refuses
	// pending, if set, reports whether it refuses only because something is not known.
	pending func(*State, int32) bool
}

// filters are all there are, cheap ones first.
func filters() []filter {
	always := func(*State) bool { return true }
	return []filter{
		{
			name: "node", applies: always,
			refuses: func(s *State, i int32) bool { return s.nodes[i].Refuse != "" },
			why:     func(s *State, i int32) string { return s.nodes[i].Refuse },
		},
		{
			name: "stays", applies: func(s *State) bool { return s.Only != "" },
			refuses: func(s *State, i int32) bool { return s.nodes[i].ID != s.Only },
			why:     func(s *State, _ int32) string { return fmt.Sprintf("it stays on %s: %s", s.Only, s.Why) },
		},
		{
			name: "platform", lasts: true, applies: func(s *State) bool { return s.arch != "" },
			refuses: func(s *State, i int32) bool { return s.nodes[i].Arch != "" && s.nodes[i].Arch != s.arch },
			why: func(s *State, i int32) string {
				return fmt.Sprintf("it is %s, and the platform asked for is %s", s.nodes[i].Arch, s.Service.Platform)
			},
		},
		{
			name: "image", applies: func(s *State) bool { return s.unbuilts },
			refuses: func(s *State, i int32) bool { return s.unbuilt(i) != "" },
			why:     func(s *State, i int32) string { return s.unbuilt(i) },
		},
		{
			name: "require", lasts: true, applies: func(s *State) bool { return len(s.require) > 0 },
			refuses: func(s *State, i int32) bool { return s.unmet(i) >= 0 },
			why:     whyUnmet, pending: (*State).requirePending,
		},
		{
			name: "memory", applies: func(s *State) bool { return s.reserve.memory > 0 || s.Service.Spec.Resources.MemoryBytes > 0 },
			refuses: func(s *State, i int32) bool {
				return s.tooSmall(i) || s.reserve.memory > 0 && s.reserve.bytes() > s.nodes[i].freeMemory()
			},
			why: whyMemory,
		},
		{
			name: "cpu", applies: func(s *State) bool { return s.reserve.cpu > 0 },
			refuses: func(s *State, i int32) bool { return s.reserve.cores() > s.nodes[i].freeCPU() },
			why: func(s *State, i int32) string {
				return fmt.Sprintf("%s of its %g cores are free, and %s reserves %g", short(s.nodes[i].freeCPU()), s.nodes[i].Cores, s.Service.Name, s.reserve.cores())
			},
		},
		{
			name: "ports", applies: func(s *State) bool { return len(s.Service.Spec.Ports) > 0 },
			refuses: func(s *State, i int32) bool { _, t := s.clash(i); return t != nil },
			why: func(s *State, i int32) string {
				ours, theirs := s.clash(i)
				return fmt.Sprintf("port %d/%s is taken by %s", ours.Host, ours.Protocol, theirs.by.name)
			},
		},
		{
			name: "devices", lasts: true, applies: func(s *State) bool { return len(s.Service.Spec.Devices) > 0 },
			refuses: func(s *State, i int32) bool { path, _ := s.missing(i); return path != "" },
			why:     whyMissing,
			pending: func(s *State, i int32) bool { _, known := s.missing(i); return !known },
		},
		{
			name: "volumes", applies: func(s *State) bool { return len(s.data) > 0 },
			refuses: func(s *State, i int32) bool { return s.without(i) != nil },
			why:     whyWithout,
		},
		{
			name: "apart_from", lasts: true, applies: func(s *State) bool { return len(s.Service.Placement.ApartFrom)+len(s.of.shunnedBy) > 0 },
			refuses: func(s *State, i int32) bool { return s.apart[i] != nil },
			why: func(s *State, i int32) string {
				return fmt.Sprintf("%s is on %s, from which it is to be apart", s.apart[i].name, s.nodes[i].ID)
			},
		},
		{
			name: "max_per_node", lasts: true, applies: func(s *State) bool { return s.Service.Placement.MaxPerNode > 0 },
			refuses: func(s *State, i int32) bool { return int(s.own[i]) >= s.Service.Placement.MaxPerNode },
			why: func(s *State, i int32) string {
				return fmt.Sprintf("it has %d of %s already, and max_per_node is %d", s.own[i], s.Service.Name, s.Service.Placement.MaxPerNode)
			},
		},
		{
			name: "ban", applies: func(s *State) bool { return !s.Banned },
			refuses: func(s *State, i int32) bool {
				return len(s.nodes[i].Bans) > 0 && s.nodes[i].Bans[s.Service.Name] != ""
			},
			why: func(s *State, i int32) string { return s.nodes[i].Bans[s.Service.Name] },
		},
		{
			name: "requirements", applies: func(s *State) bool { return s.Also != nil },
			refuses: func(s *State, i int32) bool { return s.Also(s.nodes[i].ID) != "" },
			why:     func(s *State, i int32) string { return s.Also(s.nodes[i].ID) },
		},
	}
}

// unmet is the first expression that a node does not meet, or -1.
func (s *State) unmet(i int32) int {
	for k := range s.require {
		if !s.require[k][i] {
			return k
		}
	}
	return -1
}

func whyUnmet(s *State, i int32) string {
	e := s.Service.Placement.Require[s.unmet(i)]
	if value, ok := s.nodes[i].Labels[e.Label]; ok {
		return fmt.Sprintf("it does not meet %s: %s is %s", e, e.Label, value)
	}
	if s.requirePending(i) {
		return fmt.Sprintf("it does not meet %s: %s is not known yet", e, e.Label)
	}
	return fmt.Sprintf("it does not meet %s: it has no label %s", e, e.Label)
}

// requirePending reports whether what a node does not meet is about a label that
// the agent is still to report.
func (s *State) requirePending(i int32) bool {
	label := s.Service.Placement.Require[s.unmet(i)].Label
	_, known := s.nodes[i].Labels[label]
	return !known && strings.HasPrefix(label, "node.")
}

// tooSmall reports whether the service's limit is above all of the machine's memory.
func (s *State) tooSmall(i int32) bool {
	limit, memory := s.Service.Spec.Resources.MemoryBytes, s.nodes[i].Memory
	return memory > 0 && limit > 0 && uint64(limit) > memory
}

// freeMemory is what is neither reserved nor in use, in bytes; unbounded where
// the machine's memory is not known.
func (n *node) freeMemory() float64 {
	if n.Memory == 0 {
		return math.Inf(1)
	}
	return float64(n.Memory) - max(n.reserved.bytes(), n.MemoryUse.Mean*float64(n.Memory))
}

// freeCPU is the same of cores. A processor that is busy for a moment is not taken:
// a service whose node is lost must not wait for that.
func (n *node) freeCPU() float64 {
	switch {
	case n.Cores == 0:
		return math.Inf(1)
	case !n.CPU.steady():
		return n.Cores - n.reserved.cores()
	}
	return n.Cores - max(n.reserved.cores(), n.CPU.Mean*n.Cores)
}

func whyMemory(s *State, i int32) string {
	n := &s.nodes[i]
	if s.tooSmall(i) {
		return fmt.Sprintf("it has %d MiB of memory, and %s may take %d", n.Memory>>20, s.Service.Name, s.Service.Spec.Resources.MemoryBytes>>20)
	}
	return fmt.Sprintf("%.0f of its %d MiB of memory are free, and %s reserves %.0f", max(n.freeMemory(), 0)/(1<<20), n.Memory>>20, s.Service.Name, s.reserve.bytes()/(1<<20))
}

// clash is the first port that the service wants and the node does not have, and
// who has it; of several the first by name.
func (s *State) clash(i int32) (ours otto.Port, theirs *taken) {
	for _, p := range s.Service.Spec.Ports {
		for k := range s.nodes[i].ports {
			t := &s.nodes[i].ports[k]
			if Clash(p, t.Port) && (theirs == nil || t.by.name < theirs.by.name) {
				ours, theirs = p, t
			}
		}
		if theirs != nil {
			return ours, theirs
		}
	}
	return ours, nil
}

// Clash reports whether two published ports cannot be on one node.
func Clash(a, b otto.Port) bool {
	return a.Host != 0 && a.Host == b.Host && a.Protocol == b.Protocol &&
		(a.HostIP == b.HostIP || everywhere(a.HostIP) || everywhere(b.HostIP))
}

func everywhere(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

// unbuilt says why the service's image does not run on a node. Of services that are
// asked for as one it is by their common name.
func (s *State) unbuilt(i int32) string {
	return s.nodes[i].Unbuilt[cmp.Or(s.Service.Spec.Image, s.Service.Name)]
}

// missing is the first device that the node does not have, or is not known to have.
// One that is known to be missing is told first.
func (s *State) missing(i int32) (path string, known bool) {
	if s.nodes[i].Devices == nil {
		return "", false
	}
	for _, d := range s.Service.Spec.Devices {
		there, known := s.nodes[i].Devices[d.Host]
		switch {
		case known && !there:
			return d.Host, true
		case !known && path == "":
			path = d.Host
		}
	}
	return path, false
}

func whyMissing(s *State, i int32) string {
	path, known := s.missing(i)
	if !known {
		return "it has not said yet whether it has " + path
	}
	return "it has no " + path
}

// short is a number of cores without needless digits, rounded down: what is almost
// enough must not read as enough.
func short(x float64) string {
	return strconv.FormatFloat(math.Floor(100*max(x, 0)+1e-6)/100, 'f', -1, 64)
}
