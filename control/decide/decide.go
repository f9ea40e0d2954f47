// Package decide weighs what to do about requirements that are violated.
//
// It is given what is known, with what past decisions have left behind, and
// returns what to do now, what is only advised, what waits and for what, and what
// cannot be mended and why. It acts on nothing that is not measured, and it would
// rather leave a service where it is: a move has to gain more than it costs, has to
// end where all requirements are foreseen to hold, and does not come again soon.
//
// What a violation has cost so far and what a move would cost are measured in the
// same seconds. A move is worth it when the first has reached the second, which is
// the rule for renting or buying skis: without knowing how long a violation will
// last, it never costs more than twice what knowing it would have (A. R. Karlin et
// al., Competitive randomized algorithms for non-uniform problems, 1990).
package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/control/scheduler"
)

// Known is all that a decision depends on, beside the time.
type Known struct {
	Wanted    otto.Wanted
	Placement plan.Placement
	Nodes     []Node
	Uses      map[string]Use // by instance; one that is not measured is not in it
	Verdicts  []otto.Verdict
	// Busy says why an instance is to be left alone: it is being moved already, or
	// does not run.
	Busy map[string]string
	// Frozen says why nothing is acted upon at all.
	Frozen string
	Memory Memory
	// Wonders, if it is set, says of which decisions it is wanted why no node will do:
	// in a large cluster that takes longer to say than to find out. Else it is said of all.
	Wonders func(otto.Decision) bool
	// Index, if there is one, is of Wanted, and Board of decisions before. They are for
	// speed alone.
	Index *plan.Index
	Board *Board
}

// stale is how old a verdict may be to be acted upon.
const stale = 5 * time.Second

// Next returns what to do about each violated requirement, in the order of their
// weight. What is to be done at once does not stand in each other's way.
func Next(k Known, now time.Time) []otto.Decision {
	f := newFrame(k, now)
	list := f.cordon()
	causes := f.causes()
	if len(causes) == 0 {
		return list
	}
	f.prepare()
	decided := map[string]bool{}
	for _, c := range causes {
		if c.Instance != "" && decided[f.Index.Together(c.Instance)[0]] {
			continue // something cheaper, or for something graver
		}
		d := f.decide(c).finish(f.Wonders)
		if d.Outcome == otto.OutcomeDo {
			f.Memory = f.Memory.Begin(ActsOf(f.Index, d, now, "")...)
		}
		if d.Outcome != otto.OutcomeStuck && d.Outcome != otto.OutcomeTell {
			decided[f.Index.Together(d.Instance)[0]], decided[f.Index.Together(c.Instance)[0]] = true, true
		}
		list = append(list, d)
	}
	return list
}

// ActsOf are the acts that a decision begins. What is placed with an instance that moves
// goes with it: each has an act of its own, of which only the first counts.
func ActsOf(x *plan.Index, d otto.Decision, now time.Time, by string) []Act {
	first := ActOf(d, now, by)
	acts := []Act{first}
	if d.Action != otto.ActionMigrate {
		return acts
	}
	for _, name := range x.Together(d.Instance) {
		if s, ok := x.Owner(name); ok && name != d.Instance {
			acts = append(
				acts,
				Act{
					Action:   d.Action,
					Service:  s.Name,
					Instance: name,
					From:     d.Node,
					To:       d.To,
					Began:    now,
					By:       by,
					With:     d.Instance,
				},
			)
		}
	}
	return acts
}

// ActOf is the act that a decision begins; a cordon ends as it begins.
func ActOf(d otto.Decision, now time.Time, by string) Act {
	a := Act{
		Action:      d.Action,
		Service:     d.Service,
		Instance:    d.Instance,
		From:        d.Node,
		To:          d.To,
		Requirement: d.Requirement,
		OfNode:      d.OfNode,
		For:         d.For,
		Began:       now,
		By:          by,
		Bytes:       d.Bytes,
	}
	switch d.Action {
	case otto.ActionRestart:
		a.To = a.From
	case otto.ActionCordon, otto.ActionUncordon:
		a.Action, a.Ended, a.Verdict = otto.ActionCordon, now, HelpedUnknown
	}
	return a
}

// frame is a decision in the making.
type frame struct {
	Known
	now       time.Time
	decisions otto.Decisions
	index     map[string]int // of nodes
	instances map[string]*instance
	state     *scheduler.State
	board     *Board
	wounded   map[string]string // why a node cannot take more, by violations there
}

