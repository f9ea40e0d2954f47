package bootstrap

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// logins is how many connections the SSH server of a machine has let in.
func (m machine) logins() int { return strings.Count(m.log.String(), "Accepted publickey") }

// echo opens a command that says what it is told.
func echo(t *testing.T, f *Fleet, node otto.Node) *Session {
	t.Helper()
	s, err := f.OpenShared(t.Context(), node, cluster, "echo")
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { s.Close() })
	answers(t, s, "hello")
	return s
}

func answers(t *testing.T, s *Session, word string) {
	t.Helper()
	fmt.Fprintln(s, word)
	if got, err := bufio.NewReader(s).ReadString('\n'); got != word+"\n" {
		t.Errorf("it says %q, %v; want %q", got, err, word)
	}
}

func TestCommandsOnANodeShareAConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, f := w.machine("rpi-01"), w.fleet()
	mustEnsure(t, f, m, newBroker(t))
	before := m.logins()

	flood, err := f.OpenShared(t.Context(), m.node, cluster, "flood") // which nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	var all sync.WaitGroup
	list := make([]*Session, 19)
	for i := range list {
		all.Go(func() { list[i] = echo(t, f, m.node) })
	}
	all.Wait()
	if n := m.logins() - before; n != 3 {
		t.Errorf("20 commands have %d connections; want 3 of up to %d", n, lineUsers)
	}
	for i, s := range list {
		if i%2 == 0 {
			s.Close()
		}
	}
	for i, s := range list {
		if i%2 == 1 {
			answers(t, s, "still there")
			s.CloseWrite()
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
			s.Close()
		}
	}
	echo(t, f, m.node)
	if n := m.logins() - before; n != 3 {
		t.Errorf("the next command has a connection of its own: there are %d", n)
	}
}

func TestServerLetsAConnectionHaveFewCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, f := w.machine("rpi-01", "MaxSessions 2"), w.fleet()
	mustEnsure(t, f, m, newBroker(t))
	list := make([]*Session, 5)
	for i := range list {
		list[i] = echo(t, f, m.node)
	}
	for _, s := range list {
		answers(t, s, "still there")
	}
}

func TestSharedConnectionThatBreaksIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, f := w.machine("rpi-01"), w.fleet()
	mustEnsure(t, f, m, newBroker(t))
	cable := newCable(t, m.addr)
	far := m.node
	far.Host = "far"
	w.alias(far.Host, cable.addr)
	w.know(cable.addr, m.key)
	list := []*Session{echo(t, f, far), echo(t, f, far)}
	cable.cut()
	for _, s := range list {
		ended := make(chan error, 1)
		go func() { ended <- s.Wait() }()
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "the SSH connection was lost") {
				t.Errorf("it ends with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it does not end")
		}
	}
	echo(t, f, far)
}

// TestAgentThatWasReplacedIsFoundAnew: a connection remembers where the agent is.
func TestAgentThatWasReplacedIsFoundAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, f := w.machine("rpi-01"), w.fleet()
	broker := newBroker(t)
	mustEnsure(t, f, m, broker)
	echo(t, f, m.node)
	w.opts.Binaries = build(1)
	mustEnsure(t, w.fleet(), m, broker)
	if err := os.RemoveAll(filepath.Join(m.nodeDir(), "agents", agents()[0].Hash)); err != nil { // the next one does
		t.Fatal(err)
	}
	s, err := f.OpenShared(t.Context(), m.node, cluster, "echo")
	if err != nil {
		t.Fatal(err)
	}
	s.CloseWrite()
	if err := s.Wait(); !errors.Is(err, ErrNoAgent) {
		t.Errorf("it ends with %v", err)
	}
	s.Close()
	echo(t, f, m.node)
}
