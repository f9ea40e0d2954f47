package ottotest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// Create implements agent.Runtime.
func (r *Runtime) Create(ctx context.Context, inst otto.Instance, name string) (string, error) {
	if err := r.answer(ctx); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return "", silence(r.down)
	}
	for _, c := range r.containers {
		if c.Name == name {
			return "", fmt.Errorf("%s: %w", name, otto.ErrNameTaken)
		}
	}
	if why := inst.Contents.Lack(inst.Spec); len(inst.Spec.SecretEnvironment) > 0 && why != "" {
		return "", errors.New(why)
	}
	c := r.add(inst, name)
	c.State, c.Started = otto.ContainerCreated, time.Time{}
	for _, m := range inst.Spec.Mounts {
		if m.Type != otto.MountVolume || m.Source == "" || m.Seed != "" {
			continue
		}
		if of := r.others[m.Source]; of != "" && !m.External {
			r.trespass("volume " + m.Source + " of " + of)
		}
		r.makeVolume(m.Source)
	}
	r.changed()
	return c.ID, nil
}

func (r *Runtime) add(inst otto.Instance, name string) *container {
	r.seq[name]++
	r.made++
	c := &container{
		inst:    inst,
		of:      otto.Own,
		address: fmt.Sprintf("%s%d.%d", containerNet, r.made/250, r.made%250+2),
		Container: otto.Container{
			ID:       fmt.Sprintf("%064x", sha256.Sum256(fmt.Append(nil, name, r.seq[name]))),
			Name:     name,
			Service:  inst.Service,
			Instance: inst.Name,
			SpecHash: inst.Hash(),
			Image:    inst.Spec.Image,
			ImageID:  cmp.Or(inst.ImageID, r.meaning(inst.Spec.Image)),
			State:    otto.ContainerRunning,
			Started:  time.Now(),
			Mounts:   mounted(inst),
		},
	}
	c.setup = r.setupOf(inst)
	if inst.Release != nil {
		c.of, c.theirs, c.policy = otto.Foreign, true, inst.Spec.Restart
	}
	for _, service := range inst.Spec.Lenders() {
		c.Borrows = append(c.Borrows, inst.Lent[service])
	}
	r.containers = append(r.containers, c)
	return c
}

// Start implements agent.Runtime.
func (r *Runtime) Start(ctx context.Context, id string) error {
	return r.with(ctx, r.took(id, "start", r.StartTime), id, func(c *container) error {
		if r.FailStart != nil {
			if err := r.FailStart(c.inst); err != nil {
				return err
			}
		}
		if c.netless {
			return otto.ErrNetworkGone
		}
		r.setRestart(c, true)
		if !c.lives() {
			if err := errors.Join(r.bind(c.inst), r.join(c)); err != nil {
				return err
			}
			c.State, c.Started, c.ExitCode, c.OOM, c.Stopped = otto.ContainerRunning, time.Now(), 0, false, false
			r.starts[c.Instance]++
			if c.inst.Spec.Healthcheck != nil {
				c.Health, c.Ailment = "starting", ""
				time.AfterFunc(healthAfter,
					func() { _ = r.change(id, func(c *container) error { r.examine(c); return nil }) })
			}
		}
		return nil
	})
}

// Attach implements agent.Runtime.
func (r *Runtime) Attach(ctx context.Context, inst otto.Instance, id string) error {
	return r.with(ctx, 0, id, func(c *container) error {
		c.setup[netAspect], c.netless = inst.Service+" "+inst.Name, false
		return nil
	})
}

// Stop implements agent.Runtime.
func (r *Runtime) Stop(ctx context.Context, id string) error {
	if r.rests(id) {
		return r.with(ctx, 0, id, func(*container) error { return nil })
	}
	return r.with(ctx, r.took(id, "stop", r.StopTime), id, func(c *container) error {
		r.setRestart(c, false)
		if c.lives() {
			c.State, c.Finished, c.Stopped = otto.ContainerExited, time.Now(), true
		}
		return nil
	})
}

// Kill implements agent.Runtime. A hanging engine does not keep it from working.
func (r *Runtime) Kill(ctx context.Context, ctr otto.Container, grace time.Duration) error {
	r.mu.Lock()
	hung := r.hung != nil
	r.mu.Unlock()
	took := min(grace, r.StopTime)
	if hung {
		took = grace + killSlack
	}
	if err := pause(ctx, took); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.ID == ctr.ID && c.lives() {
			if c.theirs {
				r.trespass("container " + c.Name)
			}
			c.State, c.ExitCode, c.Finished, c.Stopped = otto.ContainerExited, 137, time.Now(), !hung
			r.changed()
		}
	}
	return nil
}

// Rename implements agent.Runtime.
func (r *Runtime) Rename(ctx context.Context, id, name string) error {
	return r.with(ctx, 0, id, func(c *container) error { c.Name = name; return nil })
}

// Remove implements agent.Runtime.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	return r.with(ctx, 0, id, func(c *container) error {
		if c.lives() {
			return errors.New("container is running")
		}
		r.containers = slices.DeleteFunc(r.containers, func(o *container) bool { return o == c })
		return nil
	})
}