func newFrame(k Known, now time.Time) *frame {
	f := &frame{Known: k, now: now, decisions: k.Wanted.DecisionsOf(), index: map[string]int{}}
	f.Nodes, f.Verdicts = slices.Clone(k.Nodes), nil
	for i := range k.Verdicts { // of those that hold little depends
		if v := &k.Verdicts[i]; v.State != otto.RequirementOK || v.Requirement.Action == otto.ActionCordon {
			f.Verdicts = append(f.Verdicts, *v)
		}
	}
	slices.SortFunc(f.Verdicts, func(a, b otto.Verdict) int { // so that their order means nothing
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(a.Requirement.String(), b.Requirement.String()),
			cmp.Compare(a.Requirement.Severity, b.Requirement.Severity))
	})
	slices.SortFunc(f.Nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for i := range f.Nodes {
		f.index[f.Nodes[i].ID] = i
	}
	return f
}

// prepare makes what only moves and restarts need.
func (f *frame) prepare() {
	if f.board = f.Board; f.board == nil {
		f.board = &Board{}
	}
	if !f.Index.IsOf(f.Wanted) {
		f.Index = plan.NewIndex(f.Wanted, f.Index)
	}
	f.board.follow(f.Index, f.Placement, f.Nodes, f.Wanted.Scheduler.Weights)
	f.state, f.instances = f.board.state, f.board.instances
	f.wound()
}

func (f *frame) node(id string) *Node {
	if i, ok := f.index[id]; ok {
		return &f.Nodes[i]
	}
	return nil
}

// cause is a violation that asks for an action.
type cause struct {
	otto.Verdict
	spent float64 // what it has cost so far, in seconds of severity warning
}

func severity(r otto.Requirement) float64 {
	switch r.Severity {
	case otto.SeverityInfo:
		return 0.25
	case otto.SeverityCritical:
		return 4
	}
	return 1
}

func rank(action string) int {
	return slices.Index(
		[]string{otto.ActionEvent, otto.ActionNotify, otto.ActionCordon, otto.ActionRestart, otto.ActionMigrate},
		action,
	)
}

// causes are the violations that more than telling is asked for, the cheapest
// action of an instance first, and else the gravest first.
func (f *frame) causes() (list []cause) {
	for _, v := range f.Verdicts {
		restarts := v.Requirement.Action == otto.ActionRestart && v.Service != ""
		if !f.acts(v) || !restarts && v.Requirement.Action != otto.ActionMigrate {
			continue
		}
		list = append(list, cause{v, severity(v.Requirement) * f.lasted(v).Seconds()})
	}
	slices.SortStableFunc(list, func(a, b cause) int {
		return cmp.Or(cmp.Compare(rank(a.Requirement.Action), rank(b.Requirement.Action)),
			cmp.Compare(b.spent, a.spent))
	})
	return list
}

// acts reports whether a verdict may be acted upon: it is a violation by data that
// are there and new, of what is where the verdict says.
func (f *frame) acts(v otto.Verdict) bool {
	n := f.node(v.Node)
	return v.Acts() && v.Value != nil && f.now.Sub(v.Evaluated) <= stale && !v.Evaluated.After(f.now) && n != nil &&
		n.Ready &&
		(v.Instance == "" || f.Placement[v.Instance] == v.Node)
}

// lasted is how long the limit has been exceeded.
func (f *frame) lasted(v otto.Verdict) time.Duration {
	return max(0, f.now.Sub(v.Violated)) + v.Requirement.For
}

// cordon decides which nodes take nothing new any more, and which do again. A
// person who takes a cordon back has the last word until the violation has ended.
func (f *frame) cordon() (list []otto.Decision) {
	reasons := map[string]bool{} // nodes that have one to be cordoned, or may have
	for _, v := range f.Verdicts {
		if v.Requirement.Action != otto.ActionCordon {
			continue
		}
		n := f.node(v.Node)
		if n == nil {
			continue
		}
		reasons[v.Node] = reasons[v.Node] || v.State != otto.RequirementOK
		mode := f.modeFor(v)
		if !f.acts(v) || n.Cordoned || mode == otto.DecideOff || f.cordoned(v) {
			continue
		}
		d := of(v, otto.ActionCordon)
		d.Outcome, d.Reason = otto.OutcomeDo, v.Reason
		f.hold(&d, mode)
		if d.Outcome == otto.OutcomeDo {
			n.Cordoned = true
		}
		list = append(list, d)
	}
	for _, n := range f.Nodes {
		if n.Cordoned && n.Own && !reasons[n.ID] && n.Ready && f.Frozen == "" && f.decisions.Mode == otto.DecideAuto {
			list = append(
				list,
				otto.Decision{
					Outcome: otto.OutcomeDo,
					Action:  otto.ActionUncordon,
					Node:    n.ID,
					Reason:  "all that it was cordoned for holds again",
				},
			)
		}
	}
	return list
}

