package agent

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// starts are when a container that has long been running says it was started, on
// a node whose clock has been set since: from 1970 to now, ten years back, or not.
var starts = map[string]time.Time{
	"1970":             time.Unix(60, 0),
	"ten years hence":  time.Now().AddDate(10, 0, 0),
	"a quarter hour":   time.Now().Add(-15 * time.Minute),
	"before all times": {},
}

// underLease is an instance with a volume that may run only under a lease.
func underLease(name string) otto.Instance {
	return otto.Instance{Service: name, Name: name, Fenced: true, Spec: otto.ContainerSpec{
		Mounts: []otto.Mount{{Type: otto.MountVolume, Source: name, Target: "/data"}},
	}}
}

// TestClockThatIsSetTouchesNoContainer: what runs goes on, counts as running, and
// its former failures are forgotten.
func TestClockThatIsSetTouchesNoContainer(t *testing.T) {
	inst := otto.Instance{Name: "web", Spec: otto.ContainerSpec{Image: "web"}}
	for name, started := range starts {
		ctr := otto.Container{
			Name:     "web",
			Instance: "web",
			SpecHash: inst.Spec.Hash(),
			State:    otto.ContainerRunning,
			Started:  started,
			Address:  "10.1.2.3",
		}
		s := situation{want: &inst, containers: []otto.Container{ctr}}
		if st := next(s, time.Now()); st.do != doNothing || st.reason != "" {
			t.Errorf("%s: %+v", name, st)
		}
		if st := status(s, doNothing, false, time.Now()); st.State != otto.InstanceRunning {
			t.Errorf("%s: it is %s", name, st.State)
		}
		c := &converger{
			Agent:      &Agent{jobs: &jobs{}},
			assignment: &otto.Assignment{Instances: []otto.Instance{inst}},
			attempts:   map[string]attempt{"web": {hash: ctr.SpecHash, err: "ended with exit code 1"}},
		}
		c.inspect(t.Context(), ctr)
		if at, failed := c.attempts["web"]; failed {
			t.Errorf("%s: its former failure is not forgotten: %+v", name, at)
		}
	}
}

// TestLeaseKnowsNoWallClock has a lease run by a clock that nobody can set.
func TestLeaseKnowsNoWallClock(t *testing.T) {
	var up time.Duration
	dir := t.TempDir()
	clock := Clock{Boot: "one", Now: func() time.Duration { return up }}
	l, err := openLease(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	up = time.Minute
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ up, left time.Duration }{
		{60 * time.Second, 7 * time.Second}, {66 * time.Second, time.Second}, {67 * time.Second, 0}, {80 * time.Second, -13 * time.Second},
	} {
		up = tc.up
		if got := l.left(); got != tc.left {
			t.Errorf("up for %s: %s left, want %s", tc.up, got, tc.left)
		}
		if again, err := openLease(dir, clock); err != nil || again.left() != tc.left {
			t.Errorf("after a restart of the agent: %s left, %v", again.left(), err)
		}
	}
	if other, err := openLease(dir, Clock{Boot: "two", Now: clock.Now}); err != nil || other.until != 0 {
		t.Errorf("after a reboot: until %s, %v", other.until, err)
	}
}

// TestWhatIsTakenAwayAfterItsLeaseGetsNoTime: another node may run it by then. What is
// taken away in time stops as it likes.
func TestWhatIsTakenAwayAfterItsLeaseGetsNoTime(t *testing.T) {
	for up, want := range map[time.Duration]verb{66 * time.Second: doRetire, 68 * time.Second: doFence} {
		clock := Clock{Boot: "one", Now: func() time.Duration { return time.Minute }}
		l, err := openLease(t.TempDir(), clock)
		if err != nil {
			t.Fatal(err)
		}
		l.sending(1)
		if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		ctr := otto.Container{ID: "1", Name: "cache", Instance: "cache", State: otto.ContainerRunning}
		l.covers([]otto.Container{ctr})
		l.clock.Now = func() time.Duration { return up }
		c := &converger{
			Agent:      &Agent{lease: l, jobs: &jobs{}},
			assignment: &otto.Assignment{},
			containers: []otto.Container{ctr},
			overdue:    map[string]bool{},
		}
		c.noteOverdue()
		if got := next(c.situations()["cache"], time.Now()).do; got != want {
			t.Errorf("taken away %s before its end: %s, want %s", 67*time.Second-up, got, want)
		}
		if left, fence := c.fenceIn(); !fence || left != 67*time.Second-up {
			t.Errorf("it waits for the engine: %t, %s", !fence, left)
		}
	}
}

