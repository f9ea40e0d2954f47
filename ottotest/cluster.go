package ottotest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/wire"
)

// Store is a control.Store in memory. It outlives control planes.
type Store struct {
	mu   sync.Mutex
	docs map[string][]byte
	// Fail, if set, is what Put returns.
	Fail error
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{docs: map[string][]byte{}} }

// Empty reports whether nothing has ever been written.
func (s *Store) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs) == 0
}

// Lose loses a document, as a damaged disk may.
func (s *Store) Lose(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.docs, key)
}

// Get implements control.Store.
func (s *Store) Get(_ context.Context, key string, value any) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.docs[key]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(b, value)
}

// Put implements control.Store.
func (s *Store) Put(_ context.Context, key string, value any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Fail != nil {
		return s.Fail
	}
	b, err := json.Marshal(value)
	s.docs[key] = b
	return err
}

// Sampler is an agent.Sampler that reads the same from every node.
type Sampler struct{}

// Node implements agent.Sampler.
func (Sampler) Node(now time.Time) (otto.NodeSample, error) {
	return otto.NodeSample{Time: now, CPUPercent: 7, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 1 << 30, DiskTotal: 8 << 30}, nil
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

	Log       *slog.Logger
	stopPlane func()
	planeConn *Conn
}

// Host is a machine: a container engine, a disk, and perhaps an agent.
type Host struct {
	Runtime *Runtime
	Dir     string
	// Unreachable is why SSH does not work; nil when it does.
	Unreachable error
	// Wrap, if set, comes between the engine and agents that start from now on.
	Wrap func(agent.Runtime) agent.Runtime

	mu        sync.Mutex
	enrolment *wire.Enrolment
	conn      *Conn
	stop      func()
	boots     int
}

// NewCluster returns a cluster of hosts that have the given images, without a
// control plane. Everything it starts ends with the test.
func NewCluster(t *testing.T, hosts []string, images ...string) *Cluster {
	c := &Cluster{T: t, Bus: NewBus(), Store: NewStore(), Hosts: map[string]*Host{}, Log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, h := range hosts {
		c.Hosts[h] = &Host{Runtime: NewRuntime(images...), Dir: t.TempDir()}
	}
	t.Cleanup(c.Close)
	return c
}

// Close ends everything that runs.
func (c *Cluster) Close() {
	c.KillPlane()
	for id := range c.Hosts {
		c.KillAgent(id)
	}
}

// StartPlane starts a control plane on the cluster's store.
func (c *Cluster) StartPlane() {
	c.T.Helper()
	conn := c.Bus.Client("control")
	p, err := control.New(context.Background(), control.Options{
		Name: "test", Version: "test", Store: c.Store, Create: c.Store.Empty(), Conn: conn, Reach: reach{c}, Log: c.Log.With("who", "control"),
		Broker: control.Broker{Addresses: []string{"127.0.0.1:1883"}, Description: "the test's bus"},
	})
	if err != nil {
		c.T.Fatal(err)
	}
	conn.OnConnect(p.Connected)
	conn.Will(p.Will())
	c.Plane, c.planeConn = p, conn
	c.stopPlane = run(p.Run, conn.Run)
}

// KillPlane ends the control plane as kill -9 would.
func (c *Cluster) KillPlane() {
	if c.stopPlane == nil {
		return
	}
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
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil {
		h.conn.Break()
		h.stop()
		h.stop = nil
	}
}

// StartAgent starts a host's agent from what is on its disk.
func (c *Cluster) StartAgent(host string) error {
	h := c.Hosts[host]
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil || h.enrolment == nil {
		return nil
	}
	h.boots++
	e := *h.enrolment
	boot := host + "-boot-" + strconv.Itoa(h.boots)
	conn := c.Bus.Client(host)
	var engine agent.Runtime = h.Runtime
	if h.Wrap != nil {
		engine = h.Wrap(engine)
	}
	a, err := agent.New(agent.Options{
		Enrolment: e, BootID: boot, Facts: otto.NodeFacts{Hostname: host, Arch: "amd64"}, StateDir: h.Dir,
		Runtime: engine, Conn: conn, Sampler: Sampler{}, Log: c.Log.With("who", host),
	})
	if err != nil {
		return err
	}
	conn.OnConnect(a.Connected)
	conn.Will(agent.Will(host, boot))
	h.conn, h.stop = conn, run(a.Run, conn.Run)
	return nil
}

// Conn is the connection of a host's agent.
func (h *Host) Conn() *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn
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

// reach is a control.Reach that starts agents in this process.
type reach struct{ c *Cluster }

func (r reach) Ensure(ctx context.Context, n otto.Node, e wire.Enrolment, step func(string), verify func(context.Context) error) ([]string, error) {
	h := r.c.Hosts[n.ID]
	if h == nil {
		return nil, fmt.Errorf("no host %s", n.ID)
	}
	step("connecting")
	if h.Unreachable != nil {
		return nil, h.Unreachable
	}
	h.mu.Lock()
	h.enrolment = &e
	h.mu.Unlock()
	if err := r.c.StartAgent(n.ID); err != nil {
		return nil, err
	}
	return nil, verify(ctx)
}

func (r reach) Stop(_ context.Context, n otto.Node, _ string) error {
	h := r.c.Hosts[n.ID]
	if h.Unreachable != nil {
		return h.Unreachable
	}
	r.c.KillAgent(n.ID)
	return nil
}

func (r reach) Uninstall(ctx context.Context, n otto.Node, cluster string, _ bool) error {
	if err := r.Stop(ctx, n, cluster); err != nil {
		return err
	}
	h := r.c.Hosts[n.ID]
	var errs []error
	list, _ := h.Runtime.Containers(ctx)
	for _, ctr := range list {
		errs = append(errs, h.Runtime.Stop(ctx, ctr.ID), h.Runtime.Remove(ctx, ctr.ID))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enrolment = nil
	return errors.Join(errs...)
}
