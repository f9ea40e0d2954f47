package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// TestSettledPlacesAsPlaceDoes runs random histories of nodes and services, and
// compares what is remembered with what would be decided.
func TestSettledPlacesAsPlaceDoes(t *testing.T) {
	remembered, waited := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var d Settled
		var x *Index
		w, nodes, troubled := drawWanted(t), []Node{}, map[string]string{}
		for _, n := range w.Nodes {
			nodes = append(nodes, Node{ID: n.ID, Memory: 4 << 30, Machine: scheduler.Machine{Cores: 4, Arch: "arm64", Labels: n.PlacementLabels(otto.NodeFacts{Arch: "arm64"})}})
		}
		placement := Placement{}
		for range rapid.IntRange(2, 20).Draw(t, "steps") {
			nodes = slices.Clone(nodes)
			changeNode(t, &nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "node")], w.Services[0].Name)
			if rapid.IntRange(0, 4).Draw(t, "service") == 0 {
				w.Services = slices.Clone(w.Services)
				changeService(t, &w.Services[rapid.IntRange(0, len(w.Services)-1).Draw(t, "which")], nodes)
				agree(w.Services)
			}
			if rapid.IntRange(0, 9).Draw(t, "trouble") == 0 {
				troubled = map[string]string{w.Services[0].Name: rapid.SampledFrom([]string{"", "unhealthy"}).Draw(t, "why")}
				maps.DeleteFunc(troubled, func(_, why string) bool { return why == "" })
			}
			x = NewIndex(w, x)
			got, again := d.Place(x, placement, nodes, troubled)
			if again {
				remembered++
			}
			if again && len(got.Waiting) > 0 {
				waited++
			}
			if diff := cmp.Diff(Place(w, placement, nodes, troubled), got); diff != "" {
				t.Fatal(diff)
			}
			checkTogether(t, x, placement, got)
			if !Identical(got.Placement, placement) {
				placement = got.Placement
			}
		}
	})
	if remembered == 0 || waited == 0 {
		t.Errorf("it was settled %d times, and %d times something waited", remembered, waited)
	}
}

func drawWanted(t *rapid.T) (w otto.Wanted) {
	for i := range rapid.SampledFrom([]int{1, 2, 3, 4, 12}).Draw(t, "nodes") {
		w.Nodes = append(w.Nodes, otto.Node{ID: fmt.Sprint("n", i), Labels: map[string]string{"zone": fmt.Sprint("z", i%2)}})
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "services") {
		s := service(fmt.Sprint("s", i), "", rapid.IntRange(0, 3).Draw(t, "replicas"))
		if rapid.IntRange(0, 3).Draw(t, "global") == 0 {
			s.Mode = otto.ModeGlobal
		}
		s.Reserve.MemoryBytes = rapid.SampledFrom([]int64{0, 1 << 30, 3 << 30, 5 << 30}).Draw(t, "reserve")
		if rapid.IntRange(0, 3).Draw(t, "port") == 0 {
			s.Spec.Ports = []otto.Port{{Host: 80, Container: 80}, {Host: uint16(81 + i%2), Container: 81}}
		}
		w.Services = append(w.Services, s)
	}
	if rapid.Bool().Draw(t, "in a stack") {
		for i := range w.Services {
			if !w.Services[i].Global() && rapid.IntRange(0, 3).Draw(t, "apart") > 0 {
				w.Services[i].Unit = "u"
			}
		}
	}
	return w
}

// agree makes the services of a unit agree on what they have in common by the file.
func agree(services []otto.Service) {
	first := slices.IndexFunc(services, func(s otto.Service) bool { return s.Unit != "" })
	for i := range services {
		if s := &services[i]; s.Unit != "" {
			of := services[first]
			s.Node, s.Failover, s.Rejoin, s.Data = of.Node, of.Failover, of.Rejoin, of.Data
		}
	}
}

// checkTogether sees that a unit is on one node, but for what has its data elsewhere,
// and that what it waits for is said of all.
func checkTogether(t *rapid.T, x *Index, was Placement, p Placed) {
	for _, u := range x.units {
		at := map[string]bool{}
		for _, s := range u.Members {
			for _, name := range s.Names {
				if s.keepsData() && p.Placement[name] == was[name] && p.Waiting[name] != "" {
					continue
				}
				at[p.Placement[name]] = true
			}
		}
		if len(at) > 1 {
			t.Fatalf("%s is on %v: %v, waiting %v", u.Name, at, p.Placement, p.Waiting)
		}
	}
}

