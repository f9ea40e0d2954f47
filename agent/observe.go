package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// refresh asks the engine what there is. Nothing is known by it if a newer assignment has
// come meanwhile, which is to be taken in first.
func (c *converger) refresh(ctx context.Context) {
	ctx, cancel := c.inTime(ctx)
	defer cancel()
	if c.sickSaid { // there is other news than of an engine that hangs
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, sickWait)
		defer done()
	}
	var list []otto.Container
	err := c.adoptFormer(ctx)
	if err == nil {
		list, err = c.Runtime.Containers(ctx)
	}
	if err != nil && errors.Is(context.Cause(ctx), errNewer) {
		c.known = false
		return
	}
	if err != nil || c.engine.Problem != "" {
		if now := c.Runtime.Engine(ctx); now.Problem != "" {
			c.sick(now.Problem) // still the same one, as far as is known
		} else {
			c.well(now)
		}
	}
	if err != nil {
		if c.engine.Problem == "" {
			c.sick(err.Error())
		}
		c.presume()
		c.known = true // as well as can be, until refreshAt
		c.refreshAt = time.Now().Add(engineWait)
		return
	}
	c.kills.take(list, !c.listed)
	c.known, c.listed = true, true
	c.sees(list)
	if c.assignment != nil {
		if err := c.jobs.take(list, c.wanted); err != nil {
			c.Log.Warn("what has ended by itself may be started once more after a reboot", "err", err)
		}
		c.noteBonds()
	}
	c.refreshAt = time.Now().Add(resync)
	c.notePauses()
	c.compare()
	c.tidyFiles()
	c.tidyFolders()
	c.replaceMisplaced()
	c.lookForBuilt(ctx)
	if !time.Now().Before(c.imagesAt) {
		c.listImages(ctx)
	}
	if !time.Now().Before(c.volumesAt) {
		c.listVolumes(ctx)
	}
	for _, ctr := range list {
		c.inspect(ctx, ctr)
	}
}

// listImages asks the engine for its images, of which the control plane is told so
// that services go where theirs are. Too many are too long a story.
func (c *converger) listImages(ctx context.Context) {
	c.imagesAt = time.Now().Add(listEvery)
	images, err := c.Runtime.Images(ctx)
	if err != nil {
		c.Log.Warn("images not listed", "err", err)
		c.imagesAt = time.Now().Add(resync)
		return
	}
	slices.SortFunc(images, func(a, b otto.Image) int { return cmp.Compare(a.Name, b.Name) })
	c.images = images[:min(len(images), maxImages)]
	c.meanings = map[string]string{}
	for _, ctr := range c.containers {
		if _, known := c.meanings[ctr.Image]; known {
			continue
		}
		id, err := c.Runtime.ImageID(ctx, ctr.Image)
		if err != nil {
			c.Log.Warn("not known what an image's name means", "image", ctr.Image, "err", err)
			return
		}
		c.meanings[ctr.Image] = id
	}
}

// listVolumes asks it for the volumes of the cluster, so that services go where their
// data is.
func (c *converger) listVolumes(ctx context.Context) {
	volumes, err := c.Runtime.Volumes(ctx)
	if err != nil {
		c.Log.Warn("volumes not listed", "err", err)
		c.volumes, c.volumesAt = nil, time.Now().Add(resync)
		return
	}
	slices.Sort(volumes)
	c.volumes, c.volumesAt = append([]string{}, volumes[:min(len(volumes), maxVolumes)]...), time.Now().Add(listEvery)
}

// inspect notes why a container does not stay up, and forgets it once it does.
func (c *converger) inspect(ctx context.Context, ctr otto.Container) {
	inst := c.wanted(ctr.Instance)
	if inst == nil || ctr.SpecHash != inst.Hash() || c.work[ctr.Instance] != nil {
		return
	}
	at := c.attempts[ctr.Instance]
	down := ctr.State == otto.ContainerRestarting || ctr.State == otto.ContainerExited || ctr.State == otto.ContainerDead
	if alive(ctr) {
		delete(c.rerun, ctr.Instance)
	}
	if c.jobs.stopped(ctr) {
		return
	}
	up := time.Since(ctr.Started) // by a clock that can be set: negative if it was set back
	switch {
	case ctr.State == otto.ContainerRunning && (up > trial(c.examined(ctr)) || up < 0):
		delete(c.attempts, ctr.Instance)
	case down && !ended(inst.Spec, ctr, at.count) && !c.assignment.Stopped && !c.rerun[ctr.Instance],
		down && ctr.ExitCode != 0 && !c.assignment.Stopped && !c.rerun[ctr.Instance]:
		why := death(ctr, at.count)
		if isFailedUpdate(*inst, ctr) { // it was stopped: how it ended then says nothing
			why = cmp.Or(at.err, notUp(ctr))
		}
		if at.err == why {
			return
		}
		// How often is followed by the status; the same death is one event.
		if once := death(otto.Container{ExitCode: ctr.ExitCode, OOM: ctr.OOM, Error: ctr.Error}, 0); at.died != once {
			c.note("instance-died", ctr.Instance, why)
			at.died = once
		}
		at.err, at.hash = why, ctr.SpecHash
		if tail, err := c.Runtime.Logs(ctx, ctr.ID, tailLines); err == nil {
			at.tail = tail
		}
		c.attempts[ctr.Instance] = at
	}
}

