package plan

import (
	"fmt"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// BenchmarkPlaceSettled places again what has its place: 1,000 nodes with 20
// instances each, of 2,000 services, a quarter of them with rules.
func BenchmarkPlaceSettled(b *testing.B) {
	var w otto.Wanted
	var nodes []Node
	for i := range 1000 {
		n := otto.Node{ID: fmt.Sprintf("n%03d", i), Labels: map[string]string{"zone": fmt.Sprint("z", i%5)}}
		w.Nodes = append(w.Nodes, n)
		nodes = append(nodes, Node{ID: n.ID, Memory: 4 << 30, Machine: scheduler.Machine{Cores: 4, Labels: n.PlacementLabels(otto.NodeFacts{Arch: "arm64"})}})
	}
	for i := range 2000 {
		s := service(fmt.Sprint("s", i), "", 10)
		if i%4 == 0 {
			s.Placement = otto.PlacementRules{Require: []otto.Expression{{Label: "node.arch", Op: otto.OpEqual, Values: []string{"arm64"}}}, Spread: "zone", ApartFrom: []string{fmt.Sprint("s", i+1)}}
		}
		w.Services = append(w.Services, s)
	}
	placed := Place(w, nil, nodes, nil).Placement
	if len(placed) != 20_000 {
		b.Fatalf("%d placed", len(placed))
	}
	b.ReportAllocs()
	for b.Loop() {
		if again := Place(w, placed, nodes, nil); len(again.Moves) > 0 {
			b.Fatal(again.Moves[0])
		}
	}
}
