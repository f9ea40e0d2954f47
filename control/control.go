// Package control is the control plane: it takes in what nodes report, decides
// what each node should run, and tells it in one signed assignment.
//
// A Plane's state is owned by one goroutine, the loop in Run. Everything that
// happens (a message, a command, the end of an installation, a tick) reaches it
// as a function in its inbox, runs there alone, and is followed by a pass:
// judge every node, place what has no place, publish the assignments that
// changed. Readers get an immutable otto.Cluster.
//
// What must survive is written to the store before anybody is told of it.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/health"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/lookout"
	"github.com/otto-edge/otto/wire"
)

// Conn is the connection to the broker. Package mqtt has one.
type Conn interface {
	Publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error
	Subscribe(filter string, handle func(topic string, payload []byte))
}

// Store keeps documents; what Put has acknowledged survives a power cut.
// Package store has one.
type Store interface {
	Get(ctx context.Context, key string, value any) (found bool, err error)
	Put(ctx context.Context, key string, value any) error
}

// Reach brings agents to machines, and takes them away. Package bootstrap does
// it over SSH.
type Reach interface {
	// Ensure makes the node run this build's agent with enrolment e, and changes
	// nothing where that is so already. It tells by what it is doing. The warnings are
	// what a person should mend although the node works.
	Ensure(ctx context.Context, n otto.Node, e wire.Enrolment, by otto.Bringing) (warnings []string, err error)
	// Stop ends the node's agent, and Uninstall takes everything of the cluster off
	// the node. Both refuse a node that is not by's.
	Stop(ctx context.Context, n otto.Node, by wire.Authority) error
	Uninstall(ctx context.Context, n otto.Node, by wire.Authority, volumes bool) error
	// Alive asks, past the agent, how much of the node's host answers before ctx ends.
	Alive(ctx context.Context, n otto.Node) otto.Sign
	// Through returns nil if the node's host proves by its own key, to who connects to it
	// through the SSH server of another node, that it works; otto.ErrUnreached says that
	// the other one does not reach it.
	Through(ctx context.Context, other, n otto.Node) error
	// Address is the host:port by which other nodes can try the same; empty if
	// they cannot.
	Address(n otto.Node) string
}

// Broker is how nodes find the broker.
type Broker struct {
	// Addresses are host:port as nodes can reach them; empty leaves it to Reach.
	Addresses []string
	TLS       *wire.TLS
	// Username and Password are those of a broker that is not ours; empty means
	// that each node gets its own. At ours each node has a key of its own.
	Username, Password string
	Ours               bool   // it is served by this process
	Description        string // for people
}

// Options are what a control plane is made of.
type Options struct {
	Name    string // of the cluster
	Version string
	Store   Store
	Create  bool // a cluster that has never been started: the store may be empty
	Conn    Conn
	Reach   Reach
	Broker  Broker
	Limits  health.Limits
	// Try asks what is at address, host:port, whether it works, as a probe says.
	Try func(ctx context.Context, probe otto.Probe, address string) error
	// Journal keeps the events; nil keeps them in memory.
	Journal *journal.Journal
	// Kick ends a node's connections to the broker, but those by this key if it is not
	// nil; nil where Otto does not serve it.
	Kick func(node string, but []byte)
	// Trusted, if set, is called with the authorities, as PEM, by one of which our broker
	// proves itself, when they have changed.
	Trusted func(authorities string)
	// Snapshots, if there is one, takes sealed backups to nodes, and Files is what
	// is kept beside the store and belongs into each backup.
	Snapshots Snapshots
	Files     func() (map[string]string, error)
	// Folders are the files of projects, and Bring brings those with a key to a node, as a
	// pack.
	Folders *folder.Store
	Bring   func(ctx context.Context, n otto.Node, key string, pack io.Reader) error
	// Seen, if set, is given each new view while nodes can be heard. It must not wait.
	Seen func(*otto.Cluster)
	// Seed copies data of a project, which is on this machine, to a node, as a volume there.
	Seed func(ctx context.Context, n otto.Node, volume string, of otto.Seed) error
	// Ailments, if set, says at once what is wrong with this process or its directory.
	Ailments func() []string
	// Refused, if set, says at once what our broker has refused.
	Refused func() []otto.Refused
	// KnownID is the id that the cluster had before its state was lost; empty draws one.
	KnownID string
	Log     *slog.Logger
}

