package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

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

// stopsFile, in an agent's directory, has the containers of Compose's that were stopped for one that
// follows. They are started again if that is not wanted any more.
const stopsFile = "stopped.json"

// stops are containers of Compose's that this cluster has stopped, by id. It is on disk before
// they are stopped.
type stops struct {
	path string
	mu   sync.Mutex
	ids  map[string]bool
}

func (s *stops) open(dir string) (err error) {
	s.path = filepath.Join(dir, stopsFile)
	s.ids, err = readMap[bool](s.path)
	return err
}

// note remembers those of Compose's that run and are about to be stopped.
func (s *stops) note(list []otto.Container) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.ids)
	for _, ctr := range list {
		if ctr.Taken && alive(ctr) {
			next[ctr.ID] = true
		}
	}
	return s.put(next)
}

// forget forgets what runs again.
func (s *stops) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.ids)
	delete(next, id)
	_ = s.put(next) // one that is left over is started once more if somebody stops it, and no harm is done
}

// keep forgets what is not the cluster's any more.
func (s *stops) keep(t otto.Taken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.ids)
	maps.DeleteFunc(next, func(id string, _ bool) bool { _, is := t.Container(id); return !is })
	_ = s.put(next) // likewise
}

func (s *stops) put(next map[string]bool) error {
	if maps.Equal(next, s.ids) {
		return nil
	}
	if err := writeJSON(s.path, next); err != nil {
		return fmt.Errorf("a container of Compose's is not stopped before that is on disk: %w", err)
	}
	s.ids = next
	return nil
}

func (s *stops) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

// StoppedOf are the containers of Compose's that an agent in a directory has stopped for
// one that follows.
func StoppedOf(dir string) ([]string, error) {
	var s stops
	err := s.open(dir)
	return slices.Sorted(maps.Keys(s.ids)), err
}

// addReturns adds the containers of Compose's that were stopped for what is not wanted any more,
// once nothing of that is left: both have the same data.
func (c *converger) addReturns(all map[string]situation) {
	if c.taken == nil {
		return
	}
	for _, ctr := range c.taken.Back {
		i := slices.IndexFunc(c.containers, func(o otto.Container) bool { return o.ID == ctr.ID })
		if _, busy := all[ctr.Instance]; i < 0 || busy {
			continue
		}
		s := situation{back: &c.containers[i]}
		if at := c.attempts[ctr.Instance]; at.hash == "" {
			s.attempt = at
		}
		all[ctr.Instance] = s
	}
}

// giveBack starts a container of Compose's again, as it was before it was to be followed.
func (c *converger) giveBack(ctx context.Context, ctr otto.Container) error {
	if err := c.Runtime.Start(ctx, ctr.ID); err != nil {
		return err
	}
	c.stops.forget(ctr.ID)
	return nil
}

// take goes by what an assignment says is the cluster's. What is Compose's again is so at once, but
// for what is to be started before.
func (c *converger) take(t otto.Taken) {
	c.stops.keep(t)
	t.Back = slices.DeleteFunc(slices.Clone(t.Back), func(ctr otto.TakenContainer) bool { return !c.stops.has(ctr.ID) })
	if len(t.Back) == 0 {
		t.Back = nil // as it is read from a disk
	}
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
