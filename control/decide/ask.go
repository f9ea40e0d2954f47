package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

const (
	// worthwhile is by how much the score of a node must be better for a service to
	// be advised to go there although nothing is violated.
	worthwhile = 0.05
	// Fresh is how long a node counts as one that has just come, after it has been
	// ready for a while. Where all nodes are fresh, nothing would be better on them.
	Fresh, proven = time.Hour, time.Minute
)

// Better tells what would be better on nodes that have just come, or come back. It
// is advice only: nothing is violated, so there is nothing for which a move could pay.
func Better(k Known, now time.Time) (list []otto.Decision) {
	f := newFrame(k, now)
	var come []string
	settled := false
	for _, n := range f.Nodes {
		since := now.Sub(n.Since)
		if n.Ready && since >= proven && since < Fresh {
			come = append(come, n.ID)
		}
		settled = settled || n.Ready && since >= Fresh
	}
	if len(come) == 0 || !settled || f.Frozen != "" {
		return nil // or all of them have just come, as after a start of the control plane
	}
	f.prepare()
	for _, name := range sortedNames(f.instances) {
		i := f.instances[name]
		if i != f.group(i)[0] || !i.of.Mobile() || shares(i) != "" || i.of.Node == i.at || slices.Contains(come, i.at) ||
			f.Busy[name] != "" ||
			f.Wanted.Decisions.ModeOf(i.of.Service) == otto.DecideOff {
			continue
		}
		if d, ok := f.better(i, come); ok {
			list = append(list, d)
		}
	}
	return list
}

func (f *frame) better(i *instance, come []string) (d otto.Decision, ok bool) {
	defer f.lift(i)()
	now, _ := f.state.Score(scheduler.Ask{Service: f.asks(i)}, i.at)
	best, most := "", now+worthwhile
	for _, id := range come {
		why := f.unfit(i, id, bar{})
		if passing, _ := f.passing(i.of.Name, id); cmp.Or(why, passing) != "" {
			continue
		}
		if score, fits := f.state.Score(scheduler.Ask{Service: f.asks(i)}, id); fits && score > most {
			best, most = id, score
		}
	}
	if best == "" || now == 0 { // its own node would not take it: others see to that
		return d, false
	}
	d = otto.Decision{
		Outcome:  otto.OutcomeAdvise,
		Action:   otto.ActionMigrate,
		Service:  i.of.Name,
		Instance: i.name,
		Node:     i.at,
		To:       best,
		Reason:   fmt.Sprintf("%s has come, and its score would be %.2f there to %.2f here", best, most, now),
		Waits:    "nothing is violated, so it is left to a person",
	}
	d.Predicted = f.target(i, f.node(best), bar{}).predicted
	f.price(&d, i, f.node(best))
	return d, true
}

// Move is what moving an instance on a person's word would be: to a node, or
// without one to the best by placement and by requirements. A person is not held
// back by cooldown, budgets or cost; what no placement may do is refused.
func Move(k Known, name, to string, now time.Time) (otto.Decision, error) {
	f := newFrame(k, now)
	f.prepare()
	i := f.instances[name]
	if i == nil {
		return otto.Decision{}, fmt.Errorf("%s has no place yet: there is nothing to move", name)
	}
	d := otto.Decision{
		Outcome:  otto.OutcomeDo,
		Action:   otto.ActionMigrate,
		Service:  i.of.Name,
		Instance: name,
		Node:     i.at,
	}
	busy := func(g *instance) bool { return f.Busy[g.name] != "" }
	switch why, group := i.of.Stays(), f.group(i); {
	case why != "":
		return d, fmt.Errorf("%s cannot leave %s: %s", name, i.at, why)
	case slices.ContainsFunc(group, busy):
		other := group[slices.IndexFunc(group, busy)].name
		return d, fmt.Errorf("%s cannot be moved now: %s", other, f.Busy[other])
	case to == i.at:
		return d, fmt.Errorf("%s is on %s already", name, to)
	case to != "" && f.node(to) == nil:
		return d, fmt.Errorf("no node %q: see otto cluster status", to)
	}
	defer f.lift(i)() // the board stays
	also := func(id string) string {
		switch {
		case to == "":
			return f.unfit(i, id, bar{})
		case id != to:
			return "it is not the one asked for"
		}
		return ""
	}
	id, ok := f.state.Pick(scheduler.Ask{Service: f.asks(i), Also: also})
	if !ok {
		refusals := f.explain(i, also)
		if to != "" {
			refusals = slices.DeleteFunc(refusals, func(r otto.Refusal) bool { return r.Node != to })
		}
		return d, fmt.Errorf("%s cannot be moved: %s", name, sayRefusals(refusals))
	}
	d.To, d.Reason = id, "asked for"
	d.Predicted = f.target(i, f.node(id), bar{}).predicted
	f.price(&d, i, f.node(id))
	return d, nil
}
