package decide

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

func TestNodeIsCordonedOnceForAViolation(t *testing.T) {
	k := cluster(node("b", 10))
	r := required("node.disk", 90, otto.ActionCordon)
	k.Wanted.Nodes[0].Requirements = []otto.Requirement{r}
	k.Verdicts = []otto.Verdict{violated(r, "", "", "a", 95)}
	d := one(t, k, epoch)
	if d.Outcome != otto.OutcomeDo || d.Action != otto.ActionCordon || d.Node != "a" {
		t.Fatalf("%+v", d)
	}
	k.Memory = k.Memory.Begin(ActOf(d, epoch, ""))
	k.Nodes[0].Cordoned, k.Nodes[0].Own = true, true
	if list := Next(k, epoch); len(list) > 0 {
		t.Errorf("cordoned again: %+v", list)
	}
	k.Nodes[0].Cordoned, k.Nodes[0].Own = false, false // a person has taken it back
	if list := Next(k, epoch); len(list) > 0 {
		t.Errorf("cordoned against a person's will: %+v", list)
	}
	k.Nodes[0].Cordoned, k.Nodes[0].Own, k.Verdicts[0].State = true, true, otto.RequirementUnknown
	if list := Next(k, epoch); len(list) > 0 {
		t.Errorf("something is done without data: %+v", list)
	}
	k.Verdicts[0].State = otto.RequirementOK
	if d := one(t, k, epoch); d.Action != otto.ActionUncordon || d.Outcome != otto.OutcomeDo {
		t.Errorf("%+v", d)
	}
}

// TestServiceHasItsNodeCordoned for what it requires of it, by its own mode.
func TestServiceHasItsNodeCordoned(t *testing.T) {
	for mode, want := range map[string]otto.Outcome{"": otto.OutcomeDo, otto.DecideAdvise: otto.OutcomeAdvise} {
		k := cluster(node("b", 10))
		r := required("node.cpu", 70, otto.ActionCordon)
		k.Wanted.Services[0].Requirements, k.Wanted.Services[0].Decisions = []otto.Requirement{r}, mode
		k.Verdicts = []otto.Verdict{violated(r, "web", "web", "a", 95)}
		if d := one(t, k, epoch); d.Outcome != want || d.Action != otto.ActionCordon || d.Node != "a" ||
			d.Service != "web" {
			t.Errorf("%s: %+v", mode, d)
		}
	}
}

func TestWhetherItHelpedIsFoundOut(t *testing.T) {
	k := cluster(node("b", 10))
	d := one(t, k, epoch)
	k.Memory = k.Memory.Begin(ActOf(d, epoch, "")).End("web", epoch.Add(2*time.Second), "")
	k.Placement["web"] = "b"
	k.Verdicts[0] = violated(k.Wanted.Services[0].Requirements[0], "web", "web", "b", 90)
	now := epoch.Add(20 * time.Second)
	if _, found := k.Memory.Judge(k, now); len(found) > 0 {
		t.Errorf("judged while it settles: %+v", found)
	}
	now = epoch.Add(2 * time.Minute)
	m, found := k.Memory.Judge(k, now)
	if len(found) != 1 || found[0].Verdict != HelpedNo {
		t.Fatalf("%+v", found)
	}
	if why, _ := m.barred("web", "b", k.Wanted.Decisions.WithDefaults(), now); why == "" {
		t.Error("the node is not barred")
	}
	for at, want := range map[string][]string{"b": {"a"}, "c": {"a", "b"}} {
		bans := m.Bans(plan.Placement{"web": at}, k.Wanted.DecisionsOf(), now)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(bans))); diff != "" || bans["a"]["web"] == "" {
			t.Errorf("while it is on %s: %s %v", at, diff, bans)
		}
	}
	k.Verdicts[0].State = otto.RequirementOK
	if _, found := k.Memory.Judge(k, now); len(found) != 1 || found[0].Verdict != HelpedYes {
		t.Errorf("%+v", found)
	}
	k.Verdicts[0].State = otto.RequirementUnknown
	if _, found := k.Memory.Judge(k, now); len(found) != 0 {
		t.Errorf("judged without data: %+v", found)
	}
	if _, found := k.Memory.Judge(k, epoch.Add(time.Hour)); len(found) != 1 || found[0].Verdict != HelpedUnknown {
		t.Errorf("%+v", found)
	}
}

func TestMovesTeachWhatTheyCost(t *testing.T) {
	k := cluster(node("b", 10))
	s := &k.Wanted.Services[0]
	s.Spec.Exclusive, s.Data = true, otto.DataDisposable
	before := one(t, k, epoch)
	for range 10 {
		k.Memory = k.Memory.Learn("web", Act{From: "a", To: "b"}, 9*time.Second, 7*time.Second, epoch)
	}
	after := one(t, k, epoch)
	if before.Outcome != otto.OutcomeDo || after.Outcome != otto.OutcomeWait ||
		after.Outage.Round(time.Second) != 7*time.Second {
		t.Errorf("before %s at %.1f s, after %s at %.1f s with an outage of %s", before.Outcome, before.Cost,
			after.Outcome, after.Cost, after.Outage)
	}
}

