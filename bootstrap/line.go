package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/otto-edge/otto"
)

// line is an SSH connection to a node that commands share. Each has a channel of its own in it,
// with its own window, so that who reads slowly holds up no other. Fleet's lock is for all of it.
type line struct {
	*remote
	at    place // of the agent there
	users int
	idle  *time.Timer // ends it if nobody uses it
	gone  bool        // nobody begins to use it any more
}

const (
	lineUsers = 8                // OpenSSH lets a connection have 10 sessions, unless MaxSessions says otherwise
	lineIdle  = 30 * time.Second // is kept for whoever comes next
)

// OpenShared is Open for a command that transfers little at a time and may last: such commands on a node
// share an SSH connection, which stays for a moment after the last of them.
func (f *Fleet) OpenShared(ctx context.Context, node otto.Node, cluster, command string) (*Session, error) {
	if node.IsLocal() {
		return f.Open(ctx, node, cluster, command)
	}
	for {
		l, fresh, err := f.line(ctx, node, cluster)
		if err != nil {
			return nil, err
		}
		s, err := f.openOn(ctx, l, command)
		if err == nil {
			wait := s.wait
			s.wait = func() error {
				err := wait()
				if errors.Is(err, ErrNoAgent) { // it has been replaced since
					f.retire(l)
				}
				return err
			}
			s.until(ctx, func() { f.release(l) })
			return s, nil
		}
		f.retire(l)
		f.release(l)
		if fresh || ctx.Err() != nil {
			return nil, err
		}
	}
}

// line is a connection to a node that has room for one more, and whether it is a new one. It has to
// be released.
func (f *Fleet) line(ctx context.Context, node otto.Node, cluster string) (l *line, fresh bool, err error) {
	key := fmt.Sprintf("%q %q %q %d %q %q %q", cluster, node.ID, node.Host, node.Port, node.User, node.IdentityFile, node.DockerURL)
	for {
		if l := f.take(key); l != nil {
			return l, fresh, nil
		}
		fresh = true
		dialed := f.dialing.DoChan(key, func() (any, error) { return nil, f.addLine(node, cluster, key) })
		select {
		case r := <-dialed:
			if r.Err != nil {
				return nil, fresh, r.Err
			}
		case <-ctx.Done():
			return nil, fresh, ctx.Err()
		}
	}
}

// take finds room in what there is.
func (f *Fleet) take(key string) *line {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lines[key] {
		if l.users < lineUsers && !l.gone && !l.lost() {
			l.idle.Stop()
			l.users++
			return l
		}
	}
	return nil
}

// lost reports whether the connection has ended.
func (r *remote) lost() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// addLine connects to a node, for everybody who waits for that.
func (f *Fleet) addLine(node otto.Node, cluster, key string) error {
	r, err := f.connectSSH(f.ctx, node)
	if err != nil {
		return err
	}
	at, err := agentOn(f.ctx, r, node, cluster)
	if err != nil {
		r.Close()
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		r.Close()
		return f.ctx.Err()
	}
	l := &line{remote: r, at: at}
	l.idle = time.AfterFunc(lineIdle, func() { f.retire(l) })
	f.lines[key] = append(slices.DeleteFunc(f.lines[key], func(l *line) bool { return l.users == 0 && (l.gone || l.lost()) }), l)
	return nil
}

// release says that one user less has a line.
func (f *Fleet) release(l *line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.users--; l.users > 0 {
		return
	}
	if l.gone {
		go l.Close()
		return
	}
	l.idle.Reset(lineIdle)
}

// retire has nobody begin to use a line any more; it ends with its last user.
func (f *Fleet) retire(l *line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	for key, list := range f.lines {
		if f.lines[key] = slices.DeleteFunc(list, func(o *line) bool { return o == l }); len(f.lines[key]) == 0 {
			delete(f.lines, key)
		}
	}
	if l.users == 0 {
		go l.Close()
	}
}

// openOn begins a command on a line, in the time that a new connection may take: nobody may know yet that
// the line is dead.
func (f *Fleet) openOn(ctx context.Context, l *line, command string) (*Session, error) {
	type opened struct {
		s   *Session
		err error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := l.open(l.at.exe, command, "--dir", l.at.dir)
		done <- opened{s, err}
	}()
	giveUp := func(err error) (*Session, error) {
		go func() {
			if o := <-done; o.err == nil {
				o.s.close()
			}
		}()
		return nil, err
	}
	select {
	case o := <-done:
		var refused *ssh.OpenChannelError
		if o.err != nil && !errors.As(o.err, &refused) {
			o.err = fmt.Errorf("the SSH connection was lost: %w", o.err)
		}
		return o.s, o.err
	case <-time.After(f.opts.DialTimeout):
		return giveUp(errors.New("the SSH server does not answer in time"))
	case <-ctx.Done():
		return giveUp(ctx.Err())
	}
}
