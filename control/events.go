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
	p.record(otto.Event{Time: time.Now().UTC(), Kind: kind, Node: node, Service: service, Message: message})
}

// asked is an event that a person has asked for.
func asked(ctx context.Context, kind, node, message string) otto.Event {
	return otto.Event{Time: time.Now().UTC(), Kind: kind, Node: node, Message: message, By: otto.By(ctx)}
}

func (p *Plane) record(e otto.Event) {
	e, err := p.Journal.Add(e)
	if err != nil {
		p.Log.Error("event not kept", "err", err)
	}
	p.Log.Info("event", "kind", e.Kind, "node", e.Node, "service", e.Service, "message", e.Message, "by", e.By)
	if p.deposed.By == 0 {
		_ = p.publish(wire.TopicEvents, 1, false, e)
	}
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
	for _, e := range said.Events {
		if last.boot == said.BootID && e.Seq <= last.seq {
			continue
		}
		if missed := e.Seq - last.seq - 1; last.boot == said.BootID && missed > 0 {
			p.event("events-missed", n.ID, "", fmt.Sprintf("%d events of the node were too many to keep", missed))
		}
		last = source{said.BootID, e.Seq}
		p.noticed[n.ID] = last
		at := n.beatAt.Add(time.Duration(e.UpMS-n.upMS) * time.Millisecond)
		p.record(otto.Event{Time: at.UTC(), Kind: e.Kind, Node: n.ID, Service: e.Service, Message: e.Message, Source: last.String()})
	}
}
