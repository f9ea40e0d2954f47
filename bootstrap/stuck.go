package bootstrap

import (
	"context"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
)

const (
	// stoppedFor is how long an agent that is stopped, as by a debugger, may be so.
	stoppedFor = 5 * time.Second
	// slowBeat is an interval of heartbeats with which a report may be late by itself.
	slowBeat = 10 * time.Second
)

// await waits for the agent's report. One that ran already and does not report is ended and
// started anew, once: it is stopped, or stuck.
func (in *install) await(ctx context.Context, ran bool, verify func(context.Context) error) error {
	in.step("waiting for the agent's report")
	if !ran {
		return in.verifyNew(ctx, verify)
	}
	patient, cancel := ctx, context.CancelFunc(func() {})
	if in.found.stopped() {
		patient, cancel = context.WithTimeout(ctx, stoppedFor)
	}
	err := verify(patient)
	cancel()
	if err == nil {
		in.fleet.setAnew(in.node.ID, 0)
		return nil
	}
	if ctx.Err() != nil ||
		!in.found.stopped() &&
			(in.fleet.isAnew(in.node.ID, in.found.pid) || in.request.enrolment.Heartbeat > slowBeat) {
		return err
	}
	return in.replace(ctx, err, verify)
}

func (f facts) stopped() bool { return f.state == "T" || f.state == "t" }

// waits reports whether the agent waits for something in the kernel, so that no signal
// ends it.
func (f facts) waits() bool { return f.state == "D" }

// process is the agent's, for people.
func (f facts) process() string { return fmt.Sprintf("pid %d, state %s", f.pid, f.state) }

// verifyNew waits for the report of an agent that has just been started. If there is none,
// ending it once more would not help.
func (in *install) verifyNew(ctx context.Context, verify func(context.Context) error) error {
	err := verify(ctx)
	if err == nil {
		in.fleet.setAnew(in.node.ID, 0)
	} else if now, probeErr := in.probe(ctx); probeErr == nil {
		in.fleet.setAnew(in.node.ID, now.pid)
	}
	return err
}

// replace ends the agent that was found and starts it anew.
func (in *install) replace(ctx context.Context, cause error, verify func(context.Context) error) error {
	now, err := in.probe(ctx)
	if err != nil || now.pid != in.found.pid || now.running != in.found.running {
		return cause
	}
	in.step(fmt.Sprintf("%s (%s)", otto.StepReplace, now.process()))
	err = in.start(ctx, in.agent.Hash, "--anew")
	after, probeErr := in.probe(ctx)
	if probeErr == nil {
		in.fleet.setAnew(in.node.ID, after.pid) // whatever came of it, it is not tried again with this one
	}
	switch {
	case err != nil && probeErr == nil && after.pid == now.pid && after.waits():
		return fmt.Errorf("%w (%s, which waits for a disk or a driver): restart the machine: %w", otto.ErrStuck,
			after.process(), err)
	case err != nil:
		return fmt.Errorf("%w; it could not be started anew: %w", cause, err)
	}
	in.step("waiting for the agent's report")
	if err := in.verifyNew(ctx, verify); err != nil {
		return fmt.Errorf("it was ended and started anew: %w", err)
	}
	return nil
}

func (in *install) probe(ctx context.Context) (facts, error) {
	return probe(ctx, in.host, in.request.enrolment.Cluster, in.node.DockerURL)
}

// setAnew remembers which agent was started anew and has not reported yet; 0 forgets it.
func (f *Fleet) setAnew(node string, pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pid == 0 {
		delete(f.anew, node)
	} else {
		f.anew[node] = pid
	}
}

func (f *Fleet) isAnew(node string, pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return pid != 0 && f.anew[node] == pid
}
