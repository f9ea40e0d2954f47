package decide

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Memory is what past decisions have left behind. It is kept in the store, and
// bounded. Its methods change nothing and return what it has become.
type Memory struct {
	Acts []Act `json:"acts,omitempty"` // in the order in which they began
	// Costs are what moves have cost that had nothing to fetch, by image and pair of
	// nodes, and Rates how long it took the others, by pair of nodes.
	Costs map[string]Cost `json:"costs,omitempty"`
	Rates map[string]Rate `json:"rates,omitempty"`
}

// Act is a move or a restart that was begun, or a cordon.
type Act struct {
	Action   string `json:"action"`
	Service  string `json:"service,omitempty"`
	Instance string `json:"instance,omitempty"`
	From     string `json:"from"`
	To       string `json:"to,omitempty"` // of a restart the same as From
	// Requirement is the one that it was done for, OfNode says that it is From's, and
	// For whose it is if another instance was to be helped.
	Requirement string    `json:"requirement,omitempty"`
	OfNode      bool      `json:"of_node,omitempty"`
	For         string    `json:"for,omitempty"`
	Began       time.Time `json:"began"`
	Ended       time.Time `json:"ended,omitzero"` // zero while it is under way
	Verdict     Helped    `json:"helped,omitempty"`
	By          string    `json:"by,omitempty"` // who asked for it; empty: nobody
	// Bytes are what was to be fetched for it; 0 also if that was not known.
	Bytes int64 `json:"bytes,omitempty"`
	// With is the instance that it goes along with, as it is placed with that: it is no
	// move of its own for budgets.
	With string `json:"with,omitempty"`
}

// Helped says what came of an act.
type Helped string

// What can come of an act. Empty means that it is not known yet.
const (
	HelpedYes     Helped = "yes"
	HelpedNo      Helped = "no"
	HelpedFailed  Helped = "failed"  // it could not be done
	HelpedUnknown Helped = "unknown" // nor will it be known
)

// Cost is what a move of an image from one node to another has taken, the last
// ones weighing most.
type Cost struct {
	Took   float64   `json:"took"`   // seconds until it ran at its new place
	Outage float64   `json:"outage"` // seconds in which it ran nowhere
	At     time.Time `json:"at"`
}

// Rate is what was fetched between two nodes, the last moves weighing most.
type Rate struct {
	Took float64   `json:"took"` // seconds
	MiB  float64   `json:"mib"`
	At   time.Time `json:"at"`
}

const (
	// maxActs and maxCosts bound the document that the memory is a part of.
	maxActs, maxCosts = 200, 200
	// weightOfLast is that of the last move in what a move costs, and takes.
	weightOfLast = 0.4
	// penaltyHalfLife is the time in which a past move makes the next one half as
	// dear.
	penaltyHalfLife = 30 * time.Minute
	// judgeWithin is how long after settling it must be known whether an act helped.
	judgeWithin = 10 * time.Minute
	hour        = time.Hour
)

// Begin notes that acts have begun.
func (m Memory) Begin(acts ...Act) Memory {
	m.Acts = slices.Concat(m.Acts, acts)
	return m
}

// Full reports whether nothing more can be remembered now.
func (m Memory) Full() bool { return len(m.Acts) >= maxActs }

// End notes that the act on an instance which is under way has ended, and what
// came of it if that is known already.
func (m Memory) End(instance string, now time.Time, helped Helped) Memory {
	m.Acts = slices.Clone(m.Acts)
	for i := range m.Acts {
		if a := &m.Acts[i]; a.Instance == instance && a.Ended.IsZero() {
			a.Ended, a.Verdict = now, helped
		}
	}
	return m
}

// Learn takes in what a move of an image has cost. If there was something to fetch, all
// of the time beyond that of a start was for that.
func (m Memory) Learn(image string, a Act, took, outage time.Duration, now time.Time) Memory {
	if a.Bytes > 0 {
		key := pairKey(a.From, a.To)
		r := m.Rates[key]
		r.Took = (1-weightOfLast)*r.Took + max(took.Seconds()-startTime, 0)
		r.MiB, r.At = (1-weightOfLast)*r.MiB+mib(a.Bytes), now
		m.Rates = with(m.Rates, key, r, func(r Rate) time.Time { return r.At })
		return m
	}
	key := costKey(image, a.From, a.To)
	c, known := m.Costs[key]
	if !known {
		c = Cost{Took: took.Seconds(), Outage: outage.Seconds()}
	}
	c.Took += weightOfLast * (took.Seconds() - c.Took)
	c.Outage += weightOfLast * (outage.Seconds() - c.Outage)
	c.At = now
	m.Costs = with(m.Costs, key, c, func(c Cost) time.Time { return c.At })
	return m
}

