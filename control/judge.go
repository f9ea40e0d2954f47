package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/health"
	"github.com/otto-edge/otto/wire"
)

// check asks, over ways that do without the agent, whether a silent node's host
// is alive: this machine tries, and some other nodes are asked to.
type check struct {
	id      string
	ends    time.Time
	own     *otto.Sign // what this machine has found; nil until it is known
	asked   []string
	answers map[string]wire.Answer // by node
	proving bool                   // claims are looked into
	claims  []string               // nodes that claim to reach the host
	proofs  map[string]error       // by those nodes, as far as it is known; nil is one
}

const (
	checkMin    = 500 * time.Millisecond // that a host has to answer
	checkAt     = 60                     // percent of a node's patience after which a check begins
	checkMax    = 3 * time.Second
	maxAsked    = 3 // nodes to ask
	proveWithin = 5 * time.Second
	stableAfter = time.Minute // of being ready, services go home to a node
)

// limits are the defaults with what the user wants instead.
func (p *Plane) limits() health.Limits {
	l, h := p.Limits, p.desired.Wanted.Health
	if h.SuspectMin > 0 {
		l.Floor = h.SuspectMin
		l.Ceiling = max(l.Ceiling, l.Floor)
	}
	if h.SuspectMax > 0 {
		l.Ceiling = h.SuspectMax
		l.Floor = min(l.Floor, l.Ceiling)
	}
	return l
}

func (p *Plane) patience(n *node) time.Duration {
	return n.link.Patience(p.desired.Wanted.HeartbeatOf(n.Node), p.limits())
}

// judge brings the state of every node up to date and returns when the next
// state may change by time alone.
func (p *Plane) judge(now time.Time) (next time.Duration) {
	p.doubt(now)
	next = tick
	for _, id := range p.ids() {
		n := p.nodes[id]
		patience := p.patience(n)
		p.check(n, patience, now)
		state, reason := health.Judge(health.Evidence{
			Was:         n.state,
			Watching:    p.watching,
			Heard:       n.heard,
			Goodbye:     n.goodbye,
			Patience:    patience,
			Unreachable: n.unreachable,
			Reached:     n.reached,
			Mute:        n.mute,
			Asked:       n.muteAsked,
			Stuck:       n.stuck,
			Doubt:       p.doubts,
			Draining:    n.leaving || p.desired.Intents[id].Draining,
			Stopped:     p.desired.Wanted.Stopped && !n.leaving,
		}, p.limits(), now)
		if n.leaving && state == otto.NodeDraining {
			reason = "taken out of the cluster"
		}
		p.enter(n, state, reason, now)
		silent := now.Sub(latest(n.heard, p.watching))
		for _, at := range []time.Duration{patience * checkAt / 100, patience} {
			if wait := at - silent + time.Millisecond; wait > 0 {
				next = min(next, wait)
			}
		}
		if n.check != nil {
			next = min(next, max(n.check.ends.Sub(now), time.Millisecond))
		}
	}
	return next
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// enter puts a node into a state.
func (p *Plane) enter(n *node, state otto.NodeState, reason string, now time.Time) {
	n.reason = reason
	if state == n.state {
		return
	}
	was := n.state
	n.state, n.since = state, now
	p.dirty = true
	switch {
	case state == otto.NodeSuspect:
		n.wake()
	case state == otto.NodeReady && (was == otto.NodeSuspect || was == otto.NodeUnresponsive || was == otto.NodeLost):
		n.flaps.Add(now)
	}
	message := "node is " + string(state)
	if reason != "" {
		message += ": " + reason
	}
	p.event("node-"+string(state), n.ID, "", message)
}

// doubt decides whether the control plane trusts its own ears.
func (p *Plane) doubt(now time.Time) {
	var silent []time.Time
	for _, n := range p.nodes {
		if !n.heard.IsZero() && !n.leaving && (n.goodbye.After(n.heard) || now.Sub(n.heard) > p.patience(n)) {
			silent = append(silent, n.heard)
		}
	}
	why := ""
	if !p.desired.Wanted.Stopped {
		why = health.Doubt(silent, len(p.nodes))
	}
	if why == p.doubts {
		return
	}
	if was := p.doubts; why == "" {
		// Who is not heard yet has as long to come back as after a start: its link
		// may recover a moment later than the others'.
		if !p.watching.IsZero() {
			p.watching = now
		}
		for _, n := range p.nodes { // that nobody answered may have been this machine's own link
			if n.state == otto.NodeLost {
				n.lookAnew()
			}
		}
		p.event("doubt-over", "", "", "nodes are judged again")
	} else if was == "" {
		p.event("doubt", "", "", why+": nothing is moved until most of them are heard again")
	}
	p.doubts, p.dirty = why, true
}

// lookAnew forgets what checks of a node have found, and has it checked soon. One that is lost
// stays so, but what it holds is not started elsewhere before somebody has looked: it may
// answer by now, and frozen as it is have stopped nothing.
func (n *node) lookAnew() {
	n.check, n.checked = nil, time.Time{}
	n.unreachable, n.reached, n.mute, n.muteAsked = "", "", "", 0
}

// check begins, concludes and repeats the check of a silent node. The first one
// begins before the node is suspect, so that the answer is there when it is.
func (p *Plane) check(n *node, patience time.Duration, now time.Time) {
	gone := n.goodbye.After(n.heard)
	silent := now.Sub(latest(n.heard, p.watching))
	if p.watching.IsZero() || n.state == otto.NodeLeft || !gone && silent < patience*checkAt/100 {
		n.check = nil
		return
	}
	if c := n.check; c != nil {
		if c.concluded(now) && !p.prove(n, c, now) {
			p.conclude(n, c, now)
			n.check, n.checked = nil, now
		}
		return
	}
	if n.checked.After(n.heard) && now.Sub(n.checked) < health.AskAgain(n.sign, n.checks, n.state) {
		return
	}
	p.begin(n, min(max(checkMin, patience/2), checkMax), now)
}

// concluded reports whether nothing more is to be waited for. What answers here is
// there, whatever others find.
func (c *check) concluded(now time.Time) bool {
	if c.own != nil && c.own.Reply != otto.ReplyNone || !now.Before(c.ends) {
		return true
	}
	if c.proving {
		return len(c.proofs) == len(c.claims)
	}
	return c.own != nil && len(c.answers) == len(c.asked)
}

// prove has the host that this machine does not reach prove itself through those nodes
// that claim to reach it, and reports whether that has just begun.
func (p *Plane) prove(n *node, c *check, now time.Time) bool {
	if c.proving || c.own == nil || c.own.Reply != otto.ReplyNone {
		return false
	}
	for _, id := range slices.Sorted(maps.Keys(c.answers)) {
		if p.nodes[id] != nil && c.answers[id].Found() != otto.ReplyNone {
			c.claims = append(c.claims, id)
		}
	}
	if len(c.claims) == 0 {
		return false
	}
	c.proving, c.proofs, c.ends = true, map[string]error{}, now.Add(proveWithin+checkMin)
	host := n.Node
	for _, id := range c.claims {
		peer := p.nodes[id].Node
		p.background.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, proveWithin)
			defer cancel()
			err := p.Reach.Through(ctx, peer, host)
			p.tell(p.ctx, func() { c.proofs[peer.ID] = err })
		})
	}
	return true
}

