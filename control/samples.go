package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// measureNode takes in a sample of a node.
func (p *Plane) measureNode(n *node, s otto.NodeSample, now time.Time) {
	p.measureWatched(n.ID, s.Watched, now)
	if w := p.required.nodes[n.ID]; w != nil {
		w.quiet = time.Time{}
	}
	for _, f := range p.required.feedsOf[subject{node: n.ID}] {
		switch {
		case f.Name == otto.MetricClock:
			f.add(n.skewed.Abs().Seconds(), now)
		case f.FromNode != nil:
			if value, ok := f.FromNode(s); ok {
				f.add(value, now)
			}
		}
	}
}

// ofInstances are samples of containers under the names of their instances, which a
// container need not have: one of a stack is called as Compose calls it.
func (n *node) ofInstances(list []otto.ContainerSample) []otto.ContainerSample {
	if n.report == nil {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		s := &list[i]
		if k := slices.IndexFunc(n.report.Instances,
			func(o otto.InstanceStatus) bool { return o.ContainerID == s.ID }); k >= 0 {
			s.Name = n.report.Instances[k].Name
		}
	}
	return list
}

// measureContainers takes in samples of a node's containers, which have the names
// of their instances.
func (p *Plane) measureContainers(n *node, list []otto.ContainerSample, now time.Time) {
	w := p.required.nodes[n.ID]
	if w == nil {
		return
	}
	for i := range list {
		s := &list[i]
		for _, f := range p.required.feedsOf[subject{node: n.ID, instance: s.Name}] {
			if f.Probe && f.From == "" {
				f.probed(s.Probes, now)
			}
			if f.FromContainer == nil {
				continue
			}
			share := f.share
			share.Cores = cmp.Or(share.Cores, float64(n.facts.CPUs))
			if value, ok := f.FromContainer(*s, share); ok {
				f.add(value, now)
			}
		}
	}
	for _, j := range w.judged {
		if j.feed.Name == otto.MetricAvailability && !n.runs(j.instance) {
			j.feed.add(0, now)
		}
	}
	p.evaluateThose(w, now) // here, so that all of them together are not much
}

// probed takes in how probes went.
func (f *feed) probed(list []otto.Probed, now time.Time) {
	if len(list) == 0 {
		return
	}
	for _, probe := range list {
		switch at := now.Add(-probe.Ago); {
		case f.Availability() && probe.Failed:
			f.add(0, at)
		case f.Availability():
			f.add(100, at)
		case !probe.Failed:
			f.add(probe.Took.Seconds(), at)
		}
	}
	f.fed = now // it is new, however long ago it was
}

// runs reports whether the node says that an instance runs, well or not; who is
// not known to be down may run. One that is paused does nothing.
func (n *node) runs(instance string) bool {
	if n.report == nil {
		return true
	}
	if s := statusIn(n.report.Instances, instance); s != nil {
		switch s.State {
		case otto.InstanceWaiting, otto.InstancePulling, otto.InstanceFailed, otto.InstancePaused:
			return false
		case otto.InstanceStarting:
			return s.Health != ""
		}
	}
	return true
}

// measureSelf takes in what needs no sample: how long nodes are silent, and how
// often containers were started again, or lost a process for want of memory.
func (p *Plane) measureSelf(now time.Time) {
	p.measureWatched(otto.FromControl, p.lookout.Take(now), now)
	for key, f := range p.required.self {
		n := p.nodes[key.node]
		if n == nil || n.heard.IsZero() || p.watching.IsZero() || p.doubts != "" {
			continue
		}
		switch f.Name {
		case otto.MetricHeartbeat:
			f.add(now.Sub(latest(n.heard, p.watching)).Seconds(), now)
		default:
			if n.report == nil || n.state != otto.NodeReady && n.state != otto.NodeDraining {
				continue
			}
			if s := statusIn(n.report.Instances, key.instance); s != nil {
				f.add(f.counted(n.report.BootID, *s), now)
			}
		}
		p.required.unquiet(f)
	}
}

// unquiet has the nodes looked at that a series is of.
func (q *requirements) unquiet(f *feed) {
	for _, j := range f.users {
		q.nodes[j.node].quiet = time.Time{}
	}
}
