package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/durable"
)

var begin = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// cluster makes views of nodes and services that measure something.
type cluster struct {
	nodes, services int
	state           func(service int, t time.Time) otto.InstanceState
	cpu             func(t time.Time) float64
	name            func(service int, t time.Time) string
}

func (c cluster) at(t time.Time) *otto.Cluster {
	v := &otto.Cluster{Time: t}
	cpu := 25.0
	if c.cpu != nil {
		cpu = c.cpu(t)
	}
	for i := range c.nodes {
		temperature := 50 + float64(t.Unix()/60%7)
		v.Nodes = append(v.Nodes, otto.NodeStatus{
			Node: otto.Node{ID: fmt.Sprintf("n%d", i)}, State: otto.NodeReady, LastSeen: t, SampleReceived: t,
			Facts: otto.NodeFacts{CPUs: 4},
			Sample: &otto.NodeSample{
				Time: t, CPUPercent: cpu, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 10 << 30, DiskTotal: 32 << 30,
				NetSent: uint64(t.Unix()-begin.Unix()+1e6) * 1000, Temperature: &temperature,
			},
		})
	}
	for i := range c.services {
		name := fmt.Sprintf("s%d", i)
		if c.name != nil {
			name = c.name(i, t)
		}
		state := otto.InstanceRunning
		if c.state != nil {
			state = c.state(i, t)
		}
		inst := otto.PlacedInstance{
			Node:           fmt.Sprintf("n%d", i%max(c.nodes, 1)),
			InstanceStatus: otto.InstanceStatus{Name: name, Service: name, State: state},
		}
		if state == otto.InstanceRunning {
			inst.Sample = &otto.ContainerSample{ID: "c", CPUPercent: 4 * cpu, MemoryUsed: 100 << 20, MemoryLimit: 4 << 30}
		}
		v.Services = append(v.Services, otto.ServiceStatus{
			Service: otto.Service{Name: name}, Instances: []otto.PlacedInstance{inst},
		})
	}
	return v
}

