package ottotest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
)

// Hanging is an engine that at times accepts calls and answers none, so that each
// ends by its deadline, as those of package docker do. Kill works all the same,
// because it does without the engine in the end. A Watch hears nothing.
type Hanging struct {
	agent.Runtime
	hangs atomic.Bool
}

// Hang begins or ends it.
func (h *Hanging) Hang(on bool) { h.hangs.Store(on) }

// HangFor is how long a call waits for an answer.
const HangFor = 10 * time.Second

// killSlack is what Kill waits for the engine beside the grace period.
const killSlack = 500 * time.Millisecond

// wait returns at once from an engine that works.
func (h *Hanging) wait(ctx context.Context) error {
	if !h.hangs.Load() {
		return nil
	}
	_ = pause(ctx, HangFor)
	return errors.New("the engine does not answer in time")
}

// Engine and the others implement agent.Runtime.
func (h *Hanging) Engine(ctx context.Context) otto.Engine {
	if err := h.wait(ctx); err != nil {
		return otto.Engine{Problem: err.Error()}
	}
	return h.Runtime.Engine(ctx)
}

// Containers implements agent.Runtime.
func (h *Hanging) Containers(ctx context.Context) ([]otto.Container, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.Runtime.Containers(ctx)
}

// Running implements agent.Runtime.
func (h *Hanging) Running(ctx context.Context) ([]otto.RunningContainer, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.Runtime.Running(ctx)
}

// Start implements agent.Runtime.
func (h *Hanging) Start(ctx context.Context, id string) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Runtime.Start(ctx, id)
}

// Stop implements agent.Runtime.
func (h *Hanging) Stop(ctx context.Context, id string) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.Runtime.Stop(ctx, id)
}

// Kill implements agent.Runtime.
func (h *Hanging) Kill(ctx context.Context, c otto.Container, grace time.Duration) error {
	if h.hangs.Load() {
		_ = pause(ctx, grace+killSlack)
		grace = 0
	}
	return h.Runtime.Kill(ctx, c, grace)
}

// Logs implements agent.Runtime.
func (h *Hanging) Logs(ctx context.Context, id string, lines int) ([]string, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.Runtime.Logs(ctx, id, lines)
}
