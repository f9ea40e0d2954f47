package control

import (
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// node is what the control plane knows of one node.
type node struct {
	otto.Node
	leaving bool
	state   otto.NodeState
	reason  string
	since   time.Time

	heard    time.Time // the agent, live: never by a retained message
	goodbye  time.Time
	bootID   string    // of the agent heard last
	former   string    // boot id before that
	twins    time.Time // when two agents last took turns
	facts    otto.NodeFacts
	report   *wire.Report
	skewed   time.Duration // how far its clock is off
	sample   *otto.NodeSample
	sampled  time.Time
	samples  []otto.ContainerSample
	firstMsg chan struct{} // closed when it is heard for the first time after an installation

	keeper      *keeper
	step        string // what its keeper is doing
	problem     string
	warnings    []string // of the machine, as its keeper found it
	unreachable string   // what the second channel said last; empty if it worked

	published string // content of the last assignment, without its revision
	revision  otto.Revision
}

func newNode(n otto.Node) *node {
	return &node{Node: n, state: otto.NodeJoining, reason: "its agent has not reported yet", since: time.Now(), firstMsg: make(chan struct{})}
}

// maxSkew is how far a node's clock may be off before it is worth a warning.
const maxSkew = 2 * time.Second

// ingest takes in one message of a node. What does not decode is dropped with a
// note: a node cannot do harm by what it says.
func (p *Plane) ingest(topic string, payload []byte, now time.Time) {
	id, kind, ok := wire.ParseNodeTopic(topic)
	n := p.nodes[id]
	if !ok || n == nil || len(payload) == 0 || kind == wire.KindAssignment {
		return
	}
	var err error
	switch kind {
	case wire.KindHeartbeat:
		var h wire.Heartbeat
		if h, err = wire.DecodeHeartbeat(payload); err == nil {
			n.beat(h, now)
		}
	case wire.KindStatus:
		var s wire.Status
		if s, err = wire.DecodeStatus(id, payload); err == nil {
			n.birth(s, now)
		}
	case wire.KindInstances:
		var r wire.Report
		if r, err = wire.DecodeReport(id, payload); err == nil {
			n.report = &r
		}
	case wire.KindNodeMetrics:
		var s otto.NodeSample
		if s, err = wire.DecodeNodeSample(id, payload); err == nil {
			n.sample, n.sampled = &s, now
			n.skewed = s.Time.Sub(now)
		}
	case wire.KindContainerMetrics:
		var list []otto.ContainerSample
		if _, list, err = wire.DecodeContainerSamples(id, payload); err == nil {
			n.samples = list
		}
	}
	if err != nil {
		p.Log.Warn("message dropped", "topic", topic, "err", err)
	}
}

// beat takes in a heartbeat, the only proof of life: it is never retained.
func (n *node) beat(h wire.Heartbeat, now time.Time) {
	if h.BootID != n.bootID {
		if h.BootID == n.former {
			n.twins = now
		}
		n.former, n.bootID = n.bootID, h.BootID
	}
	n.heard = now
	select {
	case <-n.firstMsg:
	default:
		close(n.firstMsg)
	}
}

// birth takes in a birth or a will. Either may be a retained one from before,
// so a birth proves nothing, and a will counts only for the agent heard last.
func (n *node) birth(s wire.Status, now time.Time) {
	if s.Online {
		n.facts = s.Facts
		return
	}
	if s.BootID == n.bootID {
		n.goodbye = now
	}
}