// live has a history see a cluster for a while, every interval.
func (c cluster) live(h *History, from, to time.Time, every time.Duration) {
	for t := from; t.Before(to); t = t.Add(every) {
		h.see(c.at(t), t)
		h.second(t)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// quick is a disk that is not waited for.
func quick() disk {
	return disk{
		write: writeAt,
		replace: func(path string, b []byte) error {
			if err := os.WriteFile(path+durable.Suffix, b, 0o600); err != nil {
				return err
			}
			return os.Rename(path+durable.Suffix, path)
		},
		remove: os.Remove,
	}
}

func ask(t testing.TB, h *History, q otto.HistoryQuery, now time.Time) otto.History {
	t.Helper()
	answer, err := h.Query(q, now)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// series is that of a metric; it fails if there is none or more.
func only(t testing.TB, a otto.History, metric string) otto.Series {
	t.Helper()
	var found []otto.Series
	for _, s := range a.Series {
		if s.Metric == metric {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d series %s in %d", len(found), metric, len(a.Series))
	}
	return found[0]
}

func TestEachResolutionHasLeastMeanAndMost(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	c := cluster{nodes: 1, services: 1, cpu: func(t time.Time) float64 { return float64(t.Unix() % 60) }}
	end := begin.Add(27*time.Hour + 30*time.Second)
	c.live(h, begin, end, 5*time.Second)

	full := only(t, ask(t, h, otto.HistoryQuery{Node: "n0", Since: end.Add(-time.Hour)}, end), "node.cpu")
	if len(full.Points) != 720 {
		t.Errorf("%d points in an hour", len(full.Points))
	}
	for _, p := range full.Points {
		if want := float64(p.Time.Unix() % 60); p.Min != want || p.Mean != want || p.Max != want {
			t.Fatalf("%+v, want %v", p, want)
		}
	}
	day := only(t, ask(t, h, otto.HistoryQuery{Node: "n0", Since: end.Add(-24 * time.Hour)}, end), "node.cpu")
	if n := len(day.Points); n != 24*60+1 {
		t.Errorf("%d points in a day", n)
	}
	for _, p := range day.Points[:1440] {
		if p.Min != 0 || p.Mean != 27.5 || p.Max != 55 {
			t.Fatalf("%+v", p)
		}
	}
	month := ask(t, h, otto.HistoryQuery{Node: "n0", Since: end.Add(-30 * 24 * time.Hour)}, end)
	cpu := only(t, month, "node.cpu")
	if n := len(cpu.Points); n != 27*6+1 || !cpu.Points[0].Time.Equal(begin) {
		t.Errorf("%d points in a month from %s on", n, cpu.Points[0].Time)
	}
	for _, p := range cpu.Points[:27*6] {
		if p.Min != 0 || p.Mean != 27.5 || p.Max != 55 {
			t.Fatalf("%+v", p)
		}
	}
	sent := only(t, month, "node.network.sent")
	if p := sent.Points[5]; p.Mean != 1000 || sent.Unit != "B/s" {
		t.Errorf("sent %+v %s", p, sent.Unit)
	}
	if len(month.States) != 1 || len(month.States[0].Spans) > 3 || month.States[0].Spans[0].Shares["ready"] != 1 {
		t.Errorf("states %+v", month.States)
	}
	service := ask(t, h, otto.HistoryQuery{Service: "s0", Since: end.Add(-time.Hour)}, end)
	if p := only(t, service, "cpu").Points[0]; p.Mean != float64(p.Time.Unix()%60) {
		t.Errorf("its share of four cores is %v", p)
	}
}

func TestPagesAreTheWhole(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	c := cluster{nodes: 1, services: 1}
	end := begin.Add(70 * time.Minute)
	c.live(h, begin, end, 30*time.Second)
	q := otto.HistoryQuery{Service: "s0", Since: begin, Resolution: time.Minute}
	whole := ask(t, h, q, end)
	if !whole.Next.IsZero() {
		t.Fatalf("%d series, and more", len(whole.Series))
	}
	for _, limit := range []int{1, 7, 100, 1000} {
		var points []otto.Point
		pages := 0
		for q := q; ; pages++ {
			q.Limit = limit
			page := ask(t, h, q, end)
			n := 0
			for _, s := range page.Series {
				n += len(s.Points)
			}
			if n > max(limit, len(whole.Series)) {
				t.Fatalf("%d points with a limit of %d", n, limit)
			}
			if len(page.Series) > 0 {
				points = append(points, only(t, page, "memory").Points...)
			}
			if page.Next.IsZero() {
				break
			}
			q.Since = page.Next
		}
		if diff := cmp.Diff(only(t, whole, "memory").Points, points); diff != "" {
			t.Errorf("in pages of %d: %s", limit, diff)
		}
	}
	for _, bad := range []otto.HistoryQuery{
		{}, {Node: "a", Service: "b"}, {Node: "a", Limit: -1}, {Node: "a", Limit: 1 << 30}, {Node: "a", Resolution: 7},
	} {
		if _, err := h.Query(bad, end); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	some := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Metrics: []string{"memory"}}, end)
	if len(some.Series) != 1 || len(some.States) != 0 {
		t.Errorf("memory alone: %d series, %d states", len(some.Series), len(some.States))
	}
}

func TestTimeWithoutControlPlaneIsAGap(t *testing.T) {
	dir := t.TempDir()
	c := cluster{nodes: 1, services: 1}
	h := open(dir, quiet(), quick())
	stop, again := begin.Add(20*time.Minute), begin.Add(50*time.Minute)
	c.live(h, begin, stop, 5*time.Second)
	h.flush()

	h = open(dir, quiet(), quick())
	end := begin.Add(2 * time.Hour)
	c.live(h, again, end, 5*time.Second)
	for _, resolution := range []time.Duration{time.Second, time.Minute, 10 * time.Minute} {
		a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Resolution: resolution}, end)
		for _, s := range a.Series {
			for _, p := range s.Points {
				if p.Time.Add(resolution).After(stop) && p.Time.Before(again) || s.Metric == "memory" && p.Mean == 0 {
					t.Fatalf("%s has %+v", s.Metric, p)
				}
			}
		}
		for _, s := range a.States[0].Spans {
			if s.To.After(stop) && s.From.Before(again) || s.Shares[otto.ServiceUp] != 1 {
				t.Fatalf("a state at %s: %+v", resolution, s)
			}
		}
	}
}

func TestWhoSaysNothingIsNotKnown(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	v := cluster{nodes: 1, services: 1}.at(begin)
	v.Nodes[0].State, v.Nodes[0].LastSeen, v.Nodes[0].Sample = otto.NodeJoining, time.Time{}, nil
	v.Services[0].Instances[0].State, v.Services[0].Instances[0].Sample = otto.InstanceUnknown, nil
	h.see(v, begin)
	for t := begin; t.Before(begin.Add(2 * time.Minute)); t = t.Add(time.Second) {
		h.second(t)
	}
	a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin}, begin.Add(time.Hour))
	if len(a.Series)+len(a.States) > 0 {
		t.Errorf("before its node was heard: %+v", a)
	}
	h.see(cluster{nodes: 1, services: 1}.at(begin), begin.Add(2*time.Minute))
	for t := begin.Add(2 * time.Minute); t.Before(begin.Add(5 * time.Minute)); t = t.Add(time.Second) {
		h.second(t) // and no view comes
	}
	a = ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin}, begin.Add(time.Hour))
	if known := a.States[0].Spans[0].Known; known > 11 {
		t.Errorf("known for %v seconds of one view", known)
	}
}

