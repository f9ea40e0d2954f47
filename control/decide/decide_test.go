package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func required(metric string, limit float64, action string) otto.Requirement {
	m, _ := otto.FindMetric(metric)
	r := otto.Requirement{
		Metric:    metric,
		Aggregate: otto.AggregateLast,
		Operator:  "<",
		Limit:     limit,
		Unit:      m.Unit,
		For:       10 * time.Second,
		Severity:  otto.SeverityWarning,
		Action:    action,
	}
	r.Clear = r.DefaultClear()
	return r
}

func service(name string, requires ...otto.Requirement) otto.Service {
	return otto.Service{Name: name, Replicas: 1, Spec: otto.ContainerSpec{Image: "web"}, Requirements: requires}
}

// violated is a requirement that has been for ten seconds, for its time and now.
func violated(r otto.Requirement, service, instance, node string, value float64) otto.Verdict {
	margin := r.Margin(value)
	return otto.Verdict{
		Requirement: r,
		Service:     service,
		Instance:    instance,
		Node:        node,
		State:       otto.RequirementViolated,
		Since:       epoch,
		Violated:    epoch,
		Value:       &value,
		Margin:      &margin,
		Evaluated:   epoch,
		Reason:      fmt.Sprintf("%s is %s", r.Metric, r.Unit.Show(value)),
	}
}

// node is one with four cores, this much of them busy.
func node(id string, cpu float64) Node {
	return Node{
		Node: plan.Node{
			ID:      id,
			Memory:  4 << 30,
			Machine: scheduler.Machine{Cores: 4, Images: map[string]int64{"web:latest": 0}},
		},
		Readings: map[string]Range{"node.cpu": {cpu, cpu}, "node.temperature": {50, 50}},
		Ready:    true,
	}
}

// cluster is web on a, which is busy, because of a requirement of web's.
func cluster(targets ...Node) Known {
	web := service("web", required("node.cpu", 70, otto.ActionMigrate))
	k := Known{
		Wanted:    otto.Wanted{Services: []otto.Service{web}},
		Placement: plan.Placement{"web": "a"},
		Nodes:     append([]Node{node("a", 95)}, targets...),
		Uses:      map[string]Use{"web": {Cores: 0.4, Memory: 100 << 20}},
		Verdicts:  []otto.Verdict{violated(web.Requirements[0], "web", "web", "a", 95)},
	}
	for _, n := range k.Nodes {
		k.Wanted.Nodes = append(k.Wanted.Nodes, otto.Node{ID: n.ID})
	}
	return k
}

func one(t *testing.T, k Known, now time.Time) otto.Decision {
	t.Helper()
	list := Next(k, now)
	if len(list) != 1 {
		t.Fatalf("%d decisions: %+v", len(list), list)
	}
	return list[0]
}

