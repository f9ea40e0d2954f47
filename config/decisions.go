package config

import (
	"time"

	"github.com/otto-edge/otto"
)

// modes are how far Otto may act by itself.
func modes() form[string] { return choice(otto.DecideOff, otto.DecideAdvise, otto.DecideAuto) }

// decisionsKey is how far Otto acts by itself when requirements are violated.
func decisionsKey() key[document] {
	o := object[otto.Decisions]{noun: "decisions", keys: map[string]key[otto.Decisions]{
		"mode": as("auto (default) does what a requirement's action asks for, advise only says what would be done, off does nothing.",
			modes(), func(d *otto.Decisions) *string { return &d.Mode }),
		"cooldown": as("Least time between two actions on a service, 5m by default.",
			duration(time.Second, 24*time.Hour), func(d *otto.Decisions) *time.Duration { return &d.Cooldown }),
		"return_after": as("Least time until a service goes back to a node that it has left, or where a move did not help; 30m by default.",
			duration(time.Second, 24*time.Hour), func(d *otto.Decisions) *time.Duration { return &d.ReturnAfter }),
		"settle": as("Time after a move in which what is measured there means nothing, 30s by default.",
			duration(time.Second, time.Hour), func(d *otto.Decisions) *time.Duration { return &d.Settle }),
		"per_service": as("Moves and restarts of a service in an hour at most, 4 by default.", integer(1, otto.MaxBudget), func(d *otto.Decisions) *int { return &d.PerService }),
		"per_node":    as("Those from, to and on a node, 8 by default.", integer(1, otto.MaxBudget), func(d *otto.Decisions) *int { return &d.PerNode }),
		"per_cluster": as("Those in the cluster, by default 20 or as many as there are nodes.", integer(1, otto.MaxBudget), func(d *otto.Decisions) *int { return &d.PerCluster }),
	}}
	return key[document]{"What Otto does by itself when requirements are violated.", o.schema(), func(r *reader, v value, d *document) {
		o.read(r, v, &d.decisions)
	}}
}

// decisionsOf is the same for one service.
func decisionsOf() key[service] {
	return given("auto, advise or off for this service, whatever the mode of the cluster is.", modes(), func(s *service) *string { return &s.Decisions })
}
