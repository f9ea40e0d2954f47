package scheduler

import (
	"fmt"
	"testing"

	"github.com/otto-edge/otto"
)

// BenchmarkPick1000 places 10,000 services on 1,000 nodes, one after the other,
// each on what those before it have left.
//
// plain is the shape of swarmkit's BenchmarkScheduler1kNodes10kTasks: equal nodes,
// and 10,000 services that ask for nothing. constraint is that of its
// BenchmarkSchedulerConstraints1kNodes10kTasks: a third of the nodes fit.
// measured has nodes of all kinds and loads and services that reserve; rules has
// them with rules and ports too.
func BenchmarkPick1000(b *testing.B) {
	third := rules(otto.PlacementRules{Require: expr(b, "network == special")})
	for _, bb := range []struct {
		name    string
		nodes   []Candidate
		service func(i int) *otto.Service
	}{
		{"plain", fleet(false), func(i int) *otto.Service { return svc(fmt.Sprint("task", i)) }},
		{"constraint", fleet(false), func(i int) *otto.Service { return svc(fmt.Sprint("task", i), third) }},
		{"measured", fleet(true), func(i int) *otto.Service { return svc(fmt.Sprint("s", i/10), reserving(i)) }},
		{"rules", fleet(true), func(i int) *otto.Service {
			group := i / 10
			s := svc(fmt.Sprint("s", group), reserving(group))
			s.Placement = otto.PlacementRules{
				Require: expr(b, "node.arch in (amd64, arm64)"), Prefer: expr(b, "disk == ssd"), Avoid: expr(b, "zone == z3"), Spread: "zone",
			}
			switch {
			case group%4 == 1:
				s.Placement.Near = []string{fmt.Sprint("s", group-1)}
			case group%4 == 2:
				s.Placement.ApartFrom = []string{fmt.Sprint("s", group-1), s.Name}
			case group%4 == 3:
				on(uint16(8000 + group))(s)
			}
			return s
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var services []*otto.Service
			for i := range 10_000 {
				services = append(services, bb.service(i))
			}
			b.ReportAllocs()
			for b.Loop() {
				s := New(bb.nodes, nil)
				for _, svc := range services {
					node, ok := s.Pick(Ask{Service: svc})
					if !ok {
						b.Fatalf("no node for %s", svc.Name)
					}
					s.Put(svc, node)
				}
			}
		})
	}
}

func reserving(i int) func(*otto.Service) {
	return func(s *otto.Service) {
		s.Reserve = otto.Resources{CPU: 0.01 * float64(i%5), MemoryBytes: int64(i%7) << 20}
	}
}

// fleet is 1,000 nodes, equal ones or of all kinds.
func fleet(mixed bool) []Candidate {
	var nodes []Candidate
	for i := range 1000 {
		c := labelled(fmt.Sprintf("n%03d", i))
		if i%3 == 0 {
			c.Labels["network"] = "special"
		}
		if mixed {
			c = machine(c.ID, uint64(4000+1000*(i%9)), used(float64(i%83)/100, float64(i%13)/100), used(float64(i%47)/100, 0.02))
			c.Arch = []string{"amd64", "arm64", "arm"}[i%3]
			c.Labels = otto.Node{ID: c.ID, Labels: map[string]string{"zone": fmt.Sprint("z", i%5), "disk": []string{"sd", "ssd"}[i%2]}}.
				PlacementLabels(otto.NodeFacts{Arch: c.Arch, Hostname: c.ID})
		}
		nodes = append(nodes, c)
	}
	return nodes
}
