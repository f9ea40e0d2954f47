// Package agent is the node side of Otto. An agent makes its node's containers
// match one Assignment, reports what really runs, and streams samples of the
// node and its containers.
//
// The agent needs nobody: it keeps the last good assignment on disk, acts on it
// at boot, and goes on when the broker, the control plane or the container
// engine is away. What to do next is decided by a pure function, next in
// plan.go; this file and converge.go are the shell that waits, calls the engine
// and publishes.
//
// One goroutine, converge, owns all state. Work that takes time (a pull, a stop
// with its grace period) runs in a goroutine for each instance, so that no
// instance waits for another, and comes back to the owner as a result.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/lookout"
	"github.com/otto-edge/otto/wire"
)

// Conn is the connection to the broker. Package mqtt has one.
type Conn interface {
	// Publish fails at once while there is no connection; nothing is queued.
	Publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error
	// Subscribe remembers the filter and subscribes on every connect.
	Subscribe(filter string, handle func(topic string, payload []byte))
}

// Sampler reads the node and its containers. Package sampler has one.
type Sampler interface {
	Node(now time.Time) (otto.NodeSample, error)
	Containers(now time.Time, running []otto.RunningContainer) []otto.ContainerSample
}

// Options are what an agent is made of.
type Options struct {
	Enrolment wire.Enrolment
	BootID    string         // drawn at each start
	Facts     otto.NodeFacts // of the node and this binary; the engine is asked later
	StateDir  string         // the agent's own directory
	Floor     otto.Revision  // older assignments are not taken where there is none
	Runtime   Runtime
	Conn      Conn
	Sampler   Sampler
	Clock     Clock
	// Knock asks how much of the host at address, host:port, answers; the error says why
	// that is not a program.
	Knock func(ctx context.Context, address string) (otto.Reply, error)
	// RoundTrip is the time to the host at address, host:port, and back.
	RoundTrip func(ctx context.Context, address string) (time.Duration, error)
	// Try asks what is at address, host:port, whether it works, as a probe says.
	Try func(ctx context.Context, p otto.Probe, address string) error
	// Exists reports whether a path such as /dev/ttyUSB0 is there, for the containers
	// of the engine; nil means that the engine is on this machine.
	Exists func(path string) bool
	// Directory looks at a path of the engine's machine; nil if that is another one. It
	// returns in a few seconds at most.
	Directory func(ctx context.Context, path string) (otto.Directory, error)
	// Sweep removes what is left of runs for which nobody waits any more; nil for nothing.
	Sweep func(ctx context.Context) error
	// FilesDir is a directory of this agent alone, in memory, for secrets and configs;
	// empty if there can be none, and NoFiles says why.
	FilesDir string
	NoFiles  string
	// FoldersDir is a directory of this agent alone, on disk, to which files of projects
	// are brought. Without one there can be none.
	FoldersDir string
	// SeedsDir is likewise for the data of projects.
	SeedsDir string
	Log      *slog.Logger
}

// Agent runs one node.
type Agent struct {
	Options
	state   state
	lease   *lease
	asked   *restarts // owned by converge
	jobs    *jobs     // likewise
	bonds   *bonds    // likewise
	stops   stops     // likewise
	pauses  *pauses   // likewise
	setups  *setups   // likewise
	files   *files
	prover  *prover
	folders folders
	seeds   seeds
	stored  *otto.Assignment // in force when the agent started
	served  bool             // an agent of this cluster has been here before
	problem atomic.Value     // string: what is wrong with the agent itself
	ledger  *ledger
	// ledgerAtStart is what the agent before this one has left there.
	ledgerAtStart []otto.Data

	assignments chan otto.Assignment
	changed     chan struct{} // something happened to a container
	renamed     chan struct{} // names of images may mean others
	stale       chan struct{} // the list of running containers is out of date
	lost        chan error    // why the engine is no longer watched
	connected   chan uint64   // number of the session that has just begun
	beatNow     chan struct{} // the control plane waits for a sign of life
	leased      chan struct{} // the lease has begun or ended
	questions   chan wire.Question
	results     chan result
	began       time.Time
	probed      chan finding
	diary       diary
	kills       kills
	peers       peers
	peersNew    chan struct{} // there are others
	lookout     *lookout.Lookout
	watches     chan []otto.Watch
}

