package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestDecisionsAreReadable(t *testing.T) {
	value, margin := 95.0, -25.0
	r := otto.Requirement{Metric: "node.cpu", Aggregate: "last", Operator: "<", Limit: 70, Clear: 63, Unit: "%", For: 10 * time.Second, Action: "migrate"}
	var out strings.Builder
	a := &app{out: &out}
	a.printDecisions([]otto.Verdict{
		{Requirement: r, State: otto.RequirementViolated, Value: &value, Margin: &margin},
		{Requirement: r, State: otto.RequirementUnknown, Reason: "nothing is measured yet"},
	}, []otto.Decision{{
		Outcome: otto.OutcomeWait, Action: otto.ActionMigrate, Instance: "web", Node: "a", To: "b", Requirement: r.String(),
		Reason: "node.cpu is 95%", Waits: "the last one is less than 5m ago", Until: time.Date(2026, 3, 1, 12, 0, 5, 0, time.Local),
		Gain: 12, Cost: 2.4, Outage: 3 * time.Second, Bytes: 120 << 20, Predicted: []otto.Prediction{{Requirement: r.String(), Of: "web", Value: 20, Unit: "%"}},
	}})
	want := `  node.cpu < 70% for 10s -> migrate: violated, at 95%, 25% beyond the limit
  node.cpu < 70% for 10s -> migrate: unknown: nothing is measured yet
  next, but not yet: migrate web from a to b: node.cpu is 95%
    held back: the last one is less than 5m ago
    looked at again at 12:00:05
    the violation has cost 12.0 s, and it would cost 2.4 s with an outage of 3s, about 120 MiB to fetch
    foreseen on b for web: node.cpu < 70% for 10s -> migrate, 20%
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
