package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

func readOne(v value, of scope) (otto.Requirement, Problems) {
	r := &reader{file: "otto.yaml"}
	q, _ := r.requirement(v, requirementObject(), of)
	return q.Requirement, r.problems
}

func TestShortForms(t *testing.T) {
	for text, want := range map[string]otto.Requirement{
		"node.cpu < 80% for 30s": {Metric: "node.cpu", Aggregate: "last", Operator: "<", Limit: 80, Unit: "%", Clear: 72, For: 30 * time.Second, Action: "event"},
		"latency p95 < 150ms over 30s for 30s -> migrate": {
			Metric: "latency", Aggregate: "p95", Over: 30 * time.Second, Operator: "<", Limit: 0.15, Unit: "s", Clear: 0.135, For: 30 * time.Second, Action: "migrate",
		},
		"availability >= 99% over 1h":     {Metric: "availability", Aggregate: "avg", Over: time.Hour, Operator: ">=", Limit: 99, Unit: "%", Clear: 99.1, For: 10 * time.Second, Action: "event"},
		"node.temperature<75°C for 60s":   {Metric: "node.temperature", Aggregate: "last", Operator: "<", Limit: 75, Unit: "C", Clear: 67.5, For: time.Minute, Action: "event"},
		"memory < 90% of limit clear 50%": {Metric: "memory", Aggregate: "last", Operator: "<", Limit: 90, Unit: "%", OfLimit: true, Clear: 50, For: 10 * time.Second, Action: "event"},
		"cpu <= 150% of reserve":          {Metric: "cpu", Aggregate: "last", Operator: "<=", Limit: 150, Unit: "%", OfReserve: true, Clear: 135, For: 10 * time.Second, Action: "event"},
		"rtt.nas.local p95 < 20ms over 1m": {
			Metric: "rtt.nas.local", Aggregate: "p95", Over: time.Minute, Operator: "<", Limit: 0.02, Unit: "s", Clear: 0.018, For: 10 * time.Second, Action: "event",
		},
		"restarts < 3 over 10m for 0s":     {Metric: "restarts", Aggregate: "count", Over: 10 * time.Minute, Operator: "<", Limit: 3, Clear: 2.7, Action: "event"},
		"network.sent <= 1.5MB/s over 1m":  {Metric: "network.sent", Aggregate: "rate", Over: time.Minute, Operator: "<=", Limit: 1.5 * otto.MB, Unit: "B/s", Clear: 1.35 * otto.MB, For: 10 * time.Second, Action: "event"},
		"mqtt:app/t#.a[0] > -5 -> restart": {Metric: "mqtt:app/t#.a[0]", Aggregate: "last", Operator: ">", Limit: -5, Clear: -4.5, For: 10 * time.Second, Action: "restart"},
	} {
		want.Severity, want.At = "warning", "otto.yaml:3:7"
		got, problems := readOne(value{pos: pos{line: 3, col: 7}, kind: scalar, text: text, plain: true}, ofService)
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 0)); len(problems) > 0 || diff != "" {
			t.Errorf("%s: %v\n%s", text, problems, diff)
		}
	}
}

func TestBothFormsMeanTheSame(t *testing.T) {
	f := parse(t, `
requirements: [node.disk < 90%, "cpu < 95%", latency < 1s]
nodes:
  - {id: a, host: localhost, requirements: [node.cpu < 80% for 30s -> cordon]}
services:
  web:
    image: nginx
    probe: {tcp: 80}
    resources: {memory: 64m}
    requirements:
      - latency p95 < 150ms over 30s for 30s clear 100ms -> migrate
      - {metric: latency, agg: p95, over: 30s, op: "<", value: 150ms, clear: 100ms, for: 30s, action: migrate,
         severity: critical, notify: {command: [notify-send, otto], webhook: "https://192.0.2.1/x?token=1"}}
      - {metric: memory, op: "<", value: 90% of limit}
  db: {image: redis}
`)
	s := f.Wanted.Services[0]
	a, b := s.Requirements[0], s.Requirements[1]
	if b.Severity != "critical" || b.Notify == nil || b.Notify.Webhook == "" || len(b.Notify.Command) != 2 {
		t.Errorf("got %+v", b)
	}
	if diff := cmp.Diff(a, b, cmpopts.IgnoreFields(otto.Requirement{}, "Severity", "Notify", "At")); diff != "" {
		t.Error(diff)
	}
	if !s.Requirements[2].OfLimit || a.At != "otto.yaml:11:9" {
		t.Errorf("got %+v", s.Requirements)
	}
	names := func(list []otto.Requirement) (out []string) {
		for _, r := range list {
			out = append(out, r.Metric)
		}
		return out
	}
	w := f.Wanted
	for want, got := range map[string][]otto.Requirement{
		"latency latency memory cpu latency": w.RequirementsOf(s),
		"cpu":                                w.RequirementsOf(w.Services[1]),
		"node.cpu node.disk":                 w.RequirementsOn(w.Nodes[0]),
	} {
		if diff := cmp.Diff(want, join(names(got))); diff != "" {
			t.Error(diff)
		}
	}
}