// New returns an agent that does nothing until Run. It fails only when its
// state directory cannot be used.
func New(o Options) (*Agent, error) {
	a := &Agent{
		Options:     o,
		assignments: make(chan otto.Assignment, 1),
		changed:     make(chan struct{}, 1),
		renamed:     make(chan struct{}, 1),
		stale:       make(chan struct{}, 1),
		lost:        make(chan error, 1),
		connected:   make(chan uint64, 1),
		beatNow:     make(chan struct{}, 1),
		leased:      make(chan struct{}, 1),
		questions:   make(chan wire.Question, maxQuestions),
		results:     make(chan result, resultsAhead),
		began:       time.Now(),
		probed:      make(chan finding),
		peersNew:    make(chan struct{}, 1),
		lookout:     lookout.New(o.Try),
		watches:     make(chan []otto.Watch, 1),
		files:       &files{dir: o.FilesDir, why: o.NoFiles},
		prover:      newProver(o.Enrolment, o.BootID),
		folders:     folders{dir: o.FoldersDir},
		seeds:       seeds{o.SeedsDir, o.Enrolment.ClusterID},
	}
	if a.Exists == nil {
		a.Exists = onDisk
	}
	if a.Enrolment.Interval == 0 {
		a.Enrolment.Interval = otto.DefaultInterval
	}
	if a.Enrolment.Heartbeat == 0 {
		a.Enrolment.Heartbeat = otto.DefaultHeartbeat
	}
	a.problem.Store("")
	a.served = Served(o.StateDir, o.Enrolment.Served)
	var err error
	a.state, err = openState(o.StateDir, o.Log, func(b []byte) (otto.Assignment, error) {
		asg, err := o.Enrolment.OpenStored(b)
		return a.opened(asg, err, o.Enrolment.SealKey, o.Enrolment.FormerSealKey)
	})
	a.state.floor = o.Floor
	if a.stored = a.state.current; a.stored != nil {
		a.prover.hear(a.stored.Revision)
	}
	if err != nil {
		return a, err
	}
	if _, known, _ := readAdopted(o.StateDir, o.Enrolment.ClusterID); !known && !a.served {
		// A new agent adopts nothing, also when it is killed before it has seen the engine.
		if err := writeAdopted(o.StateDir, o.Enrolment.ClusterID, otto.Adopted{}); err != nil {
			o.Log.Warn("that nothing is adopted is not on disk", "err", err)
		}
	}
	a.ledger = openLedger(o.StateDir, o.Log)
	a.ledgerAtStart = a.ledger.all()
	if a.lease, err = openLease(o.StateDir, o.Clock); err != nil {
		o.Log.Warn("stateful services stop if the control plane is not heard soon", "err", err)
	}
	if a.stored != nil {
		a.lease.actsBy(a.stored.Revision)
	}
	if a.jobs, err = openJobs(o.StateDir, o.Clock.Boot); err != nil {
		o.Log.Warn("which jobs have ended by themselves is not known: those that do not run have", "err", err)
	}
	if a.bonds, err = openBonds(o.StateDir); err != nil {
		o.Log.Warn("what follows other containers may be restarted once more", "err", err)
	}
	if err = a.stops.open(o.StateDir); err != nil {
		o.Log.Warn("which containers of Compose's were stopped is not known", "err", err)
	}
	if a.asked, err = openRestarts(o.StateDir); err != nil {
		o.Log.Warn("containers that were asked to restart may do so once more", "err", err)
	}
	if a.pauses, err = openPauses(o.StateDir, o.Clock); err != nil {
		o.Log.Warn("paused containers may be left alone for longer", "err", err)
	}
	if a.setups, err = openSetups(o.StateDir); err != nil {
		o.Log.Warn("how containers were set up is not known any more: what they are now is taken for it", "err", err)
	}
	return a, nil
}

