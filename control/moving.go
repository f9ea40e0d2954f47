package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/plan"
)

// A move is a placement and an act in the same document. While the act is under
// way, an instance that may run twice is kept where it was, until it is up at its
// new place and who asks for it has had time to find it there. One that may not
// follows its lease, as after a failover. So a control plane that was killed finds
// in the document what it has to go on with, or back from.

const (
	// moveWithin is how long an instance may take to be up at its new place, pulling
	// its image aside, and pullWithin with it.
	moveWithin = 2 * time.Minute
	pullWithin = 15 * time.Minute
	// handover is how long the former one stays when the new one is up.
	handover = 2 * time.Second
)

// moving is how long an instance that is moved or restarted has not run, as far as
// its nodes have said.
type moving struct {
	since  time.Time
	down   time.Time // zero while it runs
	outage time.Duration
}

// advance brings forward what is under way.
func (p *Plane) advance(now time.Time) {
	for _, a := range p.desired.Memory.Acts {
		if _, still := p.desired.Memory.UnderWay(a.Instance); !a.Ended.IsZero() || !still {
			continue // or it has just gone back with what it belongs to
		}
		p.follow(a, now)
		service, wanted := p.owner(a.Instance)
		switch {
		case !wanted || p.desired.Placement[a.Instance] != a.To || p.nodes[a.To] == nil:
			p.end(a, now, decide.HelpedUnknown, "service-move-ended",
				fmt.Sprintf("the %s of %s has been overtaken by something else", noun(a), a.Instance))
		case p.up(service, a.Instance, a.To):
			p.arrive(a, service, now)
		default:
			if why := p.hopeless(a, now); why != "" {
				p.goBack(a, why, now)
			}
		}
	}
}

func noun(a decide.Act) string {
	if a.Action == otto.ActionRestart {
		return "restart"
	}
	return "move"
}

// follow measures how long an instance does not run.
func (p *Plane) follow(a decide.Act, now time.Time) {
	m := p.decisions.moving[a.Instance]
	if m == nil {
		return // begun by another run of the control plane, which has not told
	}
	service, _ := p.owner(a.Instance)
	runs := p.up(service, a.Instance, a.To) || a.From != a.To && p.serves(a.Instance, a.From) ||
		a.From == a.To && p.serves(a.Instance, a.To)
	switch {
	case runs && !m.down.IsZero():
		m.outage, m.down = m.outage+now.Sub(m.down), time.Time{}
	case !runs && m.down.IsZero():
		m.down = now
	}
}

// serves reports whether a node says that an instance runs, of whatever spec.
func (p *Plane) serves(instance, id string) bool {
	said, heard := p.live(id)
	return heard && slices.ContainsFunc(said.Instances, func(i otto.InstanceStatus) bool {
		return i.Name == instance && (i.State == otto.InstanceRunning || i.State == otto.InstanceUnhealthy)
	})
}

// status is what a node says of an instance, of the assignment that it was sent last.
func (p *Plane) status(instance, id string) (s otto.InstanceStatus, ok bool) {
	n := p.nodes[id]
	said, heard := p.live(id)
	if n == nil || !heard || n.state != otto.NodeReady && n.state != otto.NodeDraining || said.Revision != n.revision {
		return s, false
	}
	i := slices.IndexFunc(said.Instances, func(i otto.InstanceStatus) bool { return i.Name == instance })
	if i < 0 {
		return s, false
	}
	return said.Instances[i], true
}

// up reports whether an instance runs on a node as it should, and is well, or has done
// what it was to do.
func (p *Plane) up(service otto.Service, instance, id string) bool {
	s, ok := p.status(instance, id)
	return ok && (s.State == otto.InstanceRunning || s.Completed()) &&
		s.SpecHash == p.desired.Rollouts[service.Name].Of(service, instance).Spec.Hash() &&
		s.Restart == p.desired.Restarts[instance]
}

