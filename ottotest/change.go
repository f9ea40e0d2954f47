package ottotest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

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
		r.leave(func() { _ = r.change(id, f) })
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

// leave leaves a request with an engine that hangs: it has been sent, and is read when the
// engine goes on, whoever waits for its answer.
func (r *Runtime) leave(request func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Detached && r.hung != nil {
		r.left = append(r.left, request)
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
			if _, taken := r.taken.Container(id); c.theirs && !taken && !r.releasing(c) {
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
			if r.note != nil && !c.theirs {
				r.note(c.Instance, runs)
			}
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