// TestWhatHasToBeFetchedCosts has an image of 240 MiB on a.
func TestWhatHasToBeFetchedCosts(t *testing.T) {
	const size = 240 << 20
	fetched := func(times int, bytes int64, took time.Duration) (m Memory) {
		for range times {
			m = m.Learn("web", Act{From: "a", To: "b", Bytes: bytes}, took, took, epoch)
		}
		return m
	}
	for _, tt := range []struct {
		name   string
		stops  bool
		here   int64            // as a says it
		there  map[string]int64 // what b has
		memory Memory
		bytes  int64
		outage time.Duration
		cost   float64
		says   string
	}{
		{"it is there", true, size, map[string]int64{"web:latest": size}, Memory{}, 0, 2 * time.Second, 1 + 2*2 + 0.1*2, ""},
		{"it is not there", true, size, map[string]int64{"db:latest": size}, Memory{}, size, 62 * time.Second, 1 + 2*62 + 0.1*62, ", about 240 MiB to fetch"},
		{"it is not known to be there", true, size, nil, Memory{}, size, 62 * time.Second, 1 + 2*62 + 0.1*62, ", about 240 MiB to fetch"},
		{"it is fetched while it runs", false, size, nil, Memory{}, size, 0, 1 + 0.1*62, ", about 240 MiB to fetch"},
		{"its size is not known", true, 0, nil, Memory{}, 0, 32 * time.Second, 1 + 2*32 + 0.1*32, ""},
		{"its size is not known, and what a move takes is", true, 0, nil, fetched(1, 0, 9*time.Second), 0, 9 * time.Second, 1 + 2*9 + 0.1*9, ""},
		{"a slow start is learned beside it", true, size, nil, fetched(1, 0, 9*time.Second), size, 69 * time.Second, 1 + 2*69 + 0.1*69, ", about 240 MiB to fetch"},
		{"a way that is fast is learned", true, size, nil, fetched(20, size, 14*time.Second), size, 16430 * time.Millisecond, 35.5, ", about 240 MiB to fetch"},
		{"a small image says little of the way", true, size, nil, fetched(1, 1<<20, 7*time.Second), size, 96545 * time.Millisecond, 203.7, ", about 240 MiB to fetch"},
		{"a tiny one", false, 1000, nil, Memory{}, 1000, 0, 1 + 0.1*2, ", about 1 MiB to fetch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := cluster(node("b", 10))
			k.Wanted.Services[0].Spec.Exclusive, k.Wanted.Services[0].Data = tt.stops, otto.DataDisposable
			k.Nodes[0].Images, k.Nodes[1].Images, k.Memory = map[string]int64{
				"web:latest": tt.here,
			}, tt.there, tt.memory
			d := one(t, k, epoch)
			if d.Bytes != tt.bytes || (d.Outage-tt.outage).Abs() > time.Millisecond || math.Abs(d.Cost-tt.cost) > 0.1 ||
				d.Fetches() != tt.says {
				t.Errorf("%d bytes, an outage of %s, at %.2f s%s", d.Bytes, d.Outage, d.Cost, d.Fetches())
			}
			if a := ActOf(d, epoch, ""); a.Bytes != tt.bytes {
				t.Errorf("the act fetches %d bytes", a.Bytes)
			}
		})
	}
}

func TestWhatWasLearnedIsBounded(t *testing.T) {
	var m Memory
	for i := range 2 * maxCosts {
		at := epoch.Add(time.Duration(i) * time.Second)
		m = m.Learn("web", Act{From: "a", To: fmt.Sprint(i)}, time.Second, time.Second, at)
		m = m.Learn("web", Act{From: "a", To: fmt.Sprint(i), Bytes: 1}, time.Second, time.Second, at)
	}
	newest := fmt.Sprint("a>", 2*maxCosts-1)
	if _, kept := m.Rates[newest]; len(m.Costs) != maxCosts || len(m.Rates) != maxCosts || !kept {
		t.Errorf("%d costs, %d rates, the newest kept: %t", len(m.Costs), len(m.Rates), kept)
	}
}

