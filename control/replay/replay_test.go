package replay

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

const day = 24 * time.Hour

// small is a drawn scenario that takes a moment.
func small(seed uint64) Scenario {
	return Draw(seed, Size{Nodes: 8, Services: 32, Length: day, Interval: 15 * time.Second})
}

func run(t *testing.T, s Scenario, name string, seed uint64) Result {
	t.Helper()
	p, err := Named(name, seed)
	if err != nil {
		t.Fatal(err)
	}
	return Run(s, name, p)
}

func TestSameSeedSameResult(t *testing.T) {
	for _, name := range Policies() {
		a, b := run(t, small(7), name, 7), run(t, small(7), name, 7)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if other := run(t, small(8), name, 8); cmp.Equal(a, other) {
			t.Errorf("%s: another seed gives the same: %+v", name, a)
		}
	}
}

// TestOursIsNeverHasty also sees that the counts can be other than 0.
func TestOursIsNeverHasty(t *testing.T) {
	moves, hasty, returns := 0, 0, 0
	for seed := range uint64(20) {
		ours := run(t, small(seed), "ours", seed)
		if ours.Hasty > 0 || ours.Returns > 0 {
			t.Errorf("seed %d: %+v", seed, ours)
		}
		moves += ours.Moves
		if seed < 3 {
			other := run(t, small(seed), "threshold", seed)
			hasty, returns = hasty+other.Hasty, returns+other.Returns
		}
	}
	if moves == 0 || hasty == 0 || returns == 0 {
		t.Errorf("nothing was put to the test: %d moves of ours; of threshold %d hasty, %d back", moves, hasty, returns)
	}
}

// TestLoadGoesWithTheService adds up, at each step, what nodes carry and what runs.
func TestLoadGoesWithTheService(t *testing.T) {
	s := small(3)
	p, err := Named("threshold", 3)
	if err != nil {
		t.Fatal(err)
	}
	w, away := New(s, "threshold", p), 0
	for at := time.Duration(0); ; at += s.Wanted.Interval {
		where := map[string]*node{} // decisions of the step come after its load
		if !w.Step() {
			break
		}
		for _, i := range w.instances {
			where[i.name] = i.at
			if i.at != nil && i.at.lost {
				t.Fatalf("at %v %s runs on %s, which is lost", at, i.name, i.at.id)
			}
			if i.at == nil {
				away++
			}
		}
		for k, n := range w.nodes {
			cores := s.Machines[k].CPU.At(at)
			for _, i := range w.instances {
				if act, moving := w.memory.UnderWay(i.name); where[i.name] == n || moving && act.Began.Equal(w.now) && act.From == n.id && where[i.name] == nil {
					cores += s.Demands[i.name].Cores.At(at)
				}
			}
			if math.Abs(cores-n.cores) > 1e-6 {
				t.Fatalf("at %v %s carries %v cores, and what is there takes %v", at, n.id, n.cores, cores)
			}
		}
	}
	if r := w.Result(); r.Moves == 0 || away == 0 {
		t.Errorf("nothing was put to the test: %+v, %d times away", r, away)
	}
}

// two are two nodes of four cores, and a service that takes three of the first,
// where one more is taken from the tenth minute on.
func two() Scenario {
	r := require("node.cpu", "<", 80, 0, 30*time.Second)
	s := Scenario{
		Start: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), Length: time.Hour,
		Wanted: otto.Wanted{
			Nodes:    []otto.Node{{ID: "a"}, {ID: "b"}},
			Services: []otto.Service{{Name: "web", Replicas: 1, Spec: otto.ContainerSpec{Image: "web:1"}, Requirements: []otto.Requirement{r}}},
		},
		Machines:  []Machine{{Cores: 4, Memory: 4 << 30}, {Cores: 4, Memory: 4 << 30}},
		Demands:   map[string]Demand{"web": {Cores: Flat(2), Memory: Flat(1 << 28), Image: 10 * time.Second}},
		Placement: plan.Placement{"web": "a"},
	}
	s.Machines[0].CPU = Curve{10 * time.Minute, []float64{0, 0, 3, 3}}
	return s
}

// TestWhatCannotBeJudgedHoldsNothingBack has a recording require more than there is in
// it: that is named, and decisions are as without it.
func TestWhatCannotBeJudgedHoldsNothingBack(t *testing.T) {
	r := Recording{Interval: 5 * time.Second, Wanted: two().Wanted}
	for at := time.Duration(0); at < 20*time.Minute; at += r.Interval {
		f := Frame{Time: two().Start.Add(at), Instances: []InstanceFrame{{Name: "web", Node: "a", Cores: 2, Memory: 1 << 28}}}
		for id, busy := range map[string]float64{"a": 2 + min(at.Minutes()/5, 2), "b": 0} {
			f.Nodes = append(f.Nodes, NodeFrame{ID: id, Cores: 4, Memory: 4 << 30, Sample: &otto.NodeSample{CPUPercent: 25 * busy, MemoryTotal: 4 << 30}})
		}
		r.Frames = append(r.Frames, f)
	}
	plain, err := r.Scenario()
	if err != nil {
		t.Fatal(err)
	}
	disk, cordon := require("node.disk", "<", 90, 0, 30*time.Second), require("node.cpu", "<", 70, 0, 30*time.Second)
	cordon.Action = otto.ActionCordon
	r.Wanted.Requirements = []otto.Requirement{disk, cordon}
	more, err := r.Scenario()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{disk.String()}, more.Unjudged); diff != "" || len(plain.Unjudged) > 0 {
		t.Errorf("left out: %s; of the plain one %q", diff, plain.Unjudged)
	}
	if a, b := run(t, plain, "ours", 0), run(t, more, "ours", 0); a.Moves != 1 || b.Moves != 1 {
		t.Errorf("%d moves; with more required, %d", a.Moves, b.Moves)
	}
}

