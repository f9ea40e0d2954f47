package ottotest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/wire"
)

// Sampler is an agent.Sampler that reads the same from every node.
type Sampler struct{ of *Host }

// Node implements agent.Sampler.
func (s Sampler) Node(now time.Time) (otto.NodeSample, error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return otto.NodeSample{Time: now.Add(s.of.skew), CPUPercent: 7, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 1 << 30, DiskTotal: 8 << 30}, nil
}

// Containers implements agent.Sampler.
func (Sampler) Containers(_ time.Time, running []otto.RunningContainer) []otto.ContainerSample {
	list := make([]otto.ContainerSample, len(running))
	for i, r := range running {
		list[i] = otto.ContainerSample{ID: r.ID, Name: r.Name, CPUPercent: 1, MemoryUsed: 1 << 20, MemoryLimit: 1 << 30}
	}
	return list
}

// Cluster is a cluster in one process.
type Cluster struct {
	T     *testing.T
	Bus   *Bus
	Store *Store
	Plane *control.Plane
	Hosts map[string]*Host
	// Created says that there has been a control plane, so that the store must not be empty.
	Created bool
	// Journal, if set, is that of control planes that start from now on.
	Journal *journal.Journal
	// Snapshots, if set, is what such control planes leave them by.
	Snapshots control.Snapshots

	// AtEffect, if set, is called before and after everything that control planes
	// and agents that start from now on do to the world.
	AtEffect func(p *Process, point string)

	Log       *slog.Logger
	booted    time.Time
	atEnd     []func()
	stopPlane func()
	planeConn *Conn
}

// Host is a machine: a container engine, a disk, and perhaps an agent.
type Host struct {
	Runtime *Runtime
	Dir     string
	// Arch is the machine's; empty means amd64.
	Arch string
	// SSHTime is how long it takes to do anything there over SSH.
	SSHTime time.Duration
	// unreachable is why SSH does not work; nil when it does.
	unreachable error
	// Wrap, if set, comes between the engine and agents that start from now on.
	Wrap func(agent.Runtime) agent.Runtime

	measure atomic.Pointer[func(*otto.NodeSample, []otto.ContainerSample)]
	rtt     atomic.Int64 // nanoseconds that a packet from anywhere takes to it and back
	devices sync.Map     // by path, of those that are plugged in

	life      chan struct{} // taken by who starts or ends the agent
	cut       bool          // its network
	off       bool          // its power
	powered   int           // how often it was switched on again
	poweredAt time.Time     // the last time
	skew      time.Duration // of its wall clock
	mu        sync.Mutex
	enrolment *wire.Enrolment
	conn      *Conn
	stop      func()
	boots     int
}

// NewCluster returns a cluster of hosts that have the given images, without a
// control plane. Everything it starts ends with the test.
func NewCluster(t *testing.T, hosts []string, images ...string) *Cluster {
	c := &Cluster{T: t, booted: time.Now(), Bus: NewBus(), Store: NewStore(), Hosts: map[string]*Host{}, Log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, h := range hosts {
		c.Hosts[h] = &Host{Runtime: NewRuntime(images...), Dir: t.TempDir(), life: make(chan struct{}, 1)}
	}
	t.Cleanup(c.Close)
	return c
}

// Close ends everything that runs.
func (c *Cluster) Close() {
	c.KillPlane()
	for id := range c.Hosts {
		c.Heal(id)
		c.KillAgent(id)
	}
	for _, f := range c.atEnd {
		f()
	}
	c.atEnd = nil
}

// StartPlane starts a control plane on the cluster's store.
func (c *Cluster) StartPlane() {
	c.T.Helper()
	if err := c.TryPlane(); err != nil {
		c.T.Fatal(err)
	}
}

// TryPlane is StartPlane where that may fail.
func (c *Cluster) TryPlane() error {
	p, conn, stop, err := c.plane("control", c.Store)
	if err == nil {
		c.Plane, c.planeConn, c.stopPlane = p, conn, stop
	}
	return err
}

// SecondPlane starts another control plane, on a copy of the store as a copied
// directory has. It runs until the end of the test.
func (c *Cluster) SecondPlane() *control.Plane {
	c.T.Helper()
	p, conn, stop, err := c.plane("control-2", c.Store.Copy())
	if err != nil {
		c.T.Fatal(err)
	}
	c.atEnd = append(c.atEnd, func() {
		conn.Break()
		stop()
	})
	return p
}

func (c *Cluster) plane(name string, store *Store) (*control.Plane, *Conn, func(), error) {
	conn := c.Bus.Client(name)
	conn.by = c.process(name)
	p, err := control.New(context.Background(), control.Options{
		Name: "test", Version: "test", Store: held{store, conn.by}, Create: !c.Created, Conn: conn, Reach: reach{c}, Try: c.try(""), Log: c.Log.With("who", name),
		Broker:  control.Broker{Addresses: []string{"127.0.0.1:1883"}, Description: "the test's bus"},
		Journal: c.Journal, Snapshots: c.Snapshots,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	c.Created = true
	conn.OnConnect(p.Connected)
	conn.Will(p.Will())
	return p, conn, run(p.Run, conn.Run), nil
}

// KillPlane ends the control plane as kill -9 would.
func (c *Cluster) KillPlane() {
	if c.stopPlane == nil {
		return
	}
	c.planeConn.by.Kill()
	c.planeConn.Break()
	c.stopPlane()
	c.stopPlane = nil
}

// Apply applies w as the next wanted state.
func (c *Cluster) Apply(w otto.Wanted) ([]otto.Change, error) {
	return c.Plane.Apply(context.Background(), w, c.Plane.Cluster().Revision, false)
}

// Wait waits until ok is true of the cluster, at most for limit.
func (c *Cluster) Wait(limit time.Duration, what string, ok func(*otto.Cluster) bool) *otto.Cluster {
	c.T.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		now, more := c.Plane.Next()
		if ok(now) {
			return now
		}
		select {
		case <-more:
		case <-deadline.C:
			b, _ := json.MarshalIndent(now, "", " ")
			c.T.Fatalf("not within %s: %s\n%s", limit, what, b)
		}
	}
}

// WaitUp waits until every node is ready and every instance as wanted.
func (c *Cluster) WaitUp(limit time.Duration) *otto.Cluster {
	c.T.Helper()
	return c.Wait(limit, "all up", AllUp)
}

// AllUp reports whether every node is ready and every instance as wanted.
func AllUp(c *otto.Cluster) bool {
	for _, n := range c.Nodes {
		if n.State != otto.NodeReady {
			return false
		}
	}
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if !i.Up() {
				return false
			}
		}
	}
	return true
}

