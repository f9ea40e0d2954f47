package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/wire"
)

const (
	thousandNodes, thousandServices = 1000, 20
	// thousandFor is how long it is measured, once everything is up and quiet.
	thousandFor = time.Minute
	// thousandWithin bounds the time until then.
	thousandWithin = 5 * time.Minute
)

// planeDir makes this test's program a control plane with its state in that
// directory: it is measured apart from those who talk to it.
const (
	planeDir    = "OTTO_BENCH_PLANE"
	planeListen = "OTTO_BENCH_LISTEN" // the host:port that it serves MQTT on
)

func TestMain(m *testing.M) {
	if os.Getenv(slowNode) != "" {
		runSlow()
		os.Exit(0)
	}
	if dir := os.Getenv(planeDir); dir != "" {
		if err := runPlane(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// BenchmarkThousandNodes is a control plane with its embedded broker and its store on
// disk, and 1,000 nodes on loopback that say each second, with credentials and a
// TLS connection of their own, what agents say: a heartbeat, the node's metrics and those of
// 20 containers, of 20 services that run on every node. Requirements judge two metrics
// of each container and one of each node. It needs no lab; nodes are in another process,
// and run nothing.
//
//	cpu-cores   CPU time of the control plane's process, broker included, per second
//	rss-MB      its resident memory at the end
//	peak-MB     the most that it had, from its start
//	start-s     from the wanted state to all 20,000 instances up
func BenchmarkThousandNodes(b *testing.B) {
	for b.Loop() {
		p := startPlane(b)
		began := time.Now()
		p.until(b, "all is up", thousandWithin, func(a answer) bool { return a.Up == thousandServices*thousandNodes })
		up := time.Since(began)
		p.until(b, "it is quiet", thousandWithin, func(a answer) bool { return a.Stable == thousandNodes })
		if _, err := io.WriteString(p.in, "profile\n"); err != nil {
			b.Fatal(err)
		}
		pid := p.cmd.Process.Pid
		before, _ := cpuSeconds(pid)
		start := time.Now()
		time.Sleep(thousandFor)
		after, _ := cpuSeconds(pid)
		b.ReportMetric((after-before)/time.Since(start).Seconds(), "cpu-cores")
		b.ReportMetric(memory(b, pid), "rss-MB")
		b.ReportMetric(peak(b, pid), "peak-MB")
		b.ReportMetric(up.Seconds(), "start-s")
		b.ReportMetric(0, "ns/op")
		if a := p.ask(b); a.Ready != thousandNodes || a.Up != thousandServices*thousandNodes || a.Fresh != a.Up ||
			a.Judged < a.Up {
			b.Fatalf("at the end: %+v", a)
		}
		p.stop(b)
	}
}

// answer is how it stands, by the control plane's view.
type answer struct {
	Ready, Stable int // nodes: ready, and for more than a minute
	Up            int // instances
	Fresh         int // that have a sample
	Judged        int // verdicts with a value
	Problem       string
}

// line is what a control plane's process writes: one of the three.
type line struct {
	Broker    string          `json:"broker,omitempty"`
	Enrolment *wire.Enrolment `json:"enrolment,omitempty"`
	Answer    *answer         `json:"answer,omitempty"`
}

// runPlane is the control plane's process, until its standard input ends. For each line
// of that it says how it stands.
func runPlane(dir string) error {
	debug.SetGCPercent(30) // as cli has it
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := json.NewEncoder(os.Stdout)
	say := make(chan line)
	go func() {
		for l := range say {
			_ = out.Encode(l)
		}
	}()
	plane, run, err := newPlane(ctx, dir, os.Getenv(planeListen), say)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return run(ctx) })
	if plane.Cluster().Revision == 0 { // else it goes on
		if _, err := plane.Apply(ctx, thousand(), 0, false); err != nil {
			return err
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "profile" {
			if err := profile(); err != nil {
				return err
			}
			continue
		}
		say <- line{Answer: standing(plane.Cluster())}
	}
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// profileDir, if it is set, is where the control plane's process leaves profiles of its
// CPU time in the minute that is measured and of its memory after it.
const profileDir = "OTTO_BENCH_PROFILE"

func profile() error {
	dir := os.Getenv(profileDir)
	if dir == "" {
		return nil
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.prof"))
	if err != nil {
		return err
	}
	time.AfterFunc(thousandFor, func() {
		pprof.StopCPUProfile()
		_ = cpu.Close()
		heap, err := os.Create(filepath.Join(dir, "heap.prof"))
		if err != nil {
			return
		}
		_ = pprof.Lookup("heap").WriteTo(heap, 0)
		_ = heap.Close()
	})
	return pprof.StartCPUProfile(cpu)
}

// newPlane wires a control plane as cli does, but for the way to its nodes.
func newPlane(ctx context.Context, dir, listen string, say chan<- line) (*control.Plane, func(context.Context) error, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var plane *control.Plane
	const user, password = "otto-control", "secret"
	_, err := os.Stat(filepath.Join(dir, "store"))
	begins := err != nil
	served, err := broker.Start(ctx, broker.Options{Dir: filepath.Join(dir, "store"), Log: log})
	if err != nil {
		return nil, nil, err
	}
	nc, err := served.Conn()
	if err != nil {
		return nil, nil, err
	}
	kept, err := store.Open(ctx, nc, true)
	if err != nil {
		return nil, nil, err
	}
	events, err := journal.Open(filepath.Join(dir, "events"), journal.Limit)
	if err != nil {
		return nil, nil, err
	}
	conn := &lateConn{}
	plane, err = control.New(ctx, control.Options{
		Name:    "bench",
		Version: "bench",
		Store:   kept,
		Create:  begins,
		Conn:    conn,
		Reach:   reach{say},
		Journal: events,
		Log:     log,
		Broker:  control.Broker{Addresses: []string{listen}, Ours: true, Description: listen},
		Kick:    served.Disconnect,
	})
	if err != nil {
		return nil, nil, err
	}
	err = served.Serve(ctx, broker.Options{
		Listen: listen, MaxNodes: thousandNodes, Log: log,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return plane.ServerCertificate(hello.ServerName)
			},
		},
		Authorize: func(l broker.Login) (broker.Permissions, bool) {
			if l.Username == user {
				return broker.Permissions{
					Publish: []string{wire.Root + "/#"},
					ReadAll: true,
					Class:   broker.Control,
				}, l.Password == password
			}
			publish, subscribe := wire.NodePermissions(l.Username)
			return broker.Permissions{
				Publish:   publish,
				Subscribe: subscribe,
				Class:     broker.Node,
			}, plane.Authorize(l.Username, l.Password, l.Key)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	over, err := plane.BrokerTLS().Config()
	if err != nil {
		return nil, nil, err
	}
	topic, will := plane.Will()
	conn.Client = mqtt.NewClient(mqtt.ClientOptions{
		Brokers: []string{listen}, TLS: over, ClientID: user, Username: user, Password: password, Log: log,
		OnConnect: plane.Connected, OnDisconnect: plane.Disconnected, Expendable: wire.Sampled,
		Will: &mqtt.Message{Topic: topic, QoS: 1, Retain: true, Payload: will},
	})
	say <- line{Broker: listen}
	return plane, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return conn.Run(ctx) })
		g.Go(func() error { return plane.Run(ctx) })
		return errors.Join(g.Wait(), events.Close(), served.Close())
	}, nil
}

// lateConn is the client, which is made after the plane that uses it.
type lateConn struct{ *mqtt.Client }

// reach enrolls nodes by telling who they are.
type reach struct{ say chan<- line }

func (r reach) Ensure(ctx context.Context, _ otto.Node, e wire.Enrolment, by otto.Bringing) ([]string, error) {
	r.say <- line{Enrolment: &e}
	return nil, by.Verify(ctx)
}
func (reach) Stop(context.Context, otto.Node, wire.Authority) error            { return nil }
func (reach) Uninstall(context.Context, otto.Node, wire.Authority, bool) error { return nil }
func (reach) Alive(context.Context, otto.Node) otto.Sign {
	return otto.Sign{Reply: otto.ReplyProgram, Free: true}
}
func (reach) Through(context.Context, otto.Node, otto.Node) error { return nil }
func (reach) Address(otto.Node) string                            { return "" }

func standing(c *otto.Cluster) *answer {
	a := answer{Problem: c.Problem}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.State == otto.NodeReady {
			a.Ready++
			if c.Time.Sub(n.Since) > time.Minute {
				a.Stable++
			}
		}
	}
	for i := range c.Services {
		for k := range c.Services[i].Instances {
			at := &c.Services[i].Instances[k]
			if at.Up() {
				a.Up++
			}
			if at.Sample != nil {
				a.Fresh++
			}
		}
		for k := range c.Services[i].Verdicts {
			if c.Services[i].Verdicts[k].Value != nil {
				a.Judged++
			}
		}
	}
	return &a
}

// thousand is what is wanted.
func thousand() otto.Wanted {
	below := func(metric, aggregate string, over time.Duration, action string) otto.Requirement {
		return otto.Requirement{
			Metric:    metric,
			Aggregate: aggregate,
			Over:      over,
			Operator:  "<",
			Limit:     80,
			Clear:     72,
			Unit:      otto.UnitPercent,
			For:       30 * time.Second,
			Severity:  otto.SeverityWarning,
			Action:    action,
		}
	}
	w := otto.Wanted{
		Interval: time.Second,
		Health:   otto.Health{Heartbeat: time.Second},
		Requirements: []otto.Requirement{
			below("node.cpu", "avg", 30*time.Second, otto.ActionMigrate),
			below("cpu", "p95", 30*time.Second, otto.ActionMigrate),
			below("memory", otto.AggregateLast, 0, otto.ActionEvent),
		},
	}
	for i := range thousandNodes {
		w.Nodes = append(
			w.Nodes,
			otto.Node{
				ID:        fmt.Sprintf("n%d", i),
				Host:      fmt.Sprintf("n%d.invalid", i),
				DockerURL: "unix:///var/run/docker.sock",
			},
		)
	}
	services := thousandServices
	if os.Getenv(leased) != "" {
		services = reconnectServices
	}
	for i := range services {
		w.Services = append(w.Services, otto.Service{
			Name: fmt.Sprintf("s%d", i),
			Mode: otto.ModeGlobal,
			Spec: otto.ContainerSpec{
				Image:       "registry/app:1",
				Environment: map[string]string{"MODE": "edge"},
				Ports:       []otto.Port{{Container: 80, Protocol: "tcp"}},
			},
		})
	}
	if os.Getenv(leased) != "" {
		w.Services = append(w.Services, otto.Service{
			Name:     "leased",
			Node:     "n0",
			Replicas: 1,
			Failover: otto.FailoverMove,
			Spec:     otto.ContainerSpec{Image: "registry/app:1", Exclusive: true},
		})
	}
	return w
}

// planeProcess is the control plane's process, with its nodes in this one.
type planeProcess struct {
	dir, listen string

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer
	nodes   *errgroup.Group
	leave   context.CancelFunc
}

func startPlane(b *testing.B) *planeProcess {
	b.Helper()
	ctx, leave := context.WithCancel(b.Context())
	p := &planeProcess{dir: b.TempDir(), listen: freePort(b), nodes: new(errgroup.Group), leave: leave}
	enrolled := map[string]bool{}
	p.start(b, func(e wire.Enrolment) {
		if !enrolled[e.NodeID] {
			enrolled[e.NodeID] = true
			n := newSimulated(e, len(enrolled))
			p.nodes.Go(func() error { return n.run(ctx) })
		}
	})
	b.Cleanup(func() {
		leave()
		_ = p.cmd.Process.Kill()
	})
	return p
}

// start starts the process, with the state that it had.
func (p *planeProcess) start(b *testing.B, enrolled func(wire.Enrolment)) {
	b.Helper()
	p.cmd = exec.CommandContext(b.Context(), os.Args[0])
	p.cmd.Env = append(os.Environ(), planeDir+"="+p.dir, planeListen+"="+p.listen)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	answers := make(chan answer)
	p.answers = answers
	go func() {
		defer close(answers)
		for lines := json.NewDecoder(out); ; {
			var l line
			if lines.Decode(&l) != nil {
				return
			}
			switch {
			case l.Answer != nil:
				answers <- *l.Answer
			case l.Enrolment != nil:
				enrolled(*l.Enrolment)
			}
		}
	}()
}

// freePort is an address at which nothing listens.
func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *planeProcess) ask(b *testing.B) answer {
	b.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		b.Fatal(err)
	}
	a, ok := <-p.answers
	if !ok {
		b.Fatal("the control plane has ended")
	}
	return a
}

func (p *planeProcess) until(b *testing.B, what string, within time.Duration, done func(answer) bool) {
	b.Helper()
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Second) {
		a := p.ask(b)
		if done(a) {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("not %s within %s: %+v", what, within, a)
		}
	}
}

func (p *planeProcess) stop(b *testing.B) {
	b.Helper()
	p.leave()
	_ = p.nodes.Wait()
	if err := errors.Join(p.in.Close(), p.cmd.Wait()); err != nil {
		b.Error(err)
	}
}

// peak is the most resident memory that a process has had, in MB.
func peak(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}
