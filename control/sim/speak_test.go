package sim

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// message is what somebody with the account that all share at the broker has read.
type message struct {
	topic   string
	payload []byte
}

// mostSaid is how much of what a host has said is remembered, and said again at once.
const mostSaid = 60

// listenIn has somebody with that account read all that hosts say.
func (w *world) listenIn(t *testing.T) {
	w.said = map[string][]message{}
	conn := w.Bus.Client("listener")
	conn.Subscribe("otto/#", func(topic string, payload []byte) {
		host, kind, ok := wire.ParseNodeTopic(topic)
		if !ok || kind == wire.KindAssignment || kind == wire.KindLease || kind == wire.KindQuestion {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said[host] = append(w.said[host], message{topic, payload})
		w.said[host] = w.said[host][max(0, len(w.said[host])-mostSaid):]
	})
	ctx := t.Context()
	go func() { _ = conn.Run(ctx) }()
}

// speak has him speak for a host: all that it has said so far he says again and again, and
// between that, in its words, that it has stopped everything which it was to run.
func (w *world) speak(host string, d time.Duration) {
	w.net.hit("speak")
	w.mu.Lock()
	words := w.said[host]
	w.mu.Unlock()
	end := time.Now().Add(d)
	var again func()
	again = func() {
		for _, m := range words {
			w.Bus.Inject(m.topic, false, m.payload)
		}
		w.sayStopped(host, words)
		if time.Now().Before(end) && !w.over.Load() {
			w.later(250*time.Millisecond, again)
		}
	}
	again()
}

// sayStopped forges the last report of a host to be about the assignment in force, as it is
// at the broker, with nothing running, and a heartbeat after it.
func (w *world) sayStopped(host string, words []message) {
	asg, err := w.Hosts[host].Enrolment().OpenStored(w.Bus.Retained(wire.NodeTopic(host, wire.KindAssignment)))
	if err != nil {
		return
	}
	var last wire.Report
	for _, m := range words {
		if _, kind, _ := wire.ParseNodeTopic(m.topic); kind != wire.KindInstances {
			continue
		}
		if r, err := wire.DecodeReport(host, m.payload); err == nil {
			last = r
		}
	}
	last.Seq, last.Revision, last.Warrant = 1<<40+uint64(time.Now().UnixMilli()), asg.Revision, asg.Warrant
	last.Settled, last.Instances = true, []otto.InstanceStatus{}
	beat := wire.Heartbeat{BootID: last.BootID, Seq: last.Seq}
	for kind, v := range map[wire.Kind]any{wire.KindInstances: last, wire.KindHeartbeat: beat} {
		if b, err := wire.Encode(v); err == nil {
			w.Bus.Inject(wire.NodeTopic(host, kind), false, b)
		}
	}
}