// KillAgent ends a host's agent as kill -9 would; its containers run on.
func (c *Cluster) KillAgent(host string) {
	h := c.Hosts[host]
	h.life <- struct{}{}
	defer func() { <-h.life }()
	if conn, stop := h.unplug(); stop != nil {
		conn.by.Kill()
		conn.Break()
		stop()
	}
}

// unplug takes the agent out of the host; whoever does it ends it, without the
// lock, because the agent may need it to come to its end.
func (h *Host) unplug() (*Conn, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	stop := h.stop
	h.stop = nil
	return h.conn, stop
}

// StartAgent starts a host's agent from what is on its disk.
func (c *Cluster) StartAgent(host string) error {
	h := c.Hosts[host]
	h.life <- struct{}{}
	defer func() { <-h.life }()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil || h.enrolment == nil || h.off {
		return nil
	}
	conn, stop, err := c.agent(host, h.Dir, h.Runtime, h.clock(host, c.booted))
	if err == nil {
		h.conn, h.stop = conn, stop
	}
	return err
}

// Twin starts a second agent of a host, from a copy of its disk on another machine
// that has an engine of its own: on the same machine an agent would find its
// directory held. It returns what cuts the power of that machine; nil where there
// is no agent to be doubled.
func (c *Cluster) Twin(host string, engine *Runtime) (off func(), err error) {
	h := c.Hosts[host]
	dir := c.T.TempDir()
	if err := os.CopyFS(dir, os.DirFS(h.Dir)); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop == nil {
		return nil, nil
	}
	clock := h.clock(host+"-twin", time.Now())
	conn, end, err := c.agent(host, dir, engine, clock)
	if err != nil {
		return nil, err
	}
	return func() {
		conn.by.Kill()
		conn.Break()
		end()
		engine.PowerOff()
	}, nil
}

// agent starts an agent of a host; the caller holds the host's lock.
func (c *Cluster) agent(host, dir string, on *Runtime, clock agent.Clock) (*Conn, func(), error) {
	h := c.Hosts[host]
	h.boots++
	e := *h.enrolment
	boot := host + "-boot-" + strconv.Itoa(h.boots)
	conn := c.Bus.Client(host)
	conn.by = c.process(host)
	var runtime agent.Runtime = engine{on, conn.by}
	if h.Wrap != nil {
		runtime = h.Wrap(runtime)
	}
	a, err := agent.New(agent.Options{
		Enrolment: e, BootID: boot, Facts: otto.NodeFacts{Hostname: host, Arch: cmp.Or(h.Arch, "amd64")}, StateDir: dir,
		Runtime: runtime, Conn: conn, Sampler: measuring{Sampler{h}}, Clock: clock, Knock: c.knock(host), RoundTrip: c.roundTrip(host), Try: c.try(host), Exists: h.plugged, Log: c.Log.With("who", host),
	})
	if err != nil {
		return nil, nil, err
	}
	conn.OnConnect(a.Connected)
	conn.Will(agent.Will(host, boot))
	return conn, run(a.Run, conn.Run), nil
}

