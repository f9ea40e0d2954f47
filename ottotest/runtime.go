package ottotest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// Runtime is a container engine in memory. Containers outlive the agent that
// made them, as real ones do.
type Runtime struct {
	// Registry makes images that are not there be there after PullTime.
	Registry bool
	// PullTime, StartTime, StopTime and ExecTime are how long each takes.
	PullTime, StartTime, StopTime, ExecTime time.Duration
	// Delay, if set, is how much longer a change of a container takes.
	Delay func(instance, change string) time.Duration
	// Detached makes the engine finish what it was asked to do although who asked
	// has gone, as real engines do.
	Detached bool
	// Observe, if set, is called whenever a container begins or ends to run.
	Observe func(Observed)
	// Trespass, if set, is called whenever somebody is about to change a container or
	// to use a volume that is not the cluster's in truth, whatever its labels say.
	Trespass func(what string)
	// FailStart, if set, says why an instance's container does not start.
	FailStart func(otto.Instance) error
	// Limitless engines ignore limits of memory, as on a Raspberry Pi.
	Limitless bool

	mu         sync.Mutex
	down       string        // why the engine does not answer
	hung       chan struct{} // closed when it answers again; nil while it does
	slow       time.Duration // what it takes to list its containers
	powered    int           // how often its power was cut
	adopted    otto.Adopted
	seq        map[string]int // containers made so far, by name
	made       int            // containers so far
	containers []*container
	images     map[string]bool
	ids        map[string]string // what names of images mean, where that has changed
	nameless   map[string]bool   // ids of images that are there and that no name means any more
	published  map[string]string // likewise in the registry
	asked      int               // how often the registry was asked
	renamed    int               // how often names of images have changed
	volumes    map[string]string // labels of named ones, which stay when a container goes
	labels     int               // drawn so far
	others     map[string]string // whose volumes are that are not the cluster's
	dirs       directories
	watchers   map[chan struct{}]bool
	starts     map[string]int    // by instance
	sick       map[string]string // by instance, why its checks fail
}

// healthAfter is how long after a start the engine knows a container's health.
const healthAfter = time.Second

// Observed is a container at the moment when it begins or ends to run.
type Observed struct {
	otto.Container
	Theirs  bool              // it is not the cluster's
	Volumes map[string]string // labels of its volumes, by name
}

type container struct {
	otto.Container
	inst    otto.Instance
	of      otto.Ownership // as its labels say
	theirs  bool           // in truth
	address string         // in the cluster's network
	setup   map[string]string
	netless bool // its network has been removed
	cut     bool // ran when the power went
	ran     bool // when it was observed last
	// joined are the runs in whose namespaces it is, by container.
	joined map[string]time.Time
	// busy is until when the engine works on it: it does one thing after the other with
	// a container, and is not stopped in that by the end of who has asked for it.
	busy time.Time
}

// netAspect is the cluster's network, in what the engine says of containers.
const netAspect = otto.SetupNetwork + "test"

// setupOf is how a container of an instance is made.
func (r *Runtime) setupOf(inst otto.Instance) map[string]string {
	setup := map[string]string{"memory limit": "none", "restart policy": inst.Spec.Restart}
	if m := inst.Spec.NetworkMode; m != "host" && m != "none" && !strings.HasPrefix(m, otto.ServicePrefix) {
		setup[netAspect] = inst.Service + " " + inst.Name
	}
	if n := inst.Spec.Resources.MemoryBytes; n > 0 && !r.Limitless {
		setup["memory limit"] = fmt.Sprint(n)
	}
	for _, p := range inst.Spec.Ports {
		setup[fmt.Sprint(otto.SetupPort, p.Container)] = fmt.Sprint(p.Host)
	}
	for _, m := range inst.Spec.Mounts {
		setup[otto.SetupMount+m.Target] = m.Source
	}
	return setup
}

// containerNet begins the addresses of all containers.
const containerNet = "10.88."

// at is the address of a container; empty if it does not run, or not in a network.
func (c *container) at() string {
	if _, in := c.setup[netAspect]; !in || !c.lives() {
		return ""
	}
	return c.address
}

// reported is the container as the engine tells of it.
func (c *container) reported() otto.Container {
	out := c.Container
	out.Address, out.Setup = c.at(), maps.Clone(c.setup)
	if c.State != otto.ContainerRunning {
		maps.DeleteFunc(out.Setup, func(aspect, _ string) bool { return strings.HasPrefix(aspect, otto.SetupPort) })
	}
	return out
}

// us is whom an engine takes its cluster for.
var us = otto.Owner{Cluster: "test", ClusterID: "test-1", Node: "node"} //nolint:gochecknoglobals // a constant

