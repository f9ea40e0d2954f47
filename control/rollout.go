package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// watched is since when an instance has been up in a version, or has been seen not
// to come up in it.
type watched struct {
	hash    string
	restart uint64
	at, bad time.Time
}

// failAfter is how long a new version may fail before it has failed, while it is
// still being tried: an engine that was restarted, a registry that did not answer.
const failAfter = 10 * time.Second

// roll goes on with all updates and restarts that are under way, and writes down
// what comes next before anybody is told.
func (p *Plane) roll(now time.Time) {
	if len(p.desired.Rollouts) == 0 || p.desired.Wanted.Stopped || p.doubts != "" {
		return
	}
	next, changed := p.desired, false
	next.Rollouts = maps.Clone(next.Rollouts)
	var tell []func()
	for _, name := range slices.Sorted(maps.Keys(p.desired.Rollouts)) {
		known, wanted := p.index().Service(name)
		if !wanted {
			continue
		}
		s, names, r := known.Service, known.Names, p.desired.Rollouts[name]
		seen := map[string]plan.Seen{}
		for _, name := range names {
			seen[name] = p.seen(s, r, name, now)
		}
		was := r.Status(s).State
		r, step := r.Next(s, names, seen, now)
		if len(step.Given) == 0 && step.Failed == nil && !step.Over {
			continue
		}
		changed = true
		next.Rollouts[s.Name] = r
		if len(step.Restarted) > 0 {
			next = next.restarted(step.Restarted...)
		}
		if step.Over {
			delete(next.Rollouts, s.Name)
		}
		tell = append(tell, func() { p.tellRollout(s, was, r, step) })
	}
	if !changed {
		return
	}
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		p.Log.Error("rollout not stored, nothing is changed", "err", err)
		return
	}
	p.desired = next
	for _, t := range tell {
		t()
	}
}

// seen is what a rollout is to know of an instance.
func (p *Plane) seen(s otto.Service, r plan.Rollout, name string, now time.Time) plan.Seen {
	at := plan.Seen{Node: p.desired.Placement[name]}
	n := p.nodes[at.Node]
	if n == nil {
		return plan.Seen{}
	}
	said, heard := p.live(n.ID)
	if !heard || said.Engine.Problem != "" || n.state != otto.NodeReady && n.state != otto.NodeDraining {
		at.Silent = true
		return at
	}
	k := slices.IndexFunc(said.Instances, func(i otto.InstanceStatus) bool { return i.Name == name })
	if k < 0 || said.Revision != n.revision || said.Instances[k].Restart != p.desired.Restarts[name] {
		delete(p.watched, name)
		return at
	}
	i, hash := said.Instances[k], r.Of(s, name).Spec.Hash()
	at.Serving = i.State == otto.InstanceRunning
	was := p.watched[name]
	if was.hash != hash || was.restart != i.Restart {
		was = watched{hash: hash, restart: i.Restart}
	}
	failing := i.Failed == hash && (i.State == otto.InstanceFailed || i.State == otto.InstanceUnhealthy || i.SpecHash != hash)
	up := !failing && i.SpecHash == hash && p.held[name] == "" && (i.State == otto.InstanceRunning || i.State == otto.InstanceCompleted)
	switch {
	case failing && was.bad.IsZero():
		was.bad, was.at = now, time.Time{}
	case failing, !up:
		was.at = time.Time{}
	case was.at.IsZero():
		was.at = now
	case now.Sub(was.at) > failAfter:
		was.bad = time.Time{} // it has mended itself
	}
	p.watched[name] = was
	at.Up = was.at
	if failing && (i.GivenUp || now.Sub(was.bad) >= failAfter) {
		at.Failed, at.Tail = cmp.Or(i.Error, string(i.State)), i.LogTail
	}
	return at
}

// version gives each instance of a node the version that it should be, and says how it
// replaces the one before.
func (p *Plane) version(node string, instances []otto.Instance) {
	for k := range instances {
		i := &instances[k]
		i.Restart = p.desired.Restarts[i.Name]
		known, wanted := p.index().Service(i.Service)
		if !wanted {
			continue
		}
		s := known.Service
		if r, rolling := p.desired.Rollouts[s.Name]; rolling {
			v := r.Of(s, i.Name)
			i.Spec, i.Probe = v.Spec, v.Probe
			i.Pull = refreshing(*i, r)
			if ran := r.Images[i.Name]; r.Back && ran.Node == node && i.Spec.Hash() == r.Good {
				i.ImageID = ran.Image
			}
			if f := r.Failed; f != nil && f.Version != i.Spec.Hash() {
				i.Keep = f.Version
			}
		}
		order, _ := s.UpdateOrder()
		i.StartFirst = order == otto.StartFirst && i.Spec.Alone() == ""
	}
}