// Plane is the control plane of one cluster.
type Plane struct {
	Options
	inbox chan func()
	ended chan struct{} // closed when Run has returned
	view  atomic.Pointer[otto.Cluster]

	watchMu sync.Mutex
	watch   chan struct{} // closed when there is a new view

	shown        atomic.Pointer[shown]    // what the broker proves itself with, likewise
	certificates sync.Map                 // of the broker, by the authority that has signed them
	users        sync.Map                 // of enrolled nodes: id to credentials, for the broker to ask at any time
	metricTopics atomic.Pointer[[]string] // likewise

	// Everything below belongs to the loop.
	ctx        context.Context // of Run
	own        wire.Warrant    // what this control plane is
	warrant    []byte          // the same, signed
	documents                  // as they are in the store
	nodes      map[string]*node
	started    time.Time
	watching   time.Time          // since when messages can come in
	number     uint64             // of the last assignment
	checks     uint64             // begun so far
	doubts     string             // why nobody is judged lost
	look       bool               // something has happened that the state of nodes depends on
	dirty      bool               // likewise, and decisions
	judged     time.Time          // when to look again although nothing has
	again      time.Time          // when to decide again although nothing has
	troubles   map[string]trouble // by instance
	waiting    map[string]string  // why an instance has no place, or not the one it should
	unbuilt    map[build]evidence // images that do not exist for an architecture
	watched    map[string]watched // new versions, by instance
	held       map[string]string  // why a stateful instance may not run at its place yet
	standIns   map[string]standIn // by instance
	repeats    repeats
	recountAt  time.Time            // when to tell of what was counted next
	noticed    map[string]source    // the last event of each node that was kept
	dismissed  map[string]time.Time // ends of the leases of nodes that have left
	summaries  map[string]string    // of services, as published last
	told       map[string]string    // state of services, as in their last event
	sorted     []string             // of nodes; nil if they have to be sorted anew
	indexed    *plan.Index          // of what is wanted
	settled    plan.Settled         // where everything is, if that is as it should be
	gave       giving               // what given was made from
	holding    holding              // who holds what is stateful, likewise
	assigned   basis                // what the assignments were made from
	where      whereabouts          // of instances
	machines   map[string]string    // that were recognized and are not stored yet
	unrecorded map[string]bool      // nodes whose record is not stored yet
	keyed      map[string]bool      // nodes that have used their key, and for which what they had before still holds
	proving    map[string]bool      // nodes that have proven something, and of which what is not proven still counts
	renewing   time.Time            // when the renewal of keys began, or this process took it up
	sealNames  map[string]string    // of the nodes' keys for contents, by key
	unsaid     map[string]bool      // services whose summary could not be published
	summarized basis                // what the summaries were made from
	foreign    string               // another cluster on the same broker
	stored     *noting              // the store, with what is written to it
	snapshots  snapshots
	required   requirements
	lookout    *lookout.Lookout
	decisions  decisions
	notices    chan struct{} // has an element for each one under way
	viewStale  bool
	viewed     time.Time     // when the last one was there
	viewTook   time.Duration // to make it
	background sync.WaitGroup
}

// tick is how often everything is looked at without any message.
const tick = 500 * time.Millisecond

