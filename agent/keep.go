package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// dataEvery is between two looks at data that services wait for, or may start with.
const dataEvery = 5 * time.Second

// dataWatch is what the agent knows of the data of its instances.
type dataWatch struct {
	at      time.Time              // when to look again
	lost    map[string][]otto.Data // by instance: what it has run with and is not there
	without map[string]run         // containers that run without what their instance has lost
	told    map[string]string      // what was told to be wrong, by source
}

// expect takes over what the control plane remembers of the data here.
func (c *converger) expect(asg otto.Assignment) {
	c.take(asg.Taken)
	c.ledger.mounted(asg.Instances)
	news, err := c.ledger.expect(asg.Data)
	if err != nil {
		c.Log.Warn("not on disk", "err", err)
	}
	if news { // what did not start may do so now
		for name, at := range c.attempts {
			at.next = time.Time{}
			c.attempts[name] = at
		}
	}
	c.data.at = time.Time{}
}

// dataOf is what is remembered of the data of an instance and of all that it depends on here.
func (c *converger) dataOf(instance string) map[string]otto.Data {
	all, seen := map[string]otto.Data{}, map[string]bool{}
	var add func(inst otto.Instance)
	add = func(inst otto.Instance) {
		seen[inst.Name] = true
		for _, m := range inst.Spec.Kept() {
			if d, remembered := c.ledger.of(m.Source); remembered {
				all[m.Source] = d
			}
		}
		for _, d := range inst.DependsOn {
			for _, o := range c.assignment.Instances {
				if o.Service == d.Service && !seen[o.Name] {
					add(o)
				}
			}
		}
	}
	if inst := c.wanted(instance); inst != nil {
		add(*inst)
	}
	return all
}

// lookAt looks at what a mount is about.
func (c *converger) lookAt(ctx context.Context, m otto.Mount) found {
	switch {
	case m.Type == otto.MountBind:
		return c.lookAtDirectory(ctx, m.Source)
	case m.Seed != "":
		return c.seeds.look(m.Source)
	}
	v, there, err := c.Runtime.Volume(ctx, m.Source)
	if err != nil {
		return found{unclear: err.Error()}
	}
	f := found{there: there, id: otto.DataID{Volume: v.ID}}
	if !m.External {
		f.others = v.Others
	}
	return f
}

// lookAtDirectory looks at a host directory, if the engine's machine is this one.
func (c *converger) lookAtDirectory(ctx context.Context, path string) found {
	if c.Directory == nil {
		return found{skip: true}
	}
	d, err := c.Directory(ctx, path)
	if err != nil {
		return found{unclear: err.Error()}
	}
	return found{there: d.There, id: d.ID, bare: d.There && !d.Kept, hidden: d.Hidden}
}

// present are the host directories of an instance that were found.
func present(kept []otto.Mount, seen map[string]found) (paths []string) {
	for _, m := range kept {
		if f := seen[m.Source]; m.Type == otto.MountBind && f.there && !f.bare && !f.hidden {
			paths = append(paths, m.Source)
		}
	}
	return paths
}

// watchData remembers what instances run with, and finds out which of them have to
// wait for what they have run with. It returns when to look again.
func (c *converger) watchData(ctx context.Context, now time.Time) time.Duration {
	if wait := c.data.at.Sub(now); wait > 0 || c.engine.Problem != "" {
		return max(wait, dataEvery)
	}
	ctx, cancel := c.inTime(ctx)
	defer cancel()
	seen := map[string]found{} // each is looked at once
	look := func(m otto.Mount) found {
		f, known := seen[m.Source]
		if !known {
			f = c.lookAt(ctx, m)
			seen[m.Source] = f
		}
		return f
	}
	runs := map[string]bool{}
	for _, ctr := range c.containers {
		runs[ctr.Instance] = runs[ctr.Instance] || alive(ctr)
		if !ctr.Started.IsZero() {
			kept := otto.ContainerSpec{Mounts: ctr.Mounts}.Kept()
			c.remember(slices.DeleteFunc(kept, func(m otto.Mount) bool {
				return c.folders.in(m.Source) != "" || c.seeds.in(m.Source)
			}), look)
		}
	}
	again, lost := resync, map[string][]otto.Data{}
	for _, inst := range c.assignment.Instances {
		kept := inst.Spec.Kept()
		if inst.Disposable || len(kept) == 0 {
			continue
		}
		for _, m := range kept {
			d, remembered := c.ledger.of(m.Source)
			if remembered && d.Problem == "" && runs[inst.Name] && m.Type == otto.MountVolume {
				continue // its container holds it
			}
			f := look(m)
			if f.unclear != "" && errors.Is(context.Cause(ctx), errNewer) {
				continue
			}
			if f.unclear == "" || !runs[inst.Name] { // a server that starts anew is no loss for what runs
				d = c.judge(m, f)
			}
			if d.Problem != "" {
				lost[inst.Name] = append(lost[inst.Name], d)
			}
		}
		if !runs[inst.Name] || len(lost[inst.Name]) > 0 {
			again = dataEvery
		}
	}
	if errors.Is(context.Cause(ctx), errNewer) { // what was not looked at to its end is not known
		return 0
	}
	c.tellLost(lost)
	c.data.lost, c.data.at = lost, now.Add(again)
	return again
}

// remember takes in what a container has run with, as far as it is not known yet.
func (c *converger) remember(kept []otto.Mount, look func(otto.Mount) found) {
	for _, m := range kept {
		if d, remembered := c.ledger.of(m.Source); !remembered || d.Accepted {
			if err := c.ledger.ran(m.Source, look(m), false); err != nil {
				c.Log.Warn("not on disk", "err", err)
			}
		}
	}
}

