package agent

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// TestWhatHasEndedByItselfIsToldFromWhatWasStopped runs the ways in which a container
// that is run once, or until it has succeeded, can end, each seen by the agent or not, and
// asks the next agent.
func TestWhatHasEndedByItselfIsToldFromWhatWasStopped(t *testing.T) {
	for _, restart := range []string{"no", "on-failure", "on-failure:3"} {
		t.Run(restart, func(t *testing.T) { toldFromWhatWasStopped(t, restart) })
	}
}

func toldFromWhatWasStopped(t *testing.T, restart string) {
	spec := otto.ContainerSpec{Image: "job", Restart: restart}
	inst := otto.Instance{Name: "job", Service: "job", Spec: spec}
	wanted := func(name string) *otto.Instance {
		if name != "job" {
			return nil
		}
		return &inst
	}
	running := otto.Container{
		ID:       "1",
		Instance: "job",
		SpecHash: spec.Hash(),
		State:    otto.ContainerRunning,
		Started:  time.Unix(1000, 0),
	}
	ended := func(code int, stopped bool) otto.Container {
		c := running
		c.State, c.ExitCode, c.Stopped = otto.ContainerExited, code, stopped
		return c
	}
	for _, tt := range []struct {
		name     string
		seen     bool // that it ran
		away     bool // the agent was started anew before it ended
		silent   bool // the engine was not heard for a while
		rebooted bool
		then     otto.Container
		again    bool // it is to be started again
	}{
		{name: "completed", seen: true, then: ended(0, false)},
		{name: "failed", seen: true, then: ended(1, false)},
		{name: "killed from inside", seen: true, then: ended(137, false)},
		{name: "completed before anybody looked", then: ended(0, false)},
		{name: "completed without the agent", seen: true, away: true, then: ended(0, false)},
		{name: "an engine that stops in order", seen: true, then: ended(0, true), again: true},
		{name: "an engine that stops in order, and is gone", seen: true, silent: true, then: ended(143, false), again: true},
		{name: "an engine that was killed", seen: true, silent: true, then: ended(137, false), again: true},
		{name: "stopped without the agent", seen: true, away: true, then: ended(143, false), again: true},
		{name: "a power cut", seen: true, away: true, rebooted: true, then: ended(255, false), again: true},
		{name: "a reboot in order", seen: true, away: true, rebooted: true, then: ended(0, false), again: true},
		{name: "a reboot after it had completed before anybody looked", rebooted: true, then: ended(0, false)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, boot := t.TempDir(), "one"
			open := func() *jobs {
				j, err := openJobs(dir, boot)
				if err != nil {
					t.Fatal(err)
				}
				return j
			}
			take := func(j *jobs, c otto.Container) {
				if err := j.take([]otto.Container{c}, wanted); err != nil {
					t.Fatal(err)
				}
			}
			j := open()
			if tt.seen {
				take(j, running)
			}
			if tt.rebooted {
				boot = "two"
			}
			if tt.away || tt.rebooted {
				j = open()
			}
			if tt.silent {
				j.unheard()
			}
			take(j, tt.then)
			for range 2 { // and after that, too, also for the next agent after another reboot
				started := next(situation{want: &inst, containers: []otto.Container{named(tt.then)}, cutShort: j.stopped(tt.then)},
					time.Unix(2000, 0)).do == doStart
				if want := tt.again || restart != "no" && tt.then.ExitCode != 0; started != want {
					t.Fatalf("it is started again: %t, want %t", started, want)
				}
				if got := j.stopped(tt.then); got != tt.again || j.done("job") == tt.again {
					t.Fatalf("to be started again: %t, done: %t", got, j.done("job"))
				}
				boot = "three"
				j = open()
				take(j, tt.then)
			}
		})
	}
}

func named(c otto.Container) otto.Container {
	c.Name = c.Instance
	return c
}

// TestJobRunsAgainForOtherData, of its own or of what it depends on, once, and not where only
// more is known of the data that it ran with.
func TestJobRunsAgainForOtherData(t *testing.T) {
	spec := otto.ContainerSpec{Image: "job", Restart: "on-failure"}
	inst := otto.Instance{Name: "job", Service: "job", Spec: spec}
	wanted := func(string) *otto.Instance { return &inst }
	ended := otto.Container{ID: "1", Instance: "job", SpecHash: spec.Hash(), State: otto.ContainerExited, Started: time.Unix(1000, 0)}
	first := otto.Data{Source: "v", ID: otto.DataID{Volume: "first"}}
	for _, tt := range []struct {
		name      string
		was, then otto.Data // no source: nothing is known
		again     bool
	}{
		{name: "the same", was: first, then: first},
		{name: "another volume", was: first, then: otto.Data{Source: "v", ID: otto.DataID{Volume: "second"}, Generation: 1}, again: true},
		{name: "one that nothing has run with", was: first, then: otto.Data{Source: "v", Accepted: true, Generation: 1}},
		{name: "the same, adopted", was: first, then: otto.Data{Source: "v", ID: first.ID, Generation: 1, Adopted: true}},
		{name: "none of which is known which", was: otto.Data{Source: "v"}, then: otto.Data{Source: "v", Generation: 1}, again: true},
		{name: "known since", then: first},
		{name: "not known any more", was: first},
		{name: "more is known", was: otto.Data{Source: "/d", ID: otto.DataID{Path: "/d"}}, then: otto.Data{Source: "/d", ID: otto.DataID{Path: "/d", Inode: 7}}},
		{name: "another directory", was: otto.Data{Source: "/d", ID: otto.DataID{Path: "/d", Inode: 6}}, then: otto.Data{Source: "/d", ID: otto.DataID{Path: "/d", Inode: 7}}, again: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now, dir := tt.was, t.TempDir()
			take := func(c otto.Container) *jobs {
				j, err := openJobs(dir, "boot") // another agent each time
				if err != nil {
					t.Fatal(err)
				}
				j.data = func(string) map[string]otto.Data {
					if now.Source == "" {
						return nil
					}
					return map[string]otto.Data{now.Source: now}
				}
				if err := j.take([]otto.Container{c}, wanted); err != nil {
					t.Fatal(err)
				}
				return j
			}
			if j := take(ended); !j.done("job") || j.stopped(ended) {
				t.Fatal("it is not done")
			}
			now = tt.then
			if j := take(ended); j.done("job") == tt.again || j.stopped(ended) != tt.again {
				t.Errorf("done: %t, to be started again: %t", j.done("job"), j.stopped(ended))
			}
			rerun := ended
			rerun.Started = time.Unix(2000, 0)
			if j := take(rerun); !j.done("job") || j.stopped(rerun) {
				t.Error("it has run for the data that is there, and is to run once more")
			}
		})
	}
}