const (
	// inboxSize is how much may wait, and is then done before one pass: some tenths of
	// a second of what a thousand nodes say.
	inboxSize = 1024
	// viewDelay is the least time between two views, and viewShares lets several messages
	// share one.
	viewDelay  = 20 * time.Millisecond
	viewShares = 2 * time.Millisecond
	// viewShare is how many times as long as a view of a large cluster takes is
	// waited for the next one.
	viewShare = 20
)

// New loads the cluster's state, or makes it if o.Create is set, and begins a
// new epoch. It returns otto.ErrStateLost if there should be a state and is none.
func New(ctx context.Context, o Options) (*Plane, error) {
	if o.Limits == (health.Limits{}) {
		o.Limits = health.DefaultLimits()
	}
	if o.Journal == nil {
		var err error
		if o.Journal, err = journal.Open("", journal.Limit); err != nil {
			return nil, err
		}
	}
	p := &Plane{
		Options:   o,
		inbox:     make(chan func(), inboxSize),
		ended:     make(chan struct{}),
		watch:     make(chan struct{}),
		nodes:     map[string]*node{},
		lookout:   lookout.New(o.Try),
		troubles:  map[string]trouble{},
		unbuilt:   map[build]evidence{},
		watched:   map[string]watched{},
		dismissed: map[string]time.Time{},
		summaries: map[string]string{},
		told:      map[string]string{},
		standIns:  map[string]standIn{},
		keyed:     map[string]bool{},
		started:   time.Now(),
		renewing:  time.Now(),
		notices:   make(chan struct{}, maxNotices),
		repeats:   repeats{},
	}
	p.stored = &noting{Store: o.Store}
	p.Store = p.stored
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	if err := p.enthrone(); err != nil {
		return nil, err
	}
	for _, n := range append(slices.Clone(p.desired.Wanted.Nodes), p.desired.Leaving...) {
		known := newNode(n)
		known.leaving = hasNode(p.desired.Leaving, n.ID)
		known.leaseEnd = p.started.Add(p.desired.Lease) // of one granted just before we started
		known.record = p.enrolled[n.ID].Machine
		known.facts = known.record.over(otto.NodeFacts{})
		p.nodes[n.ID] = known
		p.sorted = nil
	}
	for _, holder := range p.desired.Holders {
		p.dismissed[holder] = p.started.Add(p.desired.Lease)
	}
	p.recall()
	p.publishView()
	return p, nil
}

// Epoch is this control plane's; it rises with every start.
func (p *Plane) Epoch() uint64 { return p.epoch }

// Connected tells the control plane that a session with the broker has begun.
// It is the client's OnConnect.
func (p *Plane) Connected(uint64) {
	p.post(func() {
		p.watching, p.dirty = time.Now(), true
		for _, n := range p.nodes {
			n.published = "" // the broker may have forgotten what it retained
		}
		clear(p.summaries)
		p.summarized = basis{}
		p.birth()
	})
}

// Disconnected tells the control plane that nothing can be heard: nobody is
// judged by his silence then.
func (p *Plane) Disconnected(error) { p.post(func() { p.watching, p.look = time.Time{}, true }) }

// Run works until ctx ends, and then waits for what it has begun.
func (p *Plane) Run(ctx context.Context) error {
	p.ctx = ctx
	// Not to what nodes are told: with what is retained of that, a connect would bring
	// more than a client lets wait.
	for _, kind := range wire.ReportKinds() {
		p.Conn.Subscribe(wire.NodeFilter(kind), func(topic string, payload []byte) {
			now := time.Now()
			p.post(func() { p.ingest(topic, payload, now) })
		})
	}
	p.Conn.Subscribe(wire.TopicControlStatus, func(_ string, payload []byte) {
		p.post(func() { p.meet(payload) })
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	view := time.NewTimer(viewDelay)
	defer view.Stop()
	defer p.lookout.Wait()
	defer p.background.Wait()
	defer close(p.ended)
	defer p.lastEvents()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-p.inbox:
			f()
			for range len(p.inbox) { // all that is there, and then one pass
				(<-p.inbox)()
			}
		case <-timer.C:
		case <-view.C:
			p.publishView()
			continue
		}
		now := time.Now()
		p.slept(last, now)
		last = now
		timer.Reset(p.pass(time.Now()))
		if !p.viewStale {
			p.viewStale = true
			view.Reset(p.untilView(time.Now()))
		}
	}
}

