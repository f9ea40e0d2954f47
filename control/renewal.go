package control

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// The keys of a cluster are renewed all at once: the authority, the key that signs and each
// node's own. A node gets the new ones in one enrolment, over SSH, and knows no others from
// then on. Until the nodes have them the control plane has both: it signs by both, and
// shows each node the certificate that it asks for. What is renewed is stored before it is
// used, so that a control plane that is killed goes on where it was. See ADR 18.

// renewal is what of a cluster's identity is about renewed keys.
type renewal struct {
	// Generation is how often they were renewed.
	Generation uint64 `json:"generation,omitempty"`
	// Replaced are the public keys that signed before, the newest first.
	Replaced []wire.FormerKey `json:"replaced,omitempty"`
	// Rotation is under way; nil if none is.
	Rotation *rotation `json:"rotation,omitempty"`
	// Due says that the keys here are those of an older copy, so that they are to be renewed
	// at the next start.
	Due bool `json:"due,omitempty"`
}

// rotation is a renewal that not all nodes have got yet.
type rotation struct {
	Began       time.Time `json:"began"`
	By          string    `json:"by,omitempty"`
	Compromised bool      `json:"compromised,omitempty"`
	// Key and Authority are those of before, which hold until the end; none if they are
	// compromised.
	Key       ed25519.PrivateKey `json:"key,omitempty"`
	Authority authority          `json:"authority,omitzero"`
}

// overlaps reports whether what was before still holds.
func (r renewal) overlaps() bool { return r.Rotation != nil && !r.Rotation.Compromised }

const (
	// maxReplaced is how many former keys are remembered.
	maxReplaced = 8
	// absentAfter is how long a node must be silent not to be waited for any more.
	absentAfter = 30 * time.Second
)

// renewed is an identity with new keys.
func (i identity) renewed(by string, compromised bool, now time.Time) (identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return i, err
	}
	ca, err := newAuthority(i.ClusterID)
	if err != nil {
		return i, err
	}
	ca.Name = ca.name(i.ClusterID)
	r := rotation{Began: now.UTC().Truncate(time.Second), By: by, Compromised: compromised}
	if !compromised {
		r.Key, r.Authority = i.Key, i.Authority
	}
	replaced := append([]wire.FormerKey{{Key: i.publicKey()}}, i.Renewal.Replaced...)
	replaced = replaced[:min(len(replaced), maxReplaced)]
	for k := range replaced {
		replaced[k].Compromised = replaced[k].Compromised || compromised
	}
	i.Key, i.Authority = key, ca
	i.Renewal = renewal{Generation: i.Renewal.Generation + 1, Replaced: replaced, Rotation: &r}
	i.Format = i.format()
	return i, nil
}

// replacing is an identity whose next keys replace a foreign one as well, which another
// control plane of the cluster has drawn: that one steps aside where it meets them. Nothing
// counts by such a key.
func (i identity) replacing(key ed25519.PublicKey) identity {
	if !i.knows(key) {
		list := append([]wire.FormerKey{{Key: key, Compromised: true}}, i.Renewal.Replaced...)
		i.Renewal.Replaced = list[:min(len(list), maxReplaced)]
	}
	return i
}

func (i identity) publicKey() ed25519.PublicKey {
	key, _ := i.Key.Public().(ed25519.PublicKey) // it is one: load has checked
	return key
}

// signers are the keys to sign by. While two hold the former one is the first, which is
// the only one that agents of former builds look at.
func (i identity) signers() (key ed25519.PrivateKey, also []ed25519.PrivateKey) {
	if i.Renewal.overlaps() {
		return i.Renewal.Rotation.Key, []ed25519.PrivateKey{i.Key}
	}
	return i.Key, nil
}

// verifiers are the public keys that hold.
func (i identity) verifiers() []ed25519.PublicKey {
	keys := []ed25519.PublicKey{i.publicKey()}
	if i.Renewal.overlaps() {
		keys = append(keys, i.Renewal.Replaced[0].Key)
	}
	return keys
}