func TestViolationEndsWithTheMove(t *testing.T) {
	still, moved := run(t, two(), "none", 0), run(t, two(), "ours", 0)
	if still.Over < 40*time.Minute || still.Moves != 0 {
		t.Errorf("without moves: %+v", still)
	}
	if moved.Moves != 1 || moved.Over == 0 || moved.Over > 3*time.Minute || moved.Outage != 0 {
		t.Errorf("ours: %+v", moved)
	}
	alone := two()
	alone.Wanted.Services[0].Spec.Exclusive, alone.Wanted.Services[0].Data = true, otto.DataDisposable
	if r := run(t, alone, "ours", 0); r.Moves != 1 || r.Outage < 10*time.Second || r.Outage > 20*time.Second {
		t.Errorf("one that cannot run twice: %+v", r)
	}
}

// TestMoveHidesNoTimeOverTheLimit has a move that takes five minutes, in which the
// service still runs where it is too busy.
func TestMoveHidesNoTimeOverTheLimit(t *testing.T) {
	s := two()
	d := s.Demands["web"]
	d.Image = 5 * time.Minute
	s.Demands["web"] = d
	moved := run(t, s, "ours", 0)
	if moved.Moves != 1 || moved.Over < 5*time.Minute || moved.Over > 7*time.Minute {
		t.Errorf("ours: %+v", moved)
	}
	still := run(t, s, "none", 0)
	if still.Early < 30*time.Second || still.Early > 40*time.Second || still.Over-still.Early != still.Violated {
		t.Errorf("none: %+v", still)
	}
}

func TestLostNodeIsLeft(t *testing.T) {
	s := two()
	s.Machines[0].CPU, s.Machines[0].Lost = Curve{}, []Span{{5 * time.Minute, 10 * time.Minute}}
	r := run(t, s, "ours", 0)
	if r.Failovers != 1 || r.Moves != 0 || r.Down < 10*time.Second || r.Down > 20*time.Second {
		t.Errorf("%+v", r)
	}
	s.Machines[1].Lost = s.Machines[0].Lost
	if r := run(t, s, "ours", 0); r.Failovers != 0 || r.Down != 5*time.Minute {
		t.Errorf("both lost: %+v", r)
	}
}

func TestMoveToANodeThatIsLostMeanwhile(t *testing.T) {
	s := two()
	d := s.Demands["web"]
	d.Image = 5 * time.Minute
	s.Demands["web"] = d
	s.Machines[1].Lost = []Span{{18 * time.Minute, time.Hour}}
	w := New(s, "ours", mustNamed(t, "ours"))
	for w.Step() {
	}
	acts := w.memory.Acts
	if len(acts) != 1 || acts[0].Verdict != "failed" || w.placement["web"] != "a" || w.byName["web"].at != w.byID["a"] || w.result.Down+w.result.Outage > 0 {
		t.Errorf("%+v, placed %v, %+v", acts, w.placement, w.result)
	}
}

func mustNamed(t *testing.T, name string) Policy {
	t.Helper()
	p, err := Named(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWhatIsFarFromALimitNeedsNoJudging judges all each time, too.
func TestWhatIsFarFromALimitNeedsNoJudging(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		w := New(small(seed), "ours", mustNamed(t, "ours"))
		w.watch.all = true
		for w.Step() {
		}
		if diff := cmp.Diff(run(t, small(seed), "ours", seed), w.Result()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCurve(t *testing.T) {
	c := Curve{time.Minute, []float64{0, 60, 0}}
	for at, want := range map[time.Duration]float64{0: 0, 30 * time.Second: 30, time.Minute: 60, 90 * time.Second: 30, 2 * time.Minute: 0, time.Hour: 0} {
		if got := c.At(at); got != want {
			t.Errorf("at %v: %v, not %v", at, got, want)
		}
	}
	if Flat(3).At(day) != 3 || (Curve{}).At(day) != 0 {
		t.Error("a flat or empty curve")
	}
}

// BenchmarkWeek is what otto simulate does without flags.
func BenchmarkWeek(b *testing.B) {
	for b.Loop() {
		p, _ := Named("ours", 1)
		Run(Draw(1, Size{Nodes: 50, Services: 200, Length: 7 * day}), "ours", p)
	}
}
