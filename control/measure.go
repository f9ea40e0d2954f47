package control

import (
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// measure takes in a sample of the node.
func (n *node) measure(s otto.NodeSample, now time.Time) {
	after := now.Sub(n.sampled)
	n.cpu = n.cpu.Add(s.CPUPercent/100, after)
	if s.MemoryTotal > 0 {
		n.mem = n.mem.Add(s.MemoryPercent()/100, after)
	}
	n.sample, n.sampled = &s, now
}

// imagesOf is a set of images; nil for none, as of an agent that does not say.
func imagesOf(names []string) map[string]bool {
	if len(names) == 0 {
		return nil
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// machine is what placement depends on, as far as it is known.
func (n *node) machine() scheduler.Machine {
	if n.labels == nil {
		n.labels = n.PlacementLabels(n.facts)
	}
	m := scheduler.Machine{
		Labels: n.labels, Arch: n.facts.Arch, Cores: float64(n.facts.CPUs), CPU: n.cpu, MemoryUse: n.mem,
		Images: n.images,
	}
	if n.sample != nil {
		m.Temperature = n.sample.Temperature
	}
	return m
}
