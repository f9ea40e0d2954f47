package shell

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
)

// here is an engine whose containers are this machine.
type here struct {
	state otto.ContainerState
	sizes chan Size
	ran   chan *command
}

func (h here) Containers(context.Context) ([]otto.Container, error) {
	return []otto.Container{
		{ID: "old", Instance: "web", State: otto.ContainerExited}, {ID: "new", Instance: "web", State: h.state},
	}, nil
}

func (h here) Run(_ context.Context, id string, c Command) (Process, error) {
	if id != "new" {
		return nil, errors.New("the wrong container: " + id)
	}
	p := &command{cmd: exec.Command(c.Args[0], c.Args[1:]...), sizes: h.sizes, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), c.Env...)
	var failed [3]error
	p.in, failed[0] = p.cmd.StdinPipe()
	p.out, failed[1] = p.cmd.StdoutPipe()
	p.err, failed[2] = p.cmd.StderrPipe()
	if err := errors.Join(append(failed[:], p.cmd.Start())...); err != nil {
		return nil, err
	}
	if h.ran != nil {
		h.ran <- p
	}
	return p, nil
}

// command implements Process.
type command struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err io.Reader
	sizes    chan Size
	ended    chan struct{}
}

func (p *command) Output(stdout, stderr io.Writer) error {
	defer close(p.ended)
	var g errgroup.Group
	g.Go(func() error { _, err := io.Copy(stdout, p.out); return err })
	g.Go(func() error { _, err := io.Copy(stderr, p.err); return err })
	err := g.Wait()
	_ = p.cmd.Wait()
	return err
}

func (p *command) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *command) CloseWrite() error           { return p.in.Close() }
func (p *command) Close()                      {}

func (p *command) Resize(_ context.Context, s Size) error {
	p.sizes <- s
	return nil
}

func (p *command) Signal(_ context.Context, s syscall.Signal) error { return p.cmd.Process.Signal(s) }

func (p *command) Wait(context.Context) (int, error) { return p.cmd.ProcessState.ExitCode(), nil }

// connect has e serve what a client asks for, and returns the client's connection.
func connect(t *testing.T, e Engine, c Command) net.Conn {
	t.Helper()
	client, node := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(context.Background(), e, node, node)
		node.Close()
	}()
	if err := Ask(client, Place{Instance: "web", Host: true}, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		<-served
	})
	return client
}

func sh(script string) Command { return Command{Args: []string{"sh", "-c", script}, In: true} }

func TestCommandRunsAsIfHere(t *testing.T) {
	running := here{state: otto.ContainerRunning}
	for name, test := range map[string]struct {
		engine     Engine
		command    Command
		in         string
		out, err   string
		code       int
		failedWith string
	}{
		"output, errors and exit code": {engine: running, command: sh("echo out; echo err >&2; exit 7"), out: "out\n", err: "err\n", code: 7},
		"standard input":               {engine: running, command: sh("cat; echo end"), in: "one\ntwo\n", out: "one\ntwo\nend\n"},
		"input that nobody reads":      {engine: running, command: sh("exec <&-; echo end"), in: strings.Repeat("x", 3*inAhead), out: "end\n"},
		"environment":                  {engine: running, command: Command{Args: []string{"sh", "-c", "echo $A"}, Env: []string{"A=b c"}}, out: "b c\n"},
		"ended by a signal":            {engine: running, command: sh("kill -9 $$"), code: -1},
		"no such command":              {engine: running, command: Command{Args: []string{"/no/such"}}, failedWith: "no such file"},
		"no command":                   {engine: running, failedWith: "no command"},
		"does not run":                 {engine: here{state: otto.ContainerPaused}, command: sh("true"), failedWith: "the container of web does not run: it is paused"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code, err := Attach(t.Context(), connect(t, test.engine, test.command),
				Ends{In: strings.NewReader(test.in), Out: &out, Err: &errs})
			if failed := err != nil; failed != (test.failedWith != "") ||
				failed && !strings.Contains(err.Error(), test.failedWith) {
				t.Fatalf("error %v, not %q", err, test.failedWith)
			}
			if diff := cmp.Diff([]any{test.out, test.err, test.code},
				[]any{out.String(), errs.String(), code}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBinaryOutputArrivesWhole sends 100 MB there and back.
func TestBinaryOutputArrivesWhole(t *testing.T) {
	const size = 100 << 20
	sent, got := sha256.New(), sha256.New()
	source := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sent)
	code, err := Attach(t.Context(), connect(t, here{state: otto.ContainerRunning}, sh("cat")),
		Ends{In: source, Out: got, Err: io.Discard})
	if err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
}

// TestPortIsReached: a server that answers when all has been said, and one that is not.
func TestPortIsReached(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(conn)
			_, _ = conn.Write(bytes.ToUpper(said))
			conn.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	attach := func() (string, error) {
		var out bytes.Buffer
		conn := connect(t, here{state: otto.ContainerRunning}, Command{Port: port, In: true})
		_, err := Attach(t.Context(), conn, Ends{In: strings.NewReader("hello"), Out: &out, Err: io.Discard})
		return out.String(), err
	}
	if out, err := attach(); out != "HELLO" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	l.Close()
	if _, err := attach(); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("port %d of web: ", port)) ||
		strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a port that nobody listens on: %v", err)
	}
}

func TestTerminalIsResized(t *testing.T) {
	sizes := make(chan Size)
	in, typed := io.Pipe()
	engine := here{state: otto.ContainerRunning, sizes: make(chan Size, 1)}
	conn := connect(t, engine, sh("read line"))
	go func() {
		sizes <- Size{Width: 120, Height: 40}
		if got := <-engine.sizes; got != (Size{Width: 120, Height: 40}) {
			t.Errorf("resized to %v", got)
		}
		_, _ = typed.Write([]byte("enter\n"))
	}()
	if code, err := Attach(t.Context(), conn,
		Ends{In: in, Out: io.Discard, Err: io.Discard, Sizes: sizes}); code != 0 ||
		err != nil {
		t.Error(code, err)
	}
}

// TestInterruptReachesTheCommand: it may do what it likes with it, and its exit code
// counts.
func TestInterruptReachesTheCommand(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out := writer(func(p []byte) {
		if strings.Contains(string(p), "ready") {
			interrupt()
		}
	})
	code, err := Attach(
		ctx,
		connect(t, here{state: otto.ContainerRunning},
			sh("trap 'exit 5' INT; echo ready; while :; do read line; done")),
		Ends{Out: out, Err: io.Discard},
	)
	if code != 5 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// TestCommandEndsWithItsClient: one that ignores a hang-up as well.
func TestCommandEndsWithItsClient(t *testing.T) {
	engine := here{state: otto.ContainerRunning, ran: make(chan *command, 1)}
	ready := make(chan struct{}, 1)
	conn := connect(t, engine, sh("trap '' HUP; echo ready; exec sleep 1000"))
	go func() {
		_, _ = Attach(context.Background(), conn,
			Ends{Out: writer(func([]byte) { ready <- struct{}{} }), Err: io.Discard})
	}()
	<-ready
	conn.Close()
	p := <-engine.ran
	<-p.ended
	if state := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", state)
	}
}

// TestDroppedLinkIsNoticed: nothing comes, and nothing says that the link is gone.
func TestDroppedLinkIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, node := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, node) }()
		began := time.Now()
		_, err := Attach(t.Context(), client, Ends{Out: io.Discard, Err: io.Discard})
		if !errors.Is(err, ErrLost) || time.Since(began) > 10*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		node.Close()
	})
}

