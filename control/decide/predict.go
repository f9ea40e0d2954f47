package decide

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Use is what an instance takes of its node, as far as that is measured.
type Use struct {
	Cores  float64 // that it takes now: so many are free once it has left
	Most   float64 // cores that are to be expected of it, if those are more
	Memory float64 // bytes
}

// Node is a node with what is measured of it.
type Node struct {
	plan.Node
	// Readings are the lowest and highest of the newest values, by metric. One that
	// is old is not in it.
	Readings map[string]Range
	Ready    bool
	// Since is since when it is ready.
	Since time.Time
	// Cordoned says that it takes nothing new, and Own that Otto has decided so.
	Cordoned, Own bool
}

// Range is where the newest values of a metric are.
type Range struct{ Low, High float64 }

// worst is the one that a requirement is the least content with.
func (r Range) worst(q otto.Requirement) float64 {
	if q.Margin(r.Low) < q.Margin(r.High) {
		return r.Low
	}
	return r.High
}

// heatPerCPU is by how much a node becomes hotter, in degrees for each percent of
// its processor: a Raspberry Pi 4 without a fan has about 50 °C idle and 80 °C busy.
const heatPerCPU = 0.3

// effect is by how much an instance raises a metric of its node, and whether that
// is known of such a metric at all.
func effect(metric string, u Use, n *Node) (by float64, known bool) {
	cpu := 100 * u.Cores / max(n.Cores, 1)
	switch metric {
	case "node.cpu":
		return cpu, true
	case "node.load", "node.load.5m", "node.load.15m":
		return u.Cores, true
	case "node.temperature":
		return heatPerCPU * cpu, true
	case "node.memory":
		return share(u.Memory, float64(n.Memory)), n.Memory > 0
	case "node.memory.available":
		return -u.Memory, true
	}
	return 0, false
}

func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * part / whole
}

// sameEverywhere reports whether a service's own metric says nothing of its node.
func sameEverywhere(r otto.Requirement, s otto.Service) bool {
	switch r.Metric {
	case "cpu", "memory":
		return r.OfReserve || s.Limits(r.Metric)
	case otto.MetricOOMKills:
		return s.Limits("memory")
	case "memory.used", "network.received", "network.sent", "disk.read", "disk.written":
		return true
	}
	return false
}

// own is what one of a service's own metrics would be on a node, where that can be
// foreseen.
func own(metric string, u Use, n *Node) (value float64, known bool) {
	switch metric {
	case "cpu":
		return 100 * u.Cores / max(n.Cores, 1), true
	case "memory":
		return share(u.Memory, float64(n.Memory)), n.Memory > 0
	}
	return 0, false
}

// guest is an instance that looks for a node, with what it brings along.
type guest struct {
	*instance
	use      Use
	measured bool
	required []requiredOf
}

func (f *frame) guest(i *instance) guest {
	g := guest{instance: i}
	g.use, g.measured = f.use(i)
	g.use.Cores = max(g.use.Cores, g.use.Most)
	for _, o := range f.group(i) {
		for k := range o.of.Required {
			r := &o.of.Required[k]
			if m, _ := otto.FindMetric(r.Metric); m.Node || o == i && !sameEverywhere(*r, i.of.Service) {
				g.required = append(g.required, requiredOf{r, o.of.Name, !m.Node})
			}
		}
	}
	return g
}

// outlook is what is foreseen of a node as the new place of an instance, in words.
type outlook struct {
	predicted []otto.Prediction
	refusal   string // why it is none
}

// target judges a node as the new place of an instance by all requirements that
// would have to hold there: the instance's, the node's and those of what is there
// already. A value that would not be clear refuses it, and so does one that is not
// known and cannot be foreseen.
func (f *frame) target(i *instance, n *Node, bar bar) (o outlook) {
	g := f.guest(i)
	for _, list := range [][]requiredOf{g.required, f.board.requiredOn(n.ID)} {
		for k := range list {
			if !g.meets(&list[k], n, bar, &o) {
				return o
			}
		}
	}
	o.refusal = f.wounded[n.ID]
	return o
}

// meets reports whether a requirement would be met on a node with the guest there, and
// says so.
func (g guest) meets(q *requiredOf, n *Node, bar bar, into *outlook) bool {
	value, by, is := g.foresee(q, n)
	if is == reckoned {
		p := otto.Prediction{Requirement: q.String(), Of: q.of, Value: value, Unit: q.Unit}
		if q.own || !slices.Contains(into.predicted, p) { // several of the same service
			into.predicted = append(into.predicted, p)
		}
	}
	if is == irrelevant || is == reckoned && bar.accepts(q, value) {
		return true
	}
	into.refusal = g.unmet(q, value, by, is, bar)
	return false
}

