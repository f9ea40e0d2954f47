package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/plan"
)

// decisions is what belongs to deciding about requirements and need not survive.
type decisions struct {
	at       time.Time // of the last one
	changed  bool      // a verdict has, since
	told     map[string]string
	next     map[owner][]otto.Decision // what the view has: what was decided last and is not done yet
	moving   map[string]*moving        // by instance
	welcomed map[string]time.Time
	board    decide.Board
}

// decideEvery is how often it is decided what to do about violations, if no
// verdict has changed.
const decideEvery = time.Second

// decide does what is to be done about violated requirements, and tells what else
// has come of them. All that it begins is one document: it is there or it is not.
func (p *Plane) decide(now time.Time) {
	d := &p.decisions
	if p.desired.Wanted.Stopped {
		d.next = nil
		return
	}
	if !d.changed && now.Sub(d.at) < decideEvery {
		return
	}
	d.at, d.changed = now, false
	p.welcome(now)
	if !p.calls() {
		clear(d.told)
		d.next = nil
		return
	}
	known := p.weighed(now, true)
	var findings []decide.Finding
	known.Memory, findings = known.Memory.Forget(known.Wanted.Decisions, now).Judge(known, now)
	known.Wonders = func(d otto.Decision) bool { return d.Outcome == otto.OutcomeStuck && !p.hasTold(d) }
	list := decide.Next(known, now)
	d.next = p.upcoming(list)
	next := p.desired
	next.Memory = known.Memory
	doing := slices.ContainsFunc(list, func(d otto.Decision) bool { return d.Outcome == otto.OutcomeDo })
	for _, d := range list {
		if d.Outcome == otto.OutcomeDo {
			next = next.begin(p.index(), d, now, "")
		}
	}
	if doing || len(findings) > 0 {
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			p.Log.Error("decisions not stored, nothing is done", "err", err)
			return
		}
		p.desired = next
	}
	for _, f := range findings {
		p.tellFinding(f)
	}
	p.tellDecisions(list, now)
}

// calls reports whether anything asks for a decision.
func (p *Plane) calls() bool {
	for _, w := range p.required.nodes {
		if w.bad && slices.ContainsFunc(w.judged, func(j *judged) bool {
			return j.verdict.Acts() && j.Action != otto.ActionEvent && j.Action != otto.ActionNotify
		}) {
			return true
		}
	}
	own := func(i otto.Intent) bool { return i.By == otto.ByOtto }
	return slices.ContainsFunc(slices.Collect(maps.Values(p.desired.Intents)), own) ||
		slices.ContainsFunc(p.desired.Memory.Acts, func(a decide.Act) bool { return a.Verdict == "" })
}

// begin is what is desired once a decision is being carried out.
func (d desired) begin(index *plan.Index, x otto.Decision, now time.Time, by string) desired {
	acts := decide.ActsOf(index, x, now, by)
	d.Memory = d.Memory.Begin(acts...)
	switch x.Action {
	case otto.ActionMigrate:
		d.Placement = maps.Clone(d.Placement)
		for _, a := range acts {
			d.Placement[a.Instance] = x.To
		}
	case otto.ActionRestart:
		d = d.restarted(x.Instance)
	case otto.ActionCordon:
		d.Intents = maps.Clone(d.Intents)
		if d.Intents == nil {
			d.Intents = map[string]otto.Intent{}
		}
		d.Intents[x.Node] = otto.Intent{Cordoned: true, By: otto.ByOtto, Why: x.Reason}
	case otto.ActionUncordon:
		d.Intents = maps.Clone(d.Intents)
		delete(d.Intents, x.Node)
	}
	return d
}

// upcoming are decisions that wait, are advised or are of no use, by who requires what they
// are about. What is only needed to weigh them is left out.
func (p *Plane) upcoming(list []otto.Decision) map[owner][]otto.Decision {
	next := map[owner][]otto.Decision{}
	for _, d := range list {
		of := owner{service: d.Service}
		switch s, found := p.owner(d.For); {
		case d.Outcome == otto.OutcomeDo:
			continue
		case d.OfNode:
			of = owner{node: d.Node}
		case found:
			of = owner{service: s.Name}
		}
		d.Predicted, d.Refusals, d.Until = nil, nil, d.Until.UTC()
		next[of] = append(next[of], d)
	}
	return next
}

