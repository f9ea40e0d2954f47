package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
)

// TestNoStateWithoutAReason goes through everything that can be known of an instance.
func TestNoStateWithoutAReason(t *testing.T) {
	states := []otto.ContainerState{
		otto.ContainerCreated,
		otto.ContainerRunning,
		otto.ContainerPaused,
		otto.ContainerRestarting,
		otto.ContainerRemoving,
		otto.ContainerExited,
		otto.ContainerDead,
	}
	now := time.Now()
	seen := map[otto.InstanceState]int{}
	for _, policy := range []string{"", "no", "always", "on-failure", "on-failure:1", "unless-stopped"} {
		for _, state := range append(states, "") {
			for _, health := range []string{"", starting, healthy, unhealthy, unknown} {
				for flags := range 1 << 7 {
					is := func(bit int) bool { return flags&(1<<bit) != 0 }
					inst := otto.Instance{
						Name:    "web",
						Service: "web",
						Spec:    otto.ContainerSpec{Image: "web", Restart: policy},
					}
					s := situation{want: &inst, stopped: is(0), rerun: is(1), fenced: is(2), restart: is(3)}
					if is(4) {
						s.blocked = "waiting: for db"
					}
					if is(5) {
						s.attempt = attempt{next: now.Add(time.Minute), count: 3}
					}
					ctr := otto.Container{
						ID:       "1",
						Name:     "web",
						Instance: "web",
						SpecHash: inst.Spec.Hash(),
						State:    state,
						Health:   health,
						Restarts: 2,
						Started:  now.Add(-time.Hour),
					}
					switch health {
					case unhealthy, unknown:
						ctr.Ailment = "no answer"
					}
					if is(6) {
						ctr.ExitCode = 1
					}
					if state != "" {
						s.containers = []otto.Container{ctr}
					}
					for _, busy := range []verb{doNothing, doStart} {
						st := status(s, busy, false, now)
						seen[st.State]++
						if !st.Explained() {
							t.Fatalf("%s without a reason: restart %q, container %s %s, flags %b, busy %q", st.State,
								policy, state, health, flags, busy)
						}
					}
				}
			}
		}
	}
	for _, state := range []otto.InstanceState{otto.InstanceFailed, otto.InstanceUnhealthy, otto.InstancePaused, otto.InstanceWaiting, otto.InstanceUnknown} {
		if seen[state] == 0 {
			t.Errorf("nothing was %s", state)
		}
	}
}

// TestWhatEndsWellIsAJob: its engine starts it again and again, as the default is to
// keep it running. It is one event, whose number only the status follows.
func TestWhatEndsWellIsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inst := otto.Instance{Name: "exit0", Service: "exit0", Spec: otto.ContainerSpec{Image: "bb:1"}}
		c := &converger{
			Agent: &Agent{
				jobs:    &jobs{},
				Options: Options{Runtime: deaf{}},
			},
			assignment: &otto.Assignment{Instances: []otto.Instance{inst}},
			attempts:   map[string]attempt{},
			work:       map[string]*work{},
			rerun:      map[string]bool{},
		}
		var st otto.InstanceStatus
		for n := range 10 {
			ctr := otto.Container{
				ID:       "1",
				Name:     "exit0",
				Instance: "exit0",
				SpecHash: inst.Spec.Hash(),
				State:    otto.ContainerRestarting,
				Restarts: n,
			}
			c.inspect(t.Context(), ctr)
			s := situation{want: &inst, containers: []otto.Container{ctr}, attempt: c.attempts["exit0"]}
			st = status(s, doNothing, false, time.Now())
		}
		want := "ended by itself with exit code 0, 10 times: a job? write `restart: on-failure`"
		if st.State != otto.InstanceFailed || st.Error != want {
			t.Errorf("%s: %s", st.State, st.Error)
		}
		if len(c.events.list) != 1 || !strings.Contains(c.events.list[0].Message, "with exit code 0: a job?") {
			t.Errorf("events: %+v", c.events.list)
		}
	})
}

