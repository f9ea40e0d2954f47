package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// TestKillsAreCountedOnce has each of those who tell of a kill tell of it, in any
// order and not at all.
func TestKillsAreCountedOnce(t *testing.T) {
	const first = true
	at := func(run int) time.Time { return time.Unix(int64(1000*run), 0) }
	running := func(run, events int) otto.Container {
		return otto.Container{ID: "c", Instance: "web", State: otto.ContainerRunning, Started: at(run), Pid: 100 + run, OOMKills: events}
	}
	ended := func(run, events int) otto.Container {
		return otto.Container{ID: "c", Instance: "web", State: otto.ContainerRestarting, Started: at(run), OOM: true, OOMKills: events}
	}
	sampled := func(k *kills, run int, n uint64) bool {
		return k.sample([]otto.RunningContainer{{ID: "c", Pid: 100 + run}}, []otto.ContainerSample{{ID: "c", OOMKills: n}})
	}
	for name, tt := range map[string]struct {
		happens func(k *kills)
		want    int
	}{
		"nothing": {func(k *kills) { k.take([]otto.Container{running(1, 0)}, !first) }, 0},
		"a child, told by all": {func(k *kills) {
			k.take([]otto.Container{running(1, 1)}, !first)
			sampled(k, 1, 1)
			k.take([]otto.Container{running(1, 1)}, !first)
		}, 1},
		"two children, one event lost": {func(k *kills) {
			sampled(k, 1, 2)
			k.take([]otto.Container{running(1, 1)}, !first)
		}, 2},
		"all of it, seen when it had ended": {func(k *kills) {
			k.take([]otto.Container{ended(1, 0)}, !first)
			k.take([]otto.Container{ended(1, 1)}, !first)
			k.take([]otto.Container{running(2, 1)}, !first)
		}, 1},
		"all of it, running again before anybody looked": {func(k *kills) { k.take([]otto.Container{running(2, 1)}, !first) }, 1},
		"three runs": {func(k *kills) {
			for run := range 3 {
				k.take([]otto.Container{running(run+1, 0)}, !first)
				k.take([]otto.Container{ended(run+1, 0)}, !first)
			}
		}, 3},
		"a late sample of a run that has ended": {func(k *kills) {
			sampled(k, 1, 1)
			k.take([]otto.Container{ended(1, 1)}, !first)
			k.take([]otto.Container{running(2, 1)}, !first)
		}, 1},
		"another container of the same instance": {func(k *kills) {
			k.take([]otto.Container{ended(1, 1)}, !first)
			next := running(5, 0)
			next.ID = "d"
			k.take([]otto.Container{next}, !first)
			next.OOMKills = 1
			k.take([]otto.Container{next}, !first)
		}, 2},
		"before the agent": {func(k *kills) {
			k.known = nil
			sampled(k, 1, 3)
			k.take([]otto.Container{running(1, 2)}, first)
			k.take([]otto.Container{running(1, 2)}, !first)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kills{}
			k.take([]otto.Container{running(1, 0)}, first)
			tt.happens(k)
			want := map[string]int{}
			if tt.want > 0 {
				want["web"] = tt.want
			}
			if diff := cmp.Diff(want, k.of); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRisesAreNoticedAtOnce(t *testing.T) {
	var k kills
	running := []otto.RunningContainer{{ID: "c", Pid: 7}}
	for i, tt := range []struct {
		count uint64
		rose  bool
	}{{0, false}, {2, true}, {2, false}, {3, true}} {
		if rose := k.sample(running, []otto.ContainerSample{{ID: "c", OOMKills: tt.count}}); rose != tt.rose {
			t.Errorf("sample %d, %d kills: rose %t", i, tt.count, rose)
		}
	}
}