// FuzzServe takes what anybody may send.
func FuzzServe(f *testing.F) {
	var b bytes.Buffer
	_ = Ask(&b, Place{Instance: "web"}, sh("cat"))
	s := sender{out: &b}
	_ = s.send(frameIn, []byte("x"))
	_ = s.sendJSON(frameSize, Size{80, 25})
	_ = s.sendJSON(frameSignal, 2)
	_ = s.send(frameInEnd, nil)
	f.Add(b.Bytes())
	f.Add([]byte{frameRequest, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, sent []byte) {
		_ = Serve(context.Background(), quiet{}, bytes.NewReader(sent), io.Discard)
	})
}

// quiet is an engine whose commands end at once.
type quiet struct{}

func (quiet) Containers(context.Context) ([]otto.Container, error) {
	return []otto.Container{{ID: "new", Instance: "web", State: otto.ContainerRunning}}, nil
}
func (quiet) Run(context.Context, string, Command) (Process, error) { return quiet{}, nil }
func (quiet) Output(io.Writer, io.Writer) error                     { return nil }
func (quiet) Write(b []byte) (int, error)                           { return len(b), nil }
func (quiet) CloseWrite() error                                     { return nil }
func (quiet) Resize(context.Context, Size) error                    { return nil }
func (quiet) Signal(context.Context, syscall.Signal) error          { return nil }
func (quiet) Wait(context.Context) (int, error)                     { return 0, nil }
func (quiet) Close()                                                {}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestFind(t *testing.T) {
	at := func(name, node string, state otto.InstanceState) otto.PlacedInstance {
		return otto.PlacedInstance{Node: node, InstanceStatus: otto.InstanceStatus{Name: name, State: state}}
	}
	view := &otto.Cluster{
		Nodes: []otto.NodeStatus{{Node: otto.Node{ID: "a"}}, {Node: otto.Node{ID: "b"}}},
		Services: []otto.ServiceStatus{
			{
				Service: otto.Service{Name: "web"},
				Instances: []otto.PlacedInstance{
					at("web", "a", otto.InstanceFailed),
					at("web-2", "b", otto.InstanceRunning),
				},
			},
			{Service: otto.Service{Name: "job"}, Instances: []otto.PlacedInstance{at("job", "", otto.InstanceWaiting)}},
		},
	}
	for _, test := range []struct {
		q              Query
		instance, fail string
	}{
		{q: Query{Name: "web"}, instance: "web-2"},
		{q: Query{Name: "web-2"}, instance: "web-2"},
		{q: Query{Name: "web", Node: "a"}, instance: "web"},
		{q: Query{Name: "web-2", Node: "a"}, fail: "web-2 is not on a"},
		{q: Query{Name: "job"}, fail: "job is on no node"},
		{q: Query{Name: "a"}, fail: "a is a node: name a service or an instance"},
		{q: Query{Name: "wob"}, fail: `no service or node "wob": did you mean web?`},
	} {
		at, err := Find(view, test.q)
		if at.Instance != test.instance || (err != nil) != (test.fail != "") || err != nil && err.Error() != test.fail {
			t.Errorf("%+v: %q, %v", test.q, at.Instance, err)
		}
	}
}