// with is a copy of what was learned with one more, without the oldest if there are too
// many.
func with[V any](was map[string]V, key string, v V, at func(V) time.Time) map[string]V {
	all := make(map[string]V, len(was)+1)
	maps.Copy(all, was)
	all[key] = v
	for len(all) > maxCosts {
		oldest := ""
		for k, v := range all {
			if order := at(v).Compare(at(all[oldest])); oldest == "" || order < 0 || order == 0 && k < oldest {
				oldest = k
			}
		}
		delete(all, oldest)
	}
	return all
}

func costKey(image, from, to string) string { return image + " " + pairKey(from, to) }

func pairKey(from, to string) string { return from + ">" + to }

// Forget drops what no decision depends on any more, and brings what would be in
// the future, by a clock that was wrong, to now.
func (m Memory) Forget(d otto.Decisions, now time.Time) Memory {
	d = d.WithDefaults()
	keep := max(hour, d.ReturnAfter, d.Cooldown, d.Settle+judgeWithin, 4*penaltyHalfLife)
	var acts []Act
	for _, a := range m.Acts {
		if a.Began.After(now) {
			a.Began = now
		}
		if a.Ended.After(now) {
			a.Ended = now
		}
		if a.Ended.IsZero() || now.Sub(a.Ended) < keep {
			acts = append(acts, a)
		}
	}
	m.Acts = acts
	return m
}

// UnderWay is the act on an instance that has not ended.
func (m Memory) UnderWay(instance string) (Act, bool) {
	for i := range m.Acts {
		if a := &m.Acts[i]; a.Ended.IsZero() && a.Instance == instance {
			return *a, true
		}
	}
	return Act{}, false
}

// settling says until when nothing is concluded from a service, or from a node,
// because of an act that is under way or has just ended.
func (m Memory) settling(service, node string, d otto.Decisions, now time.Time) (why string, until time.Time) {
	for _, a := range m.Acts {
		if a.Action == otto.ActionCordon || a.Service != service && a.From != node && a.To != node {
			continue
		}
		switch {
		case a.Ended.IsZero():
			return fmt.Sprintf("the %s of %s is under way", nounOf(a.Action), a.Instance), time.Time{}
		case now.Sub(a.Ended) < d.Settle && a.Ended.Add(d.Settle).After(until):
			why, until = fmt.Sprintf("it settles after the %s of %s", nounOf(a.Action), a.Instance), a.Ended.Add(d.Settle)
		}
	}
	return why, until
}

// unjudged reports whether it is still to be found out if the last act on a
// service helped.
func (m Memory) unjudged(service string) bool {
	return slices.ContainsFunc(m.Acts, func(a Act) bool { return a.Service == service && a.Verdict == "" && a.Action != otto.ActionCordon })
}

// cooling is until when a service is left alone after the last act on it.
func (m Memory) cooling(service string, d otto.Decisions) (until time.Time) {
	for _, a := range m.Acts {
		if end := ended(a).Add(d.Cooldown); a.Service == service && a.Action != otto.ActionCordon && end.After(until) {
			until = end
		}
	}
	return until
}

func ended(a Act) time.Time {
	if a.Ended.IsZero() {
		return a.Began
	}
	return a.Ended
}

// spent says when there is room for one more act again, where limit of those that
// count have begun within the last hour. A person's count, and are never held back.
func (m Memory) spent(limit int, now time.Time, counts func(Act) bool) (until time.Time, full bool) {
	var began []time.Time
	for _, a := range m.Acts {
		if a.Action != otto.ActionCordon && a.With == "" && now.Sub(a.Began) < hour && counts(a) {
			began = append(began, a.Began)
		}
	}
	if len(began) < limit {
		return time.Time{}, false
	}
	slices.SortFunc(began, time.Time.Compare)
	return began[len(began)-limit].Add(hour), true
}

