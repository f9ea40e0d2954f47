package config

import (
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// checkRequirements judges requirements by the service or node that they are of.
func (d *document) checkRequirements(r *reader) {
	for _, n := range d.nodes {
		for _, q := range n.requirements {
			d.checkWindow(r, q, nil)
			d.checkPeer(r, q)
			if q.Metric == otto.RTTPrefix+n.ID {
				r.reject(q.metricAt, "name another node", "%s is from node %s to itself", q.Metric, n.ID)
			}
		}
	}
	for i := range d.services {
		for _, q := range d.services[i].requirements {
			d.checkRequirement(r, q, &d.services[i])
		}
	}
	for _, q := range d.requirements {
		d.checkWindow(r, q, nil)
		d.checkPeer(r, q)
		d.checkForAll(r, q)
	}
}

func (d *document) checkRequirement(r *reader, q requirement, s *service) {
	d.checkWindow(r, q, s.Probe)
	d.checkPeer(r, q)
	if q.kind.Probe && s.Probe == nil {
		r.reject(q.metricAt, "give it a probe, such as probe: {http: :8080/healthz}", "%s is what a probe finds, and service %s has none", q.Metric, s.Name)
	}
	if q.kind.From != "" && s.Probe != nil && !s.Watchable() {
		r.reject(q.metricAt, "give it a probe of HTTP or TCP, and publish its port, such as ports: [8080:8080]",
			"%s is what a probe from another machine finds, and service %s has none that can be done from there", q.Metric, s.Name)
	}
	if q.OfLimit && !s.Limits(q.Metric) {
		r.reject(q.limitAt, "write resources."+q.Metric+", or take `of limit` out to mean a share of its node", "service %s has no limit of %s", s.Name, q.Metric)
	}
	if q.OfReserve && !s.Reserves(q.Metric) {
		r.reject(q.limitAt, "write resources.reserve."+q.Metric, "service %s reserves no %s", s.Name, q.Metric)
	}
	if q.Metric == otto.MetricThrottled && !s.Limits("cpu") {
		r.reject(q.metricAt, "write resources.cpu at it", "%s is what a CPU limit does, and service %s has none", q.Metric, s.Name)
	}
	if why := s.Stays(); q.Action == otto.ActionMigrate && why != "" {
		r.reject(q.actionAt, "write restart or notify, or make it movable", "service %s is never moved, %s, so that nothing would happen", s.Name, why)
	} else if q.Action == otto.ActionMigrate && s.Shares != "" {
		r.warn(q.actionAt, "write restart or notify", "service %s is never moved for that, since it would leave %s", s.Name, s.Shares)
	}
}

// checkPeer rejects a metric between two machines of which one is none.
func (d *document) checkPeer(r *reader, q requirement) {
	what, id, ok := strings.Cut(q.Metric, ".")
	var ids []string
	switch {
	case q.kind.From != "":
		ids = append(ids, otto.FromControl)
	case !ok || what+"." != otto.RTTPrefix:
		return
	}
	for _, n := range d.nodes {
		ids = append(ids, n.ID)
	}
	if slices.Contains(ids, id) {
		return
	}
	try := "write " + what + ". and the id of a node"
	if n := nearest(id, ids); n != "" {
		try = "did you mean " + what + "." + n + "?"
	}
	r.reject(q.metricAt, try, "%s is about another machine, and there is no node %.60q", q.Metric, id)
}

// checkWindow rejects a window that is too short to hold two samples.
func (d *document) checkWindow(r *reader, q requirement, probe *otto.Probe) {
	every := otto.Wanted{Interval: d.interval}.IntervalOf()
	switch {
	case q.kind.Probe && probe != nil:
		every = probe.WithDefaults().Interval
	case q.kind.FromNode == nil && q.kind.FromContainer == nil:
		return
	case strings.HasPrefix(q.Metric, otto.RTTPrefix):
		every = max(every, otto.RTTEvery)
	}
	if q.Over > 0 && q.Over < 2*every {
		r.reject(q.overAt, "write over "+(2*every).String()+" or more", "%s is measured each %s, too seldom for a window of %s", q.Metric, every, q.Over)
	}
}

// checkForAll judges what is required of all services or nodes.
func (d *document) checkForAll(r *reader, q requirement) {
	probed := slices.ContainsFunc(d.services, func(s service) bool { return s.Probe != nil && (q.kind.From == "" || s.Watchable()) })
	if q.kind.Probe && !probed {
		r.reject(q.metricAt, "give a service a probe, such as probe: {http: :8080/healthz}", "%s is what a probe finds, and no service has one", q.Metric)
	}
	limited := slices.ContainsFunc(d.services, func(s service) bool { return s.Limits(q.Metric) })
	if q.OfLimit && !limited {
		r.reject(q.limitAt, "write resources."+q.Metric+" at a service", "no service has a limit of %s", q.Metric)
	}
	reserved := slices.ContainsFunc(d.services, func(s service) bool { return s.Reserves(q.Metric) })
	if q.OfReserve && !reserved {
		r.reject(q.limitAt, "write resources.reserve."+q.Metric+" at a service", "no service reserves %s", q.Metric)
	}
	if q.Action != otto.ActionMigrate || q.kind.Node {
		return
	}
	var staying []string
	for _, s := range d.services {
		if s.Stays() != "" {
			staying = append(staying, s.Name)
		}
	}
	if len(staying) > 0 {
		r.warn(q.actionAt, "give those a requirement of their own", "%s are never moved: for them this only tells", strings.Join(staying, ", "))
	}
}