// claim is what a node has found, and whether it is proven. One whose own SSH server
// does not reach the host is not believed.
func (c *check) claim(id string) health.Claim {
	claim := health.Claim{Node: id, Reply: c.answers[id].Found()}
	err, tried := c.proofs[id]
	switch {
	case tried && err == nil:
		claim.Proven = true
	case errors.Is(err, otto.ErrUnreached):
		claim.Reply = otto.ReplyNone
	}
	return claim
}

// conclude takes in what a check has found.
func (p *Plane) conclude(n *node, c *check, now time.Time) {
	found := health.Check{Own: c.own}
	for _, id := range slices.Sorted(maps.Keys(c.answers)) {
		found.Claims = append(found.Claims, c.claim(id))
	}
	proven := slices.ContainsFunc(found.Claims, func(c health.Claim) bool { return c.Proven })
	switch {
	case proven, c.own != nil && c.own.Reply != otto.ReplyNone:
		n.claimed = time.Time{}
	case n.claimed.IsZero() && slices.ContainsFunc(found.Claims, health.Claim.Claims):
		n.claimed = now
	}
	if !n.claimed.IsZero() {
		found.Claimed = now.Sub(n.claimed)
	}
	n.reached, n.mute, n.unreachable = found.Weigh()
	n.sign, n.checks, p.dirty = otto.Sign{}, n.checks+1, true
	if c.own != nil {
		n.sign = *c.own
	}
	if n.mute == "" {
		n.muteAsked = 0
	} else {
		n.muteAsked++
	}
	if n.reached != "" && (n.state == otto.NodeLost || n.state == otto.NodeUnresponsive) {
		n.wake()
	}
}

// begin begins a check. A host that has answered this machine is not to be asked by
// others as well.
func (p *Plane) begin(n *node, within time.Duration, now time.Time) {
	p.checks++
	c := &check{
		id:      fmt.Sprintf("%d-%d", p.epoch, p.checks),
		ends:    now.Add(within + within/4),
		answers: map[string]wire.Answer{},
	}
	n.check = c
	spec := n.Node
	p.background.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, within)
		defer cancel()
		sign := p.Reach.Alive(ctx, spec)
		sign.Why = wire.Plain(sign.Why) // the host has had its say in it
		p.tell(p.ctx, func() { c.own = &sign })
	})
	address := p.Reach.Address(spec)
	if address == "" || n.sign.Reply != otto.ReplyNone {
		return
	}
	for _, id := range p.peers(n) {
		key, also := p.identity.signers()
		q, err := wire.SignQuestion(key,
			wire.Question{ClusterID: p.identity.ClusterID, Node: id, ID: c.id, Address: address, Within: within}, also...)
		if err == nil && p.publish(wire.NodeTopic(id, wire.KindQuestion), 0, false, q) == nil {
			c.asked = append(c.asked, id)
		}
	}
}

// peers are some nodes that can be asked about n, others each time, in order.
func (p *Plane) peers(n *node) (ids []string) {
	for _, id := range p.ids() {
		if peer := p.nodes[id]; peer != n && !peer.IsLocal() && peer.state == otto.NodeReady {
			ids = append(ids, id)
		}
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	ids = ids[:min(len(ids), maxAsked)]
	slices.Sort(ids)
	return ids
}

// answer takes in what a node found when it was asked about another one.
func (p *Plane) answer(from *node, a wire.Answer) {
	for _, n := range p.nodes {
		if n.check != nil && n.check.id == a.Question && slices.Contains(n.check.asked, from.ID) {
			n.check.answers[from.ID] = a
		}
	}
}

// ids are those of all nodes, in order.
func (p *Plane) ids() []string {
	if len(p.sorted) != len(p.nodes) {
		p.sorted = slices.Sorted(maps.Keys(p.nodes))
	}
	return p.sorted
}
