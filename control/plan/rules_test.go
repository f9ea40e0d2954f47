package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

func zoned(id, zone string) Node {
	return Node{ID: id, Machine: scheduler.Machine{Labels: map[string]string{"zone": zone}}}
}

func in(zone string) otto.PlacementRules {
	return otto.PlacementRules{Require: []otto.Expression{{Label: "zone", Op: otto.OpEqual, Values: []string{zone}}}}
}

func TestRulesMoveWhatMayMove(t *testing.T) {
	nodes := []Node{zoned("a", "attic"), zoned("b", "kitchen")}
	with := func(home string, rules otto.PlacementRules) otto.Service {
		s := service("web", home, 1)
		s.Placement = rules
		return s
	}
	data := with("", in("kitchen"))
	data.Spec.Exclusive = true
	for name, tt := range map[string]struct {
		service otto.Service
		to      string
		says    string
	}{
		"to where the rule holds":      {with("", in("kitchen")), "b", "it may not be on node a: it does not meet zone == kitchen: zone is attic"},
		"nowhere if it holds there":    {with("", in("attic")), "a", ""},
		"nowhere if it holds nowhere":  {with("", in("cellar")), "a", "but no other node can take it: b: it does not meet zone == cellar"},
		"not away from home":           {with("a", in("kitchen")), "a", ""},
		"not away from its data":       {data, "a", ""},
		"apart from one that is there": {with("", otto.PlacementRules{ApartFrom: []string{"db"}}), "b", "db is on a, from which it is to be apart"},
	} {
		t.Run(name, func(t *testing.T) {
			w := otto.Wanted{Services: []otto.Service{tt.service, service("db", "a", 1)}}
			got := Place(w, Placement{"web": "a", "db": "a"}, nodes, nil)
			said := got.Waiting["web"]
			for _, m := range got.Moves {
				said += m.Reason
			}
			if got.Placement["web"] != tt.to || (said == "") != (tt.says == "") || !strings.Contains(said, tt.says) {
				t.Errorf("on %s, and says %q", got.Placement["web"], said)
			}
		})
	}
}