func join(words []string) (s string) {
	for i, w := range words {
		if i > 0 {
			s += " "
		}
		s += w
	}
	return s
}

// drawRequirement draws one that a user could have written.
func drawRequirement(t *rapid.T) otto.Requirement {
	rtt, _ := otto.FindMetric("rtt.nas-1")
	watched, _ := otto.FindMetric("availability.control")
	all := append(otto.Metrics(), rtt, watched, otto.Metric{Name: "mqtt:app/t#.a[3].b-c"})
	m := rapid.SampledFrom(all).Draw(t, "metric")
	r := otto.Requirement{Metric: m.Name, Unit: m.Unit, Operator: rapid.SampledFrom([]string{"<", "<=", ">", ">="}).Draw(t, "op"), Severity: "warning"}
	aggregates := []string{"last", "avg", "min", "max", "p1", "p50", "p99"}
	if m.Counter {
		aggregates = []string{"rate", "count"}
	} else if m.Windowed {
		aggregates = aggregates[1:]
	}
	r.Aggregate = rapid.SampledFrom(aggregates).Draw(t, "aggregate")
	seconds := func(least, most int, what string) time.Duration {
		return time.Duration(rapid.IntRange(least, most).Draw(t, what)) * time.Second
	}
	if r.Aggregate != "last" {
		r.Over = seconds(1, 24*3600, "over")
	}
	if r.Aggregate == "rate" {
		r.Unit = r.Unit.PerSecond()
	}
	number := func(least, most float64, what string) float64 {
		return rapid.OneOf(rapid.Float64Range(least, most), rapid.Map(rapid.IntRange(int(least)+1, int(most)-1), func(i int) float64 { return float64(i) })).Draw(t, what)
	}
	most := 1e9
	if r.Unit == otto.UnitPercent {
		most = 99.5
	}
	r.Limit = number(0.01, most, "limit")
	r.Clear = r.DefaultClear()
	if rapid.Bool().Draw(t, "clear") {
		r.Clear = r.Limit
	}
	r.For = seconds(0, 3600, "for")
	actions := []string{"event", "notify", "migrate", "restart"}
	if m.Node {
		actions = append(actions, "cordon")
	}
	r.Action = rapid.SampledFrom(actions).Draw(t, "action")
	if m.Name == "cpu" || m.Name == "memory" {
		of := rapid.SampledFrom([]string{"", "limit", "reserve"}).Draw(t, "of")
		r.OfLimit, r.OfReserve = of == "limit", of == "reserve"
	}
	return r
}

func TestCanonicalFormReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRequirement(t)
		text := want.String()
		got, problems := readOne(value{kind: scalar, text: text}, ofService)
		got.At = ""
		if diff := cmp.Diff(want, got); len(problems) > 0 || diff != "" {
			t.Fatalf("%s: %v\n%s", text, problems, diff)
		}
	})
}

func FuzzRequirement(f *testing.F) {
	for _, text := range []string{
		"node.cpu < 80% for 30s", "latency p95 < 150ms over 30s for 30s -> migrate", "memory<90% of limit", "mqtt:a/b#.c[0] >= -1.5",
		"restarts < 3 over 1d", "->", "cpu <", "node.memory.available > 1.1GB over 2h clear 1.2gb", "node.temperature < 75°C", "cpu < 200% of reserve", "rtt.nas < 5ms", "latency.nas p95 < 5ms over 1m",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, problems := readOne(value{kind: scalar, text: text, plain: true}, ofService)
		if len(problems) > 0 {
			return
		}
		again, problems := readOne(value{kind: scalar, text: r.String()}, ofService)
		r.At, again.At = "", ""
		if diff := cmp.Diff(r, again); len(problems) > 0 || diff != "" {
			t.Errorf("%q became %q: %v\n%s", text, r.String(), problems, diff)
		}
	})
}

// TestRequirementsAreDocumented has the example load, and each key of the map form be there.
func TestRequirementsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	f := parse(t, example)
	if n := len(f.Wanted.Services[0].Requirements); n != 6 {
		t.Errorf("%d requirements", n)
	}
	for name := range requirementObject().keys {
		if !strings.Contains(string(doc), "\n| `"+name+"` | ") {
			t.Errorf("the map form has no row of %s", name)
		}
	}
}