// modeFor is the mode of who requires it: of a service, or of the cluster for a node.
func (f *frame) modeFor(v otto.Verdict) string {
	k := slices.IndexFunc(f.Wanted.Services, func(s otto.Service) bool { return s.Name == v.Service })
	if k < 0 {
		return f.decisions.Mode
	}
	return f.Wanted.Decisions.ModeOf(f.Wanted.Services[k])
}

// cordoned reports whether a node has been cordoned for a violation already.
func (f *frame) cordoned(v otto.Verdict) bool {
	return slices.ContainsFunc(f.Memory.Acts, func(a Act) bool {
		return a.Action == otto.ActionCordon && a.From == v.Node && !a.Began.Before(v.Violated)
	})
}

// of is a decision about a verdict.
func of(v otto.Verdict, action string) otto.Decision {
	return otto.Decision{
		Action:      action,
		Service:     v.Service,
		Instance:    v.Instance,
		Node:        v.Node,
		Requirement: v.Requirement.String(),
		OfNode:      v.Service == "",
		Value:       v.Value,
		Unit:        v.Requirement.Unit,
	}
}

// hold turns what would be done into what waits, or is advised.
func (f *frame) hold(d *otto.Decision, mode string) {
	switch {
	case d.Outcome != otto.OutcomeDo:
	case f.Frozen != "":
		d.Outcome, d.Waits = otto.OutcomeWait, f.Frozen
	case mode == otto.DecideAdvise:
		d.Outcome, d.Waits = otto.OutcomeAdvise, "it waits for a person, as decisions are only advised"
	}
}

// decide decides about one cause.
func (f *frame) decide(c cause) draft {
	if c.Instance == "" {
		return f.relieve(c)
	}
	i := f.instances[c.Instance]
	if i == nil {
		d := of(c.Verdict, c.Requirement.Action)
		d.Outcome, d.Reason = otto.OutcomeStuck, "it is not wanted any more"
		return draft{Decision: d}
	}
	if c.Requirement.Action == otto.ActionRestart {
		return draft{Decision: f.restart(c, i)}
	}
	return f.migrate(c, i)
}

// restart decides whether a restart may help now.
func (f *frame) restart(c cause, i *instance) otto.Decision {
	d := of(c.Verdict, otto.ActionRestart)
	d.Outcome, d.Reason, d.Outage = otto.OutcomeDo, c.Reason, restartOutage
	d.Gain, d.Cost = c.spent, outageWeight*restartOutage.Seconds()*f.Memory.penalty(i.of.Name, f.now)
	if until := f.Memory.restarted(i.name, f.decisions, f.now); !until.IsZero() {
		d.Outcome, d.Until = otto.OutcomeStuck, until
		d.Reason = c.Reason + ": the last restart did not help, and none is tried before that is some time ago"
		return d
	}
	f.restrain(&d, i, c)
	return d
}

// migrate decides whether an instance goes to another node, for its own sake.
func (f *frame) migrate(c cause, i *instance) draft {
	d := draft{Decision: of(c.Verdict, otto.ActionMigrate)}
	d.Reason, d.Gain = c.Reason, c.spent
	if sameEverywhere(c.Requirement, i.of.Service) {
		d.Outcome, d.Reason = otto.OutcomeStuck, fmt.Sprintf(
			"%s: that would be so on every node, %s itself is the load",
			c.Reason,
			i.of.Name,
		)
		return d
	}
	f.send(&d, i, c)
	if d.To == "" {
		return f.makeRoom(d, c, f.Wanted.Decisions.ModeOf(i.of.Service))
	}
	return d
}

// makeRoom has others leave for an instance that has no better place itself, as d
// says, if that helps. What they do for it is by its own mode, too.
func (f *frame) makeRoom(d draft, c cause, mode string) draft {
	room := f.relieve(c)
	leaves := room.Instance != c.Instance
	switch {
	case room.Outcome == otto.OutcomeStuck || mode == otto.DecideOff || room.Outcome == otto.OutcomeDo && mode != otto.DecideAuto:
		return d
	case leaves || d.Outcome == otto.OutcomeStuck: // or something has just left
		return room
	}
	return d
}

