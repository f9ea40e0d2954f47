package bootstrap

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// asks asks about a node, for a second at most.
func asks(t *testing.T, f *Fleet, n otto.Node) otto.Sign {
	t.Helper()
	return asksWithin(t, time.Second, f, n)
}

func asksWithin(t *testing.T, limit time.Duration, f *Fleet, n otto.Node) otto.Sign {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return f.Alive(ctx, n)
}

// TestFrozenServerIsAskedOverOneConnection has an SSH server stopped and going on again.
func TestFrozenServerIsAskedOverOneConnection(t *testing.T) {
	w := newWorld(t)
	m := w.machine("rpi-01")
	f := w.fleet()
	m.signal(t, syscall.SIGSTOP)
	for range 3 {
		if s := asks(t, f, m.node); s.Reply != otto.ReplyKernel || !s.Free || !strings.Contains(s.Why, "says nothing") {
			t.Errorf("frozen: %+v", s)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := f.connect(ctx, m.node); err == nil {
		t.Error("connected to a frozen server")
	}
	m.signal(t, syscall.SIGCONT)
	var answer otto.Sign
	eventually(t, "it answers", func() bool {
		answer = asksWithin(t, 20*time.Second, f, m.node) // or a busy machine gives the connection up
		return answer.Reply == otto.ReplyProgram
	})
	if !answer.Free {
		t.Errorf("working: %+v", answer)
	}
	if n := strings.Count(m.log.String(),
		"Connection from") - 1; n != 1 { // one is of the test, which waited for it to listen
		t.Errorf("%d connections:\n%s", n, m.log.String())
	}
	if h, err := f.connect(t.Context(), m.node); err != nil {
		t.Error(err)
	} else {
		h.Close()
	}
}

// TestHostsThatAnswerInOtherWays are neither frozen nor without power.
func TestHostsThatAnswerInOtherWays(t *testing.T) {
	w := newWorld(t)
	f := w.fleet()
	rekeyed := w.stranger("rekeyed")
	w.know(rekeyed.addr, writeKey(t, t.TempDir()+"/other", ""))
	refused := w.machine("refused", "AllowUsers nobody-of-this-name")
	closes := otto.Node{ID: "closes", Host: "closes"}
	w.alias("closes", serve(t, func(c net.Conn) { c.Close() }))
	gone := otto.Node{ID: "gone", Host: "gone"}
	w.alias("gone", freeAddr(t))
	odd := otto.Node{ID: "odd", Host: "odd"}
	w.alias("odd", serve(t, func(c net.Conn) { c.Write([]byte("220 mail\r\n")) }))
	for _, c := range []struct {
		node  otto.Node
		reply otto.Reply
		free  bool
		why   string
	}{
		{rekeyed.node, otto.ReplyKernel, false, "another machine may have its address"},
		{refused.node, otto.ReplyProgram, false, "answers"},
		{closes, otto.ReplyProgram, false, "closes connections at once"},
		{gone, otto.ReplyKernel, true, "refuses connections"},
		{odd, otto.ReplyProgram, false, "answers"},
		{otto.Node{ID: "here", Host: "localhost"}, otto.ReplyProgram, true, "this machine"},
	} {
		eventually(t, c.node.ID, func() bool { return asks(t, f, c.node).Free == c.free })
		if s := asks(t, f, c.node); s.Reply != c.reply || !strings.Contains(s.Why, c.why) {
			t.Errorf("%s: %+v", c.node.ID, s)
		}
	}
}

// TestContactThatBreaksIsMadeAnew pulls the cable of a host that answers, and
// gives it another address.
func TestContactThatBreaksIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	m := w.machine("rpi-01")
	c := newCable(t, m.addr)
	w.know(c.addr, m.key)
	w.alias("cabled", c.addr)
	node := otto.Node{ID: "cabled", Host: "cabled"}
	f := w.fleet()
	for range 3 {
		eventually(t, "it answers",
			func() bool { s := asks(t, f, node); return s.Reply == otto.ReplyProgram && s.Free })
		c.cut()
	}
	frozen := w.machine("frozen")
	frozen.signal(t, syscall.SIGSTOP)
	w.alias("cabled", frozen.addr)
	eventually(t, "it is at another address", func() bool { return asks(t, f, node).Reply == otto.ReplyKernel })
	w.alias("cabled", m.addr)
	eventually(t, "it is back", func() bool { return asks(t, f, node).Reply == otto.ReplyProgram })
}

func TestHostProvesItselfThroughAnotherNode(t *testing.T) {
	w := newWorld(t)
	f := w.fleet()
	peer, host, frozen, other := w.machine("peer"), w.machine("host"), w.machine("frozen"), w.stranger("other")
	shut := w.machine("shut", "AllowTcpForwarding no")
	frozen.signal(t, syscall.SIGSTOP)
	w.know(other.addr, writeKey(t, t.TempDir()+"/key", ""))
	gone := otto.Node{ID: "gone", Host: "gone"}
	w.alias("gone", freeAddr(t))
	for name, c := range map[string]struct {
		through machine
		node    otto.Node
		err     string // empty for proof
	}{
		"it works":                 {peer, host.node, ""},
		"nothing is forwarded":     {shut, host.node, "shut forwards no connection"},
		"it is frozen":             {peer, frozen.node, "frozen"},
		"it is refused":            {peer, gone, "peer forwards no connection"},
		"another one answers":      {peer, other.node, "has CHANGED"},
		"the other one is frozen":  {frozen, host.node, "frozen"},
		"neither the way to there": {machine{node: gone}, host.node, "refuses connections"},
	} {
		limit := 20 * time.Second // a machine may be busy
		if c.err == "frozen" {
			limit = 3 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := f.Through(ctx, c.through.node, c.node)
		cancel()
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, otto.ErrUnreached) {
			t.Errorf("%s: the host is there: %v", name, err)
		}
	}
}

// TestStoppedAgentIsReplaced has an agent stopped by a signal, and one that runs and says
// nothing.
func TestStoppedAgentIsReplaced(t *testing.T) {
	w := newWorld(t)
	m := w.machine("rpi-01")
	f, broker := w.fleet(), newBroker(t)
	mustEnsure(t, f, m, broker)
	before := m.state(t).Pid
	ensure := func() (steps []string, err error) {
		verify := func(ctx context.Context) error {
			if now := m.state(t).Pid; now != 0 && now != before {
				return nil
			}
			wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			<-wait.Done()
			return errors.New("it has not reported")
		}
		_, err = f.Ensure(t.Context(), m.node, enrolment(m.node.ID, broker), 0,
			bringing(func(s string) { steps = append(steps, s) }, verify))
		return steps, err
	}
	for _, state := range []string{"T", "S"} {
		if state == "T" {
			if err := syscall.Kill(before, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		steps, err := ensure()
		if said := strings.Join(steps, "; "); err != nil ||
			!strings.Contains(said, otto.StepReplace+" (pid "+strconv.Itoa(before)+", state "+state+")") {
			t.Errorf("%s: %v, %s", state, err, said)
		}
		before = m.state(t).Pid
	}
}

// TestAgentThatCannotBeStartedAnewIsNotStuck has a machine on which the user can start
// nothing: the agent that is there could end, so that its host is none that hangs.
func TestAgentThatCannotBeStartedAnewIsNotStuck(t *testing.T) {
	w := newWorld(t)
	m := w.machine("rpi-01")
	f, broker := w.fleet(), newBroker(t)
	mustEnsure(t, f, m, broker)
	if err := os.WriteFile(filepath.Join(m.home, "no-start"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	silent := func(context.Context) error { return errors.New("it has not reported") }
	var steps []string
	for range 2 {
		_, err := f.Ensure(t.Context(), m.node, enrolment(m.node.ID, broker), 0,
			bringing(func(s string) { steps = append(steps, s) }, silent))
		if err == nil || errors.Is(err, otto.ErrStuck) || !strings.Contains(err.Error(), "it has not reported") {
			t.Errorf("%v", err)
		}
	}
	if n := strings.Count(strings.Join(steps, "\n"), otto.StepReplace); n != 1 {
		t.Errorf("tried %d times: %q", n, steps)
	}
}
