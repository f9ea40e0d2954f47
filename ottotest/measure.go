package ottotest

import (
	"time"

	"github.com/otto-edge/otto"
)

// Measure has a host measure something else from now on: change changes a
// sample of the node, or those of its containers.
func (h *Host) Measure(change func(*otto.NodeSample, []otto.ContainerSample)) {
	h.measure.Store(&change)
}

// measuring is a Sampler that does so.
type measuring struct{ Sampler }

// Node implements agent.Sampler.
func (m measuring) Node(now time.Time) (otto.NodeSample, error) {
	s, err := m.Sampler.Node(now)
	if change := m.of.measure.Load(); change != nil {
		(*change)(&s, nil)
	}
	return s, err
}

// Containers implements agent.Sampler.
func (m measuring) Containers(now time.Time, running []otto.RunningContainer) []otto.ContainerSample {
	list := m.Sampler.Containers(now, running)
	if change := m.of.measure.Load(); change != nil {
		(*change)(new(otto.NodeSample), list)
	}
	return list
}
