package ottotest

import (
	"slices"

	"github.com/otto-edge/otto"
)

// Take implements agent.Runtime.
func (r *Runtime) Take(t otto.Taken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = t
}

// AddCompose adds a running container as Compose has made it for an instance, and returns
// its id. Its volumes are made, without a label of Otto's.
func (r *Runtime) AddCompose(inst otto.Instance, name string) (id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range inst.Spec.Volumes() {
		if _, there := r.volumes[v]; !there {
			r.volumes[v] = ""
			if r.others == nil {
				r.others = map[string]string{}
			}
			r.others[v] = "nobody knows whose"
		}
	}
	c := r.add(inst, name)
	c.of, c.theirs, c.policy = otto.Foreign, true, inst.Spec.Restart
	c.Service, c.Instance, c.SpecHash = "", "", ""
	r.changed()
	return c.ID
}

// setRestart gives a taken container its restart policy, or none, as package docker does it;
// the caller holds the lock.
func (r *Runtime) setRestart(c *container, on bool) {
	of, taken := r.taken.Container(c.ID)
	switch {
	case !taken || of.Restart == "":
	case on:
		c.policy = of.Restart
	default:
		c.policy = ""
	}
}

// atBoot reports whether the engine starts a container of Compose's at its own start: by "always"
// also one that was stopped.
func (c *container) atBoot() bool {
	switch c.policy {
	case "always":
		return !c.Started.IsZero() && !c.lives()
	case "unless-stopped":
		return c.cut
	}
	return false
}

// releasing reports whether a container was made to be given back and its instance still is;
// the caller holds the lock.
func (r *Runtime) releasing(c *container) bool {
	return c.inst.Release != nil && slices.Contains(r.taken.Releasing, c.inst.Name)
}