// TestWhatIsTakenAwayInTimeIsDownWhenItsLeaseEnds: an engine that hangs does not stop it, and
// from the end of its lease on another node may run it.
func TestWhatIsTakenAwayInTimeIsDownWhenItsLeaseEnds(t *testing.T) {
	up := time.Minute
	l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return up }})
	if err != nil {
		t.Fatal(err)
	}
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	ctr := otto.Container{ID: "1", Name: "cache", Instance: "cache", State: otto.ContainerRunning}
	l.covers([]otto.Container{ctr})
	killed := make(chan otto.Container, 1)
	c := &converger{
		Agent: &Agent{
			Options: Options{Runtime: &hanging{killed: killed}, Log: slog.New(slog.DiscardHandler)},
			lease:   l, jobs: &jobs{}, results: make(chan result, 1),
		},
		assignment: &otto.Assignment{},
		engine:     otto.Engine{Problem: "it does not answer"},
		containers: []otto.Container{ctr},
		overdue:    map[string]bool{},
		work:       map[string]*work{},
	}
	c.pass(t.Context(), time.Now())
	if len(c.work) > 0 {
		t.Fatal("it is killed before its lease ends, although it may stop by itself")
	}
	up += 8 * time.Second
	c.pass(t.Context(), time.Now())
	select {
	case got := <-killed:
		if got.ID != ctr.ID {
			t.Errorf("%s is killed", got.ID)
		}
	case <-time.After(10 * time.Second):
		t.Error("it runs on for as long as the engine hangs")
	}
}

// TestWhatWasBeingStartedIsDownWhenItsLeaseEnds: it is taken away while work for it is under
// way, and what that has started is in no list before the lease ends. Another node may run it
// from then on.
func TestWhatWasBeingStartedIsDownWhenItsLeaseEnds(t *testing.T) {
	for name, settled := range map[string]bool{"under way": false, "settled, and not listed": true} {
		up := time.Minute
		l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return up }})
		if err != nil {
			t.Fatal(err)
		}
		l.sending(1)
		if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		c := &converger{
			Agent: &Agent{
				Options: Options{Runtime: &attaching{}, Log: slog.New(slog.DiscardHandler)},
				lease:   l, jobs: &jobs{}, results: make(chan result, 1), bonds: &bonds{}, setups: &setups{}, asked: &restarts{},
			},
			overdue: map[string]bool{}, begun: map[string]begun{}, work: map[string]*work{},
		}
		inst := underLease("pond")
		c.assignment = &otto.Assignment{Revision: otto.Revision{Number: 1}, Instances: []otto.Instance{inst}}
		c.launch(t.Context(), "pond", &inst, step{do: doAttach, current: &otto.Container{ID: "1", Instance: "pond"}})
		c.assignment = &otto.Assignment{Revision: otto.Revision{Number: 2}}
		if settled {
			r := <-c.results
			c.settle(r)
		}
		if left, fence := c.fenceIn(); !fence || left != 7*time.Second {
			t.Errorf("%s: it waits for the engine, whatever runs: %t, %s", name, !fence, left)
		}
		up += 8 * time.Second
		c.noteOverdue()
		if !c.overdue["pond"] {
			t.Errorf("%s: it runs on after the end of its lease", name)
		}
		c.containers = []otto.Container{{ID: "1", Instance: "pond", State: otto.ContainerRunning}}
		if got := next(c.situations()["pond"], time.Now()).do; got != doFence {
			t.Errorf("%s: once it is seen: %s", name, got)
		}
	}
}

