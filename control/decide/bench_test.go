package decide

import (
	"fmt"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// BenchmarkNext decides about one violated requirement in a cluster of 1,000 nodes
// with 20 instances each, all of which require something of their node.
func BenchmarkNext(b *testing.B) {
	k := Known{Placement: plan.Placement{}, Uses: map[string]Use{}}
	r := required("node.cpu", 70, otto.ActionMigrate)
	for i := range 1000 {
		n := node(fmt.Sprintf("n%03d", i), 10)
		k.Nodes, k.Wanted.Nodes = append(k.Nodes, n), append(k.Wanted.Nodes, otto.Node{ID: n.ID})
		for j := range 20 {
			s := service(fmt.Sprintf("s%d-%d", i, j), r)
			k.Wanted.Services = append(k.Wanted.Services, s)
			k.Placement[s.Name], k.Uses[s.Name] = n.ID, Use{Cores: 0.1, Memory: 10 << 20}
			v := violated(r, s.Name, s.Name, n.ID, 10)
			v.State = otto.RequirementOK
			k.Verdicts = append(k.Verdicts, v)
		}
	}
	k.Verdicts[7] = violated(r, "s0-7", "s0-7", "n000", 95)
	k.Index, k.Board = plan.NewIndex(k.Wanted, nil), &Board{} // as control has them
	b.ReportAllocs()
	for b.Loop() {
		if list := Next(k, epoch); len(list) != 1 || list[0].Outcome != otto.OutcomeDo {
			b.Fatalf("%+v", list)
		}
	}
}