// relieve decides which instance leaves a node for the sake of the node, or of an
// instance that stays there: of those whose leaving is foreseen to help, the best one.
func (f *frame) relieve(c cause) draft {
	d := draft{Decision: of(c.Verdict, otto.ActionMigrate)}
	d.Gain, d.For = c.spent, c.Instance
	n := f.node(c.Node)
	excess := 0.0
	if !c.Requirement.Clears(*c.Value, 1) {
		excess = math.Abs(*c.Value - c.Requirement.Clear)
	}
	var victims []victim
	var all float64
	var staying []string
	for _, i := range f.onNode(c.Node) {
		name := i.name
		if group := f.group(i); i != group[0] || f.Index.Together(name)[0] == f.Index.Together(c.Instance)[0] {
			continue // it goes with another one
		}
		u, measured := f.use(i)
		by, known := effect(c.Requirement.Metric, u, n)
		if !known {
			d.Outcome, d.Reason = otto.OutcomeStuck, fmt.Sprintf(
				"%s: no service is known to cause that, so no move can mend it",
				c.Reason,
			)
			return d
		}
		if !measured || by == 0 || c.Requirement.Margin(0) < c.Requirement.Margin(by) {
			continue
		}
		if why := cmp.Or(i.of.Stays(), shares(i)); why != "" {
			staying = append(staying,
				fmt.Sprintf("%s takes %s of it and stays: %s", f.named(i), c.Requirement.Unit.Show(math.Abs(by)), why))
			continue
		}
		all += math.Abs(by)
		v := victim{instance: i, relief: math.Abs(by), d: d}
		v.d.Service, v.d.Instance = i.of.Name, name
		if v.relief < excess {
			v.d.Gain *= v.relief / excess
		}
		v.d.Reason = fmt.Sprintf("%s, and %s takes %s of it", c.Reason, f.named(i), c.Requirement.Unit.Show(v.relief))
		if c.Instance != "" {
			v.d.Reason += fmt.Sprintf("; %s requires it and has no better place itself", c.Instance)
		}
		f.send(&v.d, i, c)
		victims = append(victims, v)
	}
	if all < excess || len(victims) == 0 {
		return draft{Decision: f.tooLittle(d.Decision, c, all, staying)}
	}
	return slices.MinFunc(victims, func(a, b victim) int { return a.compare(b, excess) }).d
}

// victim is an instance that may leave for others.
type victim struct {
	*instance
	relief float64 // by how much the value becomes better
	d      draft
}

// compare puts the better one first: what can be done now, and what is foreseen to be
// clear where it goes; then who is enough alone; and of those the one that helps most for
// what its move costs. Who takes more away than the excess takes it to another node, where
// it may soon be too much: that helps less.
func (v victim) compare(o victim, excess float64) int {
	order := []otto.Outcome{otto.OutcomeDo, otto.OutcomeAdvise, otto.OutcomeWait, otto.OutcomeStuck, otto.OutcomeTell}
	rank := func(v victim) (ranks [3]int) {
		ranks[0] = slices.Index(order, v.d.Outcome)
		if v.d.within {
			ranks[1] = 1
		}
		if v.relief < excess {
			ranks[2] = 1
		}
		return ranks
	}
	worth := func(v victim) float64 {
		return min(v.relief, excess) / max(v.relief, excess) / max(v.d.Cost, 0.1)
	}
	a, b := rank(v), rank(o)
	return cmp.Or(slices.Compare(a[:], b[:]), cmp.Compare(worth(o), worth(v)), cmp.Compare(v.name, o.name))
}

// tooLittle is what comes of a cause where what may leave takes this much, which is
// not enough, unless something is on its way already.
func (f *frame) tooLittle(d otto.Decision, c cause, all float64, staying []string) otto.Decision {
	if why, until := f.Memory.settling("", c.Node, f.decisions, f.now); why != "" {
		d.Outcome, d.Reason, d.Waits, d.Until, d.For = otto.OutcomeWait, c.Reason, why, until, ""
		return d
	}
	d.Outcome = otto.OutcomeStuck
	d.Reason = fmt.Sprintf("%s: what may leave takes %s of it, and all of that gone would not be enough", c.Reason,
		c.Requirement.Unit.Show(all))
	if len(staying) > 0 {
		d.Reason += "; " + strings.Join(staying, "; ")
	}
	return d
}

// onNode are the instances on a node, by name.
func (f *frame) onNode(id string) []*instance {
	return slices.SortedFunc(slices.Values(f.board.residents[id]),
		func(a, b *instance) int { return cmp.Compare(a.name, b.name) })
}

func sortedNames(m map[string]*instance) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
