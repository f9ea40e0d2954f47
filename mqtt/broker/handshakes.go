package broker

import (
	"net/netip"
	"sync"
	"time"
)

// A TLS handshake costs a broker more than it costs who asks for it: a signature each,
// some milliseconds on a small board. So who has not logged in has a budget of them, by
// address. Who is over it waits, and is closed when that takes too long. Addresses from
// which a node or the control plane has logged in have one of their own, so that a
// stranger who shares their network, or is in it, does not use that up. This machine has
// none: tunnels of nodes come from there.

const (
	// handshakeWait is the longest that one waits for its turn.
	handshakeWait = 3 * time.Second
	// mostSources is how many addresses are remembered before those with nothing used up
	// are forgotten.
	mostSources = 1024
)

func strangerHandshakes() rate { return rate{perSecond: 4, burst: 32} }
func nodeHandshakes() rate     { return rate{perSecond: 16, burst: 128} } // a network of nodes behind one address

// handshakes are the budgets.
type handshakes struct {
	mu      sync.Mutex
	sources map[netip.Prefix]*bucket
	known   map[netip.Addr]*bucket
}

// take takes one for a connection and returns how long it has to wait first; ok is false
// if that is too long. Then it has taken none.
func (h *handshakes) take(from netip.Addr, source netip.Prefix, now time.Time) (wait time.Duration, ok bool) {
	if from.IsLoopback() {
		return 0, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.known[from]
	if b == nil {
		b = h.source(source, now)
	}
	was := *b
	if wait = b.take(1, now); wait > handshakeWait {
		*b = was
		return wait, false
	}
	return wait, true
}

func (h *handshakes) source(source netip.Prefix, now time.Time) *bucket {
	if b := h.sources[source]; b != nil {
		return b
	}
	if h.sources == nil {
		h.sources = map[netip.Prefix]*bucket{}
	}
	forgetIdle(h.sources, now)
	b := &bucket{rate: strangerHandshakes()}
	h.sources[source] = b
	return b
}

// know gives an address from which somebody with a key has logged in a budget of its own.
func (h *handshakes) know(from netip.Addr, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[from] != nil || !from.IsValid() {
		return
	}
	if h.known == nil {
		h.known = map[netip.Addr]*bucket{}
	}
	forgetIdle(h.known, now)
	h.known[from] = &bucket{rate: nodeHandshakes(), at: now}
}

// forgetIdle forgets budgets that are full again, if there are many.
func forgetIdle[K comparable](list map[K]*bucket, now time.Time) {
	if len(list) < mostSources {
		return
	}
	for k, b := range list {
		if b.used <= now.Sub(b.at).Seconds()*b.perSecond {
			delete(list, k)
		}
	}
}
