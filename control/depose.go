package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// There is one control plane to a cluster. A second one, from a copied directory
// or a laptop that was thought lost, is recognized by its epoch: agents obey the
// newer one, and the older one steps down as soon as it meets it, on the broker
// or in what a node reports. It decides nothing any more, also after a restart,
// until a person says otherwise.

// deposed is that this control plane has stepped down.
type deposed struct {
	By  uint64 `json:"by,omitempty"` // the newer epoch; 0 if this one decides
	Why string `json:"why,omitempty"`
	// Replaced is a key of the cluster that was drawn since the state here was copied.
	Replaced ed25519.PublicKey `json:"replaced,omitempty"`
}

// enthrone makes the proof of what this control plane is.
func (p *Plane) enthrone() (err error) {
	p.own = wire.Warrant{ClusterID: p.identity.ClusterID, Epoch: p.epoch, Process: secret()}
	return p.signWarrant()
}

// signWarrant signs the proof by the keys that are in force.
func (p *Plane) signWarrant() (err error) {
	key, also := p.identity.signers()
	p.warrant, err = wire.SignWarrant(key, p.own, also...)
	return err
}

// openWarrant checks one by any key that is in force.
func (p *Plane) openWarrant(warrant []byte) (w wire.Warrant, err error) {
	for _, key := range p.identity.verifiers() {
		if w, err = wire.OpenWarrant(key, p.identity.ClusterID, warrant); err == nil {
			break
		}
	}
	return w, err
}

// authority is what this control plane changes nodes by.
func (p *Plane) authority() wire.Authority {
	return wire.Authority{Cluster: p.Name, Warrant: p.own, Key: p.identity.publicKey()}
}

// meet takes in the status of a control plane: our own, or another one's. Nobody
// is believed without a warrant.
func (p *Plane) meet(payload []byte) {
	s, err := wire.DecodeControlStatus(payload)
	if err != nil {
		p.Log.Warn("message dropped", "topic", wire.TopicControlStatus, "err", err)
		return
	}
	if s.ClusterID != p.identity.ClusterID {
		if s.Online && p.foreign != s.ClusterID {
			p.foreign = s.ClusterID
			p.event("foreign", "", "", "another cluster uses this broker: give each its own, as their topics are the same")
		}
		return
	}
	if !s.Online || p.older(s.Warrant, "it is on the same broker") {
		p.birth() // what is retained must be ours
	}
}

// older reports whether a warrant is of an older control plane than this one,
// which steps down if it is of a newer one.
func (p *Plane) older(warrant []byte, where string) bool {
	if len(warrant) == 0 || bytes.Equal(warrant, p.warrant) {
		return false
	}
	w, err := p.openWarrant(warrant)
	switch {
	case err != nil:
		p.Log.Warn("warrant refused", "err", err)
		return false
	case w == p.own:
		return false // signed before the cluster's key was renewed
	}
	if w.Newer(p.own) {
		p.stepDown(w.Epoch, where)
		return false
	}
	return true
}

// obeys takes in by whose warrant a node has its assignment. One of our own epoch
// that is not ours is of a control plane that has decided since our state was
// copied: whoever of the two is right, nodes do not obey us.
func (p *Plane) obeys(node string, warrant []byte) {
	if bytes.Equal(warrant, p.warrant) {
		return
	}
	p.older(warrant, "node "+node+" has its assignment from there")
	w, err := p.openWarrant(warrant)
	if err == nil && w.Epoch == p.own.Epoch && w.Process != p.own.Process {
		p.stepDown(w.Epoch, "node "+node+" has its assignment from there, and the state here is an older copy")
	}
}

// stepDown makes this control plane decide nothing. The newest that it has met
// counts: whoever takes over must be newer than all of them.
func (p *Plane) stepDown(newer uint64, why string) {
	if p.deposed.By >= newer {
		return
	}
	p.depose(deposed{By: newer, Why: why})
}

// stepAside makes it decide nothing, because a node has keys that replace the ones here.
func (p *Plane) stepAside(by wire.ReplacedError) {
	if p.deposed.By == 0 {
		p.depose(deposed{
			By: p.epoch, Replaced: by.By,
			Why: "node " + by.Node + " has the new ones, and the state here is an older copy",
		})
	}
}

func (p *Plane) depose(d deposed) {
	if err := p.Store.Put(p.ctx, keyDeposed, d); err != nil {
		p.Log.Error("stepping down is not stored", "err", err)
	}
	p.event("stepped-down", "", "", "this control plane decides nothing any more: "+d.String())
	p.deposed = d
	for _, n := range p.nodes {
		k := n.keeper
		n.keeper = nil
		p.background.Go(k.release)
	}
}

func (d deposed) String() string {
	if len(d.Replaced) > 0 {
		return "the keys of this cluster have been renewed: " + d.Why
	}
	return fmt.Sprintf("another one of this cluster, with epoch %d, is newer: %s", d.By, d.Why)
}

// deciding is nil if this control plane decides.
func (p *Plane) deciding() error {
	if p.deposed.By == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s. Stop one of the two; `otto cluster start --take-over` makes this one decide", otto.ErrSteppedDown, p.deposed)
}

// TakeOver makes a control plane that has stepped down decide again, in a newer
// epoch than the one it has met.
func (p *Plane) TakeOver(ctx context.Context) error {
	return p.call(ctx, func() error {
		if p.deposed.By == 0 {
			return nil
		}
		epoch := max(p.epoch, p.deposed.By) + 1
		if err := p.Store.Put(p.ctx, keyEpoch, epoch); err != nil {
			return err
		}
		if err := p.Store.Put(p.ctx, keyDeposed, deposed{}); err != nil {
			return err
		}
		next := p.desired
		next.Given = nil // as the other one has given, too: what nodes say they have counts once more
		if err := p.Store.Put(p.ctx, keyDesired, next); err != nil {
			return err
		}
		p.desired = next
		replaced := p.deposed.Replaced
		p.epoch, p.deposed, p.number = epoch, deposed{}, 0
		if len(replaced) > 0 { // nodes refuse those that are here
			p.identity = p.identity.replacing(replaced)
			if err := p.renewKeys(ctx, false); err != nil {
				return err
			}
		}
		if err := p.enthrone(); err != nil {
			return err
		}
		for _, n := range p.nodes {
			n.published = ""
		}
		p.dirty = true
		p.birth()
		p.record(asked(ctx, "took-over", "", fmt.Sprintf("this control plane decides again, in epoch %d", epoch)))
		return nil
	})
}
