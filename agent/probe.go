package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/knock"
)

// A container's health, in the engine's words.
const (
	starting  = "starting"
	healthy   = "healthy"
	unhealthy = "unhealthy"
	unknown   = "unknown" // not the engine's: it cannot be found out
)

// gravity orders healths: of two that are found for a container, the graver one holds.
func gravity(health string) int {
	return slices.Index([]string{"", healthy, starting, unknown, unhealthy}, health)
}

// healed is how long a container with a health check or a probe must have run
// before its former failures are forgotten: a check takes a while to fail again.
const healed = 2 * time.Minute

// trial is how long a container must have run before its former failures are
// forgotten; for ever while it is not well.
func trial(c otto.Container) time.Duration {
	switch c.Health {
	case "":
		return stable
	case healthy:
		return healed
	default:
		return 1<<63 - 1
	}
}

// prober probes one run of one container, in a goroutine of its own.
type prober struct {
	otto.Probe
	instance  string
	container string
	started   time.Time // the run that is probed
	address   string
	cancel    context.CancelFunc
	done      chan struct{} // closed when it has ended
	finding   finding       // the last one, known to the converger
}

// finding is what a prober has found, told when it changes.
type finding struct {
	of      *prober
	health  string
	ailment string
}

// probes reports whether p is for this run of a container.
func (p *prober) probes(c otto.Container) bool {
	return p.container == c.ID && p.started.Equal(c.Started) && c.State == otto.ContainerRunning
}

// probe sees to it that exactly those containers are probed that should be. A
// prober that follows another one waits for its end.
func (c *converger) probe(ctx context.Context) {
	wanted := map[string]bool{}
	for _, ctr := range c.containers {
		inst := c.wanted(ctr.Instance)
		if inst == nil || inst.Probe == nil || c.assignment.Stopped ||
			ctr.State != otto.ContainerRunning || ctr.SpecHash != inst.Hash() {
			continue
		}
		address := ctr.Address
		if inst.Spec.NetworkMode == "host" {
			address = "127.0.0.1"
		} else if service, joins := strings.CutPrefix(inst.Spec.NetworkMode, otto.ServicePrefix); joins {
			if _, of := c.lender(service); of != nil {
				address = of.Address
			}
		}
		wanted[inst.Name] = true
		probe := inst.Probe.WithDefaults()
		former := c.probes[inst.Name]
		if former != nil && former.probes(ctr) && former.address == address && reflect.DeepEqual(former.Probe, probe) {
			continue
		}
		within, cancel := context.WithCancel(ctx)
		p := &prober{
			Probe: probe, instance: inst.Name, container: ctr.ID, started: ctr.Started, address: address,
			cancel: cancel, done: make(chan struct{}), finding: finding{health: starting},
		}
		c.probes[inst.Name] = p
		if former != nil {
			former.cancel()
		}
		go func() {
			defer close(p.done)
			if former != nil {
				<-former.done
			}
			c.run(within, p)
		}()
	}
	for name, p := range c.probes {
		if wanted[name] {
			continue
		}
		p.cancel()
		select {
		case <-p.done:
			delete(c.probes, name)
		default: // until a later turn, so that somebody waits for it
		}
	}
}

// examined is a container with its health as far as it can be known now: it is well
// if its own health check and its probe say so. The check of an engine that does not
// answer says nothing, nor does that of a paused container, which the engine leaves
// as it was.
func (c *converger) examined(ctr otto.Container) otto.Container {
	switch {
	case ctr.State == otto.ContainerPaused && c.pauses.tooLong(ctr.ID):
		ctr.Health = unhealthy
		ctr.Ailment = fmt.Sprintf("it has been paused for %s: `docker unpause %s` there lets it go on", otto.ShortDuration(pauseFor), ctr.Name)
		return ctr
	case ctr.State == otto.ContainerPaused:
		ctr.Health, ctr.Ailment = "", ""
		return ctr
	case ctr.State != otto.ContainerRunning:
		return ctr
	}
	if ctr.Health == healthy && c.engine.Problem != "" {
		ctr.Health, ctr.Ailment = unknown, "what its health check finds is not known: "+c.engine.Problem
	}
	inst := c.wanted(ctr.Instance)
	if inst == nil || ctr.SpecHash != inst.Hash() {
		return ctr
	}
	if unaddressed(ctr, inst.Spec) {
		ctr.Health, ctr.Ailment = unhealthy, "it has no address: it is in no network"
		return ctr
	}
	if inst.Probe == nil {
		return ctr
	}
	found := finding{health: starting}
	if p := c.probes[inst.Name]; p != nil && p.probes(ctr) {
		found = p.finding
	}
	if gravity(found.health) > gravity(ctr.Health) {
		ctr.Health, ctr.Ailment = found.health, found.ailment
	}
	return ctr
}

