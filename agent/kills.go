package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// kills counts, by instance, the processes that were killed for want of memory
// since the agent has started. Three tell of them, and each of them not of all:
// the cgroup counts exactly but goes with the run of a container, the engine marks
// only a container that has ended, and its events may be lost. None of them tells
// of more than there were, so what is counted is the most that one of them tells.
type kills struct {
	mu      sync.Mutex
	sampled map[int]uint64 // by first process of a container, as its cgroup has it

	of    map[string]int    // by instance; the rest belongs to the converger
	known map[string]killed // by container
}

// killed is what is known of one container.
type killed struct {
	started        time.Time // its run
	pid            int       // of the run
	inRun          int
	marked, events int // since it is known: by cgroups and marks, and by events
	base           int // events from before
}

// sample takes in what the cgroups say, and reports whether any count has risen.
func (k *kills) sample(running []otto.RunningContainer, samples []otto.ContainerSample) (rose bool) {
	pids := make(map[string]int, len(running))
	for _, r := range running {
		pids[r.ID] = r.Pid
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	former := k.sampled
	k.sampled = map[int]uint64{}
	for i := range samples {
		if s := &samples[i]; s.OOMKills > 0 && pids[s.ID] != 0 {
			k.sampled[pids[s.ID]] = s.OOMKills
			rose = rose || s.OOMKills > former[pids[s.ID]]
		}
	}
	return rose
}

// take takes in the containers as the engine has them now. What had happened
// before an agent saw a container for the first time does not count.
func (k *kills) take(list []otto.Container, first bool) {
	former := k.known
	k.known = make(map[string]killed, len(list))
	if k.of == nil {
		k.of = map[string]int{}
	}
	for i := range list {
		ctr := &list[i]
		c, known := former[ctr.ID]
		if !known && first {
			c = killed{started: ctr.Started, pid: ctr.Pid, inRun: k.inRun(ctr, ctr.Pid), base: ctr.OOMKills}
		}
		before := max(c.marked, c.events)
		if !c.started.Equal(ctr.Started) {
			c.started, c.pid, c.inRun = ctr.Started, ctr.Pid, 0
		}
		if n := k.inRun(ctr, c.pid); n > c.inRun {
			c.marked, c.inRun = c.marked+n-c.inRun, n
		}
		c.events = max(ctr.OOMKills-c.base, 0)
		k.of[ctr.Instance] += max(c.marked, c.events) - before
		k.known[ctr.ID] = c
	}
	maps.DeleteFunc(k.of, func(_ string, n int) bool { return n == 0 })
}

// inRun is how many there were in the run of a container, as far as its cgroup and
// the engine's mark tell.
func (k *kills) inRun(ctr *otto.Container, pid int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := int(k.sampled[pid])
	if ctr.OOM && ctr.State != otto.ContainerRunning {
		n = max(n, 1)
	}
	return n
}