// Plug plugs a device into a host, or pulls it out. The agent looks for it when it
// looks at the engine.
func (h *Host) Plug(path string, in bool) {
	if in {
		h.devices.Store(path, true)
	} else {
		h.devices.Delete(path)
	}
}

func (h *Host) plugged(path string) bool {
	_, in := h.devices.Load(path)
	return in
}

// Clone copies a host's disk, as far as its agent's enrolment goes, to another
// host and starts the agent there: two agents of one node.
func (c *Cluster) Clone(from, to string) error {
	f, t := c.Hosts[from], c.Hosts[to]
	f.mu.Lock()
	enrolment := f.enrolment
	f.mu.Unlock()
	t.mu.Lock()
	t.enrolment = enrolment
	t.mu.Unlock()
	return c.StartAgent(to)
}

// clock is the host's, which begins anew whenever its power is switched on.
func (h *Host) clock(machine string, since time.Time) agent.Clock {
	if !h.poweredAt.IsZero() {
		since = h.poweredAt
	}
	return agent.Clock{Boot: machine + "-" + strconv.Itoa(h.powered), Now: func() time.Duration { return time.Since(since) }}
}

// knock is what a host finds when it tries to reach another one.
func (c *Cluster) knock(from string) func(context.Context, string) error {
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
	reach := c.knock(from)
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
	reach := c.knock(from)
	return func(ctx context.Context, _ otto.Probe, address string) error {
		host, port, err := net.SplitHostPort(address)
		if host == "" && err == nil {
			if !c.Hosts[from].Runtime.listens(port, func(p otto.Port) uint16 { return p.Container }) {
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
		if !c.Hosts[host].Runtime.listens(port, func(p otto.Port) uint16 { return p.Host }) {
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

// PowerOff cuts a host's power: agent and containers end at once, and the broker
// learns of it when the connection has been silent for long enough.
func (c *Cluster) PowerOff(host string) {
	h := c.Hosts[host]
	c.Bus.Cut(host)
	h.mu.Lock()
	h.off = true
	h.mu.Unlock()
	h.life <- struct{}{}
	defer func() { <-h.life }()
	if conn, stop := h.unplug(); stop != nil {
		conn.by.Kill()
		stop()
	}
	h.Runtime.PowerOff()
}

// PowerOn switches a host on again: the engine starts what it would at boot, and
// the agent if withAgent is set, as systemd does.
func (c *Cluster) PowerOn(host string, withAgent bool) error {
	c.Bus.Heal(host)
	h := c.Hosts[host]
	h.mu.Lock()
	h.off = false
	h.powered, h.poweredAt = h.powered+1, time.Now()
	h.mu.Unlock()
	h.Runtime.PowerOn()
	if withAgent {
		return c.StartAgent(host)
	}
	return nil
}

// Up reports whether a control plane runs.
func (c *Cluster) Up() bool { return c.stopPlane != nil }

// PlaneProcess is the control plane's run.
func (c *Cluster) PlaneProcess() *Process { return c.planeConn.by }

// ClusterID is the cluster's, as its nodes know it.
func (c *Cluster) ClusterID() string { return c.Plane.Cluster().ID }

// Running returns the hosts on which an instance runs, in truth.
func (c *Cluster) Running(instance string) (hosts []string) {
	for id, h := range c.Hosts {
		for _, ctr := range h.Runtime.List() {
			if ctr.Instance == instance && ctr.State == otto.ContainerRunning {
				hosts = append(hosts, id)
			}
		}
	}
	slices.Sort(hosts)
	return hosts
}

// NeverTwice fails the test if an instance ever runs on two hosts at a time.
func (c *Cluster) NeverTwice(instance string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if hosts := c.Running(instance); len(hosts) > 1 {
				c.T.Errorf("%s runs on %v at once", instance, hosts)
				return
			}
			_ = pause(ctx, 10*time.Millisecond)
		}
	}()
	c.atEnd = append(c.atEnd, func() {
		cancel()
		<-done
	})
}

// Conn is the connection of a host's agent.
func (h *Host) Conn() *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn
}

// Alive reports whether the host's agent runs.
func (h *Host) Alive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stop != nil
}

// SetUnreachable says why SSH does not work, or with nil that it does.
func (h *Host) SetUnreachable(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unreachable = why
}

// SetSkew sets how far the host's wall clock is off.
func (h *Host) SetSkew(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew = d
}

// Boots is how often the host's agent has been started.
func (h *Host) Boots() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boots
}

// run starts functions and returns what ends them and waits for them.
func run(fs ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(func() { _ = f(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
	}
}
