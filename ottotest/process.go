package ottotest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/control"
)

// Process is one run of a control plane or of an agent. What it does to the
// world goes through it, so that a test can end it between any two effects, as
// kill -9 does.
type Process struct {
	Name string // "control" or the host
	// at, if set, is called before and after each effect.
	at   func(p *Process, point string)
	dead atomic.Bool

	mu     sync.Mutex
	frozen chan struct{} // closed when it goes on; nil while it is not frozen
}

var errKilled = errors.New("the process has been killed")

// Kill makes that nothing of what the process does has any effect from now on.
func (p *Process) Kill() {
	p.dead.Store(true)
	p.Thaw()
}

// Freeze stops it as SIGSTOP does: it neither does anything nor takes anything in
// before it is thawed.
func (p *Process) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil && !p.Dead() {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (p *Process) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// Frozen reports whether it is.
func (p *Process) Frozen() bool { return p.gate() != nil }

func (p *Process) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

// wait returns when the process is not frozen.
func (p *Process) wait() {
	for gate := p.gate(); gate != nil; gate = p.gate() {
		<-gate
	}
}

// Dead reports whether it has been killed.
func (p *Process) Dead() bool { return p.dead.Load() }

// do has an effect on the world unless the process has been killed. One that is frozen by
// then hears how it went when it goes on.
func (p *Process) do(effect string, f func() error) error {
	p.wait()
	p.pass("before " + effect)
	if p.wait(); p.Dead() {
		return errKilled
	}
	err := f()
	p.pass("after " + effect)
	if p.wait(); p.Dead() {
		return errKilled
	}
	return err
}

func (p *Process) pass(point string) {
	if p.at != nil && !p.Dead() {
		p.at(p, point)
	}
}

// process returns a new run of a control plane or an agent.
func (c *Cluster) process(name string) *Process { return &Process{Name: name, at: c.AtEffect} }

// held is the store in the hands of a process.
type held struct {
	control.Store
	by *Process
}

func (h held) Put(ctx context.Context, key string, value any) error {
	return h.by.do("store "+key, func() error { return h.Store.Put(ctx, key, value) })
}

// engine is a container engine in the hands of a process.
type engine struct {
	agent.Runtime
	by *Process
}

// patience is how long a process that goes on waits for an engine, if it has waited for
// longer than it wanted while it was frozen.
const patience = 500 * time.Millisecond

// goesOn returns when the process is not frozen: before that it sees nothing, and what it
// does with what it sees comes later still.
func (e engine) goesOn(ctx context.Context) (context.Context, context.CancelFunc) {
	if !e.by.Frozen() {
		return ctx, func() {}
	}
	e.by.wait()
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), patience) // it has not asked before
}

func (e engine) Containers(ctx context.Context) ([]otto.Container, error) {
	ctx, cancel := e.goesOn(ctx)
	defer cancel()
	return e.Runtime.Containers(ctx)
}

func (e engine) Volume(ctx context.Context, name string) (v otto.Volume, there bool, err error) {
	ctx, cancel := e.goesOn(ctx)
	defer cancel()
	return e.Runtime.Volume(ctx, name)
}

func (e engine) Create(ctx context.Context, i otto.Instance, name string) (id string, err error) {
	err = e.by.do("create", func() error { id, err = e.Runtime.Create(ctx, i, name); return err })
	return id, err
}

func (e engine) Start(ctx context.Context, id string) error {
	err := e.by.do("start", func() error { return e.Runtime.Start(ctx, id) })
	if errors.Is(err, errKilled) { // which forgets nothing on its disk that it knew when it asked
		return errors.Join(err, otto.ErrNoAnswer)
	}
	return err
}

func (e engine) Attach(ctx context.Context, i otto.Instance, id string) error {
	return e.by.do("attach", func() error { return e.Runtime.Attach(ctx, i, id) })
}

func (e engine) Stop(ctx context.Context, id string) error {
	return e.by.do("stop", func() error { return e.Runtime.Stop(ctx, id) })
}

func (e engine) Kill(ctx context.Context, c otto.Container, grace time.Duration) error {
	return e.by.do("kill", func() error { return e.Runtime.Kill(ctx, c, grace) })
}

func (e engine) Rename(ctx context.Context, id, name string) error {
	return e.by.do("rename", func() error { return e.Runtime.Rename(ctx, id, name) })
}

func (e engine) Remove(ctx context.Context, id string) error {
	return e.by.do("remove", func() error { return e.Runtime.Remove(ctx, id) })
}
