package decide

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

// TestHistoriesOfDecisions draws clusters and what is measured of them over some
// hours, does what is decided, and holds each act against a plain statement of what
// must never be done. For more:
//
//	go test ./control/decide -run TestHistories -rapid.checks=100000
func TestHistoriesOfDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, now := drawCluster(t), epoch
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, 10 * time.Second, time.Minute, 7 * time.Minute, 25 * time.Minute}).Draw(t, "later"))
			for _, a := range k.Memory.Acts {
				if a.Ended.IsZero() && rapid.Bool().Draw(t, "ends") {
					took := time.Duration(rapid.IntRange(0, 600).Draw(t, "took")) * time.Second
					k.Memory = k.Memory.Learn("web", a, took, took, now)
					k.Memory = k.Memory.End(a.Instance, now, rapid.SampledFrom([]Helped{"", "", HelpedFailed}).Draw(t, "helped"))
				}
			}
			measure(t, &k, now)
			k.Memory, _ = k.Memory.Forget(k.Wanted.Decisions, now).Judge(k, now)
			list := Next(k, now)
			same := k
			same.Nodes, same.Verdicts = rapid.Permutation(k.Nodes).Draw(t, "nodes"), rapid.Permutation(k.Verdicts).Draw(t, "verdicts")
			if diff := cmp.Diff(sorted(list), sorted(Next(same, now))); diff != "" {
				t.Fatalf("in another order: %s", diff)
			}
			for _, d := range list {
				if d.Reason == "" || d.Outcome == otto.OutcomeWait && d.Waits == "" {
					t.Fatalf("no reason: %+v", d)
				}
				if d.Outcome != otto.OutcomeDo {
					continue
				}
				checkAct(t, k, d, now)
				k.Memory = k.Memory.Begin(ActOf(d, now, ""))
				switch d.Action {
				case otto.ActionMigrate:
					k.Placement[d.Instance] = d.To
				case otto.ActionCordon, otto.ActionUncordon:
					i := slices.IndexFunc(k.Nodes, func(n Node) bool { return n.ID == d.Node })
					k.Nodes[i].Cordoned, k.Nodes[i].Own = d.Action == otto.ActionCordon, true
				}
			}
			for _, d := range Next(k, now) {
				if d.Outcome == otto.OutcomeDo {
					t.Fatalf("again, at once: %+v", d)
				}
			}
		}
		for i := range k.Verdicts { // all is well
			k.Verdicts[i].State, k.Verdicts[i].Violated = otto.RequirementOK, time.Time{}
		}
		for _, d := range Next(k, now) {
			if d.Outcome == otto.OutcomeDo && d.Action != otto.ActionUncordon {
				t.Fatalf("although all is well: %+v", d)
			}
		}
	})
}

func sorted(list []otto.Decision) []string {
	var lines []string
	for _, d := range list {
		value := 0.0
		if d.Value != nil {
			value = *d.Value
		}
		d.Value = nil
		lines = append(lines, fmt.Sprintf("%+v %v", d, value))
	}
	slices.Sort(lines)
	return lines
}

func drawCluster(t *rapid.T) Known {
	k := Known{Placement: plan.Placement{}, Uses: map[string]Use{}}
	k.Wanted.Decisions = otto.Decisions{
		PerService: rapid.IntRange(0, 2).Draw(t, "per service"), PerNode: rapid.IntRange(0, 3).Draw(t, "per node"), PerCluster: rapid.IntRange(0, 4).Draw(t, "per cluster"),
		Cooldown: rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Minute}).Draw(t, "cooldown"),
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
		n := Node{Node: plan.Node{ID: fmt.Sprint("n", i), Memory: 4 << 30, Machine: scheduler.Machine{Cores: float64(rapid.IntRange(0, 4).Draw(t, "cores"))}}}
		k.Nodes = append(k.Nodes, n)
		k.Wanted.Nodes = append(k.Wanted.Nodes, otto.Node{ID: n.ID, Requirements: drawRequirements(t, "node.cpu", "node.memory", "node.temperature", "node.disk")})
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "services") {
		s := service(fmt.Sprint("s", i), drawRequirements(t, "node.cpu", "node.memory.available", "cpu", "memory", "latency")...)
		s.Replicas = rapid.IntRange(1, 2).Draw(t, "replicas")
		s.Spec.Exclusive = s.Replicas == 1 && rapid.IntRange(0, 3).Draw(t, "exclusive") == 0
		s.Data = rapid.SampledFrom([]string{"", otto.DataDisposable}).Draw(t, "data")
		s.Decisions = rapid.SampledFrom([]string{"", "", "", otto.DecideAdvise, otto.DecideOff}).Draw(t, "mode")
		k.Wanted.Services = append(k.Wanted.Services, s)
		for _, name := range k.Wanted.InstanceNames(s) {
			k.Placement[name] = rapid.SampledFrom(k.Nodes).Draw(t, "at").ID
		}
	}
	return k
}