// owner says whose a container is, as package docker finds it out from its labels.
func (c *container) owner() otto.Ownership {
	switch c.of {
	case otto.Own:
		return us.Of(map[string]string{otto.LabelCluster: us.Cluster, otto.LabelClusterID: us.ClusterID, otto.LabelNode: us.Node})
	case otto.OtherOwner:
		return us.Of(map[string]string{otto.LabelCluster: us.Cluster, otto.LabelClusterID: "another", otto.LabelNode: us.Node})
	case otto.Unproven:
		return us.Of(map[string]string{otto.LabelCluster: us.Cluster})
	default:
		return us.Of(nil)
	}
}

// lives reports whether it has processes, be they paused.
func (c *container) lives() bool {
	return c.State == otto.ContainerRunning || c.State == otto.ContainerPaused
}

// NewRuntime returns an engine that has the given images.
func NewRuntime(images ...string) *Runtime {
	r := &Runtime{seq: map[string]int{}, images: map[string]bool{}, volumes: map[string]string{}, watchers: map[chan struct{}]bool{}, starts: map[string]int{}, sick: map[string]string{}}
	for _, i := range images {
		r.images[i] = true
	}
	return r
}

// Engine implements agent.Runtime.
func (r *Runtime) Engine(ctx context.Context) otto.Engine {
	if err := r.answer(ctx); err != nil {
		return otto.Engine{Problem: err.Error()}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return otto.Engine{Name: "Docker", Version: "20.10", API: "1.41", Problem: r.down}
}

// Containers implements agent.Runtime.
func (r *Runtime) Containers(ctx context.Context) ([]otto.Container, error) {
	r.mu.Lock()
	slow := r.slow
	r.mu.Unlock()
	if err := errors.Join(r.answer(ctx), pause(ctx, slow)); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return nil, silence(r.down)
	}
	var list []otto.Container
	for _, c := range r.containers {
		if of := c.owner(); of == otto.Own || of == otto.Unproven && slices.Contains(r.adopted.Containers, c.ID) {
			list = append(list, c.reported())
		}
	}
	return list, nil
}

// Running implements agent.Runtime.
func (r *Runtime) Running(ctx context.Context) ([]otto.RunningContainer, error) {
	if err := r.answer(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []otto.RunningContainer
	for _, c := range r.containers {
		if c.lives() {
			list = append(list, otto.RunningContainer{ID: c.ID, Name: c.Name, Pid: c.Pid})
		}
	}
	return list, nil
}

// Images implements agent.Runtime.
func (r *Runtime) Images(context.Context) ([]otto.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []otto.Image
	for name := range r.images {
		list = append(list, otto.Image{Name: name + ":latest", Bytes: ImageBytes})
	}
	return list, nil
}

// Volumes implements agent.Runtime.
func (r *Runtime) Volumes(ctx context.Context) ([]string, error) {
	if err := r.answer(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return nil, silence(r.down)
	}
	var list []string
	for name := range r.volumes {
		if r.others[name] == "" {
			list = append(list, name)
		}
	}
	return list, nil
}

// Volume implements agent.Runtime.
func (r *Runtime) Volume(ctx context.Context, name string) (otto.Volume, bool, error) {
	if err := r.answer(ctx); err != nil {
		return otto.Volume{}, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return otto.Volume{}, false, errors.New(r.down)
	}
	id, there := r.volumes[name]
	return otto.Volume{Name: name, ID: id, Others: r.others[name]}, there, nil
}

// Pull implements agent.Runtime.
func (r *Runtime) Pull(ctx context.Context, spec otto.ContainerSpec) (string, error) {
	r.mu.Lock()
	there := r.images[spec.Image]
	if there && spec.PullPolicy != otto.PullAlways {
		r.mu.Unlock()
		return "", nil
	}
	r.asked++
	r.mu.Unlock()
	if err := pause(ctx, r.PullTime); err != nil {
		return "", err
	}
	if !r.Registry && there {
		return "no registry answers; the image that is there is used", nil
	}
	if !r.Registry {
		return "", fmt.Errorf("image %s is not there and cannot be pulled", spec.Image)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.images[spec.Image] = true
	if id := r.published[spec.Image]; id != "" {
		r.retag(spec.Image, id)
	}
	return "", nil
}

// RemoveImage takes an image away.
func (r *Runtime) RemoveImage(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, name)
}

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
	c := r.add(inst, name)
	c.State, c.Started = otto.ContainerCreated, time.Time{}
	for _, m := range inst.Spec.Mounts {
		if m.Type != otto.MountVolume || m.Source == "" {
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
	c := &container{inst: inst, of: otto.Own, address: fmt.Sprintf("%s%d.%d", containerNet, r.made/250, r.made%250+2), Container: otto.Container{
		ID: fmt.Sprintf("%064x", sha256.Sum256(fmt.Append(nil, name, r.seq[name]))), Name: name, Service: inst.Service, Instance: inst.Name,
		SpecHash: inst.Spec.Hash(), Image: inst.Spec.Image, ImageID: cmp.Or(inst.ImageID, r.meaning(inst.Spec.Image)), State: otto.ContainerRunning, Started: time.Now(), Mounts: inst.Spec.Mounts,
	}}
	c.setup = r.setupOf(inst)
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
		if !c.lives() {
			if err := errors.Join(r.bind(c.inst), r.join(c)); err != nil {
				return err
			}
			c.State, c.Started, c.ExitCode, c.OOM, c.Stopped = otto.ContainerRunning, time.Now(), 0, false, false
			r.starts[c.Instance]++
			if c.inst.Spec.Healthcheck != nil {
				c.Health, c.Ailment = "starting", ""
				time.AfterFunc(healthAfter, func() { _ = r.change(id, func(c *container) error { r.examine(c); return nil }) })
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

// Exec implements agent.Runtime: a command fails in an instance that is sick.
func (r *Runtime) Exec(ctx context.Context, id string, _ []string) (string, error) {
	if err := r.answer(ctx); err != nil {
		return "", err
	}
	r.mu.Lock()
	takes := r.ExecTime
	r.mu.Unlock()
	if err := pause(ctx, takes); errors.Is(err, context.DeadlineExceeded) {
		return "it did not end in time", nil
	} else if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.ID == id && c.State == otto.ContainerRunning && r.down == "" {
			return r.sick[c.Instance], nil
		}
	}
	return "", fmt.Errorf("nothing can be run in %s: %s", id, r.down)
}

// Logs implements agent.Runtime.
func (r *Runtime) Logs(context.Context, string, int) ([]string, error) {
	return []string{"last words"}, nil
}

// Watch implements agent.Runtime.
func (r *Runtime) Watch(ctx context.Context, changed func(images bool)) error {
	ch := make(chan struct{}, 1)
	r.mu.Lock()
	renamed := r.renamed
	if r.down != "" {
		defer r.mu.Unlock()
		return silence(r.down)
	}
	r.watchers[ch] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, ch)
	}()
	changed(true)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ch:
			r.mu.Lock()
			down, hung, images := r.down, r.hung != nil, r.renamed != renamed
			renamed = r.renamed
			r.mu.Unlock()
			switch {
			case down != "":
				return silence(down)
			case !hung:
				changed(images)
			}
		}
	}
}