func TestGlobalServiceIsWhereItFits(t *testing.T) {
	s := service("exporter", "", 1)
	s.Mode, s.Placement = otto.ModeGlobal, otto.PlacementRules{Require: []otto.Expression{{Label: "zone", Op: otto.OpNotEqual, Values: []string{"cellar"}}}}
	w := otto.Wanted{Services: []otto.Service{s}, Nodes: []otto.Node{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}}
	a, b, c, d := zoned("a", "attic"), zoned("b", "attic"), zoned("c", "cellar"), zoned("d", "attic")
	b.Refuse = "cordoned"
	first := Place(w, nil, []Node{a, b, c, d}, nil)
	want := Placed{
		Placement: Placement{"exporter-a": "a", "exporter-d": "d"},
		Moves:     []Move{{Instance: "exporter-a", Service: "exporter", To: "a"}, {Instance: "exporter-d", Service: "exporter", To: "d"}},
		Waiting:   map[string]string{"exporter-b": "node b cannot take it: cordoned"},
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	// a is lost, b is free again, d has moved to the cellar, and e is new: nothing is renamed.
	a.Refuse, a.Gone, b.Refuse, d = "lost", "is lost", "", zoned("d", "cellar")
	w.Nodes = append(w.Nodes, otto.Node{ID: "e"})
	again := Place(w, first.Placement, []Node{a, b, c, d, zoned("e", "attic")}, nil)
	if diff := cmp.Diff(Placement{"exporter-a": "a", "exporter-b": "b", "exporter-e": "e"}, again.Placement); diff != "" {
		t.Error(diff)
	}
	if len(again.Waiting) > 0 {
		t.Errorf("waits: %v", again.Waiting)
	}
	b.Refuse, b.Gone, b.Drained = "draining", "is being drained", true
	last := Place(w, again.Placement, []Node{a, b, c, d, zoned("e", "attic")}, nil)
	if diff := cmp.Diff(Placement{"exporter-a": "a", "exporter-e": "e"}, last.Placement); diff != "" || len(last.Waiting) > 0 {
		t.Errorf("a drained node is not empty: %v %s", last.Waiting, diff)
	}
}

// TestPlacementWithRules draws services with rules and places them twice: what is
// required holds of every place that was picked, and the second time nothing moves.
func TestPlacementWithRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []Node
		w := otto.Wanted{}
		for _, id := range []string{"n1", "n2", "n3", "n4"} {
			n := zoned(id, rapid.SampledFrom([]string{"attic", "kitchen"}).Draw(t, id))
			n.Refuse = rapid.SampledFrom([]string{"", "", "cordoned"}).Draw(t, id+" refuses")
			nodes, w.Nodes = append(nodes, n), append(w.Nodes, otto.Node{ID: id})
		}
		names := []string{"s1", "s2", "s3"}
		was := Placement{}
		for _, name := range names {
			s := service(name, rapid.SampledFrom([]string{"", "", "n1"}).Draw(t, name+" home"), rapid.IntRange(1, 3).Draw(t, name+" replicas"))
			if rapid.Bool().Draw(t, name+" requires") {
				s.Placement = in(rapid.SampledFrom([]string{"attic", "kitchen"}).Draw(t, name+" zone"))
			}
			s.Placement.ApartFrom = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 2, rapid.ID).Draw(t, name+" apart")
			s.Placement.MaxPerNode = rapid.IntRange(0, 2).Draw(t, name+" max")
			if rapid.IntRange(0, 3).Draw(t, name+" global") == 0 {
				s.Mode, s.Node = otto.ModeGlobal, ""
			}
			w.Services = append(w.Services, s)
			for _, i := range w.InstanceNames(s) {
				if at := rapid.SampledFrom([]string{"", "", "n1", "n2"}).Draw(t, i+" at"); at != "" {
					was[i] = at
				}
			}
		}
		first := Place(w, was, nodes, nil)
		for _, m := range first.Moves {
			checkMove(t, w, nodes, first.Placement, m)
		}
		for _, s := range w.Services {
			for _, i := range w.InstanceNames(s) {
				if !s.Global() && first.Placement[i] == "" && first.Waiting[i] == "" {
					t.Errorf("%s has no place, and nothing says why", i)
				}
			}
		}
		again := Place(w, first.Placement, nodes, nil)
		if diff := cmp.Diff(first.Placement, again.Placement); diff != "" || len(again.Moves) > 0 {
			t.Errorf("the second time %v: %s", again.Moves, diff)
		}
	})
}

func checkMove(t *rapid.T, w otto.Wanted, nodes []Node, placed Placement, m Move) {
	k := slices.IndexFunc(w.Services, func(s otto.Service) bool { return s.Name == m.Service })
	s := w.Services[k]
	n := nodes[slices.IndexFunc(nodes, func(n Node) bool { return n.ID == m.To })]
	if n.Refuse != "" {
		t.Errorf("%s goes to %s, which is %s", m.Instance, m.To, n.Refuse)
	}
	for _, e := range s.Placement.Require {
		if !e.Matches(n.Labels) {
			t.Errorf("%s goes to %s, which does not meet %s", m.Instance, m.To, e)
		}
	}
	there := 0
	for _, o := range w.Services {
		for _, i := range w.InstanceNames(o) {
			if placed[i] != m.To || i == m.Instance {
				continue
			}
			if o.Name == s.Name {
				there++
			}
			if slices.Contains(s.Placement.ApartFrom, o.Name) {
				t.Errorf("%s goes to %s, where %s is", m.Instance, m.To, i)
			}
		}
	}
	if s.Placement.MaxPerNode > 0 && there >= s.Placement.MaxPerNode {
		t.Errorf("%s goes to %s, where %d are already", m.Instance, m.To, there)
	}
}
