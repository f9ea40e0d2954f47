package ottotest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// SetDown makes the engine answer nothing but why; empty brings it back.
func (r *Runtime) SetDown(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down = why; why != "" {
		r.left = nil
	}
	r.changed()
}

// silence is why an engine does not answer. It is an otto.ErrNoAnswer, as package
// docker has it when nothing listens.
type silence string

func (s silence) Error() string      { return string(s) }
func (silence) Is(target error) bool { return target == otto.ErrNoAnswer }

// SetHung makes the engine accept calls and answer none, so that each ends by its
// deadline, as those of package docker do, or makes it answer again. Kill works all
// the same, because it does without the engine in the end. A Watch hears nothing.
func (r *Runtime) SetHung(hung bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case hung && r.hung == nil:
		r.hung = make(chan struct{})
	case !hung && r.hung != nil:
		close(r.hung)
		r.hung = nil
		for _, request := range r.left {
			time.AfterFunc(lateRead, request)
		}
		r.left = nil
		r.changed()
	}
}

// SetSlow makes it take a time to list containers, as with a slow disk.
func (r *Runtime) SetSlow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = d
}

// answer waits until the engine answers.
func (r *Runtime) answer(ctx context.Context) error {
	r.mu.Lock()
	hung := r.hung
	r.mu.Unlock()
	if hung == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, HangFor)
	defer cancel()
	select {
	case <-hung:
		return nil
	case <-ctx.Done():
		return otto.ErrNoAnswer
	}
}

// ImageBytes is the size of each image.
const ImageBytes = 120 << 20

// HangFor is how long a call waits for an answer of an engine that hangs.
const HangFor = 10 * time.Second

// lateRead is how long after it goes on such an engine has read what was asked meanwhile: it
// may have told by then what there is.
const lateRead = 100 * time.Millisecond

// killSlack is what Kill waits for such an engine beside the grace period.
const killSlack = 500 * time.Millisecond

// AddForeign adds a running container that is not Otto's.
func (r *Runtime) AddForeign(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.add(otto.Instance{Name: name}, name)
	c.of, c.theirs, c.Instance, c.SpecHash = otto.Foreign, true, "", ""
	c.ran = true
}

// AddOthers adds a running container of an instance of another cluster of the same name.
func (r *Runtime) AddOthers(name, instance string, of otto.Ownership) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.add(otto.Instance{Name: instance, Service: instance}, name)
	c.of, c.theirs, c.ran = of, true, true
}

// is reports whether it is the cluster's own container of an instance.
func (c *container) is(instance string) bool { return c.Instance == instance && !c.theirs }

// Relabel changes whose an instance's containers are, as their labels say: those of a
// build that did not write the cluster's id are unproven.
func (r *Runtime) Relabel(instance string, of otto.Ownership) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.Instance == instance {
			c.of = of
		}
	}
	r.changed()
}

// Unproven implements agent.Runtime.
func (r *Runtime) Unproven(ctx context.Context) (a otto.Adopted, err error) {
	if err := r.answer(ctx); err != nil {
		return a, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return a, errors.New(r.down)
	}
	for _, c := range r.containers {
		if c.owner() == otto.Unproven {
			a.Containers = append(a.Containers, c.ID)
		}
	}
	return a, nil
}

// Adopt implements agent.Runtime.
func (r *Runtime) Adopt(a otto.Adopted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.adopted = a
}

// Variable is the value of a secret variable with which an instance's container was made,
// while it runs.
func (r *Runtime) Variable(instance, name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.is(instance) && c.State == otto.ContainerRunning {
			return string(c.inst.Contents[c.inst.Spec.SecretEnvironment[name]].Plain())
		}
	}
	return ""
}

// Exit ends an instance's running container with an exit code, by itself.
func (r *Runtime) Exit(instance string, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.is(instance) && c.State == otto.ContainerRunning {
			c.State, c.ExitCode, c.Finished = otto.ContainerExited, code, time.Now()
		}
	}
	r.changed()
}

