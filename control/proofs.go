package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// At a broker that is not ours whoever uses its account may publish in the name of each node,
// and what nodes have said before, once more. What counts there is what the node proves to be
// its own (wire.Prove), in the order in which it was said, and no heartbeat of before this
// control plane has begun to listen: those name no assignment of it. See ADR 21.

// proofs is what is known of the messages that a node has proven.
type proofs struct {
	// since is the first assignment that the node was sent since this control plane listens;
	// zero if it was sent none yet. What names an older one, and everything before the first,
	// may have been said at any time.
	since otto.Revision
	boots []provenBoot // of agents, the one heard last at the end
	// behind is that something was heard in time from an agent that seems not to have got
	// its assignment.
	behind bool
	// refused are messages in the node's name that were not proven, since the time at which
	// there had been none for a while.
	refused int
	last    time.Time
}

const (
	// forgedFor is how long it is said of a node that somebody else publishes in its name.
	forgedFor = 10 * time.Minute
	// forgedOften is how many such messages there must be: what is retained from before its
	// key was drawn anew comes once.
	forgedOften = 4
)

// forged notes a message in the node's name that is not proven.
func (f *proofs) forged(now time.Time) {
	if now.Sub(f.last) > forgedFor {
		f.refused = 0
	}
	f.refused++
	f.last = now
}

// warning says that somebody else publishes in the node's name; empty if nobody does.
func (f *proofs) warning(now time.Time) string {
	if f.refused < forgedOften || now.Sub(f.last) > forgedFor {
		return ""
	}
	return fmt.Sprintf("somebody publishes in its name at the broker: %d messages counted for nothing, as they were not proven to be its own",
		f.refused)
}

// provenBoot is an agent from its start to its end.
type provenBoot struct {
	boot   uint64
	fresh  bool                 // it has named an assignment of now
	latest map[wire.Kind]uint64 // the number of the last message of each kind
}

// maxBoots are remembered, so that what each of them has said does not count again. Then the
// node gets another assignment, which those that have ended cannot name.
const maxBoots = 24

// listen begins anew to tell what is said now from what was said before, by an assignment
// that has just been sent. Of the agent heard last nothing was missed if we have listened all
// the time.
func (f *proofs) listen(since otto.Revision, missed bool) {
	f.since = since
	f.boots = f.boots[max(len(f.boots)-1, 0):]
	if missed && len(f.boots) > 0 {
		f.boots[0].fresh = false
	}
}

// crowded reports whether there are so many agents to be told apart that it is time for
// another assignment.
func (f *proofs) crowded() bool { return len(f.boots) >= maxBoots-1 }

// fresh reports whether an agent is known to have said something since.
func (f *proofs) fresh() bool {
	return slices.ContainsFunc(f.boots, func(b provenBoot) bool { return b.fresh })
}

// take reports whether a message that is proven to be the node's counts.
func (f *proofs) take(kind wire.Kind, is wire.Proof) bool {
	at := slices.IndexFunc(f.boots, func(b provenBoot) bool { return b.boot == is.Boot })
	known := at >= 0
	now := f.since != otto.Revision{} && !is.Heard.Before(f.since)
	switch {
	case known && is.Number <= f.boots[at].latest[kind]:
		return false // it has been here, or a later one has overtaken it
	case now || known && f.boots[at].fresh:
	case !retained(kind):
		f.behind = true
		return false
	case f.fresh():
		return false
	}
	if !known && len(f.boots) == maxBoots {
		f.behind = true
		return false
	}
	b := provenBoot{boot: is.Boot, latest: map[wire.Kind]uint64{}}
	if known {
		b = f.boots[at]
		f.boots = slices.Delete(f.boots, at, at+1)
	}
	b.latest[kind], b.fresh = is.Number, b.fresh || now
	f.behind = f.behind && !now
	f.boots = append(f.boots, b)
	return true
}

// retained reports whether a broker keeps the last message of a kind, so that it says
// nothing of when that was said.
func retained(kind wire.Kind) bool {
	return kind == wire.KindStatus || kind == wire.KindInstances || kind == wire.KindEvents
}

// counts reports whether a message counts as a node's. The broker that we serve has asked
// who brings it; at another one it has to be proven, by nodes that are known to be able to.
func (p *Plane) counts(n *node, topic string, kind wire.Kind, payload []byte, now time.Time) bool {
	if p.Broker.Ours {
		return true
	}
	s := p.enrolled[n.ID]
	var is wire.Proof
	err := wire.ErrNotProven
	for i, seal := range [][]byte{s.SealKey, s.FormerSealKey} {
		key := wire.ProofKey(seal, p.identity.ClusterID, n.ID)
		if key == nil {
			continue
		}
		if is, err = wire.CheckProof(key, topic, payload); err == nil {
			if i == 0 && len(s.FormerSealKey) > 0 {
				p.keyed[n.ID], p.look = true, true // the former one ends
			}
			break
		}
	}
	switch {
	case err != nil && !s.Proves:
		return true // an agent of a former build
	case err == nil && !s.Proves:
		if p.proving == nil {
			p.proving = map[string]bool{}
		}
		p.proving[n.ID], p.look = true, true
	}
	if err == nil && n.proofs.take(kind, is) {
		return true
	}
	if err != nil {
		n.proofs.forged(now)
		if n.dropped.take(now, dropsAtOnce, dropsAMinute) {
			p.Log.Warn("message refused", "topic", topic, "err", err, "more_like_this", n.dropped.missed)
			n.dropped.missed = 0
		}
	}
	return false
}

// requireProofs stores of which nodes nothing counts any more that is not proven: those that
// have proven something, and where nobody may put a former agent back.
func (p *Plane) requireProofs() {
	if len(p.proving) == 0 {
		return
	}
	maps.DeleteFunc(p.proving, func(id string, _ bool) bool { return p.nodes[id] == nil || p.enrolled[id].Proves })
	var ids []string
	for id := range p.proving {
		if p.nodes[id].installed {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	err := p.changeSecrets(ids, func(_ string, s secrets) (secrets, error) {
		s.Proves = true
		return s, nil
	})
	if err != nil {
		p.Log.Error("that nodes prove what they say is not stored: what is not proven counts, too", "err", err)
		return
	}
	for _, id := range ids {
		delete(p.proving, id)
		p.nodes[id].untold, p.dirty = true, true // what it is sent is covered from now on
	}
}
