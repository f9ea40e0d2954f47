package agent

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
)

const (
	peersWithin = 3 * time.Second // that one measurement may take
	peersAtOnce = 4
)

// peers are the nodes to which the round-trip time is to be measured. Its zero value
// is none.
type peers struct {
	mu   sync.Mutex
	list []otto.Peer
	rtt  map[string]roundTrip // by node
}

type roundTrip struct {
	took time.Duration
	at   time.Time
}

// set says which they are from now on, and reports whether that is new.
func (p *peers) set(list []otto.Peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.list, list) {
		return false
	}
	p.list, p.rtt = list, map[string]roundTrip{}
	return true
}

func (p *peers) get() []otto.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list
}

func (p *peers) note(node string, r roundTrip) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.list, func(peer otto.Peer) bool { return peer.Node == node }) {
		p.rtt[node] = r
	}
}

// seconds are the newest round-trip times, by node; those that are old have gone.
func (p *peers) seconds(now time.Time) (list map[string]float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.rtt, func(_ string, r roundTrip) bool { return now.Sub(r.at) > 2*otto.RTTEvery })
	for node, r := range p.rtt {
		if list == nil {
			list = map[string]float64{}
		}
		list[node] = r.took.Seconds()
	}
	return list
}

// measureFor has others measure what an assignment asks for.
func (a *Agent) measureFor(asg otto.Assignment) {
	if a.peers.set(asg.Peers) {
		signal(a.peersNew)
	}
	replace(a.watches, asg.Watches)
}

// measurePeers measures round-trip times for as long as ctx lasts, and does nothing
// while none are asked for.
func (a *Agent) measurePeers(ctx context.Context) error {
	tick := time.NewTicker(otto.RTTEvery)
	defer tick.Stop()
	for {
		g := new(errgroup.Group)
		g.SetLimit(peersAtOnce)
		for _, peer := range a.peers.get() {
			g.Go(func() error {
				if took, err := a.measurePeer(ctx, peer); err == nil {
					a.peers.note(peer.Node, roundTrip{took, time.Now()})
				} else if ctx.Err() == nil {
					a.Log.Debug("no round-trip time", "to", peer.Node, "err", err)
				}
				return nil
			})
		}
		_ = g.Wait()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-a.peersNew:
		}
	}
}

func (a *Agent) measurePeer(ctx context.Context, peer otto.Peer) (time.Duration, error) {
	if peer.Node == a.Enrolment.NodeID {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, peersWithin)
	defer cancel()
	address := peer.Address
	if address == "" {
		address = direct(a.Enrolment.Brokers)
	}
	return a.RoundTrip(ctx, address)
}

// lookAround probes what the assignment in force says, for as long as ctx lasts.
func (a *Agent) lookAround(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			a.lookout.Wait()
			return ctx.Err()
		case list := <-a.watches:
			a.lookout.Set(ctx, a.reachable(list))
		}
	}
}

// reachable are the watches with their addresses, without those of which none is
// known: an address without a host would be this machine's own.
func (a *Agent) reachable(list []otto.Watch) (known []otto.Watch) {
	for _, w := range list {
		if port, without := strings.CutPrefix(w.Address, ":"); without {
			host, _, err := net.SplitHostPort(direct(a.Enrolment.Brokers))
			if err != nil {
				a.Log.Debug("not watched: its machine is not known by an address", "instance", w.Instance)
				continue
			}
			w.Address = net.JoinHostPort(host, port)
		}
		known = append(known, w)
	}
	return known
}

// direct is the first address of a broker that is not one end of a tunnel.
func direct(brokers []string) string {
	for _, b := range brokers {
		host, _, err := net.SplitHostPort(b)
		ip, _ := netip.ParseAddr(host)
		if err == nil && host != "localhost" && !ip.IsLoopback() {
			return b
		}
	}
	return ""
}