func drawRequirements(t *rapid.T, metrics ...string) (list []otto.Requirement) {
	for range rapid.IntRange(0, 2).Draw(t, "requirements") {
		metric := rapid.SampledFrom(metrics).Draw(t, "metric")
		r := required(metric, rapid.SampledFrom([]float64{50, 80}).Draw(t, "limit"), rapid.SampledFrom([]string{otto.ActionMigrate, otto.ActionMigrate, otto.ActionRestart, otto.ActionCordon, otto.ActionEvent}).Draw(t, "action"))
		if metric == "node.memory.available" {
			r.Operator, r.Limit = ">", 1<<30
			r.Clear = r.DefaultClear()
		}
		if !slices.ContainsFunc(list, func(q otto.Requirement) bool { return q.String() == r.String() }) {
			list = append(list, r)
		}
	}
	return list
}

// measure draws what is measured, and gives verdicts of it that need not agree.
func measure(t *rapid.T, k *Known, now time.Time) {
	for i := range k.Nodes {
		n := &k.Nodes[i]
		n.Ready = rapid.IntRange(0, 9).Draw(t, "ready") > 0
		n.Refuse = rapid.SampledFrom([]string{"", "", "", "", "not ready"}).Draw(t, "refuse")
		n.Images = rapid.SampledFrom([]map[string]int64{nil, {}, {"web:latest": 0}, {"web:latest": 50 << 20}, {"web:latest": 500 << 20}}).Draw(t, "images")
		n.Readings = map[string]Range{}
		for _, metric := range []string{"node.cpu", "node.memory", "node.temperature", "node.disk", "node.memory.available"} {
			if rapid.IntRange(0, 9).Draw(t, "measured") > 0 {
				low := rapid.SampledFrom([]float64{5, 30, 46, 60, 74, 95}).Draw(t, "low")
				if metric == "node.memory.available" {
					low *= 1 << 26
				}
				n.Readings[metric] = Range{low, low * rapid.SampledFrom([]float64{1, 1.5}).Draw(t, "high")}
			}
		}
	}
	was := k.Verdicts
	k.Verdicts = nil
	add := func(r otto.Requirement, service, instance, node string) {
		v := violated(r, service, instance, node, rapid.SampledFrom([]float64{10, 55, 70, 90, 99}).Draw(t, "value"))
		v.State = rapid.SampledFrom([]otto.RequirementState{otto.RequirementViolated, otto.RequirementViolated, otto.RequirementOK, otto.RequirementPending, otto.RequirementUnknown, otto.RequirementClearing}).Draw(t, "state")
		v.Evaluated = now.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second}).Draw(t, "age"))
		v.Violated = time.Time{}
		if v.State == otto.RequirementViolated || v.State == otto.RequirementClearing {
			v.Violated = v.Evaluated
			for _, w := range was {
				if w.Standing() && w.Instance == instance && w.Node == node && w.Requirement.String() == r.String() {
					v.Violated = w.Violated
				}
			}
		}
		if v.State == otto.RequirementUnknown {
			v.Value, v.Margin = nil, nil
		}
		k.Verdicts = append(k.Verdicts, v)
	}
	for _, n := range k.Wanted.Nodes {
		for _, r := range n.Requirements {
			add(r, "", "", n.ID)
		}
	}
	clear(k.Uses)
	for _, s := range k.Wanted.Services {
		for _, name := range k.Wanted.InstanceNames(s) {
			if rapid.IntRange(0, 9).Draw(t, "use") > 0 {
				k.Uses[name] = Use{Cores: rapid.Float64Range(0, 1.5).Draw(t, "cores"), Most: rapid.Float64Range(0, 1.5).Draw(t, "most"), Memory: rapid.Float64Range(0, 1<<30).Draw(t, "memory")}
			}
			for _, r := range s.Requirements {
				add(r, s.Name, name, k.Placement[name])
			}
		}
	}
}