func TestNodeThatHasComeIsAdvised(t *testing.T) {
	k := cluster(node("b", 1))
	k.Verdicts = nil
	k.Nodes[0].CPU, k.Nodes[1].CPU = scheduler.Load{Mean: 0.6, Samples: 100}, scheduler.Load{Mean: 0.01, Samples: 100}
	k.Nodes[0].Since, k.Nodes[1].Since = epoch.Add(-24*time.Hour), epoch.Add(-30*time.Second)
	if list := Better(k, epoch); len(list) > 0 {
		t.Errorf("before it is proven: %+v", list)
	}
	k.Nodes[1].Since = epoch.Add(-2 * time.Minute)
	list := Better(k, epoch)
	if len(list) != 1 || list[0].Outcome != otto.OutcomeAdvise || list[0].To != "b" {
		t.Fatalf("%+v", list)
	}
	k.Nodes[1].Readings["node.cpu"] = Range{90, 90}
	if list := Better(k, epoch); len(list) > 0 {
		t.Errorf("to a node where its requirement would not hold: %+v", list)
	}
}

// TestStackIsMovedAsOne weighs a stack of which one member requires a calm node: all of
// it has to fit, and goes; it is one move for budgets.
func TestStackIsMovedAsOne(t *testing.T) {
	web := service("shop/web", required("node.cpu", 70, otto.ActionMigrate))
	db := service("shop/db")
	web.Unit, db.Unit = "shop", "shop"
	web.Reserve.MemoryBytes, db.Reserve.MemoryBytes = 100<<20, 900<<20
	k := cluster(node("b", 5), node("c", 20))
	k.Nodes[1].Memory = 512 << 20 // enough for web alone
	k.Wanted.Services = []otto.Service{db, web}
	k.Placement = plan.Placement{"shop/db": "a", "shop/web": "a"}
	k.Uses = map[string]Use{"shop/web": {Cores: 0.4, Memory: 100 << 20}, "shop/db": {Cores: 0.4, Memory: 100 << 20}}
	k.Verdicts = []otto.Verdict{violated(web.Requirements[0], "shop/web", "shop/web", "a", 95)}
	now := epoch
	d := one(t, k, now)
	if d.Outcome != otto.OutcomeDo || d.To != "c" || d.Instance != "shop/web" {
		t.Fatalf("%+v", d)
	}
	x := plan.NewIndex(k.Wanted, nil)
	acts := ActsOf(x, d, now, "")
	if len(acts) != 2 || acts[1].Instance != "shop/db" || acts[1].To != "c" || acts[1].From != "a" ||
		acts[1].With != "shop/web" ||
		acts[1].Requirement != "" {
		t.Errorf("acts: %+v", acts)
	}
	if _, full := (Memory{}.Begin(acts...)).spent(2, now, func(Act) bool { return true }); full {
		t.Error("it counts as two moves")
	}
	k.Busy = map[string]string{"shop/db": "somebody has paused it"}
	if d := one(t, k, now); d.Outcome != otto.OutcomeWait || d.Waits != "somebody has paused it" {
		t.Errorf("one that cannot go: %+v", d)
	}
	k.Busy = nil
	k.Wanted.Services[1].Shares = "the network proxy of stack traefik"
	if d := one(t, k, now); d.Outcome != otto.OutcomeStuck || !strings.Contains(d.Reason, "it would leave the network proxy of stack traefik") {
		t.Errorf("one that shares a network with another stack: %+v", d)
	}
	if d, err := Move(k, "shop/web", "c", now); err != nil || d.To != "c" {
		t.Errorf("moved by a person: %+v, %v", d, err)
	}
	k.Wanted.Services[1].Shares, k.Index = "", nil
	k.Uses = map[string]Use{"shop/web": {Cores: 0.4}}
	if d := one(t, k, now); d.Outcome != otto.OutcomeStuck {
		t.Errorf("what one of them takes is not known: %+v", d)
	}
}

// TestVictimIsAStackWithAllThatItTakes is of a node that requires to be calm: no member
// of a stack is enough alone, and all of it is.
func TestVictimIsAStackWithAllThatItTakes(t *testing.T) {
	db, web := service("shop/db"), service("shop/web")
	web.Unit, db.Unit = "shop", "shop"
	r := required("node.cpu", 70, otto.ActionMigrate)
	k := cluster(node("b", 5))
	k.Wanted.Services, k.Placement = []otto.Service{db, web}, plan.Placement{"shop/db": "a", "shop/web": "a"}
	k.Uses = map[string]Use{"shop/web": {Cores: 0.8}, "shop/db": {Cores: 0.8}} // 20 % each
	k.Verdicts = []otto.Verdict{violated(r, "", "", "a", 95)}
	for i := range k.Verdicts {
		k.Verdicts[i].Evaluated = epoch.Add(time.Minute)
	}
	if d := one(t, k, epoch.Add(time.Minute)); d.Outcome != otto.OutcomeDo || d.Instance != "shop/db" ||
		!strings.Contains(d.Reason, "stack shop takes 40% of it") {
		t.Errorf("%+v", d)
	}
}