// TestLateStartIsFencedByTheNextAgent: the engine was asked to start a container under a lease,
// and its agent was killed. The service is taken away, the engine tells what there is, and only
// then starts it. Another node may run it by then, so it gets no time to stop.
func TestLateStartIsFencedByTheNextAgent(t *testing.T) {
	dir, up := t.TempDir(), time.Minute
	clock := Clock{Boot: "one", Now: func() time.Duration { return up }}
	follow := func() *converger {
		l, err := openLease(dir, clock)
		if err != nil {
			t.Fatal(err)
		}
		c := &converger{
			Agent: &Agent{
				Options: Options{Runtime: &attaching{}, Log: slog.New(slog.DiscardHandler)},
				lease:   l, jobs: &jobs{}, results: make(chan result, 1), bonds: &bonds{}, setups: &setups{}, asked: &restarts{},
			},
			overdue: map[string]bool{}, begun: map[string]begun{}, work: map[string]*work{},
		}
		c.recall()
		return c
	}
	c := follow()
	c.lease.sending(1)
	if err := c.lease.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	inst := underLease("pond")
	c.assignment = &otto.Assignment{Revision: otto.Revision{Number: 1}, Instances: []otto.Instance{inst}}
	c.launch(t.Context(), "pond", &inst, step{do: doAttach, current: &otto.Container{ID: "1", Instance: "pond"}})
	<-c.results // to nobody, as it was killed

	c = follow()
	c.assignment = &otto.Assignment{Revision: otto.Revision{Number: 2}}
	if _, fence := c.fenceIn(); !fence {
		t.Error("it waits for the engine, whatever runs")
	}
	up += 10 * time.Second
	c.presume()
	c.noteOverdue()
	if s := c.situations()["pond"]; next(s, time.Now()).do != doFence || len(s.containers) != 1 || s.containers[0].ID != "1" {
		t.Errorf("the engine does not say what has become of it: %+v", s)
	}
	c.sees([]otto.Container{{ID: "1", Instance: "pond", State: otto.ContainerCreated}})
	c.noteOverdue()
	if len(c.overdue) > 0 || len(c.begun) > 0 {
		t.Errorf("nothing runs, and it asks the engine all the time for %v, %v", c.overdue, c.begun)
	}
	c.sees([]otto.Container{{ID: "1", Instance: "pond", State: otto.ContainerRunning}})
	c.noteOverdue()
	if got := next(c.situations()["pond"], time.Now()).do; got != doFence {
		t.Errorf("what runs on after the end of its lease: %s", got)
	}
	c.sees(nil)
	if len(c.lease.mayRun()) > 0 {
		t.Error("its container is gone, and it may run for ever")
	}
}

// TestOnlyAFenceDoesWithoutTheEngine: what has been stopped at the end of its lease is not
// removed while the engine is down. It would fail at once, and be tried again at once.
func TestOnlyAFenceDoesWithoutTheEngine(t *testing.T) {
	l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	for state, want := range map[otto.ContainerState]verb{otto.ContainerExited: doNothing, otto.ContainerRunning: doFence} {
		c := &converger{
			Agent: &Agent{
				Options: Options{Runtime: &hanging{killed: make(chan otto.Container, 1)}, Log: slog.New(slog.DiscardHandler)},
				lease:   l, jobs: &jobs{}, results: make(chan result, 1), bonds: &bonds{}, setups: &setups{}, asked: &restarts{},
			},
			overdue: map[string]bool{"pond": true}, begun: map[string]begun{}, work: map[string]*work{},
			engine:     otto.Engine{Problem: "it is down"},
			containers: []otto.Container{{ID: "1", Instance: "pond", State: state}},
		}
		c.pass(t.Context(), time.Now())
		got := doNothing
		if w := c.work["pond"]; w != nil {
			got = w.do
			<-c.results
		}
		if got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}
}

// TestNextAgentKnowsWhatIsOverdue: what has outlasted a former lease is not covered by the one
// that there is now, for the agent that follows neither.
func TestNextAgentKnowsWhatIsOverdue(t *testing.T) {
	dir, clock := t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }}
	l, err := openLease(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	l.covers([]otto.Container{{ID: "1", Instance: "pond", State: otto.ContainerRunning}})
	l.owes(map[string]bool{"pond": true})
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	next, err := openLease(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	if !next.overdue()["pond"] || next.left() <= 0 || len(next.covered()) != 1 {
		t.Errorf("overdue are %v, covered %v, %s are left", next.overdue(), next.covered(), next.left())
	}
}

// attaching is an engine that attaches.
type attaching struct{ Runtime }

func (attaching) Attach(context.Context, otto.Instance, string) error { return nil }

// TestNothingIsBegunForAFormerAssignment: what that asked for may be another node's by now,
// and work that began before may have taken its time.
func TestNothingIsBegunForAFormerAssignment(t *testing.T) {
	l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	former, next := otto.Revision{Epoch: 1, Number: 1}, otto.Revision{Epoch: 1, Number: 2}
	l.actsBy(former)
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second, Revision: former}); err != nil {
		t.Fatal(err)
	}
	inst := underLease("db")
	if why, _ := l.judge(inst, former); why != "" {
		t.Errorf("by the one in force: %s", why)
	}
	l.actsBy(next)
	if why, _ := l.judge(inst, former); why == "" {
		t.Error("by a former one it is begun")
	}
	if why, _ := l.judge(inst, next); why != "" {
		t.Errorf("by the one in force: %s", why)
	}
}

// hanging is an engine that does not answer, whose containers can be killed all the same.
type hanging struct {
	Runtime
	killed chan otto.Container
}

func (h *hanging) Kill(_ context.Context, ctr otto.Container, _ time.Duration) error {
	h.killed <- ctr
	return nil
}