// checkAct is what must never be done, said without the code that decides.
func checkAct(t *rapid.T, k Known, d otto.Decision, now time.Time) {
	if d.Action == otto.ActionUncordon {
		return
	}
	called := slices.ContainsFunc(k.Verdicts, func(v otto.Verdict) bool {
		return v.Requirement.String() == d.Requirement && v.State == otto.RequirementViolated && v.Value != nil && now.Sub(v.Evaluated) <= stale &&
			v.Requirement.Action == d.Action && v.Node == d.Node && (d.OfNode && v.Service == "" || d.For == "" && v.Instance == d.Instance || d.For != "" && v.Instance == d.For)
	})
	if !called {
		t.Fatalf("no new violation calls for it: %+v", d)
	}
	if d.Action == otto.ActionCordon {
		return
	}
	x := k.Wanted.Decisions.WithDefaults()
	perService, perNode, perCluster := 0, map[string]int{}, 0
	for _, a := range k.Memory.Acts {
		if a.Action == otto.ActionCordon {
			continue
		}
		end := ended(a)
		if a.Service == d.Service && (a.Ended.IsZero() || now.Sub(end) < x.Cooldown) {
			t.Fatalf("within the cooldown of %+v: %+v", a, d)
		}
		for _, id := range []string{d.Node, d.To} {
			if id != "" && (a.From == id || a.To == id) && (a.Ended.IsZero() || now.Sub(end) < x.Settle) {
				t.Fatalf("%s settles after %+v: %+v", id, a, d)
			}
		}
		if a.Service == d.Service && d.To != "" && a.Action == otto.ActionMigrate && now.Sub(end) < x.ReturnAfter {
			if a.From == d.To && a.Verdict != HelpedFailed || a.To == d.To && (a.Verdict == HelpedNo || a.Verdict == HelpedFailed) {
				t.Fatalf("back to %s after %+v", d.To, a)
			}
		}
		if now.Sub(a.Began) >= time.Hour {
			continue
		}
		perCluster++
		if a.Service == d.Service {
			perService++
		}
		perNode[a.From]++
		if a.To != a.From {
			perNode[a.To]++
		}
	}
	if perService >= x.PerService || perCluster >= x.PerCluster || perNode[d.Node] >= x.PerNode || d.To != "" && perNode[d.To] >= x.PerNode {
		t.Fatalf("over budget (%d, %d, %v): %+v", perService, perCluster, perNode, d)
	}
	s := k.Wanted.Services[slices.IndexFunc(k.Wanted.Services, func(s otto.Service) bool { return s.Name == d.Service })]
	if s.Decisions != "" || d.Gain < d.Cost {
		t.Fatalf("%s, gain %v, cost %v: %+v", s.Decisions, d.Gain, d.Cost, d)
	}
	if d.Action == otto.ActionMigrate {
		checkTarget(t, k, d, s)
	}
}

// checkTarget is where nothing may go: where a limit would not hold, or a clear
// threshold although there is a node where all do.
func checkTarget(t *rapid.T, k Known, d otto.Decision, s otto.Service) {
	n := k.Nodes[slices.IndexFunc(k.Nodes, func(n Node) bool { return n.ID == d.To })]
	if !s.Mobile() || n.Refuse != "" || d.To == d.Node {
		t.Fatalf("it cannot go there: %+v", d)
	}
	from := k.Nodes[slices.IndexFunc(k.Nodes, func(n Node) bool { return n.ID == d.Node })]
	size := from.Images["web:latest"]
	if _, there := n.Images["web:latest"]; there {
		size = 0
	}
	if d.Bytes != size || s.Stateful() && d.Outage > 0 && d.Cost < 2*d.Outage.Seconds() {
		t.Fatalf("%d bytes of %d, %+v", d.Bytes, size, d)
	}
	clear, held, better := foreseen(k, d, s, n)
	if !held {
		t.Fatalf("a limit would not hold there: %+v", d)
	}
	if clear {
		return
	}
	if own := !d.OfNode && d.For == ""; own && !better {
		t.Fatalf("it goes for a trifle: %+v", d)
	}
	for _, n := range k.Nodes {
		wounded := slices.ContainsFunc(k.Verdicts, func(v otto.Verdict) bool { return v.Node == n.ID && v.Standing() })
		if clear, _, _ := foreseen(k, d, s, n); clear && n.ID != d.Node && n.Refuse == "" && !wounded {
			t.Fatalf("all would be clear on %s: %+v", n.ID, d)
		}
	}
}

// foreseen says whether all would be clear on a node, or within its limit, and
// whether what calls for a move would be better by as much as there is between.
func foreseen(k Known, d otto.Decision, s otto.Service, n Node) (clear, held, better bool) {
	requirements := append(slices.Clone(s.Requirements), k.Wanted.Nodes[slices.IndexFunc(k.Wanted.Nodes, func(w otto.Node) bool { return w.ID == n.ID })].Requirements...)
	for _, other := range k.Wanted.Services {
		for _, name := range k.Wanted.InstanceNames(other) {
			if k.Placement[name] == n.ID {
				requirements = append(requirements, other.Requirements...)
			}
		}
	}
	u, used := k.Uses[d.Instance]
	cpu, memory := 100*max(u.Cores, u.Most)/max(n.Cores, 1), 100*u.Memory/float64(n.Memory)
	add := map[string]float64{"node.cpu": cpu, "node.temperature": 0.3 * cpu, "node.disk": 0, "node.memory": memory, "node.memory.available": -u.Memory}
	alone := map[string]float64{"cpu": cpu, "memory": memory}
	clear, held, better = true, true, true
	for i, r := range requirements {
		by, ofNode := add[r.Metric]
		reading, measured := n.Readings[r.Metric]
		if value, own := alone[r.Metric]; own && i < len(s.Requirements) {
			by, ofNode, measured, reading = value, true, true, Range{}
		}
		if !ofNode {
			continue
		}
		measured = measured && (used || r.Metric == "node.disk") // it adds to all others, and what is not known
		clear = clear && measured && r.Clears(reading.Low+by, 1) && r.Clears(reading.High+by, 1)
		held = held && measured && r.Holds(reading.Low+by) && r.Holds(reading.High+by)
		if r.String() == d.Requirement && i < len(s.Requirements) {
			worst := reading.High
			if r.Operator == ">" {
				worst = reading.Low
			}
			better = r.Margin(worst+by)-r.Margin(*d.Value) >= math.Abs(r.Limit-r.Clear)
		}
	}
	return clear, held, better
}
