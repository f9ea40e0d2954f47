package ottotest

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

	// note, if set, is called likewise for containers of the cluster.
	note func(instance string, runs bool)

	mu         sync.Mutex
	down       string        // why the engine does not answer
	hung       chan struct{} // closed when it answers again; nil while it does
	left       []func()      // requests that it has not read yet and nobody waits for any more
	slow       time.Duration // what it takes to list its containers
	powered    int           // how often its power was cut
	adopted    otto.Adopted
	taken      otto.Taken
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

// NewRuntime returns an engine that has the given images.
func NewRuntime(images ...string) *Runtime {
	r := &Runtime{
		seq:      map[string]int{},
		images:   map[string]bool{},
		volumes:  map[string]string{},
		watchers: map[chan struct{}]bool{},
		starts:   map[string]int{},
		sick:     map[string]string{},
	}
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
		} else if t, taken := r.taken.Container(c.ID); taken && of == otto.Foreign {
			ctr := c.reported()
			ctr.Service, ctr.Instance, ctr.SpecHash, ctr.Taken = t.Service, t.Instance, "", true
			list = append(list, ctr)
		} else if r.releasing(c) {
			ctr := c.reported()
			ctr.Taken = true
			list = append(list, ctr)
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
