package nfr

import (
	"fmt"
	"time"

	"github.com/otto-edge/otto"
)

// reading is what the samples amount to now.
type reading struct {
	value, margin float64
	over          bool // its limit, in the whole window and in its newest part
	clear         bool // beyond the clear threshold, in one of them
}

// Evaluate judges a requirement by its series. was is the verdict before, of the
// same requirement and subject; its zero value if there is none. The verdict is
// to be found often: after a pause that would count as missing data, nothing is
// known to have lasted.
func Evaluate(r otto.Requirement, s *Series, now time.Time, was otto.Verdict) otto.Verdict {
	v := was
	v.Requirement, v.Evaluated = r, now
	m, missing := s.read(r, now)
	if missing != "" {
		v.Value, v.Margin, v.Reason = nil, nil, missing
		return enter(v, was, otto.RequirementUnknown, now)
	}
	v.Value, v.Margin = &m.value, &m.margin
	lasted := func(state otto.RequirementState, d time.Duration) bool {
		return was.State == state && s.since(was.Since) && now.Sub(was.Evaluated) <= s.stale && now.Sub(was.Since) >= d
	}
	acting := was.State == otto.RequirementViolated || was.State == otto.RequirementClearing
	next := otto.RequirementOK
	switch {
	case was.Standing() && m.clear && lasted(otto.RequirementClearing, r.ClearFor()):
		v.Violated = time.Time{}
	case was.Standing() && m.clear:
		next = otto.RequirementClearing
	case was.Standing() && acting:
		next = otto.RequirementViolated
	case m.over && (r.For == 0 || lasted(otto.RequirementPending, r.For)):
		next = otto.RequirementViolated
		if !was.Standing() {
			v.Violated = now
		}
	case m.over:
		next = otto.RequirementPending
	case was.Standing(): // data were missing, and what they say now is neither
		next = otto.RequirementUnknown
	}
	v = enter(v, was, next, now)
	if waits := next == otto.RequirementPending || next == otto.RequirementClearing; waits && !lasted(next, 0) {
		v.Since = now
	}
	v.Reason = reason(r, v, now)
	return v
}

func enter(v, was otto.Verdict, state otto.RequirementState, now time.Time) otto.Verdict {
	v.State = state
	if was.State != state {
		v.Since = now
	}
	return v
}

// read puts the samples together, or says why that is not possible.
func (s *Series) read(r otto.Requirement, now time.Time) (m *reading, missing string) {
	if !s.filled {
		return nil, "nothing is measured yet"
	}
	if s.Missing(now) {
		return nil, "nothing has been measured for " + about(s.silent(now))
	}
	counting := r.Aggregate == otto.AggregateCount
	// What has risen too much in a part of the window has done so in all of it.
	enough := r.Over == 0 || counting && r.Margin(-1) > r.Margin(0)
	if took := s.covered(s.over, now); !enough && took < s.over/2 {
		return nil, fmt.Sprintf("measured for %s of %s so far", about(took), about(s.over))
	}
	long, ok := s.aggregate(r.Aggregate, s.over, now)
	short, alsoOK := s.aggregate(r.Aggregate, s.short(), now)
	if !ok || !alsoOK {
		return nil, "too little is measured yet"
	}
	part := 1.0
	if counting {
		part = s.short().Seconds() / s.over.Seconds()
	}
	return &reading{
		value: long, margin: r.Margin(long),
		over:  !r.Holds(long) && !r.HoldsScaled(short, part),
		clear: r.Clears(long, 1) || r.Clears(short, part),
	}, ""
}

// reason says in words why a requirement is not simply kept.
func reason(r otto.Requirement, v otto.Verdict, now time.Time) string {
	if v.State == otto.RequirementOK {
		return ""
	}
	value, lasts := r.Unit.Show(*v.Value), about(now.Sub(v.Since))
	switch v.State {
	case otto.RequirementPending:
		return fmt.Sprintf("%s is %s, not %s %s, for %s of %s", r.Metric, value, r.Operator, r.Unit.Format(r.Limit), lasts, about(r.For))
	case otto.RequirementViolated:
		return fmt.Sprintf("%s is %s and should be %s %s", r.Metric, value, r.Operator, r.Unit.Format(r.Limit))
	case otto.RequirementClearing:
		return fmt.Sprintf("%s is %s again, for %s of %s", r.Metric, value, lasts, about(r.ClearFor()))
	default:
		return fmt.Sprintf("%s is %s, neither over its limit nor clear, since there are data again", r.Metric, value)
	}
}

// about is a duration for people.
func about(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Second)
	}
	return otto.ShortDuration(d)
}