// tellDecisions makes an event of each decision that has changed what it comes to.
// What only waits is no event: otto explain tells it.
func (p *Plane) tellDecisions(list []otto.Decision, now time.Time) {
	told := map[string]string{}
	for _, d := range list {
		if d.Outcome == otto.OutcomeDo {
			p.tellBegun(d, now, "")
			continue
		}
		key, what := telling(d)
		if d.Outcome == otto.OutcomeWait { // it comes back to what it was
			what = p.decisions.told[key]
		}
		told[key] = what
		if p.hasTold(d) {
			continue
		}
		switch d.Outcome {
		case otto.OutcomeAdvise:
			p.event("decision-advised", d.Node, d.Service, advice(d))
		case otto.OutcomeStuck:
			p.event("decision-stuck", d.Node, d.Service, fmt.Sprintf("nothing can be done about %s: %s", d.Requirement, d.Reason))
		}
	}
	p.decisions.told = told
}

// telling is what a decision is known by, and what is told of it. Who would leave for
// the sake of others changes with what each of them takes: that is no news as long as
// nobody can.
func telling(d otto.Decision) (key, what string) {
	of := d.Instance
	if d.OfNode || d.For != "" {
		of = d.For
	}
	what = string(d.Outcome)
	if d.Outcome == otto.OutcomeAdvise {
		what += d.Instance + " " + d.To
	}
	return strings.Join([]string{d.Action, of, d.Node, d.Requirement}, "\x00"), what
}

// hasTold reports whether it has been told already what a decision comes to.
func (p *Plane) hasTold(d otto.Decision) bool {
	key, what := telling(d)
	return p.decisions.told[key] == what
}

func advice(d otto.Decision) string {
	text := fmt.Sprintf("%s of %s: %s (%s)", d.Action, cmp.Or(d.Instance, d.Node), d.Reason, d.Waits)
	if d.To != "" {
		text = fmt.Sprintf("%s would be better on %s: %s; `otto service move %s --advised` does it", d.Instance, d.To, d.Reason, d.Service)
	}
	return text
}

// tellBegun tells what has been begun, with all that it was decided by.
func (p *Plane) tellBegun(d otto.Decision, now time.Time, by string) {
	why := d.Reason
	if d.Requirement != "" {
		why += fmt.Sprintf(" (required: %s)", d.Requirement)
	}
	e := otto.Event{Time: now.UTC(), Node: d.Node, Service: d.Service, By: by}
	switch d.Action {
	case otto.ActionMigrate:
		e.Kind, e.Node = "service-moving", d.To
		e.Message = fmt.Sprintf("%s goes from %s to %s: %s", d.Instance, d.Node, d.To, why)
		if with := p.index().Together(d.Instance); len(with) > 1 {
			e.Message += fmt.Sprintf("; all of its stack goes with it: %s", strings.Join(with, ", "))
		}
		for _, x := range d.Predicted {
			e.Message += fmt.Sprintf("; foreseen there for %s: %s, %s", x.Of, x.Requirement, x.Unit.Show(x.Value))
		}
		e.Message += fmt.Sprintf("; foreseen outage: %s%s", d.Outage, d.Fetches())
		if by == "" {
			e.Message += fmt.Sprintf("; it costs %.1f s and the violation has cost %.1f s", d.Cost, d.Gain)
		}
	case otto.ActionRestart:
		e.Kind, e.Message = "service-restarting", fmt.Sprintf("%s is restarted: %s", d.Instance, why)
	case otto.ActionCordon:
		e.Kind, e.Message, e.By = "node-cordoned", "node is cordoned: it takes nothing new: "+why, otto.ByOtto
	case otto.ActionUncordon:
		e.Kind, e.Message, e.By = "node-uncordoned", "node takes services again: "+why, otto.ByOtto
	}
	if d.Instance != "" {
		if p.decisions.moving == nil {
			p.decisions.moving = map[string]*moving{}
		}
		for _, name := range p.index().Together(d.Instance) {
			if name == d.Instance || d.Action == otto.ActionMigrate {
				p.decisions.moving[name] = &moving{since: now}
			}
		}
	}
	p.dirty = true
	p.record(e)
}

