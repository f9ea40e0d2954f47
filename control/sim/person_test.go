package sim

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// What a person does in a history.

// apply asks the control plane for an order. One that is acknowledged must hold
// from then on; one that is not may hold or not.
func (w *world) apply(names []string) error {
	want, err := order(names)
	if err != nil {
		return err
	}
	if !w.Up() {
		return nil
	}
	w.mu.Lock()
	w.possible = append(w.possible, want)
	w.mu.Unlock()
	plane, by := w.Plane, w.PlaneProcess()
	w.pending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := plane.Apply(ctx, want, plane.Cluster().Revision, false)
		if err != nil || by.Dead() {
			w.truth.tell("not acknowledged: %v", err)
			return
		}
		w.truth.tell("acknowledged %s", strings.Join(names, " "))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.accepted, w.applied = want, w.applied+1
		i := slices.IndexFunc(w.possible, func(p otto.Wanted) bool { return same(p, want) })
		w.possible = w.possible[i+1:]
	})
	return nil
}

// accept has a person say that a service may begin with other data, if it waits for it.
func (w *world) accept(service string) {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	if !up {
		return
	}
	w.pending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		was := w.truth.anew(service)
		switch err := plane.AcceptData(ctx, service); {
		case err == nil:
			w.net.hit("accept")
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.broken, "prune "+service)
			w.anew = append(w.anew, service)
		case strings.Contains(err.Error(), "does not wait for data"):
			w.truth.notAnew(service, was)
		}
	})
}

// acceptLoss does so for what has begun on a host while its disk was away, and is gone
// now that it is back; again and again until it is there.
func (w *world) acceptLoss(host string) {
	for _, service := range []string{"data", "kept"} {
		label, there := w.Hosts[host].Runtime.VolumeLabel(service)
		if w.truth.home(service) == host && (!there || !w.truth.has(service, label)) {
			w.accept(service)
		}
	}
	if !w.over.Load() {
		w.later(takeOver, func() { w.acceptLoss(host) })
	}
}

// acceptAgain does so for what a person had accepted before an older copy of the state
// was put back, as long as it has not begun anew.
func (w *world) acceptAgain(services []string) {
	for _, s := range services {
		if w.truth.has(s, "") {
			w.accept(s)
		}
	}
	if !w.over.Load() {
		w.later(takeOver, func() { w.acceptAgain(services) })
	}
}

func (w *world) drain(host string, on bool) {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	w.pending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		switch {
		case up && plane.Intend(ctx, host, otto.Intent{Cordoned: on, Draining: on}) == nil:
			w.net.hit("drain")
		case !on && !w.over.Load(): // a person tries again
			w.later(takeOver, func() { w.drain(host, false) })
		}
	})
	if on {
		w.fault("drain "+host, func() { w.drain(host, false) })
	}
}

// rotate has a person renew all keys of the cluster; again if that was not done.
func (w *world) rotate(stolen bool) {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	w.pending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		switch {
		case up && plane.Rotate(ctx, stolen) == nil:
			w.net.hit("rotate")
		case !w.over.Load():
			w.later(takeOver, func() { w.rotate(stolen) })
		}
	})
}

// restore puts the control plane back to what it had stored some time ago. A
// person sees that it has stepped down, and says that it is to decide.
func (w *world) restore() {
	w.mu.Lock()
	copied, was, anew := w.copied, w.copiedAt, slices.Clone(w.anew)
	w.mu.Unlock()
	if copied == nil {
		return
	}
	w.life <- struct{}{}
	w.cutDown()
	w.Store.Become(copied)
	<-w.life
	w.mu.Lock()
	w.accepted, w.possible = was[0], was[1:]
	w.memories++
	w.mu.Unlock()
	w.later(restartAfter, w.revive)
	var again func()
	again = func() {
		w.life <- struct{}{}
		plane, up := w.Plane, w.Up()
		<-w.life
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if up && strings.Contains(plane.Cluster().Problem, otto.ErrSteppedDown.Error()) && plane.TakeOver(ctx) == nil {
			w.net.hit("restore")
		}
		if !w.over.Load() {
			w.later(takeOver, again)
		}
	}
	w.later(restartAfter+takeOver, again)
	w.later(restartAfter+takeOver, w.adopt)
	w.later(restartAfter+takeOver, func() { w.acceptAgain(anew) })
}

// doubted is in the reason why an instance waits for data that a node says it has, and that
// the control plane has not given it.
var doubted = regexp.MustCompile("(\\S+) says that it has or had its volume (\\S+), which it was never given: `otto volume adopt")

// adopt has a person say that such data counts, where it does, again and again: an older
// copy of the control plane's state knows nothing of what was given since.
func (w *world) adopt() {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	if up {
		for _, s := range plane.Cluster().Services {
			for _, i := range s.Instances {
				m := doubted.FindStringSubmatch(i.Reason)
				if m == nil || w.truth.home(m[2]) != m[1] {
					continue
				}
				w.pending.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
					defer cancel()
					if plane.AdoptVolume(ctx, m[1], m[2]) == nil {
						w.net.hit("adopt")
					}
				})
			}
		}
	}
	if !w.over.Load() {
		w.later(takeOver, w.adopt)
	}
}

// acceptMachine has a person say, once a host's twin is off for good and the host works,
// that it is the node, where the control plane has taken the twin for it; again and again.
func (w *world) acceptMachine(host string) {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	asked := func(n otto.NodeStatus) bool {
		return n.ID == host && strings.Contains(n.Problem, "otto node accept-machine "+host)
	}
	if up && w.works(host) && slices.ContainsFunc(plane.Cluster().Nodes, asked) {
		w.pending.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if plane.AcceptMachine(ctx, host) == nil {
				w.net.hit("accept machine")
			}
		})
	}
	if !w.over.Load() {
		w.later(takeOver, func() { w.acceptMachine(host) })
	}
}

// retry has a person apply the same again, where an update has failed whose version is
// good: somebody has disturbed its first run. Again and again until it is there.
func (w *world) retry() {
	w.life <- struct{}{}
	plane, up := w.Plane, w.Up()
	<-w.life
	if up {
		var names []string
		failed := false
		for _, s := range plane.Cluster().Services {
			name := s.Name
			if v := s.Spec.Environment["VERSION"]; v != "" {
				name += "@" + v
			}
			names = append(names, name)
			givenUp := func(i otto.PlacedInstance) bool { return i.GivenUp }
			failed = failed || s.Name != squat && !isBad(s.Spec) && (s.Rollout == nil && slices.ContainsFunc(s.Instances, givenUp) ||
				s.Rollout != nil && (s.Rollout.State == otto.UpdateReverted || s.Rollout.State == otto.UpdatePaused))
		}
		if failed && w.apply(names) == nil {
			w.net.hit("retry")
		}
	}
	if !w.over.Load() {
		w.later(takeOver, w.retry)
	}
}

// works reports whether a host has power, its link, and programs that go on.
func (w *world) works(host string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc([]string{"off ", "cut ", "freeze ", "halt "}, func(fault string) bool {
		_, broken := w.broken[fault+host]
		return broken
	})
}