func TestDecisions(t *testing.T) {
	moved := func(a Act) Act {
		a.Action, a.Service, a.Instance = otto.ActionMigrate, "web", "web"
		return a
	}
	ago := func(d time.Duration) time.Time { return epoch.Add(-d) }
	for _, c := range []struct {
		name    string
		change  func(*Known)
		outcome otto.Outcome
		to      string
		says    string // in the reason or in what it waits for
	}{
		{"goes to the idle node", func(*Known) {}, otto.OutcomeDo, "b", "node.cpu is 95%"},
		{"is too much for the other node", func(k *Known) { k.Uses["web"] = Use{Cores: 3} }, otto.OutcomeStuck, "", "b: its node.cpu would be 85% (75% of it by web), and web requires < 70%, clear at 63%"},
		{"goes where all holds if nowhere all is clear", func(k *Known) { k.Nodes[1] = node("b", 56) }, otto.OutcomeDo, "b", "nowhere would all be clear, and on b all would be within their limits"},
		{"rather goes where all is clear", func(k *Known) {
			k.Nodes[1] = node("b", 56)
			k.Nodes, k.Wanted.Nodes = append(k.Nodes, node("c", 52)), append(k.Wanted.Nodes, otto.Node{ID: "c"})
		}, otto.OutcomeDo, "c", "node.cpu is 95%"},
		{"does not go for a trifle", func(k *Known) {
			k.Nodes[1] = node("b", 56)
			k.Verdicts[0] = violated(k.Wanted.Services[0].Requirements[0], "web", "web", "a", 72)
		}, otto.OutcomeStuck, "", "b: its node.cpu would be 66%"},
		{"waits for where all holds", func(k *Known) {
			k.Nodes[1] = node("b", 56)
			k.Memory.Acts = []Act{moved(Act{From: "b", To: "a", Began: ago(20 * time.Minute), Ended: ago(20 * time.Minute), Verdict: HelpedYes})}
		}, otto.OutcomeWait, "", "b: web has left it lately"},
		{"may not violate what is there", func(k *Known) {
			db := service("db", required("node.cpu", 15, otto.ActionEvent))
			k.Wanted.Services, k.Placement["db"] = append(k.Wanted.Services, db), "b"
		}, otto.OutcomeStuck, "", "b: its node.cpu would be 20% (10% of it by web), and db requires < 15%"},
		{"may not violate the node", func(k *Known) {
			k.Wanted.Nodes[1].Requirements = []otto.Requirement{required("node.temperature", 52, otto.ActionEvent)}
		}, otto.OutcomeStuck, "", "b: its node.temperature would be 53C"},
		{"does not go where something is violated", func(k *Known) {
			v := violated(required("latency", 0.1, otto.ActionEvent), "db", "db", "b", 1)
			k.Verdicts = append(k.Verdicts, v)
		}, otto.OutcomeStuck, "", "b: latency < 100ms for 10s does not hold there for db"},
		{"does not go where nothing is known", func(k *Known) { delete(k.Nodes[1].Readings, "node.cpu") }, otto.OutcomeStuck, "", "b: its node.cpu is not known"},
		{"does not go while its use is not known", func(k *Known) { clear(k.Uses) }, otto.OutcomeStuck, "", "how much web would add"},
		{"has nowhere to go", func(k *Known) { k.Nodes[1].Refuse = "cordoned" }, otto.OutcomeStuck, "", "b: cordoned"},
		{"keeps its data", func(k *Known) {
			k.Wanted.Services[0].Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "d", Target: "/d"}}
		}, otto.OutcomeAdvise, "", "its data would have to go with it"},
		{"may lose its data", func(k *Known) {
			k.Wanted.Services[0].Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "d", Target: "/d"}}
			k.Wanted.Services[0].Data = otto.DataDisposable
		}, otto.OutcomeDo, "b", ""},
		{"is not worth an outage yet", func(k *Known) {
			k.Wanted.Services[0].Spec.Exclusive, k.Wanted.Services[0].Data = true, otto.DataDisposable
			k.Nodes[1].Images = nil
		}, otto.OutcomeWait, "b", "the violation has cost 10 s so far, and it would cost 68 s"},
		{"is only advised", func(k *Known) { k.Wanted.Decisions.Mode = otto.DecideAdvise }, otto.OutcomeAdvise, "b", "only advised"},
		{"is advised for this service", func(k *Known) { k.Wanted.Services[0].Decisions = otto.DecideAdvise }, otto.OutcomeAdvise, "b", "only advised"},
		{"is off", func(k *Known) { k.Wanted.Decisions.Mode = otto.DecideOff }, otto.OutcomeTell, "b", "decisions are off"},
		{"is frozen", func(k *Known) { k.Frozen = "doubt" }, otto.OutcomeWait, "b", "doubt"},
		{"is busy", func(k *Known) { k.Busy = map[string]string{"web": "it is starting"} }, otto.OutcomeWait, "b", "it is starting"},
		{"cools down", func(k *Known) {
			k.Memory.Acts = []Act{moved(Act{From: "c", To: "a", Began: ago(3 * time.Minute), Ended: ago(2 * time.Minute), Verdict: HelpedYes})}
		}, otto.OutcomeWait, "b", "the last one is less than 5m ago"},
		{"settles", func(k *Known) {
			k.Memory.Acts = []Act{moved(Act{From: "c", To: "a", Began: ago(30 * time.Second), Ended: ago(20 * time.Second)})}
		}, otto.OutcomeWait, "b", "the last one is less than 5m ago"},
		{"does not go back", func(k *Known) {
			k.Memory.Acts = []Act{moved(Act{From: "b", To: "a", Began: ago(20 * time.Minute), Ended: ago(20 * time.Minute), Verdict: HelpedYes})}
		}, otto.OutcomeWait, "", "b: web has left it lately"},
		{"goes back after a time", func(k *Known) {
			k.Memory.Acts = []Act{moved(Act{From: "b", To: "a", Began: ago(40 * time.Minute), Ended: ago(40 * time.Minute), Verdict: HelpedYes})}
		}, otto.OutcomeDo, "b", ""},
		{"does not go where it was of no use", func(k *Known) {
			k.Memory.Acts = []Act{moved(Act{From: "c", To: "b", Began: ago(20 * time.Minute), Ended: ago(20 * time.Minute), Verdict: HelpedNo})}
		}, otto.OutcomeWait, "", "b: going there did not help web lately"},
		{"has had its share", func(k *Known) {
			k.Wanted.Decisions.PerService = 1
			k.Memory.Acts = []Act{moved(Act{From: "c", To: "a", Began: ago(40 * time.Minute), Ended: ago(40 * time.Minute), Verdict: HelpedYes})}
		}, otto.OutcomeWait, "b", "there were 1 of this service within the last hour"},
		{"has a limit of its own that is too small", func(k *Known) {
			s := &k.Wanted.Services[0]
			s.Spec.Resources.MemoryBytes, s.Requirements = 1<<20, []otto.Requirement{required("memory", 90, otto.ActionMigrate)}
			k.Verdicts[0] = violated(s.Requirements[0], "web", "web", "a", 99)
		}, otto.OutcomeStuck, "", "web itself is the load"},
		{"may have a better latency", func(k *Known) {
			k.Wanted.Services[0].Requirements = []otto.Requirement{required("latency", 0.1, otto.ActionMigrate)}
			k.Verdicts[0] = violated(k.Wanted.Services[0].Requirements[0], "web", "web", "a", 1)
		}, otto.OutcomeDo, "b", "latency is 1s"},
		{"restarts before it moves", func(k *Known) {
			r := required("latency", 0.1, otto.ActionRestart)
			k.Wanted.Services[0].Requirements = append(k.Wanted.Services[0].Requirements, r)
			k.Verdicts = append(k.Verdicts, violated(r, "web", "web", "a", 1))
		}, otto.OutcomeDo, "", "latency is 1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := cluster(node("b", 10))
			c.change(&k)
			d := Next(k, epoch)[0]
			text := d.Reason + "; " + d.Waits
			if d.Outcome != c.outcome || d.To != c.to || !strings.Contains(text, c.says) {
				t.Errorf("%s to %q: %s\nwant %s to %q, saying %q", d.Outcome, d.To, text, c.outcome, c.to, c.says)
			}
		})
	}
}