// barred says why a service does not go to a node: it has left it, or a move there
// was of no use.
func (m Memory) barred(service, node string, d otto.Decisions, now time.Time) (why string, until time.Time) {
	for _, a := range m.Acts {
		end := ended(a).Add(d.ReturnAfter)
		if a.Service != service || a.Action != otto.ActionMigrate || !end.After(now) || !end.After(until) {
			continue
		}
		useless := a.Verdict == HelpedNo || a.Verdict == HelpedFailed
		switch {
		case a.To == node && useless && a.Verdict == HelpedFailed:
			why, until = fmt.Sprintf("%s could not be started there lately", service), end
		case a.To == node && useless:
			why, until = fmt.Sprintf("going there did not help %s lately", service), end
		case a.From == node && a.Verdict != HelpedFailed:
			why, until = fmt.Sprintf("%s has left it lately, and does not go back so soon", service), end
		}
	}
	return why, until
}

// Bans are the services that are not to go to a node for a time, by node, and why. One
// that is there is not banned from it.
func (m Memory) Bans(placed plan.Placement, d otto.Decisions, now time.Time) map[string]map[string]string {
	bans := map[string]map[string]string{}
	for _, a := range m.Acts {
		for _, node := range []string{a.From, a.To} {
			why, _ := m.barred(a.Service, node, d, now)
			if why == "" || placed[a.Instance] == node {
				continue
			}
			if bans[node] == nil {
				bans[node] = map[string]string{}
			}
			bans[node][a.Service] = why
		}
	}
	return bans
}

// penalty is how many times as dear past acts make the next one on a service: twice
// for one just done, four times if that was of no use, and less as time goes by.
func (m Memory) penalty(service string, now time.Time) float64 {
	weight := 0.0
	for _, a := range m.Acts {
		if a.Service != service || a.Action == otto.ActionCordon {
			continue
		}
		w := 1.0
		if a.Verdict == HelpedNo || a.Verdict == HelpedFailed {
			w = 2
		}
		weight += w * math.Exp2(-now.Sub(ended(a)).Seconds()/penaltyHalfLife.Seconds())
	}
	return math.Exp2(weight)
}

// restarted is until when a restart of an instance is no remedy, because the last
// one was none.
func (m Memory) restarted(instance string, d otto.Decisions, now time.Time) (until time.Time) {
	for _, a := range m.Acts {
		if end := ended(a).Add(d.ReturnAfter); a.Instance == instance && a.Action == otto.ActionRestart && a.Verdict == HelpedNo && end.After(now) {
			until = end
		}
	}
	return until
}

// Finding is what came of an act, for people.
type Finding struct {
	Act
	Reason string
}

// Judge finds out, of the acts that have settled, whether they helped.
func (m Memory) Judge(k Known, now time.Time) (Memory, []Finding) {
	d := k.Wanted.Decisions.WithDefaults()
	var findings []Finding
	acts := slices.Clone(m.Acts)
	for i := range acts {
		a := &acts[i]
		if a.Ended.IsZero() || a.Verdict != "" || a.Action == otto.ActionCordon || now.Sub(a.Ended) < d.Settle {
			continue
		}
		helped, why := k.judge(*a)
		if helped == "" && now.Sub(a.Ended) > d.Settle+judgeWithin {
			helped, why = HelpedUnknown, "it is not known whether it did: "+why
		}
		if helped == "" {
			continue
		}
		a.Verdict = helped
		findings = append(findings, Finding{*a, why})
	}
	if len(findings) > 0 {
		m.Acts = acts
	}
	return m, findings
}

// judge says whether an act helped, by what is measured now where it should have.
func (k Known) judge(a Act) (helped Helped, why string) {
	if a.Requirement == "" {
		return HelpedUnknown, "nothing was required"
	}
	if !a.OfNode && a.For == "" && k.Placement[a.Instance] != a.To {
		return HelpedUnknown, fmt.Sprintf("%s is not on %s any more", a.Instance, a.To)
	}
	for _, v := range k.Verdicts {
		about := v.Instance == a.Instance && v.Node == a.To
		switch {
		case a.OfNode:
			about = v.Service == "" && v.Node == a.From
		case a.For != "":
			about = v.Instance == a.For && v.Node == a.From
		}
		if !about || v.Requirement.String() != a.Requirement {
			continue
		}
		switch v.State {
		case otto.RequirementOK:
			return HelpedYes, fmt.Sprintf("%s is %s", v.Requirement.Metric, show(v))
		case otto.RequirementViolated:
			return HelpedNo, v.Reason
		}
		return "", v.Reason
	}
	return HelpedUnknown, "it is not required any more"
}

func show(v otto.Verdict) string {
	if v.Value == nil {
		return "not known"
	}
	return v.Requirement.Unit.Show(*v.Value)
}

func nounOf(action string) string {
	if action == otto.ActionMigrate {
		return "move"
	}
	return action
}