// tellFinding tells what came of an act.
func (p *Plane) tellFinding(f decide.Finding) {
	noun := "move to " + f.To
	if f.Action == otto.ActionRestart {
		noun = "restart"
	}
	switch f.Verdict {
	case decide.HelpedYes:
		p.event("decision-helped", f.To, f.Service, fmt.Sprintf("the %s of %s helped: %s (required: %s)", noun, f.Instance, f.Reason, f.Requirement))
	case decide.HelpedNo:
		p.event("decision-useless", f.To, f.Service, fmt.Sprintf("the %s of %s did not help, and is not tried again for %s: %s (required: %s)",
			noun, f.Instance, otto.ShortDuration(p.desired.Wanted.Decisions.WithDefaults().ReturnAfter), f.Reason, f.Requirement))
	}
}

// welcome tells, once for each node that has come or come back, what would be
// better there.
func (p *Plane) welcome(now time.Time) {
	if p.decisions.welcomed == nil {
		p.decisions.welcomed = map[string]time.Time{}
	}
	come, settled := false, false
	for _, n := range p.desired.Wanted.Nodes {
		known := p.nodes[n.ID]
		settled = settled || known.state == otto.NodeReady && now.Sub(known.since) >= decide.Fresh
		if known.state == otto.NodeReady && now.Sub(known.since) > stableAfter && !p.decisions.welcomed[n.ID].Equal(known.since) {
			p.decisions.welcomed[n.ID], come = known.since, true
		}
	}
	if !come || !settled { // or all of them have: weighing all there is would be in vain
		return
	}
	for i, d := range decide.Better(p.weighed(now, false), now) {
		if i == maxAdvice {
			return
		}
		p.event("decision-advised", d.To, d.Service, advice(d))
	}
}

// maxAdvice is told at a time; otto explain tells the rest.
const maxAdvice = 10

// Move moves an instance, or the first one of a service: to a node, to the best
// one without a name, or with advised where it is advised to go.
func (p *Plane) Move(ctx context.Context, name, to string, advised bool) (d otto.Decision, err error) {
	err = p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		if p.desired.Wanted.Stopped || p.desired.Restored {
			return errors.New("nothing runs, so nothing can be moved: run `otto cluster start`")
		}
		if _, wanted := p.owner(name); !wanted {
			return p.unknown(name)
		}
		now := time.Now()
		known := p.weighed(now, false)
		if advised {
			d, err = advisedMove(known, name, now)
		} else {
			d, err = decide.Move(known, name, to, now)
		}
		if err != nil {
			return err
		}
		d.Outcome = otto.OutcomeDo
		next := p.desired
		next.Memory = next.Memory.Forget(next.Wanted.Decisions, now)
		if next.Memory.Full() {
			return errors.New("there were too many moves lately: try again in some minutes")
		}
		next = next.begin(p.index(), d, now, cmp.Or(otto.By(ctx), "a person"))
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			return err
		}
		p.desired = next
		p.tellBegun(d, now, otto.By(ctx))
		p.pass(time.Now())
		p.publishView()
		return nil
	})
	return d, err
}

// advisedMove is the move of a service's instance that is advised now.
func advisedMove(k decide.Known, name string, now time.Time) (otto.Decision, error) {
	for _, d := range append(decide.Next(k, now), decide.Better(k, now)...) {
		if d.Outcome == otto.OutcomeAdvise && d.To != "" && (d.Service == name || d.Instance == name) {
			return d, nil
		}
	}
	return otto.Decision{}, fmt.Errorf("no move of %s is advised now: see otto explain %s", name, name)
}