// found takes in what a prober has found.
func (c *converger) found(f finding) {
	f.of.finding = f
	if f.health == unknown {
		c.note("instance-unknown", f.of.instance, f.ailment)
	}
}

// quick is the time between two probes of what has just started.
const quick = time.Second

// run probes until ctx ends.
func (c *converger) run(ctx context.Context, p *prober) {
	v := newVerdict(p.Probe, time.Now())
	for ctx.Err() == nil {
		began := time.Now()
		failed, err := c.look(ctx, p)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		if err == nil {
			c.diary.write(p.container, entry{now, now.Sub(began), failed != ""})
		}
		changed := false
		if err != nil {
			c.Log.Debug("not probed", "container", p.container, "err", err)
			changed = v.miss(err, now)
		} else {
			changed = v.take(failed, now)
		}
		if changed {
			select {
			case c.probed <- finding{p, v.health, v.ailment}:
			case <-ctx.Done():
				return
			}
		}
		wait(ctx, v.next(now))
	}
}

// verdict is what the probes of one run of a container amount to.
type verdict struct {
	otto.Probe
	health   string
	ailment  string
	passed   bool      // at least once
	counts   time.Time // from when on failures count even if it has not passed
	failures int       // that count, in a row
	missed   int       // probes that could not be done, in a row
}

// newVerdict begins with a start. The first interval is part of the start, so
// that a service without a start period has as long as its engine would give it.
func newVerdict(p otto.Probe, now time.Time) *verdict {
	return &verdict{Probe: p, health: starting, counts: now.Add(p.StartPeriod + p.Interval)}
}

// take takes in a probe that failed for a reason, or passed if there is none, and
// reports whether the health is another one now.
func (v *verdict) take(failed string, now time.Time) (changed bool) {
	was := v.health
	v.missed = 0
	switch {
	case failed == "":
		v.passed, v.failures, v.health, v.ailment = true, 0, healthy, ""
	case v.starting(now):
	default:
		v.failures++
		if v.failures >= v.Retries && v.health != unhealthy {
			v.health, v.ailment = unhealthy, fmt.Sprintf("probe %s: %s, %d times", v.Probe, failed, v.failures)
		}
	}
	return v.health != was
}

// miss takes in that a probe could not be done, which says nothing of the container.
// When that goes on, what was found before does not hold any more either.
func (v *verdict) miss(why error, now time.Time) (changed bool) {
	if v.missed++; v.missed < v.Retries || v.starting(now) || v.health == unhealthy || v.health == unknown {
		return false
	}
	v.health, v.ailment = unknown, fmt.Sprintf("probe %s cannot be done: %s", v.Probe, plainly(why, v.Timeout))
	return true
}

// next is how long to wait for the next probe: what has just started is probed
// often, so that it is known to be up as soon as it is.
func (v *verdict) next(now time.Time) time.Duration {
	if v.starting(now) {
		return min(quick, v.counts.Sub(now))
	}
	return v.Interval
}

func (v *verdict) starting(now time.Time) bool { return !v.passed && now.Before(v.counts) }

// look probes once. failed says why the container does not work; err that this
// is not known.
func (c *converger) look(ctx context.Context, p *prober) (failed string, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.Port() == 0 {
		return c.Runtime.Exec(ctx, p.container, p.Exec)
	}
	if p.address == "" { // without a host, this machine's own port would be asked
		return "the container has no address", nil
	}
	err = c.Try(ctx, p.Probe, net.JoinHostPort(p.address, strconv.Itoa(int(p.Port()))))
	if knock.Ours(err) {
		return "", err
	}
	return plainly(err, p.Timeout), nil
}

// plainly is an error of the network without the addresses, which differ each time.
func plainly(err error, timeout time.Duration) string {
	var errno syscall.Errno
	var timedOut net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timedOut) && timedOut.Timeout():
		return fmt.Sprintf("no answer within %s", timeout)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF):
		return "it closes the connection without an answer"
	}
	for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	text := err.Error()
	return text[:min(len(text), 200)]
}