func TestNothingIsDoneWithoutNewData(t *testing.T) {
	for name, change := range map[string]func(*otto.Verdict){
		"unknown":                     func(v *otto.Verdict) { v.State, v.Value = otto.RequirementUnknown, nil },
		"pending":                     func(v *otto.Verdict) { v.State = otto.RequirementPending },
		"old":                         func(v *otto.Verdict) { v.Evaluated = epoch.Add(-6 * time.Second) },
		"of a place that it has left": func(v *otto.Verdict) { v.Node = "b" },
	} {
		k := cluster(node("b", 10))
		change(&k.Verdicts[0])
		if list := Next(k, epoch); len(list) > 0 {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// TestNodeLosesWhatHelpsMost has an overloaded node with several services: a big
// one that stays, one that would not be enough, and two of which one is dear.
func TestNodeLosesWhatHelpsMost(t *testing.T) {
	k := cluster(node("b", 10))
	r := required("node.cpu", 80, otto.ActionMigrate)
	k.Wanted.Nodes[0].Requirements = []otto.Requirement{r}
	k.Verdicts = []otto.Verdict{violated(r, "", "", "a", 95)}
	home, small, dear, cheap := service("home"), service("small"), service("dear"), service("cheap")
	home.Node, dear.Spec.Exclusive, dear.Data = "a", true, otto.DataDisposable
	k.Wanted.Services = []otto.Service{home, small, dear, cheap}
	k.Placement = plan.Placement{"home": "a", "small": "a", "dear": "a", "cheap": "a"}
	k.Uses = map[string]Use{"home": {Cores: 2}, "small": {Cores: 0.1}, "dear": {Cores: 0.9}, "cheap": {Cores: 0.9}}
	if d := one(t, k, epoch); d.Outcome != otto.OutcomeDo || d.Instance != "cheap" || d.To != "b" || !d.OfNode {
		t.Errorf("%+v", d)
	}
	k.Uses = map[string]Use{"home": {Cores: 3.6}, "small": {Cores: 0.05}, "dear": {Cores: 0.05}, "cheap": {Cores: 0.05}}
	if d := one(t, k, epoch); d.Outcome != otto.OutcomeStuck ||
		!strings.Contains(d.Reason, "all of that gone would not be enough; home takes 90% of it and stays") {
		t.Errorf("%+v", d)
	}
	k.Wanted.Nodes[0].Requirements[0].Metric, k.Verdicts[0].Requirement.Metric = "node.disk", "node.disk"
	if d := one(t, k, epoch); d.Outcome != otto.OutcomeStuck || !strings.Contains(d.Reason, "no move can mend it") {
		t.Errorf("%+v", d)
	}
}

// TestOthersMakeRoom has a service that is too large for the other node, or may not
// leave its data.
func TestOthersMakeRoom(t *testing.T) {
	crowded := func() Known {
		k := cluster(node("b", 10))
		batch := service("batch")
		k.Wanted.Services, k.Placement["batch"] = append(k.Wanted.Services, batch), "a"
		k.Uses = map[string]Use{"web": {Cores: 2.4}, "batch": {Cores: 1.4}}
		return k
	}
	k := crowded()
	d := one(t, k, epoch)
	if d.Outcome != otto.OutcomeDo || d.Instance != "batch" || d.To != "b" || d.For != "web" || d.OfNode ||
		!strings.Contains(d.Reason, "web requires it and has no better place itself") {
		t.Fatalf("%+v", d)
	}
	k.Wanted.Services[0].Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "d", Target: "/d"}}
	k.Uses["web"] = Use{Cores: 0.1}
	if d := one(t, k, epoch); d.Outcome != otto.OutcomeDo || d.Instance != "batch" || d.For != "web" {
		t.Errorf("web keeps its data: %+v", d)
	}
	k.Wanted.Services[0].Decisions = otto.DecideAdvise
	if d := one(t, k, epoch); d.Instance != "web" || d.Outcome != otto.OutcomeAdvise {
		t.Errorf("web is only advised: %+v", d)
	}
	k = crowded()
	k.Wanted.Decisions.Mode = otto.DecideAdvise
	if d := one(t, k, epoch); d.Instance != "batch" || d.Outcome != otto.OutcomeAdvise {
		t.Errorf("all is only advised: %+v", d)
	}
	k = crowded()
	k.Uses["batch"] = Use{Cores: 0.1}
	if d := one(t, k, epoch); d.Instance != "web" || d.Outcome != otto.OutcomeStuck {
		t.Errorf("it would not be enough: %+v", d)
	}
	k = crowded()
	k.Memory = k.Memory.Begin(ActOf(d, epoch, ""))
	k.Placement["batch"] = "b"
	later := epoch.Add(time.Second)
	if d := one(t, k, later); d.Outcome != otto.OutcomeWait ||
		!strings.Contains(d.Waits, "the move of batch is under way") {
		t.Errorf("while room is being made: %+v", d)
	}
	k.Memory = k.Memory.End("batch", later, "")
	if _, found := k.Memory.Judge(k, later.Add(time.Minute)); len(found) != 1 || found[0].Verdict != HelpedNo {
		t.Errorf("%+v", found)
	}
	k.Verdicts[0].State = otto.RequirementOK
	if _, found := k.Memory.Judge(k, later.Add(time.Minute)); len(found) != 1 || found[0].Verdict != HelpedYes {
		t.Errorf("%+v", found)
	}
}

// TestWhoLeavesIsWhoFits has a recorder that takes most of a node, and a backup that has
// just begun to take more.
func TestWhoLeavesIsWhoFits(t *testing.T) {
	r := required("node.cpu", 70, otto.ActionMigrate)
	cluster := func(other float64, backup Use) Known {
		k := cluster(node("b", other))
		k.Wanted.Services = []otto.Service{service("backup"), service("recorder"), service("web")}
		k.Wanted.Nodes[0].Requirements, k.Wanted.Nodes[1].Requirements = []otto.Requirement{r}, []otto.Requirement{r}
		k.Placement = plan.Placement{"backup": "a", "recorder": "a", "web": "a"}
		k.Uses = map[string]Use{"recorder": {Cores: 1.5}, "web": {Cores: 0.2}, "backup": backup}
		k.Nodes[0].Readings = map[string]Range{"node.cpu": {76, 76}}
		k.Verdicts = []otto.Verdict{violated(r, "", "", "a", 76)}
		return k
	}
	for name, tt := range map[string]struct {
		k     Known
		leave string
	}{
		"the one that is enough":                     {cluster(20, Use{Cores: 0.9, Most: 0.3}), "backup"},
		"the large one, if the others are too small": {cluster(20, Use{Cores: 0.3}), "recorder"},
		"not the large one where it would be as bad": {cluster(45, Use{Cores: 0.3}), "backup"},
		"only one whose worst would be clear there":  {cluster(35, Use{Cores: 0.9, Most: 2}), "web"},
	} {
		if d := one(t, tt.k, epoch); d.Instance != tt.leave || d.Outcome != otto.OutcomeDo {
			t.Errorf("%s: %s, %s: %s", name, d.Outcome, d.Instance, d.Reason)
		}
	}
	k := cluster(40, Use{Cores: 0.9})
	k.Memory = k.Memory.Begin(ActOf(one(t, k, epoch), epoch, ""))
	k.Placement["backup"] = "b"
	delete(k.Uses, "web")
	if d := one(t, k, epoch.Add(time.Second)); d.Outcome != otto.OutcomeWait || d.Waits == "" {
		t.Errorf("while what it has decided is under way: %s: %s (%s)", d.Outcome, d.Reason, d.Waits)
	}
}

func TestPersonMovesWhatMayMove(t *testing.T) {
	k := cluster(node("b", 90), node("c", 10))
	if d, err := Move(k, "web", "", epoch); err != nil || d.To != "c" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := Move(k, "web", "b", epoch); err != nil || d.To != "b" || len(d.Predicted) == 0 {
		t.Errorf("%+v, %v", d, err)
	}
	k.Nodes[1].Refuse = "cordoned"
	for to, want := range map[string]string{"a": "is on a already", "b": "b: cordoned", "x": "no node"} {
		if _, err := Move(k, "web", to, epoch); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

func TestClockThatWasWrongHoldsNothingBack(t *testing.T) {
	m := Memory{
		Acts: []Act{
			{
				Action:  otto.ActionMigrate,
				Service: "web",
				Began:   epoch.AddDate(40, 0, 0),
				Ended:   epoch.AddDate(40, 0, 0),
			},
		},
	}
	m = m.Forget(otto.Decisions{}, epoch)
	if until := m.cooling("web", otto.Decisions{}.WithDefaults()); until.After(epoch.Add(5 * time.Minute)) {
		t.Errorf("it cools down until %s", until)
	}
	if m = m.Forget(otto.Decisions{}, epoch.Add(24*time.Hour)); len(m.Acts) > 0 {
		t.Errorf("%+v", m.Acts)
	}
}

func TestNextChangesNothingItIsGiven(t *testing.T) {
	k := cluster(node("b", 10), node("c", 10))
	r := required("node.disk", 90, otto.ActionCordon)
	k.Wanted.Nodes[0].Requirements, k.Verdicts = []otto.Requirement{r}, append(k.Verdicts, violated(r, "", "", "a", 95))
	was := slices.Clone(k.Nodes)
	Next(k, epoch)
	if diff := cmp.Diff(was, k.Nodes); diff != "" || len(k.Memory.Acts) > 0 {
		t.Error(diff, k.Memory)
	}
}
