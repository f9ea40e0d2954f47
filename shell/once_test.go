package shell

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
)

// maker makes containers that are this machine, which takes its time.
type maker struct {
	here
	takes         time.Duration
	ran, removed  *atomic.Int32
	interruptible bool
}

func (m maker) Make(ctx context.Context, _ otto.Instance, c Command) (Made, error) {
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		if m.interruptible {
			return nil, ctx.Err()
		}
	}
	return made{m, c}, nil
}

type made struct {
	maker
	command Command
}

func (m made) Run(ctx context.Context) (Process, error) {
	m.ran.Add(1)
	p, err := m.here.Run(ctx, "new", m.command)
	if err != nil {
		return nil, err
	}
	return once{p.(*command), m.removed}, nil
}

func (m made) Remove() { m.removed.Add(1) }

type once struct {
	*command
	removed *atomic.Int32
}

func (o once) Close() { o.removed.Add(1) }

func newMaker() maker {
	return maker{here: here{state: otto.ContainerRunning}, ran: new(atomic.Int32), removed: new(atomic.Int32)}
}

// TestImageThatTakesLongIsWaitedFor has nothing to say for longer than a node may be
// silent.
func TestImageThatTakesLongIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaker()
		m.takes = 5 * silentWithin
		client, node := net.Pipe()
		go func() {
			_ = ServeOnce(t.Context(), failing{m}, node, node)
			node.Close()
		}()
		if err := AskOnce(client, otto.Instance{Name: "web"}, Command{}); err != nil {
			t.Fatal(err)
		}
		if _, err := Attach(t.Context(), client, Ends{}); err == nil || err.Error() != "no such program" {
			t.Errorf("got %v", err)
		}
		if m.removed.Load() != 1 {
			t.Error("the container that did not start is left")
		}
	})
}

// failing is a maker whose containers do not start.
type failing struct{ maker }

func (f failing) Make(ctx context.Context, i otto.Instance, c Command) (Made, error) {
	m, err := f.maker.Make(ctx, i, c)
	if err != nil {
		return nil, err
	}
	return cannotStart{m}, nil
}

type cannotStart struct{ Made }

func (cannotStart) Run(context.Context) (Process, error) { return nil, errNoProgram }

var errNoProgram = noProgram{}

type noProgram struct{}

func (noProgram) Error() string { return "no such program" }

// TestNothingIsStartedForWhoHasLeft closes the connection while an image is pulled.
func TestNothingIsStartedForWhoHasLeft(t *testing.T) {
	for _, interruptible := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := newMaker()
			m.takes, m.interruptible = time.Minute, interruptible
			client, node := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- ServeOnce(t.Context(), m, node, node) }()
			if err := AskOnce(client, otto.Instance{Name: "web"}, sh("true")); err != nil {
				t.Fatal(err)
			}
			client.Close()
			<-served
			if m.ran.Load() != 0 {
				t.Error("it was started")
			}
			if want := map[bool]int32{true: 0, false: 1}[interruptible]; m.removed.Load() != want {
				t.Errorf("removed %d times", m.removed.Load())
			}
		})
	}
}

// TestContainerIsGoneBeforeItsExitCodeIsTold: who has it may end this end.
func TestContainerIsGoneBeforeItsExitCodeIsTold(t *testing.T) {
	m := newMaker()
	client, node := net.Pipe()
	go func() {
		_ = ServeOnce(context.Background(), m, node, node)
		node.Close()
	}()
	if err := AskOnce(client, otto.Instance{Name: "web"}, sh("echo out; exit 4")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := Attach(t.Context(), client, Ends{Out: &out, Err: &out})
	if code != 4 || err != nil || out.String() != "out\n" || m.removed.Load() == 0 {
		t.Errorf("exit code %d, %v, %q, removed %d times", code, err, &out, m.removed.Load())
	}
}
