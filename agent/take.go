package agent

import (
	"cmp"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/otto-edge/otto"
)

// A container of Compose's that is taken over is, by the record in the assignment, a
// container of an instance, made from an unknown spec. So it is followed as the former
// container of an update is: it is stopped under its name, serves again if the new one does
// not start, and is removed when that runs. An agent killed at any point goes on from what
// it finds.

// takenFile, in an agent's directory, is what is the cluster's by the newest assignment, for
// commands beside the agent.
const takenFile = "taken.json"

// take goes by what an assignment says is the cluster's.
func (c *converger) take(t otto.Taken) {
	if c.taken != nil && reflect.DeepEqual(*c.taken, t) {
		return
	}
	c.taken = &t
	c.Runtime.Take(t)
	c.known = false // there may be other containers than before
	path := filepath.Join(c.StateDir, takenFile)
	if was, err := readJSON[otto.Taken](path); err == nil && reflect.DeepEqual(was, t) {
		return
	}
	if err := writeJSON(path, t); err != nil {
		c.Log.Warn("what is taken over is not on disk", "err", err)
	}
}

func isTaken(c otto.Container) bool { return c.Taken }

// takeInTurn has an instance wait until what it needs is taken over.
func (c *converger) takeInTurn(inst otto.Instance, s *situation) {
	if s.blocked != "" || !isTakeover(inst, s.containers) {
		return
	}
	for _, service := range needs(inst) {
		for i := range c.assignment.Instances {
			of := &c.assignment.Instances[i]
			if of.Service != service || of.Name == inst.Name {
				continue
			}
			have := slices.Clone(c.containers)
			have = slices.DeleteFunc(have, func(o otto.Container) bool { return o.Instance != of.Name })
			if isTakeover(*of, have) {
				s.blocked = cmp.Or(s.blocked, "waiting: "+of.Name+" is taken over first")
			}
		}
	}
}

// isTakeover reports whether an instance is on its way from Compose, or to it.
func isTakeover(inst otto.Instance, have []otto.Container) bool {
	if inst.Release == nil {
		return slices.ContainsFunc(have, isTaken)
	}
	return slices.ContainsFunc(have, func(c otto.Container) bool { return !c.Taken })
}