// untilView is how long the next view has to wait: what changes seldom is seen at once.
func (p *Plane) untilView(now time.Time) time.Duration {
	return max(viewShares, max(viewDelay, viewShare*p.viewTook)-now.Sub(p.viewed))
}

// asleep is the least time without a look at anything that counts as sleep: a
// suspended laptop, a stopped process, a clock that was set.
const asleep = 2 * time.Second

// slept forgives all silence of the time in which nothing could be heard, because
// this process did not run.
func (p *Plane) slept(last, now time.Time) {
	monotonic, wall := now.Sub(last), now.Round(0).Sub(last.Round(0))
	if !overslept(monotonic, wall) || p.watching.IsZero() {
		return
	}
	gap := max(monotonic, wall)
	p.watching, p.look = now, true
	for _, n := range p.nodes {
		n.lookAnew()
	}
	p.event(
		"asleep",
		"",
		"",
		fmt.Sprintf(
			"the control plane did not run for %s, or its clock was set: nobody is judged by his silence in that time",
			gap.Round(time.Second),
		),
	)
}

// overslept reports whether two looks are too far apart, by the clock that nobody
// can set, which may stand still in a sleep, or by the other.
func overslept(monotonic, wall time.Duration) bool {
	return max(monotonic, wall) >= asleep || (monotonic-wall).Abs() >= asleep
}

// post runs f in the loop, some time; after the end of Run it is dropped.
func (p *Plane) post(f func()) {
	select {
	case p.inbox <- f:
	case <-p.ended:
	}
}

// call runs f in the loop and waits for it.
func (p *Plane) call(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case p.inbox <- func() { p.look = true; done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return errStopping
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return errStopping
	}
}

// Cluster is what is known now.
func (p *Plane) Cluster() *otto.Cluster { return p.view.Load() }

// Next is what is known now, and a channel that is closed when there is more.
func (p *Plane) Next() (*otto.Cluster, <-chan struct{}) {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	return p.view.Load(), p.watch
}

func (p *Plane) publishView() {
	began := time.Now()
	c := p.cluster(began)
	p.viewed = time.Now()
	p.viewStale, p.viewTook = false, p.viewed.Sub(began)
	if p.Seen != nil && !p.watching.IsZero() {
		p.Seen(c)
	}
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	p.view.Store(c)
	close(p.watch)
	p.watch = make(chan struct{})
}

// publish sends a message and leaves the rest to the next connect.
func (p *Plane) publish(topic string, qos byte, retain bool, message any) error {
	b, ok := message.([]byte)
	if !ok {
		var err error
		if b, err = wire.Encode(message); err != nil {
			p.Log.Error("not published", "topic", topic, "err", err)
			return err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	return p.Conn.Publish(ctx, topic, qos, retain, b)
}

func (p *Plane) birth() {
	if p.deposed.By > 0 {
		return
	}
	err := p.publish(wire.TopicControlStatus, 1, true,
		wire.ControlStatus{ClusterID: p.identity.ClusterID, Online: true, Epoch: p.epoch, Warrant: p.warrant})
	if err != nil {
		p.Log.Warn("birth not published", "err", err)
	}
}

// Will is the message that the broker sends when the control plane's connection breaks.
func (p *Plane) Will() (topic string, payload []byte) {
	b, err := wire.Encode(wire.ControlStatus{ClusterID: p.identity.ClusterID, Epoch: p.epoch})
	if err != nil {
		panic(err) // a few short fields: cannot happen
	}
	return wire.TopicControlStatus, b
}

var errStopping = errors.New("the control plane is stopping")
