package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/otto-edge/otto"
)

// Session is a command of a node's agent that runs there, for as long as somebody
// talks with it.
type Session struct {
	in    io.WriteCloser
	out   io.Reader
	wait  func() error // returns when it has ended
	close func()
}

// Write writes to the command's standard input.
func (s *Session) Write(p []byte) (int, error) { return s.in.Write(p) }

// CloseWrite ends the command's standard input.
func (s *Session) CloseWrite() error { return s.in.Close() }

// Read reads the command's standard output.
func (s *Session) Read(p []byte) (int, error) { return s.out.Read(p) }

// sessionScript runs a program with the words that come first on its standard
// input, a line each up to an empty one. What follows is the program's.
const sessionScript = `set --; while IFS= read -r word && [ -n "$word" ]; do set -- "$@" "$word"; done; exec "$@"`

// closeWithin is how long a command may take to end when nobody talks with it.
const closeWithin = 2 * time.Second

// Open runs a command of the agent on a node, until the Session is closed or ctx
// ends. It needs nothing of the SSH server but what brings agents to nodes, so
// that a server which forwards no ports or sockets will do; and what engine there
// is and who may use it is the agent's knowledge.
//
// It has an SSH connection of its own: what it transfers delays nobody else.
func (f *Fleet) Open(ctx context.Context, node otto.Node, cluster, command string) (*Session, error) {
	h, err := f.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	var s *Session
	at, err := agentOn(ctx, h, node, cluster)
	if err == nil {
		s, err = h.open(at.exe, command, "--dir", at.dir)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	s.until(ctx, func() { h.Close() })
	return s, nil
}

// place is where an agent is on its node.
type place struct{ exe, dir string }

// agentOn finds an agent of a cluster on a host.
func agentOn(ctx context.Context, h host, node otto.Node, cluster string) (place, error) {
	found, err := probe(ctx, h, cluster, node.DockerURL)
	at := place{found.anyAgent(), found.dir}
	if err == nil && at.exe == "" {
		err = otherVersion{errors.New("no agent is there")}
	}
	return at, err
}

// until has a session be closed at the end of ctx, and after has what it was opened on be left.
func (s *Session) until(ctx context.Context, after func()) {
	end := s.close
	stop := context.AfterFunc(ctx, func() { s.close() })
	s.close = sync.OnceFunc(func() {
		stop()
		end()
		after()
	})
}

// Close ends the command.
func (s *Session) Close() error {
	s.close()
	return nil
}

// Wait returns why the command has ended, after all of its output was read.
func (s *Session) Wait() error { return s.wait() }

func (local) open(exe string, args ...string) (*Session, error) {
	cmd := exec.Command(exe, args...) //nolint:noctx // Session.Close ends it
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	complaint := &output{}
	cmd.Stderr = complaint
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	wait := sync.OnceValue(func() error { return complained(cmd.Wait(), complaint) })
	return &Session{in: in, out: out, wait: wait, close: func() {
		in.Close()
		defer time.AfterFunc(closeWithin, func() { _ = cmd.Process.Kill() }).Stop()
		_ = wait()
	}}, nil
}

func (r *remote) open(exe string, args ...string) (*Session, error) {
	session, err := r.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	complaint := &output{}
	session.Stderr = complaint
	if err := session.Start("exec sh -c '" + sessionScript + "'"); err != nil {
		return nil, err
	}
	words := strings.Join(append([]string{exe}, args...), "\n") + "\n\n"
	if _, err := io.WriteString(in, words); err != nil {
		return nil, err
	}
	wait := sync.OnceValue(func() error { return complained(session.Wait(), complaint) })
	return &Session{in: in, out: out, wait: wait, close: func() {
		ended := make(chan struct{})
		go func() { // not longer than the connection lasts
			defer close(ended)
			_ = session.Close()
			_ = wait()
		}()
		select {
		case <-ended:
		case <-time.After(closeWithin):
		}
	}}, nil
}

// complained is why a command ended, in its own words if it has said any.
func complained(err error, complaint *output) error {
	if err == nil {
		return nil
	}
	const misunderstood, noProgram, noFile = 2, 126, 127
	code := -1
	var exit *ssh.ExitError
	var exitHere *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitStatus()
	} else if errors.As(err, &exitHere) {
		code = exitHere.ExitCode()
	}
	switch {
	case code == misunderstood, code == noProgram, code == noFile:
		return otherVersion{errors.New("its agent is of another version, and will be replaced soon")}
	case code >= 0:
		return reason(err, complaint.String())
	}
	return fmt.Errorf("the SSH connection was lost: %w", err)
}

// otherVersion is an error for which an ErrNoAgent is the reason.
type otherVersion struct{ error }

func (otherVersion) Is(target error) bool { return target == ErrNoAgent }
