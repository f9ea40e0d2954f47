package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// draft is a decision of which it is still to be said why no node will do.
type draft struct {
	otto.Decision
	within   bool                  // by the lower bar
	refusals func() []otto.Refusal // nil if one will
}

// finish says it, if it is wanted.
func (d draft) finish(wanted func(otto.Decision) bool) otto.Decision {
	if d.refusals == nil || wanted != nil && !wanted(d.Decision) {
		return d.Decision
	}
	d.Refusals = d.refusals()
	said := ": " + sayRefusals(d.Refusals)
	if d.Outcome == otto.OutcomeWait {
		d.Waits += said
	} else {
		d.Reason += said
	}
	return d.Decision
}

// send finds a node for an instance that has a reason to leave, and says whether
// it goes there now.
func (f *frame) send(d *draft, i *instance, c cause) {
	if why := i.of.Stays(); why != "" {
		d.Outcome = otto.OutcomeStuck
		if i.of.Stateful() && !i.of.Global() && i.of.Data != otto.DataDisposable {
			d.Outcome, d.Waits = otto.OutcomeAdvise, "its data would have to go with it, and no move carries data yet"
		}
		d.Reason += "; it stays where it is: " + why
		return
	}
	if why := shares(i); why != "" {
		d.Outcome = otto.OutcomeStuck
		d.Reason += "; it stays where it is: " + why
		return
	}
	var bar bar
	low := lower(c, i)
	to, until, lesser := f.find(i, low, false)
	if to == nil && until.IsZero() && lesser {
		if second, later, _ := f.find(i, low, true); second != nil || !later.IsZero() {
			bar, to, until = low, second, later
		}
	}
	if why, end := f.Memory.settling("", i.at, f.decisions, f.now); to == nil && until.IsZero() && why != "" {
		d.Outcome, d.Waits, d.Until = otto.OutcomeWait, why, end // something has just left, or come
		return
	}
	if to == nil {
		d.refusals = func() []otto.Refusal { return f.refusals(i, bar) }
		d.Outcome, d.Until = otto.OutcomeStuck, until
		if until.IsZero() {
			d.Reason += "; and it would be no better anywhere"
		} else {
			d.Outcome, d.Waits = otto.OutcomeWait, "nowhere to go now"
		}
		return
	}
	d.Outcome, d.To = otto.OutcomeDo, to.ID
	d.Predicted = f.target(i, to, bar).predicted
	f.price(&d.Decision, i, to)
	if d.within = bar.within; bar.within {
		d.Gain *= unforeseen
		d.Reason += fmt.Sprintf("; nowhere would all be clear, and on %s all would be within their limits", to.ID)
	}
	if m, _ := otto.FindMetric(c.Requirement.Metric); !m.Node && c.Requirement.Metric != "cpu" && c.Requirement.Metric != "memory" {
		d.Gain *= unforeseen
	}
	f.restrain(&d.Decision, i, c)
}

// shares says why an instance is not sent away for a requirement although it may leave:
// services of another stack would have to come along, which nothing is wrong with.
func shares(i *instance) string {
	if i.of.Shares == "" {
		return ""
	}
	return "it would leave " + i.of.Shares + ", which only a person, a drain or a failover has both do"
}

func sayRefusals(list []otto.Refusal) string {
	if len(list) == 0 {
		return "there is no other node"
	}
	parts := make([]string, 0, len(list))
	for k, r := range list {
		if k == 0 || list[k-1].Node != r.Node {
			parts = append(parts, r.Node+": "+r.Reason)
		}
	}
	return strings.Join(parts, "; ")
}

// find returns the best node for an instance where all would be clear, or with lower
// one that the lower bar lets pass, or when there may be one. A zero time means that it
// is not a matter of time. lesser says that there was a node for the lower bar only.
func (f *frame) find(i *instance, low bar, lower bool) (best *Node, until time.Time, lesser bool) {
	defer f.lift(i)()
	g := f.guest(i)
	also := func(id string) string { // of a node that would otherwise do
		if id == i.at {
			return "unfit"
		}
		if has := f.grade(g, f.node(id), low); lower && !has.low || !lower && !has.clear {
			lesser = lesser || has.low
			return "unfit"
		}
		why, end := f.passing(i.of.Name, id)
		if why != "" && (until.IsZero() || end.Before(until)) {
			until = end
		}
		return why
	}
	if id, ok := f.state.Pick(scheduler.Ask{Service: f.asks(i), Also: also}); ok {
		return f.node(id), time.Time{}, false
	}
	return nil, until, lesser
}

