package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/otto-edge/otto"
)

const (
	dialWithin      = 5 * time.Second // by default
	handshakeWithin = 2               // times as much
	keepaliveEvery  = 5 * time.Second
	keepaliveWithin = 15 * time.Second // without an answer the connection is given up
)

// remote is a machine over SSH.
type remote struct {
	*ssh.Client
	via    *remote // the jump host before it, nil for none
	closed chan struct{}
}

// connect opens an SSH connection to a node, or none for the local one.
func (f *Fleet) connect(ctx context.Context, node otto.Node) (host, error) {
	if node.IsLocal() {
		return local{home: f.opts.Home}, nil
	}
	return f.connectSSH(ctx, node)
}

func (f *Fleet) connectSSH(ctx context.Context, node otto.Node) (*remote, error) {
	config, err := f.sshConfig()
	if err != nil {
		return nil, err
	}
	route, err := config.route(node)
	if err != nil {
		return nil, err
	}
	f.learn(route)
	if err := f.awaitWord(ctx, node); err != nil {
		return nil, err
	}
	return f.dial(ctx, route, nil)
}

// learn notes which node is at the end of a route.
func (f *Fleet) learn(route []hop) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := route[len(route)-1]
	f.names[last.addr()] = last.name
}

// hostKeys are what is known of the key of a server, and of those of the other nodes.
func (f *Fleet) hostKeys(h hop) (hostKeys, error) {
	k, err := newHostKeys(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	k.names = maps.Clone(f.names)
	return k, err
}

// dial goes along a route, through each server to the next. The last one's key is
// checked by inspect, if that is given.
func (f *Fleet) dial(ctx context.Context, route []hop, inspect func(hostKeys) ssh.HostKeyCallback) (*remote, error) {
	var r *remote
	for i, h := range route {
		if i < len(route)-1 {
			next, err := f.dialHop(ctx, r, h, nil)
			if err != nil {
				r.Close()
				return nil, fmt.Errorf("on the way to %s: %w", route[len(route)-1].name, err)
			}
			r = next
			continue
		}
		next, err := f.dialHop(ctx, r, h, inspect)
		if err != nil {
			r.Close()
			return nil, err
		}
		r = next
	}
	return r, nil
}

func (f *Fleet) dialHop(ctx context.Context, via *remote, h hop,
	inspect func(hostKeys) ssh.HostKeyCallback,
) (*remote, error) {
	conn, err := f.dialTCP(ctx, via, h)
	if err != nil {
		return nil, err
	}
	client, err := f.login(ctx, conn, h, inspect)
	if err != nil {
		return nil, err
	}
	return newRemote(client, via), nil
}

// login logs in at a server over a connection, which it closes if that fails.
func (f *Fleet) login(ctx context.Context, conn net.Conn, h hop,
	inspect func(hostKeys) ssh.HostKeyCallback,
) (*ssh.Client, error) {
	keys, err := f.hostKeys(h)
	if err != nil {
		conn.Close()
		return nil, err
	}
	check := keys.check
	if inspect != nil {
		check = inspect(keys)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		conn.Close()
		return nil, err
	}
	creds := gather(h, home)
	defer creds.Close()
	var badKey error
	config := &ssh.ClientConfig{
		User:              h.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(creds.signers...)},
		HostKeyAlgorithms: keys.algorithms(),
		HostKeyCallback: func(address string, remote net.Addr, key ssh.PublicKey) error {
			badKey = check(address, remote, key)
			return badKey
		},
	}
	client, err := f.handshake(ctx, conn, h, config)
	if err == nil {
		return client, nil
	}
	conn.Close()
	var noCommon *ssh.AlgorithmNegotiationError
	switch {
	case badKey != nil:
		return nil, badKey
	case errors.As(err, &noCommon):
		err = fmt.Errorf(
			"%s (%s) has no key or cipher that fits: if its host key has changed, run `ssh-keygen -R %s` after you made sure: %w",
			h.name,
			h.addr(),
			h.host,
			err,
		)
		if noCommon.What == "host key" {
			err = otherKeyError{err}
		}
		return nil, err
	case strings.Contains(err.Error(), "unable to authenticate"),
		strings.Contains(err.Error(), "Too many authentication failures"):
		return nil, creds.refusal(h)
	}
	return nil, err
}