// TestUpdateThatFailsSaysHowItEndedByItself: an engine that starts it again shows no exit
// code, and what Otto stops in such a run has another one. A Go program that gets SIGTERM
// as process 1 ends with 2.
func TestUpdateThatFailsSaysHowItEndedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inst := otto.Instance{Name: "web", Service: "web", Spec: otto.ContainerSpec{Image: "web"}}
		c := &converger{
			Agent: &Agent{
				jobs:    &jobs{},
				Options: Options{Runtime: deaf{}},
			},
			assignment: &otto.Assignment{Instances: []otto.Instance{inst}},
			attempts:   map[string]attempt{},
			work:       map[string]*work{},
			rerun:      map[string]bool{},
		}
		ctr := otto.Container{
			ID:       "1",
			Name:     "web.next",
			Instance: "web",
			SpecHash: inst.Spec.Hash(),
			State:    otto.ContainerRunning,
			Restarts: 2,
		}
		if why := c.ended(t.Context(), ctr).Error(); why != "it ended and was restarted 2 times" {
			t.Error(why)
		}
		seven := 7
		ctr.LastExit = &seven
		why := c.ended(t.Context(), ctr).Error()
		if why != "it ended with exit code 7" {
			t.Error(why)
		}

		c.attempts["web"] = attempt{hash: inst.Spec.Hash(), err: why}
		ctr.Name, ctr.State, ctr.ExitCode, ctr.Stopped = "web.failed", otto.ContainerExited, 2, true
		c.inspect(t.Context(), ctr)
		if got := c.attempts["web"].err; got != why || len(c.events.list) != 0 {
			t.Errorf("when it was stopped: %q, events: %+v", got, c.events.list)
		}
		delete(c.attempts, "web") // another agent
		c.inspect(t.Context(), ctr)
		if got := c.attempts["web"].err; got != "the update did not come up: see `otto logs web`" {
			t.Errorf("after another start of the agent: %q", got)
		}
	})
}

// TestWhatWaitsForItsDataSaysSo, and not how its last run ended.
func TestWhatWaitsForItsDataSaysSo(t *testing.T) {
	inst := otto.Instance{Name: "db", Service: "db", Spec: otto.ContainerSpec{Image: "db"}}
	s := situation{
		want: &inst, lost: true, blocked: "waiting: volume data is gone",
		attempt: attempt{hash: inst.Hash(), err: "ended with exit code 137", tail: []string{"killed"}, count: 2},
	}
	got := status(s, doNothing, false, time.Unix(1000, 0))
	if got.State != otto.InstanceWaiting || got.Reason != s.blocked || got.Error != "" || got.LogTail != nil {
		t.Errorf("it is %s, reason %q, error %q, log %q", got.State, got.Reason, got.Error, got.LogTail)
	}
}

// TestUpdateThatWasStoppedIsTriedAgain: an agent that went by a former assignment has stopped
// the new container beside the former one.
func TestUpdateThatWasStoppedIsTriedAgain(t *testing.T) {
	inst := otto.Instance{Name: "web", Service: "web", Spec: otto.ContainerSpec{Image: "web:2"}, StartFirst: true}
	former := otto.Container{ID: "1", Name: "web", Instance: "web", SpecHash: "former", State: otto.ContainerRunning}
	tried := otto.Container{
		ID: "2", Name: "web" + suffixNext, Instance: "web", SpecHash: inst.Hash(), State: otto.ContainerExited, ExitCode: 137,
	}
	for stopped, want := range map[bool]verb{false: doAbort, true: doUpdate} {
		tried.Stopped = stopped
		s := situation{want: &inst, containers: []otto.Container{former, tried}}
		if got := next(s, time.Unix(1000, 0)).do; got != want {
			t.Errorf("stopped: %t: %s, want %s", stopped, got, want)
		}
	}
}