// arrive ends an act that is done.
func (p *Plane) arrive(a decide.Act, service otto.Service, now time.Time) {
	took, outage, learned := now.Sub(a.Began), "not known, as the control plane was started meanwhile", p.desired.Memory
	if m := p.decisions.moving[a.Instance]; m != nil {
		outage = about(m.outage)
		if a.Action == otto.ActionMigrate {
			learned = learned.Learn(service.Spec.Image, a, took, m.outage, now)
		}
	}
	helped := decide.Helped("")
	if a.Requirement == "" {
		helped = decide.HelpedUnknown
	}
	kind, message := "service-moved", fmt.Sprintf("%s has moved from %s to %s in %s; outage: %s", a.Instance, a.From,
		a.To, about(took), outage)
	if a.Action == otto.ActionRestart {
		kind, message = "service-restarted", fmt.Sprintf("%s has been restarted in %s; outage: %s", a.Instance,
			about(took), outage)
	}
	if a.Requirement != "" {
		message += fmt.Sprintf(" (required: %s)", a.Requirement)
	}
	former := p.desired.Memory
	p.desired.Memory = learned
	if !p.end(a, now, helped, kind, message) {
		p.desired.Memory = former
	}
}

func about(d time.Duration) string {
	return otto.ShortDuration(d.Round(10 * time.Millisecond))
}

// end stores that an act has ended, and tells it.
func (p *Plane) end(a decide.Act, now time.Time, helped decide.Helped, kind, message string) bool {
	next := p.desired
	next.Memory = next.Memory.End(a.Instance, now, helped)
	return p.finish(next, a, kind, message)
}

func (p *Plane) finish(next desired, a decide.Act, kind, message string) bool {
	if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
		p.Log.Error("end of a move not stored, it is tried again", "instance", a.Instance, "err", err)
		return false
	}
	p.desired, p.dirty = next, true
	delete(p.decisions.moving, a.Instance)
	p.event(kind, p.desired.Placement[a.Instance], a.Service, message)
	return true
}

// hopeless says why an instance will not be up at its new place.
func (p *Plane) hopeless(a decide.Act, now time.Time) string {
	n := p.nodes[a.To]
	took := now.Sub(latest(a.Began, p.started))
	s, said := p.status(a.Instance, a.To)
	switch {
	case n.state == otto.NodeLost, n.state == otto.NodeUnresponsive:
		return a.To + " is " + string(n.state)
	case said && s.State == otto.InstanceFailed:
		return fmt.Sprintf("it fails on %s: %s", a.To, s.Error)
	case said && (s.State == otto.InstancePulling && took < pullWithin || s.State == otto.InstancePaused):
		return ""
	case took > moveWithin:
		return fmt.Sprintf("it was not up on %s within %s", a.To, otto.ShortDuration(moveWithin))
	}
	return ""
}

// goBack gives an instance its former place again.
func (p *Plane) goBack(a decide.Act, why string, now time.Time) {
	from := p.nodes[a.From]
	if a.Action == otto.ActionRestart || from == nil || from.state == otto.NodeLost ||
		from.state == otto.NodeUnresponsive {
		p.end(a, now, decide.HelpedFailed, "service-move-failed",
			fmt.Sprintf("the %s of %s has failed: %s", noun(a), a.Instance, why))
		return
	}
	next := p.desired
	next.Placement = maps.Clone(next.Placement)
	for _, name := range p.index().Together(a.Instance) { // also what is up there already
		if next.Placement[name] == a.To {
			next.Placement[name] = a.From
		}
		next.Memory = next.Memory.End(name, now, decide.HelpedFailed)
	}
	p.finish(next, a, "service-move-failed", fmt.Sprintf("%s stays on %s: %s", a.Instance, a.From, why))
}

// keptByMoves are the nodes that keep an instance which is on its way to another
// one, or has just arrived there.
func (p *Plane) keptByMoves(kept map[string]string, now time.Time) {
	for _, a := range p.desired.Memory.Acts {
		left := a.Ended.IsZero() || a.Verdict != decide.HelpedFailed && now.Sub(a.Ended) < handover
		service, wanted := p.owner(a.Instance)
		if a.Action == otto.ActionMigrate && left && wanted && decide.StartsFirst(service) &&
			p.desired.Placement[a.Instance] == a.To {
			kept[a.Instance] = a.From
		}
	}
}

// servedAt is the node at which an instance is to be found: the one that it leaves,
// until it is up on the other one.
func (p *Plane) servedAt(service *plan.Service, instance string) (id, going string) {
	id = p.desired.Placement[instance]
	a, ok := p.desired.Memory.UnderWay(instance)
	if ok && a.Action == otto.ActionMigrate && a.To == id && decide.StartsFirst(service.Service) &&
		p.serves(instance, a.From) {
		return a.From, id
	}
	return id, ""
}
