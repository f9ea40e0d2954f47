package ottotest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// join puts a container that is started into the namespaces of others, which must run; the
// caller holds the lock.
func (r *Runtime) join(c *container) error {
	c.joined = map[string]time.Time{}
	for _, service := range c.inst.Spec.Joined() {
		i := slices.IndexFunc(r.containers, func(o *container) bool { return o.ID == c.inst.Lent[service] })
		switch {
		case i < 0:
			return fmt.Errorf("no such container: %s", c.inst.Lent[service])
		case !r.containers[i].lives():
			return fmt.Errorf("cannot join network of a non running container: %s", c.inst.Lent[service])
		}
		c.joined[c.inst.Lent[service]] = r.containers[i].Started
	}
	return nil
}

// killJoined ends what is in a process namespace whose container has ended; the caller
// holds the lock.
func (r *Runtime) killJoined() {
	for _, c := range r.containers {
		if c.lives() && c.inst.Spec.Engine != nil &&
			strings.HasPrefix(c.inst.Spec.Engine.PIDMode, otto.ServicePrefix) &&
			r.cutOff(c) {
			c.State, c.ExitCode, c.Finished = otto.ContainerExited, 137, time.Now()
		}
	}
}

// cutOff reports whether a container is in a namespace that has ended with its container.
func (r *Runtime) cutOff(c *container) bool {
	for id, run := range c.joined {
		if !slices.ContainsFunc(r.containers,
			func(o *container) bool { return o.ID == id && o.lives() && o.Started.Equal(run) }) {
			return true
		}
	}
	return false
}

// CutOff reports whether an instance's container runs in a namespace that has ended.
func (r *Runtime) CutOff(instance string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.containers,
		func(c *container) bool { return c.Instance == instance && c.lives() && r.cutOff(c) })
}
