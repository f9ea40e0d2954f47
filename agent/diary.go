package agent

import (
	"sync"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// diary keeps how probes went until the next sample tells it. Its zero value is
// empty.
type diary struct {
	mu      sync.Mutex
	entries map[string][]entry // by container
}

type entry struct {
	ended  time.Time
	took   time.Duration
	failed bool
}

// write notes a probe of a container. The oldest one goes when there are too many.
func (d *diary) write(container string, e entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries == nil {
		d.entries = map[string][]entry{}
	}
	list := append(d.entries[container], e)
	d.entries[container] = list[max(len(list)-wire.MaxProbes, 0):]
}

// into moves everything into the samples of its containers. What has no sample is
// of a container that has ended, and forgotten.
func (d *diary) into(samples []otto.ContainerSample, now time.Time) {
	d.mu.Lock()
	written := d.entries
	d.entries = nil
	d.mu.Unlock()
	for i := range samples {
		for _, e := range written[samples[i].ID] {
			samples[i].Probes = append(samples[i].Probes, otto.Probed{Ago: now.Sub(e.ended), Took: e.took, Failed: e.failed})
		}
	}
}
