package tui

import (
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// TestTroubleSaysWhatHappensNext with a requirement that is violated, by what is decided.
func TestTroubleSaysWhatHappensNext(t *testing.T) {
	const reason = "latency p95 is 180ms and should be < 150ms"
	moves := otto.Decision{
		Outcome:  otto.OutcomeWait,
		Action:   otto.ActionMigrate,
		Instance: "api",
		To:       "nas",
		Waits:    "the last one is less than 5m ago",
	}
	with := func(change func(d *otto.Decision)) *otto.Decision {
		d := moves
		change(&d)
		return &d
	}
	for name, tt := range map[string]struct {
		d    *otto.Decision
		want string
	}{
		"nothing is decided": {nil, "is to be moved"},
		"a matter of time": {with(func(d *otto.Decision) {
			d.Until = noon.Add(12 * time.Second)
		}), "moves to nas in 12s: the last one is less than 5m ago"},
		"no matter of time": {&moves, "moves to nas: the last one is less than 5m ago"},
		"overdue": {with(func(d *otto.Decision) {
			d.Until = noon.Add(-time.Second)
		}), "moves to nas: the last one is less than 5m ago"},
		"nowhere now": {with(func(d *otto.Decision) {
			d.To, d.Waits, d.Until = "", "nowhere to go now", noon.Add(90*time.Second)
		}), "nowhere to go now, looked at again in 1m"},
		"another one makes way": {with(func(d *otto.Decision) {
			d.Instance, d.For = "web", "api"
		}), "web moves to nas: the last one is less than 5m ago"},
		"restart": {with(func(d *otto.Decision) {
			d.Action, d.To, d.Until = otto.ActionRestart, "", noon.Add(4*time.Second)
		}), "is restarted in 4s: the last one is less than 5m ago"},
		"advised": {with(func(d *otto.Decision) {
			d.Outcome, d.Waits = otto.OutcomeAdvise, "it waits for a person"
		}), "advised: moves to nas: it waits for a person"},
		"of no use": {with(func(d *otto.Decision) {
			d.Outcome, d.Reason = otto.OutcomeStuck, reason+"; and it would be no better anywhere"
		}), "nothing helps: and it would be no better anywhere"},
		"off": {with(func(d *otto.Decision) {
			d.Outcome, d.Waits = otto.OutcomeTell, "decisions are off"
		}), "decisions are off"},
		"of another one":   {with(func(d *otto.Decision) { d.Instance = "web" }), "is to be moved"},
		"of another limit": {with(func(d *otto.Decision) { d.Requirement = "cpu < 1" }), "is to be moved"},
	} {
		c := homeCluster()
		s := &c.Services[4]
		s.Next = nil
		if tt.d != nil {
			d := *tt.d
			if d.Requirement == "" {
				d.Requirement = s.Verdicts[0].Requirement.String()
			}
			s.Next = []otto.Decision{d}
		}
		m := model(c)
		want := "api     latency p95 180ms > 150ms for 41s · " + tt.want
		if got := m.troubleEntries(mostTrouble, 200)[1].line.String(); strings.TrimSpace(got) != "! "+want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestLostNodeSaysWhatWaitsForIt, and what does not.
func TestLostNodeSaysWhatWaitsForIt(t *testing.T) {
	c := homeCluster()
	add := func(name, home, on string, data bool) {
		s := service(name, on, 0, 0)
		s.Node, s.Failover = home, otto.FailoverMove
		if data {
			s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: name, Target: "/data"}}
		}
		c.Services = append(c.Services, s)
	}
	add("web-2", "rpi-02", "nas", false)
	add("web-3", "rpi-02", "rpi-02", false)
	add("db-2", "", "rpi-02", true)
	for _, want := range []string{
		"1 instance elsewhere, 1 to start elsewhere, db and db-2 wait for it",
		"1 instance elsewhere, 1 to start elsewhere, db and 2 more wait for it",
	} {
		if got := NewIndex(c).trouble[0].then; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		add("db-3", "", "rpi-02", true)
	}
}

// TestLongReasonLeavesRoomForWhatHappensNext at the end of the line.
func TestLongReasonLeavesRoomForWhatHappensNext(t *testing.T) {
	x := trouble{name: "db", what: "failed", why: strings.Repeat("it is so ", 30), next: next{then: "is tried again"}}
	for _, width := range []int{60, 80, 140} {
		l := x.line(noon, 4, width)
		if s := l.String(); l.width() > width || !strings.HasSuffix(s, "… · is tried again") {
			t.Errorf("%d: %q", width, s)
		}
	}
}