// judge is what is remembered of a mount's data, with what is wrong with what is there.
func (c *converger) judge(m otto.Mount, f found) otto.Data {
	d, err := c.ledger.judge(m.Source, f)
	if err != nil {
		c.Log.Warn("not on disk", "err", err)
	}
	return d
}

// tellLost notes what instances have lost since, and what is back. An agent that has
// just started knows from its ledger what the one before it has told.
func (c *converger) tellLost(lost map[string][]otto.Data) {
	if c.data.told == nil {
		c.data.told = map[string]string{}
		for _, d := range c.ledgerAtStart {
			c.data.told[d.Source] = d.Problem
		}
	}
	for _, inst := range c.assignment.Instances {
		for _, m := range inst.Spec.Kept() {
			i := slices.IndexFunc(lost[inst.Name], func(d otto.Data) bool { return d.Source == m.Source })
			switch was := c.data.told[m.Source]; {
			case i >= 0 && lost[inst.Name][i].Problem != was:
				d := lost[inst.Name][i]
				c.data.told[m.Source] = d.Problem
				c.note("data-missing", inst.Name, "its "+d.Lost())
			case i < 0 && was != "" && !inst.Disposable:
				c.data.told[m.Source] = ""
				c.note("data-back", inst.Name, "its "+otto.Data{Source: m.Source}.String()+" is there")
			}
		}
	}
}

// hold says in a situation why an instance must not be started, or not even run.
func (c *converger) hold(inst otto.Instance, s *situation) {
	if why, stop := c.lease.judge(inst, c.assignment.Revision); why != "" {
		s.blocked, s.fenced = why, stop
	}
	if why := lostReason(inst.Service, c.data.lost[inst.Name]); why != "" {
		s.blocked, s.lost = why, true
	}
	if why := c.assignment.Contents.Lack(inst.Spec); why != "" && s.blocked == "" {
		s.blocked = "waiting: " + why
	}
	if why := c.folders.lack(inst.Spec); why != "" && s.blocked == "" {
		s.blocked = "waiting for its files: " + why
	}
	if c.absent[inst.Spec.Image] && s.blocked == "" && !made(inst, s.containers) {
		s.blocked = otto.WaitsForImage + notBuiltHere(inst)
	}
	if why := c.seeds.lack(inst.Spec); why != "" && s.blocked == "" {
		s.blocked = "waiting for its data: " + why
	}
	s.without = c.without(inst.Name, s.containers, s.lost)
}

// without reports whether a container still runs without data that is back since. It
// is known by the run that was seen to go on without it.
func (c *converger) without(instance string, have []otto.Container, lost bool) bool {
	i := slices.IndexFunc(have, alive)
	if i < 0 {
		delete(c.data.without, instance)
		return false
	}
	this := run{Container: have[i].ID, Started: have[i].Started}
	if lost {
		c.data.without[instance] = this
	}
	return !lost && c.data.without[instance] == this
}

// ready says why an instance must not be started with what is there of its data. It
// looks anew: the disk may have gone since.
func (c *converger) ready(ctx context.Context, want wish) (map[string]found, error) {
	if err := c.folders.verify(want.Spec); err != nil {
		return nil, err
	}
	seen := map[string]found{}
	var lost []otto.Data
	for _, m := range want.Spec.Kept() {
		seen[m.Source] = c.lookAt(ctx, m)
		d, remembered := c.ledger.of(m.Source)
		if why := seen[m.Source].unclear; why != "" && m.Type == otto.MountVolume &&
			(!remembered || d.Accepted || want.Disposable) {
			return nil, fmt.Errorf("volume %s cannot be looked at, and may be somebody else's: %s", m.Source, why)
		}
		if foreign(d, remembered, seen[m.Source]) {
			return nil, fmt.Errorf("volume %s on this node is not this cluster's (%s) and may hold somebody's data: "+
				"name another one, declare it `external: true`, or run `otto volume adopt %s %s` if it is yours",
				m.Source, seen[m.Source].others, c.Enrolment.NodeID, m.Source)
		}
		if want.Disposable {
			continue
		}
		if d := c.judge(m, seen[m.Source]); d.Problem != "" {
			lost = append(lost, d)
		}
	}
	if why := lostReason(want.Service, lost); why != "" {
		return nil, fmt.Errorf("%w: %s", errNotNow, why)
	}
	if why := c.seeds.lack(want.Spec); why != "" {
		return nil, fmt.Errorf("%w: waiting for its data: %s", errNotNow, why)
	}
	return seen, nil
}

// start starts a container with its data, and remembers that before: after a power cut
// nobody else would know. What a container never ran with is forgotten again.
func (c *converger) start(ctx context.Context, want wish, id string) error {
	seen, err := c.ready(ctx, want)
	if err != nil {
		return err
	}
	var first []string
	for source, f := range seen {
		fresh, err := c.ledger.try(source, f, want.Disposable)
		if fresh {
			first = append(first, source)
		}
		if err != nil {
			c.Log.Warn("not on disk", "err", err)
		}
	}
	err = c.begin(ctx, want, id)
	answered := ctx.Err() == nil && !errors.Is(err, otto.ErrNoAnswer) // else it may have started
	c.ledger.tried(first, err == nil || !answered)
	if err == nil {
		c.rememberMade(ctx, want, seen)
	}
	return err
}

// rememberMade remembers the directories that the engine has made for a container that
// it has started.
func (c *converger) rememberMade(ctx context.Context, want wish, seen map[string]found) {
	for _, m := range want.Spec.Kept() {
		if f := seen[m.Source]; m.Type != otto.MountBind || f.there || f.skip || f.unclear != "" {
			continue
		}
		if err := c.ledger.ran(m.Source, c.lookAt(ctx, m), want.Disposable); err != nil {
			c.Log.Warn("not on disk", "err", err)
		}
	}
}
