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
	Cores  float64
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

// target judges a node as the new place of an instance by all requirements that
// would have to hold there: the instance's, the node's and those of what is there
// already. A value that would not be clear refuses it, and so does one that is not
// known and cannot be foreseen.
func (f *frame) target(i *instance, n *Node, bar bar) (predicted []otto.Prediction, refusal string) {
	refusal = f.foresee(i, n, bar, &predicted)
	return predicted, refusal
}

// foresee is target, which leaves predictions out that nobody wants to have.
func (f *frame) foresee(i *instance, n *Node, bar bar, predicted *[]otto.Prediction) (refusal string) {
	u, measured := f.Uses[i.name]
	check := func(r otto.Requirement, of string) string {
		m, _ := otto.FindMetric(r.Metric)
		if !m.Node {
			return ""
		}
		reading, known := n.Readings[r.Metric]
		if !known {
			return fmt.Sprintf("its %s is not known", r.Metric)
		}
		value := reading.worst(r)
		by, matters := effect(r.Metric, u, n)
		if matters && !measured {
			return fmt.Sprintf("how much %s would add to its %s is not known", i.name, r.Metric)
		}
		value += by
		if predicted != nil {
			p := otto.Prediction{Requirement: r.String(), Of: of, Value: value, Unit: r.Unit}
			if !slices.Contains(*predicted, p) { // several of the same service
				*predicted = append(*predicted, p)
			}
		}
		return bar.refuses(r, value, of, i.name, by)
	}
	for _, r := range i.of.Required {
		if why := check(r, i.of.Name); why != "" {
			return why
		}
		value, known := own(r.Metric, u, n)
		if !known || sameEverywhere(r, i.of.Service) {
			continue
		}
		if !measured {
			return fmt.Sprintf("how much %s uses is not known", i.name)
		}
		if predicted != nil {
			*predicted = append(*predicted, otto.Prediction{Requirement: r.String(), Of: i.of.Name, Value: value, Unit: r.Unit})
		}
		if why := bar.refuses(r, value, i.of.Name, i.name, 0); why != "" {
			return why
		}
	}
	for _, r := range f.board.requiredOn(n.ID) {
		if why := check(r.Requirement, r.of); why != "" {
			return why
		}
	}
	return f.wounded[n.ID]
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

// trifle reports whether what is violated would hardly be better.
func (b bar) trifle(r otto.Requirement, value float64, of string) bool {
	v := b.violated
	return v != nil && v.Service == of && v.Requirement.String() == r.String() && math.Abs(*v.Value-value) < math.Abs(r.Limit-r.Clear)
}

// refuses says that a value would not be good enough.
func (b bar) refuses(r otto.Requirement, value float64, of, instance string, by float64) string {
	if r.Clears(value, 1) || b.within && r.Holds(value) && !b.trifle(r, value, of) {
		return ""
	}
	text := fmt.Sprintf("its %s would be %s", r.Metric, r.Unit.Show(value))
	if by != 0 {
		text += fmt.Sprintf(" (%s of it by %s)", r.Unit.Show(max(by, -by)), instance)
	}
	return fmt.Sprintf("%s, and %s requires %s, clear at %s", text, of, limit(r), r.Unit.Format(r.Clear))
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
