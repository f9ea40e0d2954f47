package scheduler

import (
	"fmt"
	"testing"

	"github.com/otto-edge/otto"
)

func TestWhyNotOfManyNodesIsShort(t *testing.T) {
	var nodes []Candidate
	for i := range few + 2 {
		c := machine(fmt.Sprintf("n%02d", i), 4096, Load{}, used(float64(i)/20, 0))
		c.Labels = map[string]string{"zone": "z1"}
		nodes = append(nodes, c)
	}
	nodes[0].Refuse, nodes[1].Refuse = "cordoned", "cordoned"
	closed := make([]Candidate, len(nodes))
	for i, c := range nodes {
		c.Refuse = "not ready"
		closed[i] = c
	}
	reserving := func(cores float64, memory int64) func(*otto.Service) {
		return func(s *otto.Service) { s.Reserve = otto.Resources{CPU: cores, MemoryBytes: memory << 20} }
	}
	elsewhere := rules(otto.PlacementRules{Require: expr(t, "zone == z9")})
	for _, tt := range []struct {
		name, except, want string
		nodes              []Candidate
		service            *otto.Service
	}{
		{"memory", "", "big reserves 3900 MiB of memory, and the most that is free on a node is 3686", nodes, svc("big", reserving(1, 3900))},
		{"cores", "", "big reserves 4.5 cores, and the most that is free on a node is 4", nodes, svc("big", reserving(4.5, 10))},
		{"closed", "", "n00: not ready, and 11 more likewise", closed, svc("big", reserving(9, 9000))},
		{"rules", "", "n00: cordoned, and 1 more likewise; n02: it does not meet zone == z9: zone is z1, and 9 more likewise", nodes, svc("web", elsewhere)},
		{"but one", "n02", "n00: cordoned, and 1 more likewise; n03: it does not meet zone == z9: zone is z1, and 8 more likewise", nodes, svc("web", elsewhere)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, ask := New(tt.nodes, nil), Ask{Service: tt.service}
			for range 2 { // the second time it is known how much room there is
				if node, ok := s.Pick(ask); ok {
					t.Fatalf("picks %s", node)
				}
				if why := s.WhyNot(ask, tt.except); why != tt.want {
					t.Errorf("it says %q", why)
				}
			}
		})
	}
}

// TestRoomFollows takes something away from the fullest node of a full cluster, and
// from the one with the most room.
func TestRoomFollows(t *testing.T) {
	s := New([]Candidate{machine("a", 1000, Load{}, Load{}), machine("b", 2000, Load{}, Load{})}, nil)
	of := func(name string, memory int64) *otto.Service {
		return svc(name, func(s *otto.Service) { s.Reserve.MemoryBytes = memory << 20 })
	}
	onA, onB, large := of("a", 900), of("b", 1700), of("large", 1500)
	s.Put(onA, "a")
	s.Put(onB, "b")
	picks := func(want string) {
		t.Helper()
		if node, _ := s.Pick(Ask{Service: large}); node != want {
			t.Errorf("picks %q, not %q", node, want)
		}
	}
	picks("")
	s.Take(onA, "a")
	picks("")
	s.Take(onB, "b")
	picks("b")
	s.Put(onB, "b")
	picks("")
	s.Renew([]Candidate{machine("a", 4000, Load{}, Load{}), machine("b", 2000, Load{}, Load{})})
	picks("a")
}