// refusals say of all other nodes why each is no target for an instance.
func (f *frame) refusals(i *instance, bar bar) []otto.Refusal {
	defer f.lift(i)()
	found := map[string]string{} // it is asked twice
	return f.explain(i, func(id string) string {
		why, known := found[id]
		if !known {
			if why = f.unfit(i, id, bar); why == "" {
				why, _ = f.passing(i.of.Name, id)
			}
			found[id] = why
		}
		return why
	})
}

func (f *frame) explain(i *instance, also func(string) string) []otto.Refusal {
	_, all := f.state.Explain(scheduler.Ask{Service: f.asks(i), Also: also})
	return slices.DeleteFunc(all, func(r otto.Refusal) bool { return r.Node == i.at })
}

// unfit says why a node is no target for an instance, by requirements.
func (f *frame) unfit(i *instance, id string, bar bar) (why string) {
	if id == i.at {
		return "it is there now"
	}
	return f.target(i, f.node(id), bar).refusal
}

// passing says why a node is no target for a service at this time.
func (f *frame) passing(service, id string) (why string, until time.Time) {
	if why, until = f.Memory.barred(service, id, f.decisions, f.now); why != "" {
		return why, until
	}
	if why, until = f.Memory.settling("", id, f.decisions, f.now); why != "" {
		if until.IsZero() { // it has not ended yet
			until = f.now.Add(f.decisions.Settle)
		}
		return why, until
	}
	until, full := f.Memory.spent(f.decisions.PerNode, f.now, func(a Act) bool { return a.From == id || a.To == id })
	if full {
		return fmt.Sprintf("there were %d moves and restarts from, to and on it within the last hour", f.decisions.PerNode), until
	}
	return "", time.Time{}
}

// restrain finds what holds back an action that would be taken: of several things the one that
// takes longest, as far as that is known.
func (f *frame) restrain(d *otto.Decision, i *instance, c cause) {
	wait := func(until time.Time, format string, args ...any) {
		longer := d.Outcome == otto.OutcomeWait && !d.Until.IsZero() && until.After(d.Until)
		if d.Outcome == otto.OutcomeDo || longer {
			d.Outcome, d.Waits, d.Until = otto.OutcomeWait, fmt.Sprintf(format, args...), until
		}
	}
	m, service := f.Memory, i.of.Name
	mode := f.Wanted.Decisions.ModeOf(i.of.Service)
	if mode == otto.DecideOff {
		d.Outcome, d.Waits = otto.OutcomeTell, "decisions are off"
		return
	}
	for _, g := range f.going(i, d.Action) {
		if why := f.Busy[g.name]; why != "" {
			wait(time.Time{}, "%s", why)
		}
	}
	if why, until := m.settling(service, i.at, f.decisions, f.now); why != "" {
		wait(until, "%s", why)
	}
	if m.unjudged(service) {
		wait(time.Time{}, "it is not known yet whether the last one helped")
	}
	if until := m.cooling(service, f.decisions); until.After(f.now) {
		wait(until, "the last one is less than %s ago", otto.ShortDuration(f.decisions.Cooldown))
	}
	if until, full := m.spent(f.decisions.PerService, f.now, func(a Act) bool { return a.Service == service }); full {
		wait(until, "there were %d of this service within the last hour", f.decisions.PerService)
	}
	if until, full := m.spent(f.decisions.PerNode, f.now, func(a Act) bool { return a.From == i.at || a.To == i.at }); full {
		wait(until, "there were %d from, to and on %s within the last hour", f.decisions.PerNode, i.at)
	}
	if until, full := m.spent(f.decisions.PerCluster, f.now, func(Act) bool { return true }); full {
		wait(until, "there were %d in the cluster within the last hour", f.decisions.PerCluster)
	}
	if m.Full() {
		wait(time.Time{}, "more are remembered than can be: %d", maxActs)
	}
	if d.Gain < d.Cost {
		rate := severity(c.Requirement) * d.Gain / max(c.spent, 1e-9)
		wait(f.now.Add(time.Duration((d.Cost-d.Gain)/max(rate, 1e-9)*float64(time.Second))), "the violation has cost %.0f s so far, and it would cost %.0f s", d.Gain, d.Cost)
	}
	f.hold(d, mode)
}