// death says how a container has ended that should run. starts is how often Otto has
// started it anew.
func death(ctr otto.Container, starts int) string {
	why := fmt.Sprintf("ended with exit code %d", ctr.ExitCode)
	switch {
	case ctr.OOM:
		why = "killed for want of memory"
	case ctr.Error != "":
		why = ctr.Error
	case ctr.ExitCode == 0:
		return "ended by itself with exit code 0" + times(", ", max(ctr.Restarts, starts)+1) + ": a job? write `restart: on-failure`"
	}
	return why + times(", restarted ", ctr.Restarts)
}

// times says how often something was, from the second time on.
func times(what string, n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf("%s%d times", what, n)
}

// situations gathers what is known of each instance, wanted or only there.
func (c *converger) situations() map[string]situation {
	all := map[string]situation{}
	for _, ctr := range c.containers {
		if ctr.Taken && c.wanted(ctr.Instance) == nil {
			continue // it is Compose's again
		}
		s := all[ctr.Instance]
		s.containers = append(s.containers, c.examined(ctr))
		s.fenced = c.overdue[ctr.Instance]
		if at := c.attempts[ctr.Instance]; at.hash == "" {
			s.attempt = at // to be rid of it
		}
		all[ctr.Instance] = s
	}
	if c.assignment == nil {
		return all
	}
	leaving := ""
	for name := range all {
		if c.wanted(name) == nil && (leaving == "" || name < leaving) {
			leaving = name
		}
	}
	reports := c.statuses(all, time.Now())
	c.addReturns(all)
	for i := range c.assignment.Instances {
		inst := &c.assignment.Instances[i]
		s := all[inst.Name]
		s.fenced = false // as the lease has it: see hold
		s.want, s.stopped, s.rerun = inst, c.assignment.Stopped, c.rerun[inst.Name]
		s.attempt = c.attempts[inst.Name]
		if s.attempt.hash != inst.Hash() {
			s.attempt = attempt{}
		}
		s.restart = c.asked.due(*inst, s.containers)
		s.cutShort = slices.ContainsFunc(s.containers, c.jobs.stopped)
		s.detached = c.detached(*inst, s.containers)
		s.blocked = blocked(*inst, leaving, reports)
		c.bind(*inst, &s)
		c.hold(*inst, &s)
		c.takeInTurn(*inst, &s)
		all[inst.Name] = s
	}
	c.order(all)
	return all
}

// blocked says why an instance must not be started yet.
func blocked(inst otto.Instance, leaving string, reports []otto.InstanceStatus) string {
	if inst.Hold != "" {
		return "waiting: " + inst.Hold
	}
	for _, d := range inst.DependsOn {
		if why := d.Unmet(reports); why != "" {
			return "waiting: " + why
		}
	}
	if leaving != "" && slices.ContainsFunc(inst.Spec.Ports, func(p otto.Port) bool { return p.Host != 0 }) {
		return "waiting: " + leaving + " may hold its port and is being removed"
	}
	return ""
}

// strays are the instances that are not wanted and run, or may: what was begun
// for one before it was known to be unwanted can still start it.
func (c *converger) strays(all map[string]situation) (names []string) {
	for name, s := range all {
		if s.want == nil && (slices.ContainsFunc(s.containers, alive) || c.work[name] != nil) {
			names = append(names, name)
		}
	}
	for name := range c.work {
		if _, known := all[name]; !known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// settled reports whether nothing is left to do.
func (c *converger) settled(all map[string]situation, now time.Time) bool {
	for s := range maps.Values(all) {
		if st := next(s, now); st.do != doNothing || st.reason != "" {
			return false
		}
	}
	return true
}

// settlingLeft is how long until an instance's state changes by time alone.
func settlingLeft(s situation, now time.Time) (left time.Duration) {
	for _, ctr := range s.containers {
		if up := now.Sub(ctr.Started); ctr.State == otto.ContainerRunning && up >= 0 {
			for _, at := range []time.Duration{steady, stable} {
				if up < at && (left == 0 || at-up < left) {
					left = at - up + time.Millisecond
				}
			}
		}
	}
	return left
}

// noteRestarts takes in which restarts are asked for, while it is known what runs.
func (c *converger) noteRestarts() {
	if c.engine.Problem != "" {
		return
	}
	have := map[string][]otto.Container{}
	for _, ctr := range c.containers {
		have[ctr.Instance] = append(have[ctr.Instance], ctr)
	}
	err := c.asked.keep(func(name string) bool { return c.wanted(name) != nil })
	for _, inst := range c.assignment.Instances {
		err = errors.Join(err, c.asked.note(inst, have[inst.Name]))
	}
	if err != nil {
		c.Log.Warn("containers that were asked to restart may do so once more", "err", err)
	}
}