// service is a wanted service.
func (p *Plane) service(name string) (otto.Service, bool) {
	s, ok := p.index().Service(name)
	if !ok {
		return otto.Service{}, false
	}
	return s.Service, true
}

// tellRollout makes events of what has become of an update.
func (p *Plane) tellRollout(s otto.Service, was otto.UpdateState, r plan.Rollout, step plan.Step) {
	for _, name := range step.Given {
		what := "is updated"
		switch {
		case slices.Contains(step.Restarted, name):
			what = "is restarted"
		case r.Back:
			what = "goes back to its former version"
		}
		p.event("service-update", p.desired.Placement[name], s.Name, name+" "+what)
	}
	if f := step.Failed; f != nil {
		message := "the update has failed on " + f.String()
		switch r.Status(s).State {
		case otto.UpdateBack, otto.UpdateReverted:
			message += "; all instances go back to the former version"
		case otto.UpdatePaused:
			message += "; the rest is left as it is"
		case otto.UpdateGoing:
			message += "; it goes on with the others, as the file says"
		}
		if len(f.Tail) > 0 {
			message += "\n| " + strings.Join(f.Tail, "\n| ")
		}
		p.event("service-update-failed", f.Node, s.Name, message)
	}
	if step.Over && was == otto.UpdateGoing {
		p.event("service-updated", "", s.Name, fmt.Sprintf("%s is up to date", s.Name))
	}
}

// tellFailed says of an instance that it is not what the file wants because the
// update has failed.
func (p *Plane) tellFailed(service string, i *otto.PlacedInstance) {
	f := p.desired.Rollouts[service].Failed
	if f == nil || i.UpToDate || i.Error != "" {
		return
	}
	i.Error = "the update failed on " + f.String()
	if i.Name == f.Instance {
		i.LogTail = f.Tail
	}
}

// failedUpdates are the updates that are tried again when the same is wanted again.
func (p *Plane) failedUpdates(w otto.Wanted) (changes []otto.Change) {
	for _, s := range w.Services {
		was, there := p.service(s.Name)
		r, rolling := p.desired.Rollouts[s.Name]
		switch {
		case !there || was.Spec.Hash() != s.Spec.Hash():
		case rolling && r.Failed != nil:
			changes = append(changes, otto.Change{
				Kind: "change", Noun: "service", Name: s.Name, Detail: "tried again: the update failed on " + r.Failed.String(),
			})
		case !rolling && len(p.givenUp(s)) > 0:
			changes = append(changes, otto.Change{
				Kind: "change", Noun: "service", Name: s.Name,
				Detail: "tried again: given up on " + p.desired.Placement[p.givenUp(s)[0]],
			})
		}
	}
	return changes
}

// givenUp are the instances of a service whose nodes run another version than the one
// wanted, and have given that up. Without a rollout, such as after a restore, nobody else
// has it tried again.
func (p *Plane) givenUp(s otto.Service) (names []string) {
	for _, name := range p.desired.Wanted.InstanceNames(s) {
		said, _ := p.live(p.desired.Placement[name])
		if i := statusIn(said.Instances, name); i != nil && i.GivenUp && i.Failed == s.Spec.Hash() {
			names = append(names, name)
		}
	}
	return names
}

// tryAgain adds to the rollouts those of services that nodes have given up without one.
func (p *Plane) tryAgain(next *desired) {
	for _, s := range next.Wanted.Services {
		if _, rolling := next.Rollouts[s.Name]; rolling {
			continue
		}
		if was, there := p.service(s.Name); there && was.Spec.Hash() == s.Spec.Hash() {
			if names := p.givenUp(s); len(names) > 0 {
				next.Rollouts[s.Name] = plan.Rollout{}.WithRestart(s, names)
			}
		}
	}
}

// Restart restarts the instances of a service, one after the other as an update
// would; each keeps its container.
func (p *Plane) Restart(ctx context.Context, service string) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		s, wanted := p.service(service)
		if !wanted {
			return p.unknown(service)
		}
		if p.desired.Wanted.Stopped {
			return fmt.Errorf("the cluster is stopped: run `otto cluster start`")
		}
		var names []string
		for _, name := range p.desired.Wanted.InstanceNames(s) {
			if p.desired.Placement[name] != "" {
				names = append(names, name)
			}
		}
		next := p.desired
		next.Rollouts = maps.Clone(next.Rollouts)
		if next.Rollouts == nil {
			next.Rollouts = map[string]plan.Rollout{}
		}
		next.Rollouts[service] = next.Rollouts[service].WithRestart(s, names)
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			return err
		}
		p.desired, p.dirty = next, true
		p.record(asked(ctx, "service-restart", "", "restart of "+service))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}
