package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// BenchmarkPlaceSettled places again what has its place: 1,000 nodes with 20
// instances each, of 2,000 services, a quarter of them with rules.
func BenchmarkPlaceSettled(b *testing.B) {
	w, nodes := thousand()
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

// BenchmarkSettled1000 is what a pass does about the placement of 20,000 services on 1,000
// nodes, each by itself or as 4,000 stacks of five.
//
//	first   nothing has a place
//	pass    nothing has changed, and nodes are as busy as they are
//	change  a service has another image
//	index   what follows from that change alone
func BenchmarkSettled1000(b *testing.B) {
	for _, bb := range []struct {
		name  string
		stack int
	}{{"services", 0}, {"stacks", 5}} {
		b.Run(bb.name, func(b *testing.B) {
			w, nodes := thousand()
			for i := range 20_000 {
				s := service(fmt.Sprint("s", i), "", 1)
				if bb.stack > 0 {
					s.Unit = fmt.Sprint("k", i/bb.stack)
					s.Name = s.Unit + "/" + s.Name
				}
				w.Services = append(w.Services, s)
			}
			index := NewIndex(w, nil)
			first := func() Placed {
				placed, _ := new(Settled).Place(index, nil, nodes, nil)
				return placed
			}
			was := first().Placement
			if len(was) != 20_000 {
				b.Fatalf("%d placed", len(was))
			}
			var d Settled
			pass := func() {
				if placed, _ := d.Place(index, was, nodes, nil); len(placed.Moves) > 0 {
					b.Fatal(placed.Moves[0])
				}
			}
			change := func(n int) otto.Wanted {
				changed := w
				changed.Services = slices.Clone(w.Services)
				changed.Services[n%20_000].Spec.Image = fmt.Sprint("other:", n)
				return changed
			}
			pass()
			b.Run("first", func(b *testing.B) {
				for b.Loop() {
					first()
				}
			})
			b.Run("pass", func(b *testing.B) {
				for b.Loop() {
					pass()
				}
			})
			b.Run("change", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					b.StopTimer()
					index = NewIndex(change(n), index)
					b.StartTimer()
					pass()
				}
			})
			b.Run("index", func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					b.StopTimer()
					changed := change(n)
					b.StartTimer()
					index = NewIndex(changed, index)
				}
			})
		})
	}
}

// thousand are the nodes.
func thousand() (w otto.Wanted, nodes []Node) {
	for i := range 1000 {
		n := otto.Node{ID: fmt.Sprintf("n%03d", i), Labels: map[string]string{"zone": fmt.Sprint("z", i%5)}}
		w.Nodes = append(w.Nodes, n)
		nodes = append(nodes, Node{ID: n.ID, Memory: 4 << 30, Machine: scheduler.Machine{Cores: 4, Labels: n.PlacementLabels(otto.NodeFacts{Arch: "arm64"})}})
	}
	return w, nodes
}
