package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// prover proves that messages are the node's, at a broker that others use as well. Nobody
// who holds its lock waits for anything.
type prover struct {
	key  []byte // nil where nothing is to be proven
	boot uint64

	mu      sync.Mutex
	heard   otto.Revision
	session uint64
	number  uint64 // of the session's messages so far

	answers chan struct{} // has an element while one is said: those of the same time keep their order
}

// maxNumber is that of a session's will, which follows all that the session has said.
const maxNumber = 1<<32 - 1

func newProver(e wire.Enrolment, bootID string) *prover {
	p := &prover{answers: make(chan struct{}, 1)}
	if e.Proofs {
		p.key = wire.ProofKey(e.SealKey, e.ClusterID, e.NodeID)
	}
	sum := sha256.Sum256([]byte(bootID))
	p.boot = binary.BigEndian.Uint64(sum[:])
	return p
}

// hear notes that an assignment has arrived that the control plane has signed.
func (p *prover) hear(r otto.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard.Before(r) {
		p.heard = r
	}
}

// begin says that what is proven from now on is of a session.
func (p *prover) begin(session uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != session { // else it is another attempt to begin it
		p.session, p.number = session, 0
	}
}

// current is the session that has begun last.
func (p *prover) current() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// next is the proof of the next message, or of the session's will.
func (p *prover) next(will bool) wire.Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	number := uint64(maxNumber)
	if !will {
		p.number = min(p.number+1, maxNumber-1)
		number = p.number
	}
	return wire.Proof{Boot: p.boot, Heard: p.heard, Number: p.session<<32 | number}
}

// prove makes a message one that the control plane takes for the node's.
func (p *prover) prove(topic string, b []byte, will bool) ([]byte, error) {
	if p.key == nil {
		return b, nil
	}
	return wire.Prove(p.key, topic, b, p.next(will))
}

// say publishes a message of the node. Those of one kind arrive in the order in which they
// are said.
func (a *Agent) say(ctx context.Context, kind wire.Kind, qos byte, retain bool, b []byte) error {
	if kind == wire.KindAnswer {
		select {
		case a.prover.answers <- struct{}{}:
			defer func() { <-a.prover.answers }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b, err := a.Prove(kind, b)
	if err != nil {
		return err
	}
	return a.Conn.Publish(ctx, a.topic(kind), qos, retain, b)
}

// Prove makes a message one that the control plane takes for the node's, as far as that
// has to be proven at the node's broker.
func (a *Agent) Prove(kind wire.Kind, b []byte) ([]byte, error) {
	return a.prover.prove(a.topic(kind), b, false)
}

// Will is the message that the broker sends when the connection of a session breaks. It is
// asked for before the session begins.
func (a *Agent) Will(session uint64) (topic string, payload []byte) {
	a.prover.begin(session)
	return a.Goodbye()
}

// Goodbye is the will of the present session, for an agent that ends.
func (a *Agent) Goodbye() (topic string, payload []byte) {
	topic = a.topic(wire.KindStatus)
	b, err := wire.Encode(wire.Status{NodeID: a.Enrolment.NodeID, BootID: a.BootID})
	if err == nil {
		b, err = a.prover.prove(topic, b, true)
	}
	if err != nil {
		panic(err) // a few short fields: cannot happen
	}
	return topic, b
}
