package ottotest

import (
	"context"
	"errors"
	"fmt"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// reach is a control.Reach that starts agents in this process.
type reach struct{ c *Cluster }

func (r reach) Ensure(ctx context.Context, n otto.Node, e wire.Enrolment, step func(string), verify func(context.Context) error) ([]string, error) {
	h := r.c.Hosts[n.ID]
	if h == nil {
		return nil, fmt.Errorf("no host %s", n.ID)
	}
	step("connecting")
	if err := errors.Join(pause(ctx, h.SSHTime), r.ssh(n.ID)); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.enrolment = &e
	h.mu.Unlock()
	if err := r.c.StartAgent(n.ID); err != nil {
		return nil, err
	}
	return nil, verify(ctx)
}

func (r reach) Stop(_ context.Context, n otto.Node, _ string) error {
	if err := r.ssh(n.ID); err != nil {
		return err
	}
	r.c.KillAgent(n.ID)
	return nil
}

// ssh says why a host cannot be reached.
func (r reach) ssh(host string) error {
	h := r.c.Hosts[host]
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.unreachable != nil:
		return h.unreachable
	case h.cut || h.off:
		return errors.New("no route to host")
	}
	return nil
}

// Alive implements control.Reach.
func (r reach) Alive(ctx context.Context, n otto.Node) error {
	if err := r.ssh(n.ID); err != nil {
		<-ctx.Done()
		return err
	}
	return nil
}

// Address implements control.Reach.
func (r reach) Address(n otto.Node) string { return n.ID }

func (r reach) Uninstall(ctx context.Context, n otto.Node, cluster string, _ bool) error {
	if err := r.Stop(ctx, n, cluster); err != nil {
		return err
	}
	h := r.c.Hosts[n.ID]
	var errs []error
	list, _ := h.Runtime.Containers(ctx)
	for _, ctr := range list {
		errs = append(errs, h.Runtime.Stop(ctx, ctr.ID), h.Runtime.Remove(ctx, ctr.ID))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enrolment = nil
	return errors.Join(errs...)
}
