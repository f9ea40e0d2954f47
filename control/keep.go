package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

const (
	reportWithin = 30 * time.Second // an agent must report after its start, or the former one comes back
	retryMin     = 2 * time.Second  // after a node could not be brought up; doubles
	retryMax     = time.Minute
)

// keeper is the goroutine that keeps an agent on a node: it brings it there,
// and again whenever the node falls silent.
type keeper struct {
	cancel context.CancelFunc
	wake   chan struct{} // look at once
	done   chan struct{}
}

// keep starts a keeper for n, or wakes the one it has.
func (p *Plane) keep(n *node) {
	if n.keeper != nil {
		n.wake()
		return
	}
	e, err := p.enrolment(n.Node)
	if err != nil {
		n.problem = err.Error()
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	k := &keeper{cancel: cancel, wake: make(chan struct{}, 1), done: make(chan struct{})}
	n.keeper = k
	spec, generation := n.Node, p.identity.Renewal.Generation
	p.background.Go(func() {
		defer close(k.done)
		defer cancel()
		p.keeping(ctx, n, k, spec, e, generation)
	})
}

// wake makes the node's keeper look at once.
func (n *node) wake() {
	if n.keeper != nil {
		select {
		case n.keeper.wake <- struct{}{}:
		default:
		}
	}
}

// release ends the node's keeper and returns when it has ended, without
// blocking the loop that it reports to: call it from another goroutine.
func (k *keeper) release() {
	if k != nil {
		k.cancel()
		<-k.done
	}
}

func (p *Plane) keeping(ctx context.Context, n *node, k *keeper, spec otto.Node, e wire.Enrolment,
	generation uint64,
) {
	for delay := retryMin; ctx.Err() == nil; {
		warnings, err := p.Reach.Ensure(ctx, spec, e, p.bringing(ctx, n, p.floor(ctx, n)))
		p.tell(ctx, func() {
			if n.keeper != k {
				return // another one has come since, and what this one has brought is not the newest
			}
			for i := range warnings {
				warnings[i] = wire.Plain(warnings[i])
			}
			n.step, n.problem, n.warnings, n.installed = "", "", warnings, err == nil
			p.dirty = true
			if err == nil {
				n.brought = generation
			}
			var replaced wire.ReplacedError
			if errors.As(err, &replaced) {
				p.stepAside(replaced)
			}
			if err != nil {
				n.problem = wire.Plain(err.Error()) // the host has had its say in it
			}
			if errors.Is(err, otto.ErrStuck) {
				n.stuck = n.problem
			}
			if otto.Wording(n.problem) != otto.Wording(n.told) && err != nil { // once, and not each time that it is tried
				p.event("node-problem", n.ID, "", n.problem)
			}
			n.told = n.problem
		})
		if err == nil {
			delay = retryMin
			select {
			case <-k.wake:
			case <-ctx.Done():
			}
			continue
		}
		t := time.NewTimer(otto.Spread(delay, fmt.Sprint(spec.ID, delay)))
		select {
		case <-t.C:
		case <-k.wake:
		case <-ctx.Done():
		}
		t.Stop()
		delay = min(2*delay, retryMax)
	}
}

// tell is post for a goroutine that the loop may be waiting for to end.
func (p *Plane) tell(ctx context.Context, f func()) {
	select {
	case p.inbox <- func() { p.look = true; f() }:
	case <-ctx.Done():
	}
}

// reported waits until the node's agent has been heard after this call.
func (p *Plane) reported(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	heard := make(chan struct{})
	p.tell(ctx, func() {
		n.firstMsg = heard
	})
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return errStopping
		}
		return fmt.Errorf("the agent on %s runs but has not reported within %s: see agent.log there, and whether the node reaches the broker (%s)",
			n.ID, reportWithin, p.Broker.Description)
	}
}

// enrolment is what makes the machine our node.
func (p *Plane) enrolment(n otto.Node) (wire.Enrolment, error) {
	if err := p.enroll(n.ID); err != nil {
		return wire.Enrolment{}, err
	}
	s := p.enrolled[n.ID]
	e := wire.Enrolment{
		Cluster: p.Name, ClusterID: p.identity.ClusterID, NodeID: n.ID,
		Brokers: p.Broker.Addresses, TLS: p.Broker.TLS,
		ClientID: s.ClientID, Username: n.ID,
		ControlKey: p.identity.publicKey(), FormerKeys: p.identity.Renewal.Replaced,
		SealKey: s.SealKey, Proofs: !p.Broker.Ours, DockerURL: n.DockerURL,
		Interval: p.desired.Wanted.Interval, Heartbeat: p.desired.Wanted.HeartbeatOf(n),
	}
	if e.Interval == 0 {
		e.Interval = otto.DefaultInterval
	}
	var err error
	switch {
	case p.Broker.Ours:
		e.TLS, err = p.tlsOf(n.ID)
	case p.Broker.Username != "":
		e.Username, e.Password = p.Broker.Username, p.Broker.Password
	default:
		e.Password = s.Password
	}
	return e, err
}