// weighed is what decisions depend on. With pressing, what is on nodes where all is
// well is left out: nothing of it has to leave.
func (p *Plane) weighed(now time.Time, pressing bool) decide.Known {
	k := decide.Known{
		Wanted: p.desired.Wanted, Placement: p.desired.Placement, Memory: p.desired.Memory, Index: p.index(), Board: &p.decisions.board,
		Nodes: make([]decide.Node, 0, len(p.nodes)), Uses: map[string]decide.Use{}, Busy: map[string]string{}, Frozen: p.doubts,
	}
	if p.watching.IsZero() {
		k.Frozen = "not connected to the broker"
	}
	matter := p.matters()
	for _, id := range p.ids() {
		if w := p.required.nodes[id]; w != nil && (!pressing || matter[id]) {
			for _, j := range w.judged {
				k.Verdicts = append(k.Verdicts, j.verdict)
			}
		}
	}
	metrics := slices.DeleteFunc(otto.NodeMetrics(), func(m otto.Metric) bool { return !p.index().Metrics[m.Name] })
	for _, id := range p.desired.Wanted.Peers() {
		m, _ := otto.FindMetric(otto.RTTPrefix + id)
		metrics = append(metrics, m)
	}
	gone := map[string]string{}
	for _, id := range p.ids() { // in the order in which they are looked at
		if p.index().Node(id) == nil {
			continue
		}
		known, intent := p.nodes[id], p.desired.Intents[id]
		k.Nodes = append(k.Nodes, decide.Node{
			Node: p.planned(known, now), Readings: known.readings(metrics, now, p.desired.Wanted.IntervalOf()), Ready: known.state == otto.NodeReady,
			Since: known.since, Cordoned: intent.Cordoned || intent.Draining, Own: intent.By == otto.ByOtto,
		})
		if !pressing || matter[id] {
			gone[id] = k.Nodes[len(k.Nodes)-1].Gone
			known.uses(k.Uses, now, p.desired.Wanted.IntervalOf())
			known.idle(k.Uses)
		}
	}
	p.where.follow(k.Placement)
	for id, instances := range p.where.on {
		if pressing && !matter[id] {
			continue
		}
		for instance := range instances {
			if why := p.busy(instance, id, gone[id]); why != "" {
				k.Busy[instance] = why
			}
		}
	}
	return k
}

// idle are the instances of a node that have completed: they take nothing.
func (n *node) idle(into map[string]decide.Use) {
	if n.report == nil {
		return
	}
	for _, i := range n.report.Instances {
		if i.Completed() {
			into[i.Name] = decide.Use{}
		}
	}
}

// matters are the nodes where something is not as required, and those of acts of
// which it is still to be found out whether they helped.
func (p *Plane) matters() map[string]bool {
	list := map[string]bool{}
	for id, w := range p.required.nodes {
		if w.bad {
			list[id] = true
		}
	}
	for _, a := range p.desired.Memory.Acts {
		if a.Verdict == "" {
			list[a.From], list[a.To] = true, true
		}
	}
	return list
}

// busy says why an instance is to be left alone; gone, why its node is to be left.
func (p *Plane) busy(instance, id, gone string) string {
	if a, ok := p.desired.Memory.UnderWay(instance); ok {
		return "its " + noun(a) + " is under way"
	}
	if _, ok := p.standIns[instance]; ok {
		return "it stands in for one on a lost node"
	}
	if why := cmp.Or(p.held[instance], p.waiting[instance]); why != "" {
		return why
	}
	n := p.nodes[id]
	if n == nil || n.report == nil {
		return "its node has not reported"
	}
	if gone != "" {
		return "its node " + gone
	}
	switch s := statusIn(n.report.Instances, instance); {
	case s == nil:
	case s.State == otto.InstanceRunning || s.State == otto.InstanceUnhealthy:
		return ""
	case s.State == otto.InstancePaused:
		return "somebody has paused it"
	case s.Completed() && len(p.index().Together(instance)) > 1:
		return "" // a job of a stack, which keeps the others nowhere
	}
	return "it does not run yet, or does not stay up"
}

// decided are the decisions as they would be now, with advice.
func (p *Plane) decided(now time.Time) []otto.Decision {
	k := p.weighed(now, false)
	list := decide.Next(k, now)
	for _, d := range decide.Better(k, now) {
		there := func(o otto.Decision) bool { return o.Instance == d.Instance }
		if !slices.ContainsFunc(list, there) {
			list = append(list, d)
		}
	}
	return list
}

// away are the services that have left a node for what they require, and do not go
// home to it yet.
func (p *Plane) away(id string, now time.Time) map[string]bool {
	var list map[string]bool
	returnAfter := p.desired.Wanted.Decisions.WithDefaults().ReturnAfter
	for _, a := range p.desired.Memory.Acts {
		soon := a.Ended.IsZero() || now.Sub(a.Ended) < returnAfter
		if a.Action != otto.ActionMigrate || a.From != id || a.Verdict == decide.HelpedFailed || !soon {
			continue
		}
		if list == nil {
			list = map[string]bool{}
		}
		list[a.Service] = true
	}
	return list
}
