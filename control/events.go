package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Events returns the kept events numbered above after, and a channel that is
// closed when there are more.
func (p *Plane) Events(after uint64) ([]otto.Event, <-chan struct{}) { return p.Journal.After(after) }

// event keeps what has just happened and tells the world.
func (p *Plane) event(kind, node, service, message string) {
	p.record(otto.Event{Time: time.Now().UTC(), Kind: kind, Node: node, Service: service, Message: wire.Plain(message)}) // hosts have their say in it
}

// asked is an event that a person has asked for.
func asked(ctx context.Context, kind, node, message string) otto.Event {
	return otto.Event{Time: time.Now().UTC(), Kind: kind, Node: node, Message: message, By: otto.By(ctx)}
}

// Note keeps an event of what a person does past the control plane, such as a command in
// a container.
func (p *Plane) Note(ctx context.Context, e otto.Event) error {
	return p.call(ctx, func() error {
		e.Time, e.By = time.Now().UTC(), otto.By(ctx)
		p.record(e)
		return nil
	})
}

// record keeps an event. Of a node, or of services on it, there are only so many that no
// person has asked for: what a node does or says must not push all else out of the journal.
func (p *Plane) record(e otto.Event) {
	if n := p.nodes[e.Node]; n != nil && e.By == "" && !n.recorded.take(time.Now(), eventsAtOnce, eventsAMinute) {
		return
	}
	for _, e := range p.repeats.take(e, time.Now()) {
		p.write(e)
	}
}

// write puts an event into the journal and tells the world.
func (p *Plane) write(e otto.Event) {
	e, err := p.Journal.Add(e)
	if err != nil {
		p.Log.Error("event not kept", "err", err)
	}
	p.Log.Info("event", "kind", e.Kind, "node", e.Node, "service", e.Service, "message", e.Message, "by", e.By)
	if p.deposed.By == 0 {
		_ = p.publish(wire.TopicEvents, 1, false, e)
	}
}

// recount writes what was counted of events that repeat.
func (p *Plane) recount(now time.Time) {
	if now.Before(p.recountAt) {
		return
	}
	p.recountAt = now.Add(time.Minute)
	for _, e := range p.repeats.due(now) {
		p.write(e)
	}
}

// lastEvents writes down what was counted when Run ends: nobody is told any more.
func (p *Plane) lastEvents() {
	for _, e := range p.repeats.rest() {
		if _, err := p.Journal.Add(e); err != nil {
			p.Log.Error("event not kept", "err", err)
		}
	}
}

// Budgets for each node.
const (
	eventsAtOnce, eventsAMinute   = 256, 6 // of any kind
	noticesAtOnce, noticesAMinute = 128, 2 // of those that it tells itself
	dropsAtOnce, dropsAMinute     = 10, 1  // lines in the log about what is dropped
	eventsInOne                   = 64     // in a message; an agent keeps no more
	maxNotice                     = 400    // bytes of one
)

// budget is how many of something there may still be. It fills up again with time.
type budget struct {
	used   float64
	at     time.Time
	missed uint64 // since the last one that was taken
}

func (b *budget) take(now time.Time, atOnce, aMinute float64) bool {
	if gone := now.Sub(b.at); gone > 0 {
		b.used, b.at = max(0, b.used-gone.Minutes()*aMinute), now
	}
	if b.used >= atOnce {
		b.missed++
		return false
	}
	b.used++
	return true
}

// source is what an event of a node is known by: the boot of its agent and a
// number that rises in it.
type source struct {
	boot string
	seq  uint64
}

func (s source) String() string { return s.boot + ":" + strconv.FormatUint(s.seq, 10) }

// recall finds the last event of each node in the journal: a node says its last
// ones again whenever it connects.
func (p *Plane) recall() {
	p.noticed = map[string]source{}
	list, _ := p.Journal.After(0)
	for _, e := range list {
		boot, number, ok := strings.Cut(e.Source, ":")
		if seq, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			p.noticed[e.Node] = source{boot, seq}
		}
	}
}

// notice takes in what a node has noticed while nobody listened, or just now.
// Its events have the time since its agent started; a heartbeat of the same agent
// says when that was by our clock, whatever the node's clock says.
func (p *Plane) notice(n *node) {
	said := n.events
	if said == nil || said.BootID != n.bootID || n.beatAt.IsZero() {
		return
	}
	n.events = nil
	last := p.noticed[n.ID]
	for _, e := range said.Events[max(0, len(said.Events)-eventsInOne):] {
		if last.boot == said.BootID && e.Seq <= last.seq {
			continue
		}
		if last.boot == said.BootID {
			n.noticed.missed += e.Seq - last.seq - 1
		}
		last = source{said.BootID, e.Seq}
		p.noticed[n.ID] = last
		if !noticeable(e.Kind) || !n.noticed.take(time.Now(), noticesAtOnce, noticesAMinute) {
			continue
		}
		if missed := n.noticed.missed; missed > 0 {
			n.noticed.missed = 0
			p.event("events-missed", n.ID, "", fmt.Sprintf("%d events of the node were too many to keep", missed))
		}
		service := e.Service
		if !wire.ValidService(service) {
			service = ""
		}
		p.record(otto.Event{
			Time:    n.at(e.UpMS).UTC(),
			Kind:    e.Kind,
			Node:    n.ID,
			Service: service,
			Message: cut(e.Message, maxNotice),
			Source:  last.String(),
		})
	}
}

// noticeable reports whether a node may tell events of a kind: those of its engine, its
// data and its instances. All others are the control plane's own.
func noticeable(kind string) bool {
	about, what, ok := strings.Cut(kind, "-")
	odd := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') }
	return ok && (about == "instance" || about == "engine" || about == "data") && len(what) < 32 &&
		!strings.ContainsFunc(what, odd)
}

// at is when the agent that was heard last had run for upMS, by our clock.
func (n *node) at(upMS int64) time.Time {
	before := min(max(-maxAhead, n.upMS-max(0, upMS)), maxUpMS)
	return n.beatAt.Add(-time.Duration(before) * time.Millisecond)
}

// Bounds, in milliseconds, of what a node says of how long something is ago: two seconds
// after its last heartbeat, and ten years before.
const (
	maxAhead = 2000
	maxUpMS  = 10 * 365 * 24 * 60 * 60 * 1000
)

// cut is the beginning of a text, of at most n bytes.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "..."
}
