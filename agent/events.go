package agent

import (
	"context"
	"slices"
	"time"

	"github.com/otto-edge/otto/wire"
)

// maxEvents are kept for a control plane that is away. The oldest go first; the
// control plane sees by the numbers that some are missing.
const maxEvents = 64

// events are what the agent has noticed and done on its own, for people. The
// control plane is sent all that are kept, at each new one and each connect, and
// leaves out those that it knows.
type events struct {
	list   []wire.NodeEvent
	seq    uint64
	unsaid bool
}

func (e *events) add(up time.Duration, kind, service, message string) {
	e.seq++
	if len(e.list) == maxEvents {
		e.list = slices.Delete(e.list, 0, 1)
	}
	e.list = append(e.list, wire.NodeEvent{Seq: e.seq, UpMS: up.Milliseconds(), Kind: kind, Service: service, Message: message})
	e.unsaid = true
}

// note keeps an event of an instance, or of the node if instance is empty.
func (c *converger) note(kind, instance, message string) {
	service := ""
	if inst := c.wanted(instance); inst != nil {
		service = inst.Service
	}
	if instance != "" {
		message = instance + ": " + message
	}
	c.events.add(time.Since(c.began), kind, service, message)
}

// tell publishes the events if there are any that were not said.
func (c *converger) tell(ctx context.Context) {
	if !c.events.unsaid {
		return
	}
	b, err := wire.Encode(wire.NodeEvents{NodeID: c.Enrolment.NodeID, BootID: c.BootID, Events: c.events.list})
	if err != nil {
		c.Log.Error("events", "err", err)
		return
	}
	if c.publish(ctx, wire.KindEvents, b) == nil {
		c.events.unsaid = false
	}
}