// everTrusted are those by which what nodes have stored counts.
func (i identity) everTrusted() []ed25519.PublicKey {
	keys := []ed25519.PublicKey{i.publicKey()}
	for _, f := range i.Renewal.Replaced {
		if !f.Compromised {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// knows reports whether a key is, or was, the cluster's.
func (i identity) knows(key ed25519.PublicKey) bool {
	return i.publicKey().Equal(key) ||
		slices.ContainsFunc(i.Renewal.Replaced, func(f wire.FormerKey) bool { return f.Key.Equal(key) })
}

// authorities are those in force, the one that ends first before the other.
func (i identity) authorities() []authority {
	if i.Renewal.overlaps() {
		return []authority{i.Renewal.Rotation.Authority, i.Authority}
	}
	return []authority{i.Authority}
}

// Rotate renews all keys of the cluster. Without compromised what was before holds until
// the nodes have the new ones; with it nothing of that holds from now on, and nodes are
// cut off until SSH has brought them theirs.
func (p *Plane) Rotate(ctx context.Context, compromised bool) error {
	return p.call(ctx, func() error {
		if err := p.deciding(); err != nil {
			return err
		}
		under := p.identity.Renewal.Rotation
		switch {
		case p.desired.Restored:
			return errors.New("restored from a backup: run `otto cluster start` first, which says what is wanted")
		case p.desired.Wanted.Stopped:
			return errors.New("the cluster is stopped: run `otto cluster start` first, nodes get their keys while it runs")
		case under != nil && (under.Compromised || !compromised):
			return fmt.Errorf("the keys are being renewed already, since %s: `otto cluster status` lists the nodes that lack them",
				under.Began.Format(time.RFC3339))
		}
		if err := p.renewKeys(ctx, compromised); err != nil {
			return err
		}
		p.pass(time.Now())
		p.publishView()
		return nil
	})
}

// renewKeys draws new keys, stores them and begins to bring them to the nodes.
func (p *Plane) renewKeys(ctx context.Context, compromised bool) error {
	next, err := p.identity.renewed(otto.By(ctx), compromised, time.Now())
	if err != nil {
		return err
	}
	if err := p.Store.Put(p.ctx, keyIdentity, next); err != nil {
		return err
	}
	p.identity, p.renewing = next, time.Now()
	message := "keys of the cluster and of its nodes are renewed; those of before hold until the nodes have the new ones"
	if compromised {
		message = "keys of the cluster and of its nodes are renewed, and those of before have ended"
	}
	p.record(asked(ctx, "rotation-started", "", message))
	if err := p.enroll(slices.Sorted(maps.Keys(p.enrolled))...); err != nil {
		p.Log.Error("new keys of nodes are not stored: it is tried again", "err", err)
	}
	for id, n := range p.nodes {
		delete(p.keyed, id)
		k := n.keeper
		n.keeper, n.installed = nil, false // the next pass makes one that brings the new keys
		p.background.Go(k.release)
		p.admit(id)
		if p.Kick != nil && compromised {
			p.Kick(id, p.keyInForce(id))
		}
	}
	return p.followKeys()
}

// keyInForce is the key by which a node may log in; nil if it has none yet.
func (p *Plane) keyInForce(id string) []byte {
	if s := p.enrolled[id]; s.Drawn == p.identity.Renewal.Generation {
		return publicKey(s.Key)
	}
	return nil
}

// followKeys makes all that is signed and shown that of the keys in force.
func (p *Plane) followKeys() error {
	p.show()
	if p.Trusted != nil {
		p.Trusted(p.BrokerTLS().CA)
	}
	if err := p.signWarrant(); err != nil {
		return err
	}
	for _, n := range p.nodes {
		n.published = ""
	}
	p.dirty = true
	p.birth()
	return nil
}

// lacks reports whether a node is not known to have the keys in force.
func (p *Plane) lacks(id string) bool {
	s, enrolled := p.enrolled[id]
	return enrolled && s.Has < p.identity.Renewal.Generation
}

// absent reports whether a node is silent for so long that it is not waited for: SSH brings
// it its keys when it is back.
func (p *Plane) absent(n *node, now time.Time) bool {
	return now.Sub(latest(latest(n.heard, p.watching), p.renewing)) > absentAfter
}

// endRenewal ends what was before when all nodes have the new keys that are not absent.
func (p *Plane) endRenewal(now time.Time) {
	if p.identity.Renewal.Rotation == nil {
		return
	}
	if p.desired.Wanted.Stopped || p.doubts != "" || p.watching.IsZero() {
		return // nobody is absent because nothing can be heard
	}
	have, missing := 0, 0
	for id, n := range p.nodes {
		switch {
		case !p.lacks(id):
			have++
		case !p.absent(n, now):
			return
		default:
			missing++
		}
	}
	if have == 0 && missing > 0 {
		return // rather this machine is away than all the others
	}
	next := p.identity
	next.Renewal.Rotation = nil
	if err := p.Store.Put(p.ctx, keyIdentity, next); err != nil {
		p.Log.Error("the end of former keys is not stored: they still hold", "err", err)
		return
	}
	p.identity = next
	message := "keys are renewed; those of before have ended"
	if missing > 0 {
		message += fmt.Sprintf("; SSH brings them to %d that are away when they are back", missing)
	}
	p.event("rotation-done", "", "", message)
	if err := p.followKeys(); err != nil {
		p.Log.Error("the control plane's own proof is not signed", "err", err)
	}
}

// rotationView is how far a renewal has come; nil if all have its keys.
func (p *Plane) rotationView(now time.Time) *otto.Rotation {
	r := otto.Rotation{Lacking: []otto.Lacking{}}
	for _, id := range p.ids() {
		n := p.nodes[id]
		if !p.lacks(id) {
			continue
		}
		l := otto.Lacking{Node: id, Absent: p.absent(n, now), Why: n.problem}
		switch {
		case l.Why != "":
		case n.step != "":
			l.Why = n.step
		case !n.installed:
			l.Why = "SSH is about to bring them"
		default:
			l.Why = "it has not logged in with them yet"
		}
		r.Lacking = append(r.Lacking, l)
	}
	if under := p.identity.Renewal.Rotation; under != nil {
		r.Since, r.By, r.Compromised = under.Began, under.By, under.Compromised
	} else if len(r.Lacking) == 0 {
		return nil
	}
	return &r
}

// of makes secrets those of the generation of the cluster's keys that is in force. What a
// node had before holds while both do.
func (s secrets) of(r renewal, ours bool) secrets {
	switch {
	case s.ClientID == "": // a node that is new
		s.Drawn, s.Has = r.Generation, r.Generation
	case s.Drawn == r.Generation:
	case r.overlaps() && len(s.Key) > 0:
		if len(s.FormerKey) > 0 {
			s.Older = append(slices.Clip(s.Older), s.FormerKey.Public().(ed25519.PublicKey)) //nolint:forcetypeassert // it is
		}
		s.Key, s.FormerKey, s.Drawn = nil, s.Key, r.Generation
	case r.overlaps():
		s.Drawn = r.Generation
	default:
		s = s.withoutFormer(ours)
		s.Key, s.SealKey, s.Drawn = nil, nil, r.Generation
	}
	return s
}

// withoutFormer ends what holds beside the key; a password is not ours to end at another
// broker.
func (s secrets) withoutFormer(ours bool) secrets {
	s.FormerKey, s.Older, s.FormerSealKey = nil, nil, nil
	if ours {
		s.Password = ""
	}
	return s
}