// Pause pauses an instance's container, or lets it go on. Its ports still accept
// connections, as the kernel does that.
func (r *Runtime) Pause(instance string, pause bool) {
	from, to := otto.ContainerRunning, otto.ContainerPaused
	if !pause {
		from, to = to, from
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.is(instance) && c.State == from {
			c.State = to
		}
	}
	r.changed()
}

// Alter changes how an instance's containers are set up, behind everybody's back. An
// aspect with the value "-" is gone.
func (r *Runtime) Alter(instance, aspect, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		switch {
		case !c.is(instance):
		case value == "-":
			delete(c.setup, aspect)
		default:
			c.setup[aspect] = value
		}
	}
	r.changed()
}

// LoseNetwork removes the cluster's network, as far as stopped containers go: they do
// not start before they are attached to another one.
func (r *Runtime) LoseNetwork() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		c.netless = !c.lives()
	}
}

// Disconnect takes an instance's containers out of their network.
func (r *Runtime) Disconnect(instance string) { r.Alter(instance, netAspect, "-") }

// Connected reports whether an instance's containers that run are in their network.
func (r *Runtime) Connected(instance string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.containers,
		func(c *container) bool { return c.is(instance) && c.lives() && c.at() == "" })
}

// RunOut ends an instance's running container for want of memory.
func (r *Runtime) RunOut(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.Instance == instance && c.State == otto.ContainerRunning {
			c.State, c.ExitCode, c.Finished, c.OOM = otto.ContainerExited, 137, time.Now(), true
			c.OOMKills++
		}
	}
	r.changed()
}

// listens reports whether a container that runs listens at some port.
func (r *Runtime) listens(at func(*container, otto.Port) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.containers, func(c *container) bool {
		return c.lives() && slices.ContainsFunc(c.inst.Spec.Ports, func(p otto.Port) bool { return at(c, p) })
	})
}

// SetExecTime changes ExecTime while the engine is in use.
func (r *Runtime) SetExecTime(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ExecTime = d
}

// SetSick makes the checks of an instance fail, the engine's own and commands
// run in it, and go on to fail after a restart; an empty why makes it well.
func (r *Runtime) SetSick(instance, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sick[instance] = why
	for _, c := range r.containers {
		if c.Instance == instance && c.Health != "starting" {
			r.examine(c)
		}
	}
	r.changed()
}

// examine is the engine's own health check; the caller holds the lock.
func (r *Runtime) examine(c *container) {
	if c.inst.Spec.Healthcheck == nil || c.State != otto.ContainerRunning {
		return
	}
	c.Health, c.Ailment = "healthy", ""
	if why := r.sick[c.Instance]; why != "" {
		c.Health, c.Ailment = "unhealthy", "its health check fails: "+why
	}
}

// PowerOff ends all containers and the engine at once.
func (r *Runtime) PowerOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down, r.left = "the power is off", nil
	r.powered++
	for _, c := range r.containers {
		c.busy = time.Time{}
		if c.lives() {
			c.State, c.ExitCode, c.Finished, c.cut = otto.ContainerExited, 137, time.Now(), true
		}
	}
	r.changed()
}

// PowerOn starts the engine, and with it those containers that it starts at boot.
func (r *Runtime) PowerOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = ""
	for _, c := range r.containers {
		if (c.of == otto.Foreign && c.atBoot() ||
			c.cut && c.inst.Spec.EngineRestarts() && c.inst.Spec.Restart != "no" && c.of != otto.Foreign) &&
			r.bind(c.inst) == nil &&
			r.join(c) == nil {
			c.State, c.Started = otto.ContainerRunning, time.Now()
		}
		c.cut = false
	}
	r.changed()
}

// List returns all containers, for tests to look at.
func (r *Runtime) List() []otto.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []otto.Container
	for _, c := range r.containers {
		list = append(list, c.reported())
	}
	return list
}

// Starts returns how often containers of an instance have been started.
func (r *Runtime) Starts(instance string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts[instance]
}
