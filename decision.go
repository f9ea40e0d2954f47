package otto

import (
	"cmp"
	"fmt"
	"time"
)

// Decisions say how far Otto acts by itself when a requirement is violated. Each
// zero means its default.
type Decisions struct {
	Mode string `json:"mode,omitempty"` // DecideOff, DecideAdvise or DecideAuto
	// Cooldown is the least time between two actions on a service, ReturnAfter that
	// before a service goes back to a node which it has left, or on which a move
	// did not help, and Settle how long nothing is concluded from what is measured
	// after a move, on either node.
	Cooldown    time.Duration `json:"cooldown_ns,omitempty"`
	ReturnAfter time.Duration `json:"return_after_ns,omitempty"`
	Settle      time.Duration `json:"settle_ns,omitempty"`
	// Budgets are how many moves and restarts there are in an hour at most. That of
	// the cluster grows with it: see Wanted.DecisionsOf.
	PerService int `json:"per_service,omitempty"`
	PerNode    int `json:"per_node,omitempty"` // from it, to it and on it
	PerCluster int `json:"per_cluster,omitempty"`
}

// Modes of decisions.
const (
	DecideOff    = "off"    // violations are told, and that is all
	DecideAdvise = "advise" // what would be done is shown, and waits for a person
	DecideAuto   = "auto"   // what a requirement's action asks for is done
)

// WithDefaults are the decisions with nothing left open.
func (d Decisions) WithDefaults() Decisions {
	return d.Over(Decisions{
		Mode: DecideAuto, Cooldown: 5 * time.Minute, ReturnAfter: 30 * time.Minute, Settle: 30 * time.Second,
		PerService: 4, PerNode: 8, PerCluster: 20,
	})
}

// Over are the decisions with what they leave open as in base.
func (d Decisions) Over(base Decisions) Decisions {
	return Decisions{
		Mode:        cmp.Or(d.Mode, base.Mode),
		Cooldown:    cmp.Or(d.Cooldown, base.Cooldown),
		ReturnAfter: cmp.Or(d.ReturnAfter, base.ReturnAfter),
		Settle:      cmp.Or(d.Settle, base.Settle),
		PerService:  cmp.Or(d.PerService, base.PerService),
		PerNode:     cmp.Or(d.PerNode, base.PerNode),
		PerCluster:  cmp.Or(d.PerCluster, base.PerCluster),
	}
}

// MaxBudget is the largest budget.
const MaxBudget = 60

// DecisionsOf are the decisions with nothing left open, and with as many moves and
// restarts in an hour as there are nodes where that is more than the default.
func (w Wanted) DecisionsOf() Decisions {
	d := w.Decisions.WithDefaults()
	if w.Decisions.PerCluster == 0 {
		d.PerCluster = max(d.PerCluster, min(len(w.Nodes), MaxBudget))
	}
	return d
}

// ModeOf is the mode for a service: its own, or the cluster's.
func (d Decisions) ModeOf(s Service) string { return cmp.Or(s.Decisions, d.Mode, DecideAuto) }

// Outcome is what comes of a violated requirement.
type Outcome string

// The outcomes.
const (
	OutcomeDo     Outcome = "do"     // now
	OutcomeAdvise Outcome = "advise" // it would help, and is left to a person
	OutcomeWait   Outcome = "wait"   // it would help, and something holds it back
	OutcomeStuck  Outcome = "stuck"  // nothing that may be done would help
	OutcomeTell   Outcome = "tell"   // the requirement asks for no more than an event
)

// ActionUncordon takes back a cordon of Otto's own.
const ActionUncordon = "uncordon"

// Decision is what to do about a violated requirement, or why nothing is done.
type Decision struct {
	Outcome  Outcome `json:"outcome"`
	Action   string  `json:"action"`            // ActionMigrate and so on
	Service  string  `json:"service,omitempty"` // that it is about; empty for a node
	Instance string  `json:"instance,omitempty"`
	Node     string  `json:"node"`         // where the instance is, or which it is about
	To       string  `json:"to,omitempty"` // where it would go
	// Requirement is the one that calls for it, in its short form, OfNode says that
	// it is the node's, For whose it is if another instance makes room, and Value what
	// was measured.
	Requirement string   `json:"requirement,omitempty"`
	OfNode      bool     `json:"of_node,omitempty"`
	For         string   `json:"for,omitempty"`
	Value       *float64 `json:"value,omitempty"`
	Unit        Unit     `json:"unit,omitempty"`
	Reason      string   `json:"reason"`          // why it is done, would be, or cannot be
	Waits       string   `json:"waits,omitempty"` // what holds it back
	// Until is when it is looked at again, if a time is all that it waits for.
	Until time.Time `json:"until,omitzero"`
	// Gain is what the violation has cost so far, Cost what the action would; in
	// seconds of a violation of severity warning.
	Gain float64 `json:"gain"`
	Cost float64 `json:"cost"`
	// Outage is how long the service is expected to be away.
	Outage time.Duration `json:"outage_ns"`
	// Bytes are what To would have to fetch: the image, unpacked, if it is not there; 0
	// if that is not known.
	Bytes int64 `json:"bytes"`
	// Predicted are the values of all requirements that can be foreseen at To, with
	// the instance there.
	Predicted []Prediction `json:"predicted,omitempty"`
	Refusals  []Refusal    `json:"refusals,omitempty"` // of other nodes, if there is none to go to
}

// Fetches says what would have to be fetched, to be appended to a sentence; empty for
// nothing.
func (d Decision) Fetches() string {
	if d.Bytes <= 0 {
		return ""
	}
	return fmt.Sprintf(", about %d MiB to fetch", max(d.Bytes>>20, 1))
}

// Prediction is what is expected of a requirement after an action.
type Prediction struct {
	Requirement string  `json:"requirement"`
	Of          string  `json:"of"` // the service or the node whose it is
	Value       float64 `json:"value"`
	Unit        Unit    `json:"unit,omitempty"`
}