func changeService(t *rapid.T, s *otto.Service, nodes []Node) {
	switch rapid.IntRange(0, 11).Draw(t, "change") {
	case 0:
		s.Spec.Image += "x"
	case 7:
		s.Spec.Resources.MemoryBytes = rapid.SampledFrom([]int64{0, 3 << 30, 5 << 30}).Draw(t, "limit")
	case 8:
		s.Placement.ApartFrom = rapid.SampledFrom([][]string{nil, {"s0"}, {"s1", "s2"}}).Draw(t, "apart")
	case 1:
		s.Node, s.Failover = rapid.SampledFrom(nodes).Draw(t, "home").ID, rapid.SampledFrom([]string{"", otto.FailoverMove}).Draw(t, "failover")
	case 2:
		s.Rejoin = rapid.SampledFrom([]string{otto.RejoinHome, otto.RejoinKeep}).Draw(t, "rejoin")
	case 3:
		s.Placement = in(rapid.SampledFrom([]string{"z0", "z1"}).Draw(t, "zone"))
	case 4:
		s.Placement.MaxPerNode = rapid.IntRange(0, 2).Draw(t, "most")
	case 5:
		s.Replicas = rapid.IntRange(0, 3).Draw(t, "replicas")
	case 6:
		s.Spec.Devices = []otto.Device{{Host: "/dev/x"}}
	case 9:
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: rapid.SampledFrom([]string{"v0", "v1"}).Draw(t, "volume"), Target: "/v"}}
	case 10:
		s.Data = rapid.SampledFrom([]string{"", otto.DataDisposable}).Draw(t, "data")
	default:
		s.Spec.Exclusive = !s.Spec.Exclusive
	}
}

func changeNode(t *rapid.T, n *Node, service string) {
	flip := func(s *string, text string) {
		if *s == "" {
			*s = text
		} else {
			*s = ""
		}
	}
	switch rapid.IntRange(0, 20).Draw(t, "change of the node") {
	case 0:
		flip(&n.Refuse, "cordoned")
	case 1:
		flip(&n.Gone, "is lost")
	case 2:
		n.Drained = !n.Drained
	case 3:
		flip(&n.Unfenced, "may still run there")
	case 4:
		n.Stable = !n.Stable
	case 5:
		n.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"z0", "z1"}).Draw(t, "zone")}
	case 6:
		n.Failures = map[string]float64{service: rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "failures")}
	case 7:
		n.Left = map[string]bool{service: rapid.Bool().Draw(t, "left")}
	case 8:
		n.Devices = map[string]bool{"/dev/x": rapid.Bool().Draw(t, "device")}
	case 9:
		n.Volumes = map[string]bool{rapid.SampledFrom([]string{"v0", "v1", "other"}).Draw(t, "volume"): true}
	case 14:
		n.Untold = !n.Untold
	case 15:
		n.Memory = rapid.SampledFrom([]uint64{0, 2 << 30, 4 << 30, 8 << 30}).Draw(t, "memory")
	case 12, 13:
		n.Bans = rapid.SampledFrom([]map[string]string{nil, {service: "it has left it"}, {"s1": "it did not help"}}).Draw(t, "bans")
	case 10, 11:
		n.MemoryUse = n.MemoryUse.Add(rapid.Float64Range(0, 1).Draw(t, "use"), 1e9)
	default: // only how busy it is
		n.CPU = n.CPU.Add(rapid.Float64Range(0, 1).Draw(t, "cpu"), 1e9)
	}
}

// TestIndexIsAsMadeFromNothing compares indexes that were made one from the other.
func TestIndexIsAsMadeFromNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWanted(t)
		x := NewIndex(w, nil)
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			w.Services, w.Nodes = slices.Clone(w.Services), slices.Clone(w.Nodes)
			k := rapid.IntRange(0, len(w.Services)-1).Draw(t, "which")
			was := w.Services[k]
			nodes := []Node{{ID: w.Nodes[0].ID}}
			changeService(t, &w.Services[k], nodes)
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				w.Requirements = []otto.Requirement{{Metric: "node.cpu", Limit: float64(rapid.IntRange(1, 3).Draw(t, "limit"))}}
			case 1:
				w.Nodes = append(w.Nodes, otto.Node{ID: fmt.Sprint("m", len(w.Nodes))})
			case 2:
				was.Name = fmt.Sprint("new", len(w.Services))
				w.Services = append(w.Services, was)
			case 3:
				w.Services[0], w.Services[k] = w.Services[k], w.Services[0]
			}
			former := x
			x = NewIndex(w, former)
			fresh := NewIndex(w, nil)
			for i, s := range fresh.Services {
				if diff := cmp.Diff(*s, *x.Services[i]); diff != "" {
					t.Fatal(diff)
				}
				for _, name := range s.Names {
					if of, ok := x.Owner(name); !ok || of != x.Services[i] {
						t.Fatalf("%s is of %v", name, of)
					}
				}
			}
			if diff := cmp.Diff(fresh.Metrics, x.Metrics); diff != "" || !slices.Equal(fresh.Devices, x.Devices) {
				t.Fatal(diff)
			}
			now, _ := x.Since(former)
			for _, s := range x.Services {
				before, _ := former.Service(s.Name)
				if (before == nil || !cmp.Equal(*before, *s)) && !slices.Contains(now, s) {
					t.Fatalf("%s has changed, and it is not said", s.Name)
				}
			}
		}
	})
}
