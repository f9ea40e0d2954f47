package ottotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/wire"
)

// reach is a control.Reach that starts agents in this process.
type reach struct{ c *Cluster }

func (r reach) Ensure(ctx context.Context, n otto.Node, e wire.Enrolment, by otto.Bringing) ([]string, error) {
	h := r.c.Hosts[n.ID]
	if h == nil {
		return nil, fmt.Errorf("no host %s", n.ID)
	}
	by.Step("connecting")
	if err := errors.Join(pause(ctx, h.SSHTime), r.ssh(n.ID)); err != nil {
		return nil, err
	}
	if err := r.works(ctx, h); err != nil {
		return nil, err
	}
	by.Found(h.found())
	changed, err := h.enroll(e, by.Floor)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	stuck := h.stuck
	h.mu.Unlock()
	if conn := h.Conn(); h.Alive() && conn.by.Frozen() && (!changed || stuck) {
		if err := r.replace(ctx, n, by); err != nil || !changed {
			return nil, err
		}
	}
	if changed {
		r.c.KillAgent(n.ID)
	}
	if err := r.c.StartAgent(n.ID); err != nil {
		return nil, err
	}
	return nil, by.Verify(ctx)
}

// bring is control.Options.Bring.
func (r reach) bring(ctx context.Context, n otto.Node, key string, pack io.Reader) error {
	h := r.c.Hosts[n.ID]
	if err := errors.Join(pause(ctx, h.SSHTime), r.ssh(n.ID), r.works(ctx, h)); err != nil {
		return err
	}
	return agent.Bring(h.FoldersDir(), key, pack)
}

// seed is control.Options.Seed. It needs no rights to give files to others.
func (r reach) seed(ctx context.Context, n otto.Node, volume string, of otto.Seed) error {
	h := r.c.Hosts[n.ID]
	if err := errors.Join(pause(ctx, h.SSHTime), r.ssh(n.ID), r.works(ctx, h)); err != nil {
		return err
	}
	enrolled := h.Enrolment()
	if enrolled == nil {
		return fmt.Errorf("%s is no node", n.ID)
	}
	s := agent.Seeding{
		Dir: h.SeedsDir(), ClusterID: enrolled.ClusterID,
		Unpack: func(_ context.Context, from io.Reader, dir string) error {
			text, err := io.ReadAll(from)
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "tree"), text, 0o600))
		},
		Remove: func(_ context.Context, dir string) error { return os.RemoveAll(dir) },
	}
	return s.Take(ctx, volume, func() (io.Reader, error) { return os.Open(filepath.Join(of.Project, of.Path)) })
}

// enroll writes what makes the host a node, and reports whether the agent that runs there
// has to be started anew for it, as package bootstrap does.
func (h *Host) enroll(e wire.Enrolment, floor otto.Revision) (changed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	had := h.enrolment
	if had != nil && had.ClusterID == e.ClusterID && had.Replaced(e.ControlKey) {
		return false, wire.ReplacedError{Node: h.name, By: had.ControlKey}
	}
	if had != nil && had.ClusterID == e.ClusterID {
		if e.FormerSealKey = had.FormerSealKey; !bytes.Equal(had.SealKey, e.SealKey) {
			e.FormerSealKey = had.SealKey
		}
	}
	changed = h.stop != nil && h.read != nil &&
		(!h.read.ControlKey.Equal(e.ControlKey) || !reflect.DeepEqual(h.read.TLS, e.TLS) ||
			!bytes.Equal(h.read.SealKey, e.SealKey) || h.read.Proofs != e.Proofs)
	h.enrolment, h.floor = &e, floor
	return changed, nil
}

// replace ends a frozen agent, after some time, and starts it anew.
func (r reach) replace(ctx context.Context, n otto.Node, by otto.Bringing) error {
	h := r.c.Hosts[n.ID]
	patient, cancel := context.WithTimeout(ctx, stoppedFor)
	defer cancel()
	if err := by.Verify(patient); err == nil || ctx.Err() != nil {
		return err
	}
	by.Step(otto.StepReplace)
	h.mu.Lock()
	stuck := h.stuck
	h.mu.Unlock()
	if stuck {
		return fmt.Errorf("%w (state D)", otto.ErrStuck)
	}
	r.c.KillAgent(n.ID)
	if err := r.c.StartAgent(n.ID); err != nil {
		return err
	}
	return by.Verify(ctx)
}

// stoppedFor is how long an agent may be stopped.
const stoppedFor = 5 * time.Second

func (r reach) Stop(ctx context.Context, n otto.Node, by wire.Authority) error {
	if err := errors.Join(r.ssh(n.ID), r.works(ctx, r.c.Hosts[n.ID]), r.owned(n.ID, by)); err != nil {
		return err
	}
	r.c.KillAgent(n.ID)
	return nil
}

// owned says why a host is not by's, as package bootstrap finds it out.
func (r reach) owned(host string, by wire.Authority) error {
	h := r.c.Hosts[host]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enrolment != nil && h.enrolment.ClusterID != by.ClusterID {
		return fmt.Errorf("%s belongs to another cluster named %s", host, h.enrolment.Cluster)
	}
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
	case h.cut || h.off || h.apart:
		return errors.New("no route to host")
	}
	return nil
}

// sshWithin is how long a host is waited for that does not speak SSH.
const sshWithin = 10 * time.Second

// works says why nobody can log in at a host that is reached.
func (r reach) works(ctx context.Context, h *Host) error {
	ctx, cancel := context.WithTimeout(ctx, sshWithin)
	defer cancel()
	_, err := h.reply(ctx)
	return err
}

// Alive implements control.Reach.
func (r reach) Alive(ctx context.Context, n otto.Node) otto.Sign {
	if err := r.ssh(n.ID); err != nil {
		<-ctx.Done()
		return otto.Sign{Why: err.Error()}
	}
	reply, err := r.c.Hosts[n.ID].reply(ctx)
	if err != nil {
		return otto.Sign{Reply: reply, Why: err.Error(), Free: true}
	}
	return otto.Sign{Reply: reply, Why: "its SSH server answers", Free: true}
}

// Through implements control.Reach.
func (r reach) Through(ctx context.Context, other, n otto.Node) error {
	h := r.c.Hosts[other.ID]
	if err := errors.Join(r.ssh(other.ID), r.works(ctx, h)); err != nil {
		return err
	}
	h.mu.Lock()
	closed := h.forwardsNothing
	h.mu.Unlock()
	if closed {
		return errors.New("its SSH server forwards nothing")
	}
	if err := r.c.reach(other.ID)(ctx, n.ID); err != nil {
		return fmt.Errorf("%w: %w", otto.ErrUnreached, err)
	}
	_, err := r.c.Hosts[n.ID].reply(ctx)
	return err
}

// Address implements control.Reach.
func (r reach) Address(n otto.Node) string { return n.ID }

func (r reach) Uninstall(ctx context.Context, n otto.Node, by wire.Authority, _ bool) error {
	if err := r.Stop(ctx, n, by); err != nil {
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
