package bootstrap

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/knock"
)

// contactFor is how long a connection with a silent node's host is kept after nobody
// has asked for it any more.
const contactFor = 30 * time.Second

// contact is the one connection over which a silent node's host is asked whether it
// works. It logs in, as who only looks at an SSH server is taken for an attacker, and is
// kept while the node is silent. One that no program has taken is kept as well: the
// queue of a frozen server that is asked again and again fills up, and then the host
// looks as if it had no power.
type contact struct {
	hop                 hop
	accepted, spoke, in chan struct{} // closed as it gets on
	ended               chan struct{}
	remote              *remote // set before in is closed
	err                 error   // why it has ended; set before ended is closed
	cancel              context.CancelFunc
	idle                *time.Timer
}

// Alive asks past the agent how much of the node's host answers before ctx ends.
func (f *Fleet) Alive(ctx context.Context, node otto.Node) otto.Sign {
	if node.IsLocal() {
		return otto.Sign{Reply: otto.ReplyProgram, Why: "it is this machine", Free: true}
	}
	if s, ok := f.askTunnel(ctx, node); ok {
		return s
	}
	c, fresh, err := f.contactWith(node)
	if err != nil {
		return otto.Sign{Why: err.Error()}
	}
	s := c.ask(ctx)
	if s.Reply == otto.ReplyNone && !fresh && ctx.Err() == nil { // it was broken
		if c, _, err = f.contactWith(node); err == nil {
			s = c.ask(ctx)
		}
	}
	return s
}

// askTunnel asks over the connection of the node's tunnel, if there is one and it
// answers.
func (f *Fleet) askTunnel(ctx context.Context, node otto.Node) (otto.Sign, bool) {
	f.mu.Lock()
	t := f.tunnels[node.ID]
	f.mu.Unlock()
	if t == nil {
		return otto.Sign{}, false
	}
	r := t.conn.Load()
	if r == nil || !r.answers(ctx) {
		return otto.Sign{}, false
	}
	return otto.Sign{Reply: otto.ReplyProgram, Why: "its SSH server answers", Free: true}, true
}

// answers reports whether the server at the other end answers before half of the time
// that ctx leaves is over.
func (r *remote) answers(ctx context.Context) bool {
	replied := make(chan error, 1)
	go func() {
		_, _, err := r.SendRequest("keepalive@openssh.com", true, nil) // ends with the connection at the latest
		replied <- err
	}()
	half := time.Minute
	if end, ok := ctx.Deadline(); ok {
		half = time.Until(end) / 2
	}
	t := time.NewTimer(half)
	defer t.Stop()
	select {
	case err := <-replied:
		return err == nil
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// contactWith returns the contact that is kept, or a new one.
func (f *Fleet) contactWith(node otto.Node) (c *contact, fresh bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	config, err := f.sshConfig()
	if err != nil {
		return nil, false, err
	}
	route, err := config.route(node)
	if err != nil {
		return nil, false, err
	}
	hop := route[len(route)-1]
	if c = f.contacts[node.ID]; c != nil {
		if c.hop.addr() == hop.addr() && c.idle.Reset(contactFor) {
			return c, false, nil
		}
		c.cancel() // the node has another address now
	}
	if err := f.ctx.Err(); err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithCancel(f.ctx)
	c = &contact{
		hop: hop, cancel: cancel, idle: time.AfterFunc(contactFor, cancel),
		accepted: make(chan struct{}), spoke: make(chan struct{}), in: make(chan struct{}), ended: make(chan struct{}),
	}
	f.contacts[node.ID] = c
	f.open.Go(func() {
		defer cancel()
		c.err = f.hold(ctx, c, route)
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.idle.Stop(); f.contacts[node.ID] == c {
			delete(f.contacts, node.ID)
		}
		close(c.ended)
	})
	return c, true, nil
}

// hold brings a contact about and keeps it until it breaks or ctx ends.
func (f *Fleet) hold(ctx context.Context, c *contact, route []hop) error {
	via, err := f.jump(ctx, route[:len(route)-1])
	if err != nil {
		return err
	}
	conn, err := f.reach(ctx, via, c.hop)
	if err != nil {
		_ = via.Close()
		return err
	}
	close(c.accepted)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	heard := bufio.NewReader(conn)
	if _, err := heard.Peek(1); err != nil {
		conn.Close()
		_ = via.Close()
		return err
	}
	close(c.spoke)
	client, err := f.login(ctx, peeked{conn, heard}, c.hop, nil)
	if err != nil {
		_ = via.Close()
		return err
	}
	c.remote = newRemote(client, via)
	close(c.in)
	select {
	case <-c.remote.closed:
	case <-ctx.Done():
	}
	return errors.Join(ctx.Err(), c.remote.Close())
}

// peeked is a connection of which the beginning has been read already.
type peeked struct {
	net.Conn
	from *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.from.Read(b) }

// jump logs in along a route of jump hosts; nil for none.
func (f *Fleet) jump(ctx context.Context, route []hop) (*remote, error) {
	if len(route) == 0 {
		return nil, nil
	}
	return f.dial(ctx, route, nil)
}

// awaitWord returns when the node's host has said something on the contact with it, if
// there is one that it has accepted: further connections would only queue up behind it.
func (f *Fleet) awaitWord(ctx context.Context, node otto.Node) error {
	f.mu.Lock()
	c := f.contacts[node.ID]
	f.mu.Unlock()
	if c == nil || !closed(c.accepted) {
		return nil
	}
	within := handshakeWithin * f.opts.DialTimeout
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-c.spoke:
	case <-c.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", node.ID, ctx.Err())
	case <-t.C:
		return fmt.Errorf(
			"%s accepts connections at %s and says nothing for %s: does the machine hang? If it does, restart it",
			node.ID,
			c.hop.addr(),
			within,
		)
	}
	return nil
}

// reach connects to a server, with errors that say who has refused.
func (f *Fleet) reach(ctx context.Context, via *remote, h hop) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.DialTimeout)
	defer cancel()
	if via == nil {
		return knock.Dial(ctx, h.addr())
	}
	return via.DialContext(ctx, "tcp", h.addr())
}