func TestStatesAndVerdictsAreKept(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	down := begin.Add(10 * time.Minute)
	c := cluster{nodes: 1, services: 1, state: func(_ int, t time.Time) otto.InstanceState {
		if !t.Before(down) && t.Before(down.Add(30*time.Second)) {
			return otto.InstanceFailed
		}
		return otto.InstanceRunning
	}}
	r := otto.Requirement{Metric: "latency", Aggregate: "p95", Operator: "<", Limit: 0.15, Unit: otto.UnitSeconds}
	end := begin.Add(20 * time.Minute)
	for now := begin; now.Before(end); now = now.Add(time.Second) {
		v := c.at(now)
		value := 0.2
		v.Services[0].Verdicts = []otto.Verdict{
			{Requirement: r, Service: "s0", Instance: "s0", State: otto.RequirementViolated, Value: &value},
		}
		h.see(v, now)
		h.second(now)
	}
	a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin, Resolution: time.Minute}, end)
	if p := only(t, a, r.String()); p.Points[3].Max != 0.2 || p.Unit != "s" {
		t.Errorf("what it is judged by: %+v", p)
	}
	found := 0
	for _, s := range a.States {
		switch {
		case s.Requirement == r.String():
			found++
			if s.Spans[0].Shares["violated"] != 1 {
				t.Errorf("%+v", s.Spans)
			}
		case s.Instance == "s0" || s.Instance == "":
			found++
			bad := map[string]string{"": otto.ServiceDown, "s0": string(otto.InstanceFailed)}[s.Instance]
			if len(s.Spans) != 3 || s.Spans[1].Shares[bad] != 0.5 || !s.Spans[1].From.Equal(down) {
				t.Errorf("%q: %+v", s.Instance, s.Spans)
			}
		}
	}
	if found != 3 {
		t.Errorf("%d states: %+v", found, a.States)
	}
}

// TestShortStateIsSeen has a state that comes and goes between two seconds.
func TestShortStateIsSeen(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	state := otto.InstanceRunning
	c := cluster{nodes: 1, services: 1, state: func(int, time.Time) otto.InstanceState { return state }}
	c.live(h, begin, begin.Add(10*time.Second), time.Second)
	state = otto.InstanceFailed
	h.see(c.at(begin), begin.Add(10*time.Second+100*time.Millisecond))
	state = otto.InstanceRunning
	c.live(h, begin.Add(10*time.Second+200*time.Millisecond), begin.Add(20*time.Second), time.Second)
	a := ask(t, h, otto.HistoryQuery{Service: "s0", Since: begin}, begin.Add(time.Minute))
	i := slices.IndexFunc(a.States, func(s otto.States) bool { return s.Instance == "s0" })
	if spans := a.States[i].Spans; len(spans) != 3 || spans[1].Shares["failed"] != 0.5 {
		t.Errorf("%+v", spans)
	}
}

// TestNothingWaits gives more views than anybody looks at.
func TestNothingWaits(t *testing.T) {
	h := open(t.TempDir(), quiet(), quick())
	h.mu.Lock() // as while a disk is slow
	done := make(chan struct{})
	go func() {
		for range 10 * waiting {
			h.Take(&otto.Cluster{})
			h.Problem()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it waits")
	}
	h.mu.Unlock()
	if a := ask(t, h, otto.HistoryQuery{Node: "a", Since: begin}, begin); a.Dropped != 9*waiting {
		t.Errorf("%d were dropped", a.Dropped)
	}
}

func TestRunKeepsWhatItIsGiven(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(dir, quiet(), quick())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		c := cluster{nodes: 1, services: 1}
		for range 150 {
			h.Take(c.at(time.Now()))
			time.Sleep(time.Second)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		a, err := Read(dir, otto.HistoryQuery{Service: "s0", Since: time.Now().Add(-time.Hour)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(only(t, a, "cpu").Points); n != 150 {
			t.Errorf("%d of 150 points", n)
		}
	})
}

func TestDirectoryOfAFormerBuildHasNone(t *testing.T) {
	a, err := Read(filepath.Join(t.TempDir(), "none"), otto.HistoryQuery{Node: "a", Since: begin}, begin)
	if err != nil || a.Series == nil || len(a.Series) != 0 {
		t.Errorf("%+v %v", a, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(dir, quiet(), quick())
	cluster{nodes: 1}.live(h, begin, begin.Add(2*time.Minute), time.Second)
	if b, err := os.ReadFile(filepath.Join(dir, "notes.txt")); err != nil || !bytes.Equal(b, []byte("mine")) {
		t.Errorf("%s %v", b, err)
	}
}
