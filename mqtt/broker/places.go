package broker

import (
	"net"
	"net/netip"
	"slices"
)

// places are the connections that share a limit. When there is no more room, the source
// that has most of them gives up its oldest one, so that who comes in masses drives
// himself out, and a newcomer always gets in. The gate guards them.
type places[T comparable] struct {
	room     int
	bySource map[netip.Prefix][]T // oldest first
	taken    int
}

func newPlaces[T comparable](room int) *places[T] {
	return &places[T]{room: room, bySource: map[netip.Prefix][]T{}}
}

// add returns who has to go for it, if somebody has.
func (p *places[T]) add(source netip.Prefix, one T) (evicted T, full bool) {
	p.bySource[source] = append(p.bySource[source], one)
	p.taken++
	if p.taken <= p.room {
		return evicted, false
	}
	from := source
	for s, list := range p.bySource {
		if len(list) > len(p.bySource[from]) {
			from = s
		}
	}
	if len(p.bySource[from]) == 1 && from == source { // all have one
		for s := range p.bySource {
			if s != source {
				from = s
				break
			}
		}
	}
	evicted = p.bySource[from][0]
	p.remove(from, evicted)
	return evicted, true
}

func (p *places[T]) remove(source netip.Prefix, one T) {
	list := p.bySource[source]
	i := slices.Index(list, one)
	if i < 0 {
		return
	}
	p.taken--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(p.bySource, source)
		return
	}
	p.bySource[source] = list
}

// sourceOf is who counts as one: an address of IPv4, a network of IPv6, as everybody
// has a whole one of those.
func sourceOf(addr net.Addr) netip.Prefix {
	ip := addressOf(addr)
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// addressOf is the address without its zone; the zero one if it has none.
func addressOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
