package ottotest

import (
	"maps"
	"slices"
	"sync"
)

// occupancy is on which hosts the cluster's own containers of instances run. Engines report
// to it in the order in which they begin and end, so that it misses nothing, however short.
type occupancy struct {
	mu     sync.Mutex
	hosts  map[string]map[string]int // how many containers, by instance and host
	checks map[string]map[*check]bool
}

type check struct{ is func(hosts []string) }

// note notes that a container begins or ends to run, and has the checks of its instance look.
func (o *occupancy) note(host, instance string, runs bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	on := o.hosts[instance]
	if on == nil {
		on = map[string]int{}
		o.hosts[instance] = on
	}
	if runs {
		on[host]++
	} else if on[host]--; on[host] == 0 {
		delete(on, host)
	}
	for c := range o.checks[instance] {
		c.is(o.of(instance))
	}
}

// of is the hosts of an instance; the caller holds the lock.
func (o *occupancy) of(instance string) []string { return slices.Sorted(maps.Keys(o.hosts[instance])) }

// watch calls a function now, and whenever a container of an instance begins or ends to run,
// until stop is called. The engine waits for the function, which must not ask the cluster.
func (o *occupancy) watch(instance string, is func(hosts []string)) (stop func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &check{is}
	if o.checks[instance] == nil {
		o.checks[instance] = map[*check]bool{}
	}
	o.checks[instance][c] = true
	is(o.of(instance))
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.checks[instance], c)
	}
}

// NeverTwice fails the test if an instance ever runs on two hosts at a time.
func (c *Cluster) NeverTwice(instance string) {
	stop := c.occupied.watch(instance, func(hosts []string) {
		if len(hosts) > 1 {
			c.T.Errorf("%s runs on %v at once", instance, hosts)
		}
	})
	c.atEnd = append(c.atEnd, stop)
}

// NeverAway fails the test if an instance runs nowhere before stop is called.
func (c *Cluster) NeverAway(instance string) (stop func()) {
	return c.occupied.watch(instance, func(hosts []string) {
		if len(hosts) == 0 {
			c.T.Errorf("%s runs nowhere", instance)
		}
	})
}

// Running returns the hosts on which an instance runs, in truth. One that is paused
// may go on at any time.
func (c *Cluster) Running(instance string) (hosts []string) {
	for id, h := range c.Hosts {
		if h.Runtime.runs(instance) {
			hosts = append(hosts, id)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// runs reports whether a container of an instance runs, whosever it is.
func (r *Runtime) runs(instance string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.containers, func(c *container) bool { return c.Instance == instance && c.lives() })
}
