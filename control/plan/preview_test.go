package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// TestPlanSaysWhyANodeIsChosen is of a stack with data: before it runs, while it runs,
// and when a service joins it.
func TestPlanSaysWhyANodeIsChosen(t *testing.T) {
	db, web := service("shop/db", "", 1), service("shop/web", "", 1)
	db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "shop_data", Target: "/data"}}
	db.Unit, web.Unit = "shop", "shop"
	web.Tied = "it is where shop/db is: " + db.Stays()
	nodes := []Node{{ID: "a"}, {ID: "b"}}
	holding := []Node{{ID: "a"}, {ID: "b", Machine: scheduler.Machine{Volumes: map[string]bool{"shop_data": true}}}}
	w := otto.Wanted{Nodes: []otto.Node{{ID: "a"}, {ID: "b"}}, Services: []otto.Service{db, web}}
	alone := w
	alone.Services = w.Services[:1]
	for name, tt := range map[string]struct {
		was   otto.Wanted
		at    Placement
		nodes []Node
		want  []string
	}{
		"new": {
			otto.Wanted{Nodes: w.Nodes},
			nil, nodes,
			[]string{"a is the best of 2 that can take it", "a is the best of 2 that can take it"},
		},
		"new, and its volume is there": {
			otto.Wanted{Nodes: w.Nodes},
			nil, holding,
			[]string{"its volume shop_data is on b", "its volume shop_data is on b"},
		},
		"it runs": {
			w,
			Placement{"shop/db": "b", "shop/web": "b"},
			holding,
			[]string{
				"it stays: its data is there, and it is not data: disposable",
				"it stays: it is where shop/db is: its data is there, and it is not data: disposable",
			},
		},
		"one joins": {
			alone,
			Placement{"shop/db": "b"},
			holding,
			[]string{"it stays: its data is there, and it is not data: disposable", "the rest of its stack is there"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, i := range Preview(tt.was, w, tt.at, tt.at, tt.nodes, nil) {
				got = append(got, i.Why)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