// Connected tells the agent that a session with the broker has begun. It is the
// client's OnConnect.
func (a *Agent) Connected(session uint64) {
	replace(a.connected, session)
	signal(a.beatNow)
}

// Run works until ctx ends. The containers keep running then.
func (a *Agent) Run(ctx context.Context) error {
	a.Conn.Subscribe(a.topic(wire.KindAssignment), a.receive)
	a.Conn.Subscribe(a.topic(wire.KindLease), a.receiveLease)
	a.Conn.Subscribe(a.topic(wire.KindQuestion), a.receiveQuestion)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.converge(ctx) })
	g.Go(func() error { return a.watch(ctx) })
	g.Go(func() error { return a.sample(ctx) })
	g.Go(func() error { return a.beat(ctx) })
	g.Go(func() error { return a.answer(ctx) })
	g.Go(func() error { return a.save(ctx) })
	g.Go(func() error { return a.measurePeers(ctx) })
	g.Go(func() error { return a.lookAround(ctx) })
	g.Go(func() error { return a.sweep(ctx) })
	return g.Wait()
}

// receive takes an assignment from the network. What is not signed, foreign or
// old goes no further; a stale retained message is normal after a crash.
func (a *Agent) receive(_ string, payload []byte) {
	if len(payload) == 0 { // the retained message was cleared
		return
	}
	e := a.Enrolment
	asg, err := wire.OpenAssignment(e.ControlKey, e.ClusterID, e.NodeID, payload)
	if err == nil {
		a.prover.hear(asg.Revision) // also while the disk hangs
	}
	if asg, err = a.opened(asg, err, e.SealKey); err != nil {
		a.Log.Warn("refused an assignment", "err", err)
		return
	}
	fresh, err := a.state.accept(asg, payload)
	if err != nil { // it holds until the next restart all the same
		a.Log.Error("the assignment is not on disk", "err", err)
		a.lease.outdated()
		a.problem.Store(fmt.Sprintf("%v; after a restart the one before it would hold", err))
	} else if fresh {
		a.problem.Store("")
	}
	if fresh {
		replace(a.assignments, asg)
	}
}

// saveRetry is how long after a failure the assignment is written again.
const saveRetry = 5 * time.Second

// save writes an assignment to disk that could not be written when it came.
func (a *Agent) save(ctx context.Context) error {
	tick := time.NewTicker(saveRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		_ = a.ledger.save() // it was said when it happened
		if a.problem.Load() != "" && a.state.save() == nil {
			a.problem.Store("")
			signal(a.changed) // to say so
		}
	}
}

// receiveLease takes a lease from the network. One that is for another
// assignment than the one in force means nothing: the control plane may have
// given our services to another node in between.
func (a *Agent) receiveLease(_ string, payload []byte) {
	l, err := wire.OpenLease(a.Enrolment.ControlKey, a.Enrolment.ClusterID, a.Enrolment.NodeID, payload)
	if err != nil {
		a.Log.Warn("refused a lease", "err", err)
		return
	}
	if l.BootID != a.BootID || !a.state.inForce(l.Revision) {
		return
	}
	if err := a.lease.renew(l); err != nil {
		a.Log.Warn("the lease is not on disk", "err", err)
	}
	if a.lease.tick() {
		signal(a.leased)
	}
}

// maxQuestions are answered at a time; more are dropped.
const maxQuestions = 4

// receiveQuestion takes a question from the network.
func (a *Agent) receiveQuestion(_ string, payload []byte) {
	q, err := wire.OpenQuestion(a.Enrolment.ControlKey, a.Enrolment.ClusterID, a.Enrolment.NodeID, payload)
	if err != nil {
		a.Log.Warn("refused a question", "err", err)
		return
	}
	select {
	case a.questions <- q:
	default:
	}
}

