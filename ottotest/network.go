package ottotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
)

// knock is how much of another host a host finds to answer.
func (c *Cluster) knock(from string) func(context.Context, string) (otto.Reply, error) {
	reach := c.reach(from)
	return func(ctx context.Context, address string) (otto.Reply, error) {
		if lie := c.Hosts[from].liesBy(); lie != nil {
			return lie(address), nil
		}
		if err := reach(ctx, address); err != nil {
			return otto.ReplyNone, err
		}
		return c.Hosts[address].reply(ctx)
	}
}

func (h *Host) liesBy() func(string) otto.Reply {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lie
}

// reply is how much of a host answers who reaches it.
func (h *Host) reply(ctx context.Context) (otto.Reply, error) {
	h.mu.Lock()
	frozen, refuses := h.frozen, h.refuses
	h.mu.Unlock()
	switch {
	case refuses:
		return otto.ReplyKernel, errors.New("it refuses connections")
	case frozen:
		<-ctx.Done()
		return otto.ReplyKernel, errors.New("it accepts connections and says nothing")
	}
	return otto.ReplyProgram, nil
}

// reach says why a host does not reach another one's kernel.
func (c *Cluster) reach(from string) func(context.Context, string) error {
	return func(ctx context.Context, address string) error {
		h := c.Hosts[address]
		if h == nil {
			return fmt.Errorf("no host %s", address)
		}
		h.mu.Lock()
		gone := h.cut || h.off || h.unreachable != nil
		h.mu.Unlock()
		if from != "" {
			c.Hosts[from].mu.Lock()
			gone = gone || c.Hosts[from].cut
			c.Hosts[from].mu.Unlock()
		}
		if gone {
			<-ctx.Done()
			return fmt.Errorf("%s does not answer", address)
		}
		return nil
	}
}

// SetRoundTrip is how long a packet takes from anywhere to the host, or from it to
// anywhere, and back, beside what others add.
func (h *Host) SetRoundTrip(d time.Duration) { h.rtt.Store(int64(d)) }

func (c *Cluster) roundTrip(from string) func(context.Context, string) (time.Duration, error) {
	reach := c.reach(from)
	return func(ctx context.Context, address string) (time.Duration, error) {
		if err := reach(ctx, address); err != nil {
			return 0, err
		}
		took := time.Duration(c.Hosts[from].rtt.Load() + c.Hosts[address].rtt.Load())
		return took, pause(ctx, took)
	}
}

// try is what a host finds, or the control plane without a name, when it probes a
// published port of a host, or one of a container of its own.
func (c *Cluster) try(from string) func(context.Context, otto.Probe, string) error {
	reach := c.reach(from)
	return func(ctx context.Context, _ otto.Probe, address string) error {
		host, port, err := net.SplitHostPort(address)
		if from != "" && err == nil && (host == "" || host == "127.0.0.1") { // that machine itself
			host = from
		}
		if from != "" && strings.HasPrefix(host, containerNet) {
			if !c.Hosts[from].Runtime.listens(func(ctr *container, p otto.Port) bool {
				return ctr.at() == host && strconv.Itoa(int(p.Container)) == port
			}) {
				return syscall.ECONNREFUSED
			}
			return nil
		}
		if err == nil {
			err = reach(ctx, host)
		}
		if err != nil {
			return err
		}
		took := c.Hosts[host].rtt.Load()
		if from != "" {
			took += c.Hosts[from].rtt.Load()
		}
		if err := pause(ctx, time.Duration(took)); err != nil {
			return err
		}
		published := func(ctr *container, p otto.Port) bool { return strconv.Itoa(int(p.Host)) == port }
		if !c.Hosts[host].Runtime.listens(published) {
			return syscall.ECONNREFUSED
		}
		return nil
	}
}

// Cut pulls a host's network cable.
func (c *Cluster) Cut(host string) { c.CutOneWay(host, true, true) }

// CutOneWay breaks what a host receives, what it sends, or both. Nobody gets an
// answer from it in either case.
func (c *Cluster) CutOneWay(host string, in, out bool) {
	h := c.Hosts[host]
	h.mu.Lock()
	h.cut = true
	h.mu.Unlock()
	c.Bus.CutOneWay(host, in, out)
}

// Heal puts the cable back.
func (c *Cluster) Heal(host string) {
	h := c.Hosts[host]
	h.mu.Lock()
	h.cut = false
	h.mu.Unlock()
	c.Bus.Heal(host)
}
