package sim

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// network decides how long each message takes. What is random about a message
// depends on the seed, on who gets it, and on how many he got before.
type network struct {
	seed uint64

	mu     sync.Mutex
	mode   string               // of step net
	last   map[string]time.Time // when what was sent last arrives, by who sends to whom
	paused map[string]time.Time // until when a process is stopped
	did    map[string]int       // what had an effect
}

func newNetwork(seed uint64) *network {
	return &network{seed: seed, last: map[string]time.Time{}, paused: map[string]time.Time{}, did: map[string]int{}}
}

// chance is random, and the same whenever it is asked for the same.
func (n *network) chance(of ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, of...)
	return rand.New(rand.NewPCG(n.seed, h.Sum64()))
}

func (n *network) set(mode string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode = mode
}

// pause stops the messages to a process; those that come meanwhile wait.
func (n *network) pause(who string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[who] = time.Now().Add(d)
}

// resumes is when a process goes on.
func (n *network) resumes(who string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paused[who]
}

// hit counts that a fault had an effect.
func (n *network) hit(fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did[fault]++
}

// route is the Route of the bus. What one client sends to another arrives in order,
// and hardly any two messages at the same moment.
func (n *network) route(from, to *ottotest.Conn, topic string) []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	way := "broker > " + to.Name
	if from != nil {
		way = from.Name + " > " + to.Name
	}
	now := time.Now()
	random := n.chance(way, topic, now.UnixMilli())
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	odd := random.IntN(10) == 0
	delay := 300*time.Microsecond + upTo(700*time.Microsecond)
	n.did["message"]++
	switch {
	case n.mode == "slow":
		delay += upTo(400 * time.Millisecond)
		n.did["net slow"]++
	case n.mode == "lossy" && odd: // TCP sends it again, and again
		delay += 200 * time.Millisecond << random.IntN(4)
		n.did["net lossy"]++
	}
	if wait := n.paused[to.Name].Sub(now); wait > 0 {
		delay += wait
		n.did["pause"]++
	}
	if n.mode == "shuffled" && odd {
		n.did["net shuffled"]++
		return []time.Duration{delay + upTo(time.Second)}
	}
	delay = max(delay, n.last[way].Sub(now)+time.Microsecond)
	n.last[way] = now.Add(delay)
	if n.mode == "doubled" && odd {
		n.did["net doubled"]++
		return []time.Duration{delay, delay + upTo(2*time.Second)}
	}
	return []time.Duration{delay}
}

// replay publishes an assignment of before once more, as a broker does that was
// put back to what it was yesterday.
func (w *world) replay(host string) {
	topic := wire.NodeTopic(host, wire.KindAssignment)
	w.mu.Lock()
	list := w.sent[topic]
	w.mu.Unlock()
	if len(list) < 2 {
		return
	}
	old := list[len(list)/2-1]
	if !bytes.Equal(old, w.Bus.Retained(topic)) {
		w.net.hit("replay")
		w.Bus.Inject(topic, true, old)
	}
}

// forge publishes what no agent must obey: unsigned, signed by another key, and
// meant for another node.
func (w *world) forge(host string) {
	topic := wire.NodeTopic(host, wire.KindAssignment)
	evil := otto.Assignment{ClusterID: w.ClusterID(), Node: host, Revision: otto.Revision{Epoch: 1 << 40}}
	evil.Instances = []otto.Instance{{Name: "evil", Service: "evil", Spec: otto.ContainerSpec{Image: image}}}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	forged, err := wire.SignAssignment(key, evil)
	if err != nil {
		return
	}
	w.Bus.Inject(topic, false, forged)
	w.Bus.Inject(topic, false, []byte(`{"message":{"instances":[]}}`))
	for _, other := range hosts() {
		if b := w.Bus.Retained(wire.NodeTopic(other, wire.KindAssignment)); other != host && b != nil {
			w.Bus.Inject(topic, false, b)
		}
	}
	w.net.hit("forge")
}
