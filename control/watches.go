package control

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/otto-edge/otto"
)

// watchesOf are the instances that each node, and otto.FromControl, is to probe
// because some requirement is about how they are reached from there.
func (p *Plane) watchesOf() map[string][]otto.Watch {
	all := map[string][]otto.Watch{}
	list := slices.SortedFunc(maps.Keys(p.required.remote), func(a, b *judged) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(len(a.instance), len(b.instance)), cmp.Compare(a.instance, b.instance))
	})
	for _, j := range list {
		from := j.feed.From
		there := func(x otto.Watch) bool { return x.Instance == j.instance }
		s, wanted := p.index().Service(j.service)
		if !wanted || s.Probe == nil || slices.ContainsFunc(all[from], there) {
			continue
		}
		port, ok := s.Published(s.Probe.Port())
		host, known := p.hostOf(p.nodes[j.node].Node, port.HostIP, from)
		if ok && known {
			address := net.JoinHostPort(host, strconv.Itoa(int(port.Host)))
			all[from] = append(all[from], otto.Watch{Instance: j.instance, Probe: *s.Probe, Address: address})
		}
	}
	return all
}

// hostOf is how a node's published port is reached from another machine: at the
// address that it is bound to, or that of the node. Other machines reach ours the
// way they reach its broker, which is said by no host at all.
func (p *Plane) hostOf(n otto.Node, boundTo, from string) (host string, known bool) {
	if ip := net.ParseIP(boundTo); ip != nil && !ip.IsUnspecified() {
		return boundTo, true
	}
	if n.IsLocal() {
		if from == otto.FromControl {
			return "127.0.0.1", true
		}
		return "", p.Broker.Ours
	}
	address := p.Reach.Address(n)
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host, true
	}
	return address, address != ""
}

// paused reports whether the node says that somebody has paused an instance.
func (n *node) paused(instance string) bool {
	if n.report == nil {
		return false
	}
	s := statusIn(n.report.Instances, instance)
	return s != nil && s.State == otto.InstancePaused
}

// measureWatched takes in what probes from another machine have found. What was
// found while nothing can be heard says more of the network here.
func (p *Plane) measureWatched(from string, found map[string][]otto.Probed, now time.Time) {
	if p.watching.IsZero() || p.doubts != "" {
		return
	}
	for instance, list := range found {
		// The kernel answers for a process that is paused.
		if n := p.nodes[p.required.from.placement[instance]]; n != nil && n.paused(instance) {
			for i := range list {
				list[i].Failed = true
			}
		}
		for _, f := range p.required.feedsOf[subject{node: p.required.from.placement[instance], instance: instance}] {
			if f.From == from {
				f.probed(list, now)
				p.required.unquiet(f)
			}
		}
	}
}