// ask says how far the contact has got, at the latest when ctx ends.
func (c *contact) ask(ctx context.Context) otto.Sign {
	select {
	case <-c.in:
		return c.askAgain(ctx)
	case <-c.ended:
		return c.last()
	case <-ctx.Done():
	}
	switch {
	case closed(c.spoke):
		return otto.Sign{Reply: otto.ReplyProgram, Why: "its SSH server answers", Free: true}
	case closed(c.accepted):
		return otto.Sign{
			Reply: otto.ReplyKernel,
			Why:   c.hop.addr() + " accepts connections and says nothing",
			Free:  true,
		}
	}
	return otto.Sign{Why: c.hop.addr() + " does not answer"}
}

// askAgain asks over a connection that stands. When that does not answer, a new one is
// to be tried the next time: it may be the connection alone that is broken.
func (c *contact) askAgain(ctx context.Context) otto.Sign {
	if c.remote.answers(ctx) {
		return otto.Sign{Reply: otto.ReplyProgram, Why: "its SSH server answers", Free: true}
	}
	c.cancel()
	if closed(c.ended) {
		return c.last()
	}
	return otto.Sign{Reply: otto.ReplyKernel, Why: "its SSH server, which answered, does so no longer"}
}

// last is what the contact has found when it has ended.
func (c *contact) last() otto.Sign {
	var other otherKeyError
	var refused *ssh.OpenChannelError
	switch err := c.err; {
	case errors.As(err, &other):
		return otto.Sign{Reply: otto.ReplyKernel, Why: "another machine may have its address: " + err.Error()}
	case closed(c.in):
		return otto.Sign{Why: "the SSH connection with it broke"}
	case closed(c.spoke):
		return otto.Sign{Reply: otto.ReplyProgram, Why: "its SSH server answers"}
	case closed(c.accepted) && errors.Is(err, io.EOF):
		return otto.Sign{
			Reply: otto.ReplyProgram,
			Why:   fmt.Sprintf("its SSH server at %s closes connections at once", c.hop.addr()),
		}
	case knock.Refused(err), closed(c.accepted) && errors.Is(err, syscall.ECONNRESET),
		errors.As(err, &refused) && strings.Contains(refused.Message, "refused"): // by what a jump host says
		return otto.Sign{Reply: otto.ReplyKernel, Why: c.hop.addr() + " refuses connections", Free: true}
	default:
		return otto.Sign{Why: err.Error()}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Through returns nil if the node's host proves by its own key, on a connection through the
// SSH server of another node, that it works: neither that server nor anybody on the way
// has that key. otto.ErrUnreached says that the other node's server does not reach it.
func (f *Fleet) Through(ctx context.Context, other, node otto.Node) error {
	config, err := f.sshConfig()
	if err != nil {
		return err
	}
	route, err := config.route(node)
	if err != nil {
		return err
	}
	via, err := f.connectSSH(ctx, other)
	if err != nil {
		return err
	}
	defer via.Close()
	h := route[len(route)-1]
	conn, err := via.DialContext(ctx, "tcp", h.addr())
	var failed *ssh.OpenChannelError
	switch {
	case errors.As(err, &failed) && failed.Reason == ssh.ConnectionFailed && !strings.Contains(failed.Message, "refused"),
		err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w through %s: %w", otto.ErrUnreached, other.ID, err)
	case err != nil:
		return fmt.Errorf("%s forwards no connection to %s: %w", other.ID, h.addr(), err)
	}
	_, err = f.login(ctx, conn, h, func(k hostKeys) ssh.HostKeyCallback {
		return func(address string, remote net.Addr, key ssh.PublicKey) error {
			return cmp.Or(k.check(address, remote, key), errKeySeen)
		}
	})
	if errors.Is(err, errKeySeen) {
		return nil
	}
	return err
}