// TestNothingIsKnownToBeStoppedBeforeTheEngineHasAnswered: an agent that has just started says
// that nothing runs under a lease that has ended only when it has seen what runs.
func TestNothingIsKnownToBeStoppedBeforeTheEngineHasAnswered(t *testing.T) {
	l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	c := &converger{
		Agent:      &Agent{lease: l, jobs: &jobs{}, asked: &restarts{}, setups: &setups{}},
		assignment: &otto.Assignment{Instances: []otto.Instance{underLease("db")}},
	}
	for _, listed := range []bool{false, true} {
		c.listed = listed
		c.begun = map[string]begun{"db": begunEnded}
		if st := c.statuses(map[string]situation{}, time.Now()); len(st) != 1 || st[0].Fenced {
			t.Errorf("the engine may yet start what was begun, and it says %+v", st)
		}
		delete(c.begun, "db")
		st := c.statuses(map[string]situation{}, time.Now())
		if len(st) != 1 || st[0].Fenced != listed {
			t.Errorf("the engine has answered: %t, and it says %+v", listed, st)
		}
	}
}

// TestLeaseIsForItsAssignment: it counts when the node acts by that, and not for what a
// former one asked for, which may be about to start something still.
func TestLeaseIsForItsAssignment(t *testing.T) {
	clock := Clock{Boot: "one", Now: func() time.Duration { return time.Minute }}
	l, err := openLease(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	former, next := otto.Revision{Epoch: 1, Number: 1}, otto.Revision{Epoch: 1, Number: 2}
	l.actsBy(former)
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second, Revision: next}); err != nil {
		t.Fatal(err)
	}
	inst := underLease("db")
	if why, stop := l.judge(inst, former); why == "" || !stop {
		t.Errorf("before it acts by the next one: %q, %t", why, stop)
	}
	l.actsBy(next)
	if why, stop := l.judge(inst, next); why != "" || stop {
		t.Errorf("when it does: %q, %t", why, stop)
	}
	if why, _ := l.judge(inst, former); why == "" {
		t.Error("what was asked for before may start")
	}
}

// killing notes how long containers are given to stop that are killed.
type killing struct {
	Runtime
	grace time.Duration
}

func (k *killing) Kill(_ context.Context, _ otto.Container, grace time.Duration) error {
	k.grace = grace
	return nil
}

// TestFenceTakesAsLongAsWhenItBegan: a lease that comes from then on is for what is wanted by
// then, and not for what has to be down.
func TestFenceTakesAsLongAsWhenItBegan(t *testing.T) {
	l, err := openLease(t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	ctr := otto.Container{ID: "1", Instance: "cache", State: otto.ContainerRunning}
	k := &killing{grace: -1}
	c := &converger{Agent: &Agent{Options: Options{Runtime: k}, lease: l}}
	l.sending(1)
	if err := l.renew(wire.Lease{Seq: 1, Duration: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	st := step{do: doFence, current: &ctr, grace: 2 * time.Second}
	if _, err := c.perform(t.Context(), wish{}, st); err != nil || k.grace != st.grace {
		t.Errorf("it gets %s: %v", k.grace, err)
	}
}

// TestEndedLeaseSaysWhatRan: no agent goes on with a lease that could not be written, but it
// knows what ran under that.
func TestEndedLeaseSaysWhatRan(t *testing.T) {
	dir, clock := t.TempDir(), Clock{Boot: "one", Now: func() time.Duration { return time.Minute }}
	l, err := openLease(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	granted := func(seq uint64) {
		l.sending(seq)
		if err := l.renew(wire.Lease{Seq: seq, Duration: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	l.covers([]otto.Container{{ID: "1", Instance: "cache", State: otto.ContainerRunning, Pid: 7}})
	granted(1)
	l.outdated()
	again, err := openLease(dir, clock)
	if err != nil || again.left() > 0 || len(again.covered()) != 1 || again.covered()[0].Pid != 7 {
		t.Errorf("left %s, ran %v: %v", again.left(), again.covered(), err)
	}
	l.clock.Now = func() time.Duration { return 2 * time.Minute }
	l.covers(nil)
	granted(2)
	again, err = openLease(dir, l.clock)
	if err != nil || again.left() <= 0 || len(again.covered()) != 0 {
		t.Errorf("left %s, ran %v: %v", again.left(), again.covered(), err)
	}
	l.outdated()
	if again, err = openLease(dir, clock); err != nil || len(again.covered()) != 0 {
		t.Errorf("what ran under an earlier lease counts: %v, %v", again.covered(), err)
	}
}
