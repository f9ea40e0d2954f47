package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// recall takes over what the agent of before knew to run under a lease, or may have asked the
// engine for: should that not answer, it must end with the lease all the same.
func (c *converger) recall() {
	c.containers = c.lease.covered()
	for _, ctr := range c.lease.mayRun() {
		c.begun[ctr.Instance] = begunAsked
	}
}

// noteOverdue notes what runs on after the end of its lease and is not wanted any more:
// another node may run it by now, so it gets no time to stop, whatever the engine says.
func (c *converger) noteOverdue() {
	maps.DeleteFunc(c.overdue, func(name string, _ bool) bool { return c.wanted(name) != nil })
	if c.lease.left() <= 0 {
		for _, ctr := range c.lease.covered() {
			if alive(ctr) && c.wanted(ctr.Instance) == nil {
				c.overdue[ctr.Instance] = true
			}
		}
		for name, b := range c.begun {
			if b != begunEnded && c.wanted(name) == nil {
				c.overdue[name] = true
			}
		}
	}
	c.lease.owes(c.overdue) // an agent that follows has to know
}

// fenceIn is how long until what runs here must be stopped because the lease ends;
// any is false if nothing runs that must. What is not known runs.
func (c *converger) fenceIn() (left time.Duration, any bool) {
	runs := func(inst otto.Instance) bool {
		return !c.listed || c.begun[inst.Name] != "" || c.work[inst.Name] != nil || slices.ContainsFunc(c.containers, func(o otto.Container) bool {
			return o.Instance == inst.Name && alive(o)
		})
	}
	if left = c.lease.left(); len(c.overdue) > 0 {
		return min(left, 0), true
	}
	former := func(o otto.Container) bool { return alive(o) && c.wanted(o.Instance) == nil }
	any = len(c.begun) > 0 || slices.ContainsFunc(c.lease.covered(), former) ||
		c.assignment != nil && slices.ContainsFunc(c.assignment.Instances, func(i otto.Instance) bool {
			return needsLease(i) && runs(i)
		})
	return left, any
}

// underLease are the containers that run and must not without a lease, and those that did
// until they were taken away.
func (c *converger) underLease() (list []otto.Container) {
	covered := append(c.lease.covered(), c.lease.mayRun()...)
	for i := range c.containers {
		ctr := &c.containers[i]
		inst := c.wanted(ctr.Instance)
		leased := inst != nil && needsLease(*inst)
		former := inst == nil && !ctr.Taken &&
			slices.ContainsFunc(covered, func(o otto.Container) bool { return o.ID == ctr.ID })
		if (leased || former) && alive(*ctr) {
			list = append(list, *ctr)
		}
	}
	return list
}

// sees takes in what the engine says there is.
func (c *converger) sees(list []otto.Container) {
	c.containers = list
	maps.DeleteFunc(c.overdue, func(name string, _ bool) bool {
		return !slices.ContainsFunc(list, func(o otto.Container) bool { return o.Instance == name && alive(o) })
	})
	c.lease.covers(c.underLease())
	maps.DeleteFunc(c.begun, func(name string, _ begun) bool { return c.work[name] == nil })
	c.lease.dropBegun(c.over)
}

// over reports whether a container that a lease let begin is gone, or needs none any more. The
// list of containers has just been made.
func (c *converger) over(ctr otto.Container) bool {
	if c.work[ctr.Instance] != nil {
		return false
	}
	inst := c.wanted(ctr.Instance)
	free := inst != nil && !needsLease(*inst)
	return free || !slices.ContainsFunc(c.containers, func(o otto.Container) bool { return o.ID == ctr.ID })
}

// begun is what is known of what was begun under a lease since the last list of containers.
type begun string

const (
	begunAsked begun = "asked" // the engine may do it at any time
	begunDone  begun = "done"  // it has
	begunEnded begun = "ended" // what ran has been ended, and the engine may do it yet
)

// presume takes what has been begun under a lease since the last list to run: the engine does
// not say what has become of it, and it must be down when the lease ends.
func (c *converger) presume() {
	for _, ctr := range c.lease.mayRun() {
		if b := c.begun[ctr.Instance]; b != begunAsked && b != begunDone {
			continue
		}
		ctr.State, ctr.Health, ctr.Ailment = otto.ContainerRunning, unknown,
			"what has become of its start is not known: "+c.engine.Problem
		i := slices.IndexFunc(c.containers, func(o otto.Container) bool { return o.ID == ctr.ID })
		if i < 0 {
			c.containers = append(c.containers, ctr)
		} else if !alive(c.containers[i]) {
			ctr.Name = c.containers[i].Name
			c.containers[i] = ctr
		}
	}
	c.lease.covers(c.underLease())
}

// needsLease reports whether an instance may run under a lease only.
func needsLease(inst otto.Instance) bool { return inst.Fenced && inst.Spec.Stateful() }

// inTime is for what the loop itself waits for, the engine or the broker: it ends in time for
// what must not outlast the lease. Nor does a newer assignment wait for longer than newerWait:
// leases for that are on their way, and what they are for has to be known when they end. The
// cause is errNewer then.
func (c *converger) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	left, fence := c.fenceIn()
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var newer otto.Assignment
		select {
		case newer = <-c.assignments:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(newerWait):
			cancel(errNewer)
		case <-ctx.Done():
		}
		select {
		case c.assignments <- newer:
		default: // there is one that is newer still
		}
	}()
	end := func() {
		cancel(nil)
		<-ended
	}
	if !fence {
		return ctx, end
	}
	limited, done := context.WithTimeout(ctx, max(left, fenceRetry))
	return limited, func() { done(); end() }
}

// newerWait is how long a newer assignment waits for the engine or the broker.
const newerWait = 2 * time.Second

var errNewer = errors.New("a newer assignment is there")

// fenced records that an instance was stopped because its lease has ended. The engine may
// not answer, so the container is marked as exited here, without asking it.
func (c *converger) fenced(r result) {
	if r.err != nil {
		c.Log.Error("not stopped although its lease has ended", "instance", r.instance, "err", r.err)
		c.fenceAt = time.Now().Add(fenceRetry)
		return
	}
	c.note("instance-fenced", r.instance, "stopped, because its lease has ended")
	delete(c.overdue, r.instance)
	switch c.begun[r.instance] {
	case begunAsked:
		c.begun[r.instance] = begunEnded
	case begunDone:
		delete(c.begun, r.instance)
	}
	c.rerun[r.instance] = true
	if err := c.jobs.cut(r.instance); err != nil {
		c.Log.Warn("what was stopped may be taken for ended", "instance", r.instance, "err", err)
	}
	for i := range c.containers {
		if c.containers[i].Instance == r.instance && alive(c.containers[i]) {
			c.containers[i].State = otto.ContainerExited
		}
	}
	c.lease.covers(c.underLease())
}
