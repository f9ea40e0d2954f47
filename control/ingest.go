package control

import (
	"math"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/health"
	"github.com/otto-edge/otto/control/scheduler"
	"github.com/otto-edge/otto/wire"
)

// node is what the control plane knows of one node.
type node struct {
	otto.Node
	leaving bool
	removed bool // leaving, and cut off already
	state   otto.NodeState
	reason  string
	since   time.Time
	flaps   health.Flaps

	heard      time.Time // the agent, live: never by a retained message
	beatAt     time.Time // the last heartbeat
	upMS       int64     // what it said of how long the agent runs
	link       health.Link
	goodbye    time.Time
	bootID     string         // of the agent heard last
	heardFrom  string         // the boot of the machine where that runs
	recognized time.Time      // when the machine that the node is was heard last
	another    string         // boot of a machine that says it is the node, and must not be without a person's word
	former     string         // boot id before that
	obeyed     bool           // it has obeyed this control plane
	twins      time.Time      // when two agents last took turns
	facts      otto.NodeFacts // as they count: what the agent says, over which is what SSH has found
	said       otto.NodeFacts // by the agent
	record     record
	asked      time.Time // until when what SSH finds counts, as a person has asked
	other      string    // what SSH has found otherwise since
	claims     string    // what the agent says otherwise
	toldClaims bool      // and there was an event of it
	report     *wire.Report
	early      *wire.Report     // of an agent that has not been heard yet
	events     *wire.NodeEvents // that are not kept yet
	recorded   budget           // events of it in the journal
	noticed    budget           // those that it told itself
	dropped    budget           // lines in the log about its messages
	skewed     time.Duration    // how far its clock is off
	sample     *otto.NodeSample
	sampled    time.Time
	samples    []otto.ContainerSample
	recent     []taken           // the last samples of the node, the newest last
	used       map[string]use    // by instance
	cpu, mem   scheduler.Load    // shares of the machine
	labels     map[string]string // for placement; nil until they are asked for
	images     map[string]int64  // bytes of those that are there, 0 if not known; nil if they are not
	volumes    map[string]bool   // of the cluster that are there, as far as it has ever said; nil if it has not
	having     map[string]bool   // those that count and what it had, as volumesOn has it; nil if that is to be found anew
	doubted    map[string]bool   // those that do not count
	learned    *wire.Report      // whose data is remembered
	sealKey    string            // name of the key by which its agent opens secrets
	proofs     proofs            // of what it says, at a broker that is not ours
	// knowsFolders says that its agent takes in files of projects.
	knowsFolders bool
	folders      []string   // keys of the files that its instances need, by its last assignment
	bringing     deliveries // what it lacks of them
	// knowsSeeds says that its agent takes in data of projects, seeds are the volumes of that
	// which its instances have, by its last assignment.
	knowsSeeds bool
	seeds      []string
	seeding    deliveries
	firstMsg   chan struct{} // closed when it is heard for the first time after an installation

	keeper   *keeper
	step     string // what its keeper is doing
	problem  string
	warnings []string // of the machine, as its keeper found it

	brought   uint64 // the generation of keys that its keeper has brought there, since this process started
	installed bool   // the keeper has last found, or brought, this build's agent there, and heard it

	check       *check    // under way
	checked     time.Time // when the last one ended
	checks      int       // that have ended since it was heard
	sign        otto.Sign // what this machine found by the last one
	reached     string    // what it has found, one of the three at most
	mute        string
	unreachable string
	muteAsked   int       // how often in a row its kernel alone answered
	stuck       string    // why its agent does nothing and cannot be ended
	replaced    string    // the step of which there was an event last, with the agent's pid
	told        string    // the problem of which there was an event last
	claimed     time.Time // since when others claim to reach its host, and it has not proven it

	published   string // hash of the last assignment, without its revision; empty if none was
	untold      bool   // it has changed since, and could not be published
	publishedAt time.Time
	revision    otto.Revision
	stateful    []string  // instances in it
	fenced      []string  // those of them that need a lease
	leased      time.Time // when the last lease was granted
	leaseOf     otto.Revision
	leaseBoot   string
	leaseBeat   time.Time // when the agent that has it was heard last
	leaseEnd    time.Time // of the longest one

	sick     time.Time          // since when its engine does not work
	failures map[string]failure // by service
}

// failure is how much a service's failures on a node weigh, at a time.
type failure struct {
	weight float64
	at     time.Time
}

// failureHalfLife is the time in which a failure loses half its weight.
const failureHalfLife = 10 * time.Minute

func (f failure) now(now time.Time) float64 {
	return f.weight * math.Exp2(-now.Sub(f.at).Seconds()/failureHalfLife.Seconds())
}

// fail remembers that a service did not work on the node.
func (n *node) fail(service string, now time.Time) {
	if n.failures == nil {
		n.failures = map[string]failure{}
	}
	n.failures[service] = failure{n.failures[service].now(now) + 1, now}
}

// failing are the weights of failures that are not forgotten.
func (n *node) failing(now time.Time) map[string]float64 {
	var list map[string]float64
	for s, f := range n.failures {
		if w := f.now(now); w > 0.1 {
			if list == nil {
				list = map[string]float64{}
			}
			list[s] = w
		} else {
			delete(n.failures, s)
		}
	}
	return list
}

func newNode(n otto.Node) *node {
	return &node{
		Node:     n,
		state:    otto.NodeJoining,
		reason:   "its agent has not reported yet",
		since:    time.Now(),
		firstMsg: make(chan struct{}),
	}
}