// grade is by which bars a node is a target: by all clear thresholds, and by the lower one.
type grade struct{ clear, low bool }

// grade is what target says without words, for both bars at once: each instance may
// have to ask about all nodes there are.
func (f *frame) grade(g guest, n *Node, low bar) grade {
	if f.wounded[n.ID] != "" {
		return grade{}
	}
	has := g.grade(grade{true, true}, g.required, n, low)
	if has == (grade{}) {
		return has
	}
	return g.grade(has, f.board.requiredOn(n.ID), n, low)
}

// grade is what is left of one by a list of requirements.
func (g guest) grade(has grade, list []requiredOf, n *Node, low bar) grade {
	for k := 0; k < len(list) && has != (grade{}); k++ {
		q := &list[k]
		value, _, is := g.foresee(q, n)
		if is == irrelevant {
			continue
		}
		has.clear = has.clear && is == reckoned && (bar{}).accepts(q, value)
		has.low = has.low && is == reckoned && low.accepts(q, value)
	}
	return has
}

// foresight is what is known of a value that would be.
type foresight int

const (
	reckoned   foresight = iota
	irrelevant           // a node is not judged by it
	unread               // what it is there now is not known
	unmeasured           // what the guest adds to it is not
)

// foresee is what a required value would be on a node, and by how much the guest
// would have raised it.
func (g guest) foresee(q *requiredOf, n *Node) (value, by float64, is foresight) {
	if q.own {
		value, known := own(q.Metric, g.use, n)
		switch {
		case !known:
			return 0, 0, irrelevant
		case !g.measured:
			return 0, 0, unmeasured
		}
		return value, 0, reckoned
	}
	reading, known := n.Readings[q.Metric]
	if !known {
		return 0, 0, unread
	}
	by, matters := effect(q.Metric, g.use, n)
	if matters && !g.measured {
		return 0, 0, unmeasured
	}
	return reading.worst(*q.Requirement) + by, by, reckoned
}

// unmet says why a requirement would not be met.
func (g guest) unmet(q *requiredOf, value, by float64, is foresight, bar bar) string {
	switch {
	case is == unread:
		return fmt.Sprintf("its %s is not known", q.Metric)
	case is == unmeasured && q.own:
		return fmt.Sprintf("how much %s uses is not known", g.name)
	case is == unmeasured:
		return fmt.Sprintf("how much %s would add to its %s is not known", g.name, q.Metric)
	}
	text := fmt.Sprintf("its %s would be %s", q.Metric, q.Unit.Show(value))
	if by != 0 {
		text += fmt.Sprintf(" (%s of it by %s)", q.Unit.Show(max(by, -by)), g.name)
	}
	if q.Holds(value) && bar.trifle(q, value) {
		return text + ", which is hardly better"
	}
	return fmt.Sprintf("%s, and %s requires %s, clear at %s", text, q.of, limit(*q.Requirement), q.Unit.Format(q.Clear))
}

// bar is how good a target has to be. Its zero value asks for clear thresholds of
// all requirements; within, for their limits, and that the violated requirement of
// the instance which goes there gets better by as much as its clear threshold is
// away from its limit, so that it is no move for a trifle.
type bar struct {
	within   bool
	violated *otto.Verdict
}

// lower is the bar where nothing is clear for an instance that leaves for a cause.
func lower(c cause, i *instance) bar {
	b := bar{within: true}
	if c.Instance == i.name {
		b.violated = &c.Verdict
	}
	return b
}

// accepts reports whether a value would be good enough.
func (b bar) accepts(q *requiredOf, value float64) bool {
	return (q.Clears(value, 1) || b.within && q.Holds(value)) && !b.trifle(q, value)
}

// trifle reports whether what is violated would hardly be better, or be worse.
func (b bar) trifle(q *requiredOf, value float64) bool {
	v := b.violated
	return v != nil && v.Service == q.of && q.Margin(value)-q.Margin(*v.Value) < math.Abs(q.Limit-q.Clear) && v.Requirement.String() == q.String()
}

func limit(r otto.Requirement) string { return r.Operator + " " + r.Unit.Format(r.Limit) }

// wound notes on which nodes something is violated now.
func (f *frame) wound() {
	f.wounded = map[string]string{}
	for i := range f.Verdicts {
		if v := &f.Verdicts[i]; v.Standing() && f.wounded[v.Node] == "" {
			f.wounded[v.Node] = fmt.Sprintf("%s does not hold there for %s", v.Requirement, cmp.Or(v.Instance, "the node itself"))
		}
	}
}
