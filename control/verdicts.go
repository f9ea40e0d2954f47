package control

import (
	"fmt"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/nfr"
	"github.com/otto-edge/otto/control/notify"
	"github.com/otto-edge/otto/wire"
)

// evaluate judges everything that is due, once a second and when something has been
// over its limit for its time.
func (p *Plane) evaluate(now time.Time) {
	q := &p.required
	if now.Sub(q.evaluated) < evaluateEvery && (q.lasted.IsZero() || now.Before(q.lasted)) {
		return
	}
	q.evaluated, q.lasted = now, time.Time{}
	p.measureSelf(now)
	for _, id := range p.ids() {
		if w := q.nodes[id]; w != nil && now.After(w.quiet) {
			p.evaluateThose(w, now)
		}
	}
}

// evaluateThose judges what is due on a node, and tells what has changed.
func (p *Plane) evaluateThose(w *watch, now time.Time) {
	if w == nil || p.deciding() != nil {
		return
	}
	var changed []*judged
	w.bad, w.quiet = false, now.Add(time.Hour)
	for _, j := range w.judged {
		if p.evaluateOne(j, now) {
			changed = append(changed, j)
		}
		if j.verdict.State != otto.RequirementOK {
			w.bad, w.quiet = true, time.Time{}
		} else if missing := j.feed.MissingFrom(); missing.Before(w.quiet) {
			w.quiet = missing
		}
	}
	if len(changed) > 0 {
		p.keepStanding()
	}
	for _, j := range changed {
		p.tellVerdict(j)
	}
}

// evaluateOne judges a requirement, if it is due, and reports whether a violation has
// begun or ended.
func (p *Plane) evaluateOne(j *judged, now time.Time) (turned bool) {
	if !j.due(now) {
		return false
	}
	was, standing := j.verdict.State, j.verdict.Standing()
	j.verdict = nfr.Evaluate(*j.Requirement, j.feed.Series, now, j.verdict)
	j.group.stale = true
	if v := &j.verdict; v.State == otto.RequirementPending {
		if at := v.Since.Add(v.Requirement.For); p.required.lasted.IsZero() || at.Before(p.required.lasted) {
			p.required.lasted = at
		}
	}
	if j.verdict.State != was {
		p.dirty, p.decisions.changed = true, true
	}
	return j.verdict.Standing() != standing
}

// readable is a verdict as readers get it: in UTC, as all times.
func readable(v otto.Verdict) otto.Verdict {
	v.Since, v.Evaluated = v.Since.UTC(), v.Evaluated.UTC()
	if v.Standing() {
		v.Violated = v.Violated.UTC()
	}
	return v
}

// tellVerdict tells that a violation has begun or ended.
func (p *Plane) tellVerdict(j *judged) {
	v := j.verdict
	kind, message := "requirement-violated", fmt.Sprintf("%s (required: %s)", v.Reason, j.Requirement)
	if !v.Standing() {
		kind, message = "requirement-met", fmt.Sprintf("%s is %s again (required: %s)", j.Metric, j.Unit.Show(*v.Value), j.Requirement)
	}
	p.event(kind, j.node, j.service, message)
	if j.Action != otto.ActionNotify && j.Notify == nil {
		return
	}
	v = readable(v)
	v.Requirement.Notify = nil // an address may hold a secret
	b, err := wire.Encode(v)
	if err != nil {
		p.Log.Error("verdict not sent", "err", err)
		return
	}
	_ = p.publish(wire.RequirementTopic(j.service, j.node), 1, false, b)
	if j.Notify != nil {
		p.notify(*j.Notify, b, j.service, j.node)
	}
}

// maxNotices are sent at a time; more are dropped, and said to be.
const maxNotices = 8

func (p *Plane) notify(to otto.Notify, verdict []byte, service, node string) {
	select {
	case p.notices <- struct{}{}:
	default:
		p.event("notify-failed", node, service, fmt.Sprintf("nobody was notified: %d others are being notified already", maxNotices))
		return
	}
	p.background.Go(func() {
		defer func() { <-p.notices }()
		if err := notify.Send(p.ctx, to, verdict); err != nil {
			p.tell(p.ctx, func() { p.event("notify-failed", node, service, err.Error()) })
		}
	})
}
