package ottotest

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/folder"
)

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
	// Folders are the files of projects that control planes keep.
	Folders *folder.Store

	// Seen, if set, is given the views of control planes that start from now on.
	Seen func(*otto.Cluster)

	// OwnBroker makes the bus that which the control plane serves: nodes and it know each
	// other by the keys in force, and it is gone when no control plane runs.
	OwnBroker bool

	// AtEffect, if set, is called before and after everything that control planes
	// and agents that start from now on do to the world.
	AtEffect func(p *Process, point string)

	Log       *slog.Logger
	booted    time.Time
	occupied  occupancy
	atEnd     []func()
	control   sync.Mutex // of Plane and what follows, for those who ask whether one runs
	stopPlane func()
	planeConn *Conn
}

// NewCluster returns a cluster of hosts that have the given images, without a
// control plane. Everything it starts ends with the test.
func NewCluster(t *testing.T, hosts []string, images ...string) *Cluster {
	c := &Cluster{T: t, booted: time.Now(), Bus: NewBus(), Store: NewStore(), Hosts: map[string]*Host{}, Log: slog.New(slog.DiscardHandler)}
	c.Folders = folder.NewStore(filepath.Join(t.TempDir(), "files"))
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c.occupied.hosts, c.occupied.checks = map[string]map[string]int{}, map[string]map[*check]bool{}
	for _, h := range hosts {
		c.Hosts[h] = &Host{name: h, Runtime: NewRuntime(images...), Dir: t.TempDir(), life: make(chan struct{}, 1)}
		c.Hosts[h].Runtime.note = func(instance string, runs bool) { c.occupied.note(h, instance, runs) }
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
		c.control.Lock()
		defer c.control.Unlock()
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
		Broker:  control.Broker{Addresses: []string{"127.0.0.1:1883"}, Description: "the test's bus", Ours: c.OwnBroker},
		Kick:    c.kick(),
		Journal: c.Journal, Snapshots: c.Snapshots, Folders: c.Folders, Bring: reach{c}.bring, Seed: reach{c}.seed,
		Seen: c.Seen,
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
	c.control.Lock()
	c.stopPlane = nil
	c.control.Unlock()
	if c.OwnBroker {
		c.Bus.drop(func(conn *Conn) bool { return conn.admit != nil })
	}
}

// Apply applies w as the next wanted state.
func (c *Cluster) Apply(w otto.Wanted) ([]otto.Change, error) {
	return c.Plane.Apply(context.Background(), w, c.Plane.Cluster().Revision, false)
}

// Wait waits until ok is true of the cluster, at most for limit. Whatever it sees
// meanwhile must have its reason.
func (c *Cluster) Wait(limit time.Duration, what string, ok func(*otto.Cluster) bool) *otto.Cluster {
	c.T.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		now, more := c.Plane.Next()
		for _, s := range now.Services {
			for _, i := range s.Instances {
				if !i.Explained() {
					c.T.Errorf("%s is %s on %s, and nobody says why", i.Name, i.State, i.Node)
				}
			}
		}
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

// Up reports whether a control plane runs.
func (c *Cluster) Up() bool {
	c.control.Lock()
	defer c.control.Unlock()
	return c.stopPlane != nil
}

// PlaneProcess is the control plane's run.
func (c *Cluster) PlaneProcess() *Process { return c.planeConn.by }

// ClusterID is the cluster's, as its nodes know it.
func (c *Cluster) ClusterID() string { return c.Plane.Cluster().ID }

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