// answer tries to reach the hosts that the control plane cannot reach.
func (a *Agent) answer(ctx context.Context) error {
	g := new(errgroup.Group)
	g.SetLimit(maxQuestions)
	for {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), g.Wait())
		case q := <-a.questions:
			g.Go(func() error {
				within, cancel := context.WithTimeout(ctx, q.Within)
				defer cancel()
				reply, err := a.Knock(within, q.Address)
				said := wire.Answer{
					NodeID: a.Enrolment.NodeID, Question: q.ID,
					Reached: reply != otto.ReplyNone, Works: reply == otto.ReplyProgram,
				}
				if err != nil {
					said.Error = err.Error()
				}
				if b, err := wire.Encode(said); err == nil {
					_ = a.say(ctx, wire.KindAnswer, 0, false, b)
				}
				return nil
			})
		}
	}
}

// watch follows the engine's events for as long as the agent runs.
func (a *Agent) watch(ctx context.Context) error {
	said := "" // once, and not each second for as long as it lasts
	for ctx.Err() == nil {
		err := a.Runtime.Watch(ctx, func(images bool) {
			if images {
				signal(a.renamed)
			}
			signal(a.changed)
			signal(a.stale)
			said = ""
		})
		if ctx.Err() != nil {
			break
		}
		if why := fmt.Sprint(err); why != said {
			a.Log.Warn("not watching the engine", "err", err)
			said = why
		}
		replace(a.lost, err)
		wait(ctx, time.Second)
	}
	return ctx.Err()
}

// sample publishes a reading of the node and one of its containers at each
// interval, the first one soon: somebody has just started a cluster and looks.
// Readings that cannot be sent are dropped: a late one is worth nothing.
func (a *Agent) sample(ctx context.Context) error {
	_, _ = a.Sampler.Node(time.Now()) // the rates of the first reading count from here
	tick := time.NewTicker(min(a.Enrolment.Interval, time.Second))
	defer tick.Stop()
	first := true
	var running []otto.RunningContainer
	for {
		select {
		case <-a.stale:
			list, err := a.Runtime.Running(ctx)
			if err != nil {
				a.Log.Debug("running containers are unknown", "err", err)
				continue
			}
			running = list
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if first {
			tick.Reset(a.Enrolment.Interval)
			first = false
		}
		now := time.Now()
		if s, err := a.Sampler.Node(now); err != nil {
			a.Log.Warn("node not sampled", "err", err)
		} else {
			s.RTT, s.Watched = a.peers.seconds(now), a.lookout.Take(time.Now())
			if b, err := wire.EncodeNodeSample(a.Enrolment.NodeID, s); err == nil {
				_ = a.say(ctx, wire.KindNodeMetrics, 0, false, b)
			}
		}
		samples := a.Sampler.Containers(now, running)
		a.diary.into(samples, time.Now())
		if a.kills.sample(running, samples) {
			signal(a.changed)
		}
		b, err := wire.EncodeContainerSamples(a.Enrolment.NodeID, now, samples)
		if err != nil {
			a.Log.Warn("containers not sampled", "err", err)
			continue
		}
		_ = a.say(ctx, wire.KindContainerMetrics, 0, false, b)
	}
}

// beat publishes heartbeats. It does nothing else, so that it stops for no
// hanging engine and no slow disk.
func (a *Agent) beat(ctx context.Context) error {
	tick := time.NewTicker(a.Enrolment.Heartbeat)
	defer tick.Stop()
	machine := wire.Machine{Hardware: a.Clock.Hardware, Boot: a.Clock.Boot}.String()
	for seq := uint64(1); ; seq++ {
		b, err := wire.Encode(wire.Heartbeat{BootID: a.BootID, Seq: seq, UpMS: time.Since(a.began).Milliseconds(), Machine: machine})
		if err != nil {
			return err
		}
		a.lease.sending(seq)
		_ = a.say(ctx, wire.KindHeartbeat, 0, false, b)
		if a.lease.tick() { // here too, because timers stand still while a machine is suspended
			signal(a.leased)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-a.beatNow:
		}
	}
}

func (a *Agent) topic(k wire.Kind) string { return wire.NodeTopic(a.Enrolment.NodeID, k) }

// replace puts v into a channel of length one in place of what is there.
func replace[T any](c chan T, v T) {
	for {
		select {
		case c <- v:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// signal sets a flag that is a channel of length one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