// dialTCP connects to a server, directly or through the one before it.
func (f *Fleet) dialTCP(ctx context.Context, via *remote, h hop) (net.Conn, error) {
	within := f.opts.DialTimeout
	dialCtx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var conn net.Conn
	var err error
	if via != nil {
		conn, err = via.DialContext(dialCtx, "tcp", h.addr())
	} else {
		conn, err = new(net.Dialer).DialContext(dialCtx, "tcp", h.addr())
	}
	var dns *net.DNSError
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", h.name, ctx.Err())
	case errors.As(err, &dns):
		return nil, fmt.Errorf("%s: there is no host named %s: correct its host, or use its IP address", h.name, h.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%s refuses connections at %s: is an SSH server running there?", h.name, h.addr())
	case dialCtx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf(
			"%s cannot be reached at %s: no answer within %s; is it switched on and in this network?",
			h.name,
			h.addr(),
			within,
		)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return nil, fmt.Errorf(
			"%s cannot be reached at %s: nothing has that address; is it switched on and in this network?",
			h.name,
			h.addr(),
		)
	}
	return nil, fmt.Errorf("%s cannot be reached at %s: %w", h.name, h.addr(), err)
}

// handshake ends in time whatever the server does. Deadlines on the connection
// would not do: one through a jump host has none.
func (f *Fleet) handshake(ctx context.Context, conn net.Conn, h hop, config *ssh.ClientConfig) (*ssh.Client, error) {
	within := handshakeWithin * f.opts.DialTimeout
	inTime, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stop := context.AfterFunc(inTime, func() { conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, h.addr(), config)
	if stop() {
		if err != nil {
			return nil, fmt.Errorf("%s: SSH with %s: %w", h.name, h.addr(), err)
		}
		return ssh.NewClient(c, channels, requests), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", h.name, ctx.Err())
	}
	return nil, fmt.Errorf("%s accepts connections at %s but does not speak SSH within %s: is that its SSH port?",
		h.name, h.addr(), within)
}

func newRemote(client *ssh.Client, via *remote) *remote {
	r := &remote{Client: client, via: via, closed: make(chan struct{})}
	go r.keepAlive()
	return r
}

// keepAlive notices a peer that is gone without a word and closes the connection
// then, so that everything that waits for it ends.
func (r *remote) keepAlive() {
	defer close(r.closed)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = r.Wait()
	}()
	tick := time.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(keepaliveWithin, func() { r.Client.Close() })
		_, _, _ = r.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
	}
}

// Close ends the connection and those to the jump hosts. A nil remote is closed.
func (r *remote) Close() error {
	if r == nil {
		return nil
	}
	err := r.Client.Close()
	<-r.closed
	_ = r.via.Close()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *remote) run(ctx context.Context, script string, values ...string) (string, error) {
	in, err := stdin(values)
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { r.Client.Close() })()
	session, err := r.NewSession()
	if err != nil {
		return "", lost(ctx, err)
	}
	defer session.Close()
	var out, complaint output
	session.Stdin, session.Stdout, session.Stderr = in, &out, &complaint
	err = session.Run("exec sh -c '" + script + "'")
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return out.String(), reason(err, complaint.String())
	}
	return out.String(), lost(ctx, err)
}

func lost(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("no answer in time")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("the SSH connection was lost: %w", err)
}

func (r *remote) put(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error {
	defer context.AfterFunc(ctx, func() { r.Client.Close() })()
	c, err := sftp.NewClient(r.Client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return lost(ctx, fmt.Errorf("SFTP: %w", err))
	}
	defer c.Close()
	err = upload(c, path, mode, content)
	if ctx.Err() != nil || errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, io.EOF) {
		return lost(ctx, err)
	}
	return err
}

func (r *remote) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { r.Client.Close() })()
	c, err := sftp.NewClient(r.Client)
	if err != nil {
		return nil, lost(ctx, fmt.Errorf("SFTP: %w", err))
	}
	defer c.Close()
	f, err := c.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, limit)
}

const uploadConcurrency = 64 // packets of 32 KiB under way

func upload(c *sftp.Client, path string, mode fs.FileMode, content io.Reader) error {
	part := path + ".part"
	f, err := c.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = f.Chmod(mode)
	if err == nil {
		_, err = f.ReadFromWithConcurrency(content, uploadConcurrency)
	}
	if _, ok := c.HasExtension("fsync@openssh.com"); ok && err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return whyNot(c, path, err)
	}
	if _, ok := c.HasExtension("posix-rename@openssh.com"); ok {
		return c.PosixRename(part, path)
	}
	_ = c.Remove(path)
	return c.Rename(part, path)
}

// whyNot finds a full disk behind an error, because SFTP has no word for it.
func whyNot(c *sftp.Client, path string, err error) error {
	if fs, vfsErr := c.StatVFS(filepath.Dir(path)); vfsErr == nil && fs.FreeSpace() < spareDisk/2 {
		return fmt.Errorf("the disk is full, %s free: %w", megabytes(int64(fs.FreeSpace())), err)
	}
	return err
}

func (r *remote) seenFrom(sshConnection string) string {
	if r.via != nil {
		return "" // that is the jump host's address
	}
	return sshConnection
}