// rests reports whether a container does not run and nobody is about to change that.
func (r *Runtime) rests(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.containers, func(c *container) bool {
		return c.ID == id && !c.lives() && !time.Now().Before(c.busy)
	})
}

// turn is how long until a change of a container is done that takes so long, after
// those that are under way.
func (r *Runtime) turn(id string, takes time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.ID == id {
			wait := max(time.Until(c.busy), 0) + takes
			c.busy = time.Now().Add(wait)
			return wait
		}
	}
	return takes
}

// took is how long a change of a container takes.
func (r *Runtime) took(id, change string, least time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.containers {
		if c.ID == id && r.Delay != nil {
			return least + r.Delay(c.Instance, change)
		}
	}
	return least
}

// with changes a container when the engine has worked on it for a time.
func (r *Runtime) with(ctx context.Context, after time.Duration, id string, f func(*container) error) error {
	if err := r.answer(ctx); err != nil {
		return err
	}
	if !r.Detached || after == 0 {
		if err := pause(ctx, after); err != nil {
			return err
		}
		return r.change(id, f)
	}
	after = r.turn(id, after)
	r.mu.Lock()
	powered := r.powered
	r.mu.Unlock()
	done := make(chan error, 1)
	time.AfterFunc(after, func() {
		r.mu.Lock()
		same := r.powered == powered
		r.mu.Unlock()
		if same {
			done <- r.change(id, f)
		} else {
			done <- errors.New("the power was cut")
		}
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change changes a container, Otto's or not: an engine does what it is told.
func (r *Runtime) change(id string, f func(*container) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != "" {
		return silence(r.down)
	}
	for _, c := range r.containers {
		if c.ID == id {
			defer r.changed()
			if c.theirs {
				r.trespass("container " + c.Name)
			}
			return f(c)
		}
	}
	return fmt.Errorf("no such container: %s", id)
}

func (r *Runtime) trespass(what string) {
	if r.Trespass != nil {
		r.Trespass(what)
	}
}

// changed tells the observer and the watchers; the caller holds the lock.
func (r *Runtime) changed() {
	r.killJoined()
	for _, c := range r.containers {
		if runs := c.lives(); runs != c.ran {
			c.ran = runs
			if r.Observe != nil {
				r.Observe(Observed{c.Container, c.theirs, r.labelsOf(c.inst)})
			}
		}
	}
	for ch := range r.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