// maxSkew is how far a node's clock may be off before it is worth a warning.
const maxSkew = 2 * time.Second

// ingest takes in one message of a node. What does not decode is dropped with a
// note: a node cannot do harm by what it says.
func (p *Plane) ingest(topic string, payload []byte, now time.Time) {
	id, kind, ok := wire.ParseNodeTopic(topic)
	n := p.nodes[id]
	if !ok || n == nil || len(payload) == 0 {
		return
	}
	if !p.counts(n, topic, kind, payload, now) {
		return
	}
	defer p.heard(n, kind, now)
	var err error
	switch kind {
	case wire.KindHeartbeat:
		var h wire.Heartbeat
		if h, err = wire.DecodeHeartbeat(payload); err == nil {
			n.beat(h, now, p.patience(n))
			p.recognize(n, h.Machine, now)
			if r := n.early; r != nil && r.BootID == n.bootID {
				n.early = nil
				p.takeReport(n, *r, now)
			}
			p.notice(n)
			p.renew(n, h, now)
		}
	case wire.KindStatus:
		var s wire.Status
		if s, err = wire.DecodeStatus(id, payload); err == nil {
			n.birth(s, now)
			if s.Online {
				p.say(n, s.Facts)
				n.opens(s.SealKey)
				n.takesFolders(s.Folders)
				n.takesSeeds(s.Seeds)
			}
			p.dirty = true
		}
	case wire.KindInstances:
		var r wire.Report
		if r, err = wire.DecodeReport(id, payload); err == nil {
			p.takeReport(n, r, now)
		}
	case wire.KindNodeMetrics:
		var s otto.NodeSample
		if s, err = wire.DecodeNodeSample(id, payload); err == nil {
			n.measure(s, now)
			n.skewed = s.Time.Sub(now)
			n.live(now)
			p.measureNode(n, s, now)
		}
	case wire.KindContainerMetrics:
		var list []otto.ContainerSample
		if _, list, err = wire.DecodeContainerSamples(id, payload); err == nil {
			n.samples = list
			list = n.ofInstances(list)
			n.measureUse(list, now)
			n.live(now)
			p.measureContainers(n, list, now)
		}
	case wire.KindEvents:
		var e wire.NodeEvents
		if e, err = wire.DecodeNodeEvents(id, payload); err == nil {
			n.events = &e
			p.notice(n)
		}
	case wire.KindAnswer:
		var a wire.Answer
		if a, err = wire.DecodeAnswer(id, payload); err == nil {
			p.answer(n, a)
		}
	}
	if err != nil && n.dropped.take(now, dropsAtOnce, dropsAMinute) {
		p.Log.Warn("message dropped", "topic", topic, "err", err, "more_like_this", n.dropped.missed)
		n.dropped.missed = 0
	}
}

// heard has the node judged, or all of them. One that was well and is heard again
// is as well as before: only the time when it will have been silent changes.
func (p *Plane) heard(n *node, kind wire.Kind, now time.Time) {
	routine := kind == wire.KindHeartbeat || kind == wire.KindNodeMetrics || kind == wire.KindContainerMetrics
	if !routine || p.doubts != "" || n.state != otto.NodeReady && n.state != otto.NodeDraining || !n.heard.Equal(now) {
		p.look = true
		return
	}
	p.judged = earliest(p.judged, now.Add(p.patience(n)*checkAt/100+time.Millisecond))
}

// takeReport takes in what a node says that it runs, unless a later report has
// overtaken it. One of another agent than the one heard last waits until that is
// heard: it may have just started, or it has ended and this comes late.
func (p *Plane) takeReport(n *node, r wire.Report, now time.Time) {
	switch was := n.report; {
	case was == nil:
	case was.BootID == r.BootID && r.Seq < was.Seq:
		return
	case was.BootID == n.bootID && r.BootID != n.bootID:
		n.early = &r
		return
	}
	if was := n.report; was == nil || !slices.Equal(was.Data, r.Data) {
		n.having = nil
	}
	n.report, n.images = &r, imagesOf(r)
	if r.Volumes != nil {
		n.volumes, n.having = volumesOf(r.Volumes), nil
	}
	p.obeys(n.ID, r.Warrant)
	p.noteTroubles(n, now)
	p.dirty = true
}

// live takes in a sign of life: a message that is never retained.
func (n *node) live(now time.Time) {
	n.heard = now
	n.check, n.reached, n.mute, n.unreachable = nil, "", "", ""
	n.sign, n.checks, n.muteAsked = otto.Sign{}, 0, 0
	n.claimed, n.stuck = time.Time{}, ""
}

// beat takes in a heartbeat.
func (n *node) beat(h wire.Heartbeat, now time.Time, patience time.Duration) {
	if h.BootID == n.bootID {
		n.link.Heard(now.Sub(n.beatAt), patience)
	} else {
		n.link.Forget()
		if h.BootID == n.former {
			n.twins = now
		}
		n.former, n.bootID = n.bootID, h.BootID
	}
	n.beatAt, n.upMS, n.heardFrom = now, h.UpMS, h.Machine
	n.live(now)
	select {
	case <-n.firstMsg:
	default:
		close(n.firstMsg)
	}
}

// birth takes in a birth or a will. Either may be a retained one from before,
// so a birth proves nothing, and a will counts only for the agent heard last.
func (n *node) birth(s wire.Status, now time.Time) {
	if !s.Online && s.BootID == n.bootID {
		n.goodbye = now
	}
}
