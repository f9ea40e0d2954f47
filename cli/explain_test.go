package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// explains answers with the name of what it is asked to explain.
type explains struct{}

func (explains) Cluster(context.Context) (*otto.Cluster, error) {
	return &otto.Cluster{
		Nodes:    []otto.NodeStatus{{Node: otto.Node{ID: "pi"}}, {Node: otto.Node{ID: "web"}}},
		Services: []otto.ServiceStatus{{Service: otto.Service{Name: "web"}}},
	}, nil
}

func (explains) ExplainService(_ context.Context, name string) (otto.Explanation, error) {
	return otto.Explanation{Service: &otto.ServiceExplanation{Name: name}}, nil
}

func (explains) ExplainNode(_ context.Context, id string) (otto.Explanation, error) {
	return otto.Explanation{Node: &otto.NodeExplanation{ID: id}}, nil
}

func TestExplainFindsOutWhatIsMeant(t *testing.T) {
	for _, tt := range []struct {
		name     string
		node     bool
		isNode   bool
		mistaken string
	}{
		{name: "web"},
		{name: "web", node: true, isNode: true},
		{name: "pi", isNode: true},
		{name: "x", mistaken: `no service or node "x": there are web, pi, web`},
	} {
		e, err := explanationOf(t.Context(), explains{}, tt.name, tt.node)
		switch {
		case tt.mistaken != "":
			if err == nil || err.Error() != tt.mistaken {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err != nil || (e.Node != nil) != tt.isNode || (e.Service != nil) == tt.isNode:
			t.Errorf("%+v: %+v, %v", tt, e, err)
		}
	}
}

func TestExplanationIsReadable(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	parts := func(cpu, spread float64) []otto.ScorePart {
		return []otto.ScorePart{
			{Name: "cpu", Weight: 2, Value: cpu, Reason: "20% ± 10% in use"},
			{Name: "spread", Weight: 4, Value: spread, Reason: "0 others of web are there"},
		}
	}
	for name, tt := range map[string]struct {
		e    otto.Explanation
		want string
	}{
		"a service": {otto.Explanation{Service: &otto.ServiceExplanation{Name: "web", Instances: []otto.InstanceExplanation{
			{
				Name: "web", Node: "pi", State: otto.InstanceRunning, Why: "it stays where it is", Waits: "something",
				Last:     &otto.Event{Time: at, Message: "web goes to pi"},
				Rules:    []otto.RuleHeld{{Rule: "require disk != sd", Holds: true}, {Rule: "near db"}},
				Scores:   []otto.Score{{Node: "nas", Total: 0.9, Parts: parts(.7, 1)}, {Node: "pi", Total: 0.8, Parts: parts(.4, 1)}},
				Refusals: []otto.Refusal{{Node: "zero", Filter: "memory", Reason: "too little"}},
			},
			{Name: "web-2", State: otto.InstanceWaiting, Why: "it has no place: no node can take it", Waits: "no node can take it"},
		}}}, `web is running on pi: it stays where it is
  it waits: something
  2026-03-01 12:00:00: web goes to pi
  require disk != sd: holds
  near db: does not hold

NODE  SCORE  CPU   SPREAD
nas   0.90   0.70  1.00
pi    0.80   0.40  1.00

PART    WEIGHT  VALUE  ON PI
cpu     2       0.40   20% ± 10% in use
spread  4       1.00   0 others of web are there

NODE  REFUSED BY  BECAUSE
zero  memory      too little

web-2 is waiting: it has no place: no node can take it
`},
		"a node": {otto.Explanation{Node: &otto.NodeExplanation{
			ID: "pi", State: otto.NodeLost, Why: "silent for 3s", Refuses: "it is lost", Leaves: "is lost",
			Instances: []otto.InstanceHere{{Name: "db", State: otto.InstanceUnknown, Why: "it is at home"}},
			Refused:   []otto.ServiceRefusal{{Service: "web", Refusal: otto.Refusal{Node: "pi", Filter: "node", Reason: "it is lost"}}},
		}}, `pi is lost: silent for 3s
  it takes nothing new: it is lost
  what may move leaves it: it is lost

INSTANCE  STATE    BECAUSE
db        unknown  it is at home

SERVICE  REFUSED BY  BECAUSE
web      node        it is lost
`},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			(&app{out: &out}).printExplanation(tt.e)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
