// Package replay runs decisions on a cluster that is not there.
//
// A Scenario is what happens whatever is decided: what each service would like to
// take at any time, what else runs on the nodes, how warm the room is and when
// nodes are lost. Run lets it happen in virtual time, a step for each sample, and
// has the control plane's own code look at it: nfr.Evaluate judges, a Policy
// decides, plan.Place takes care of lost nodes, and load goes with the service to
// where it runs. What comes of it is a Result.
//
// The world is simple on purpose, and not the one that decisions foresee: a
// processor that is asked for too much gives everyone less, so that what is
// measured is not what is wanted, nodes become warm more or less than expected, and
// slowly. What services ask of each other, and the network, are not in it.
//
// Nothing here reads a clock or draws a number but from a seed: the same scenario
// and policy give the same result.
package replay

import (
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// Scenario is what happens whatever is decided.
type Scenario struct {
	Wanted   otto.Wanted
	Machines []Machine         // those of Wanted.Nodes, in their order
	Demands  map[string]Demand // by instance; one that is not in it takes nothing
	// Placement is the one at the start. Who has no node in it is given one.
	Placement plan.Placement
	Start     time.Time
	Length    time.Duration
	// Unjudged are requirements of a recording that cannot be judged, and were left out.
	Unjudged []string
}

// Machine is a node as it would be without services.
type Machine struct {
	Cores  float64
	Memory uint64 // bytes
	CPU    Curve  // cores that are busy with other things
	Used   Curve  // bytes of memory, likewise
	// Idle is its temperature in degrees Celsius with nothing to do, and Heat by how
	// much each percent of its processor makes it warmer. No Idle: it has no sensor.
	Idle Curve
	Heat float64
	Lost []Span // times in which it is not there
}

// Demand is what an instance would take if it were alone.
type Demand struct {
	Cores  Curve
	Memory Curve // bytes
	// Image is how long its image takes to come to a node that does not have it.
	Image time.Duration
}

// Span is a time from the start of the scenario to another.
type Span struct{ From, To time.Duration }

// Curve is a value over time: straight lines between points that are equally far
// apart, and the last of them from then on. Its zero value is 0 everywhere.
type Curve struct {
	Every  time.Duration
	Values []float64
}

// Flat is a value that does not change.
func Flat(value float64) Curve { return Curve{Every: time.Hour, Values: []float64{value}} }

// At is the value at a time from the start.
func (c Curve) At(t time.Duration) float64 {
	if len(c.Values) == 0 {
		return 0
	}
	i := int(t / c.Every)
	if i >= len(c.Values)-1 {
		return c.Values[len(c.Values)-1]
	}
	part := float64(t%c.Every) / float64(c.Every)
	return c.Values[i] + part*(c.Values[i+1]-c.Values[i])
}

// Result is what a policy has come to in a scenario.
type Result struct {
	Policy string `json:"policy"`
	// Over is for how long the newest sample of what requirements are about was beyond
	// the limit, summed over the requirements of all nodes and of all instances, of an
	// instance where it runs. No move can hide it: it does not wait for the window and
	// the time of a requirement, and goes on while an instance is moved. Early is the
	// part of it in which the requirement was not violated yet, or not any more, so that
	// none of these policies acts: it is less with fewer violations, and more with each
	// move to where it is too busy as well, as it is judged anew there.
	Over  time.Duration `json:"over_ns"`
	Early time.Duration `json:"early_ns"`
	// Violated is for how long requirements were violated as verdicts have it, by
	// window and time. A move ends it for an instance, as it is judged anew elsewhere.
	Violated time.Duration `json:"violated_ns"`
	// Outage is for how long instances were away by moves, Down by lost nodes.
	Outage time.Duration `json:"outage_ns"`
	Down   time.Duration `json:"down_ns"`
	// Moves were decided by the policy, Failovers made for lost nodes.
	Moves     int `json:"moves"`
	Failovers int `json:"failovers"`
	// Hasty moves came within the cooldown of the service's last one, Returns went to
	// a node that the instance had left within return_after.
	Hasty   int `json:"hasty"`
	Returns int `json:"returns"`
	// Useless are moves after which the requirement was still violated once all had
	// settled, as far as that was found out.
	Useless int `json:"useless"`
}
