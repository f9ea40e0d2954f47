package control

import (
	"math"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/decide"
	"github.com/otto-edge/otto/control/scheduler"
	"github.com/otto-edge/otto/wire"
)

// measure takes in a sample of the node.
func (n *node) measure(s otto.NodeSample, now time.Time) {
	after := now.Sub(n.sampled)
	n.cpu = n.cpu.Add(s.CPUPercent/100, after)
	if s.MemoryTotal > 0 {
		n.mem = n.mem.Add(s.MemoryPercent()/100, after)
	}
	n.sample, n.sampled = &s, now
	n.recent = append(n.recent[max(0, len(n.recent)-2):len(n.recent):len(n.recent)], taken{s, now})
}

// taken is a sample with when it was received.
type taken struct {
	otto.NodeSample
	at time.Time
}

// readings are the lowest and highest of a node's last samples, by metric; nothing
// of one that has fallen silent.
func (n *node) readings(metrics []otto.Metric, now time.Time, interval time.Duration) map[string]decide.Range {
	list := map[string]decide.Range{}
	if len(n.recent) == 0 || now.Sub(n.sampled) > 3*interval {
		return list
	}
	list[otto.MetricHeartbeat] = decide.Range{Low: 0, High: now.Sub(n.heard).Seconds()}
	list[otto.MetricClock] = decide.Range{Low: n.skewed.Abs().Seconds(), High: n.skewed.Abs().Seconds()}
	for _, m := range metrics {
		if m.FromNode == nil {
			continue
		}
		for i, s := range n.recent {
			value, ok := m.FromNode(s.NodeSample)
			if m.Counter && ok {
				if i == 0 {
					continue
				}
				before, _ := m.FromNode(n.recent[i-1].NodeSample)
				value = max(0, value-before) / max(s.at.Sub(n.recent[i-1].at).Seconds(), 0.001)
			}
			if !ok || now.Sub(s.at) > 5*interval {
				continue
			}
			r, known := list[m.Name]
			if !known {
				r = decide.Range{Low: value, High: value}
			}
			list[m.Name] = decide.Range{Low: min(r.Low, value), High: max(r.High, value)}
		}
	}
	return list
}

// use is what a container has taken lately.
type use struct {
	cores  scheduler.Load
	now    float64 // cores, in the last seconds
	memory float64
	at     time.Time
}

// useMemory is the time in which the weight of what a container takes now falls to 1/e.
const useMemory = 5 * time.Second

// measureUse takes in what containers take.
func (n *node) measureUse(list []otto.ContainerSample, now time.Time) {
	former := n.used
	n.used = make(map[string]use, len(list))
	for _, s := range list {
		was := former[s.Name]
		last := s.CPUPercent / 100
		after := now.Sub(was.at)
		recent := last + (was.now-last)*math.Exp(-max(after, 0).Seconds()/useMemory.Seconds())
		n.used[s.Name] = use{cores: was.cores.Add(last, after), now: recent, memory: float64(s.MemoryUsed), at: now}
	}
}

// uses adds what the node's containers take, of those that were measured lately.
func (n *node) uses(into map[string]decide.Use, now time.Time, interval time.Duration) {
	for name, u := range n.used {
		if now.Sub(u.at) <= 3*interval {
			into[name] = decide.Use{Cores: u.now, Most: u.cores.Mean + u.cores.Dev(), Memory: u.memory}
		}
	}
}

// maxImage is the largest image that is believed in, so that no node can claim one for
// which times overflow.
const maxImage = 1 << 40

// imagesOf are the images of a report with their sizes; nil for none, as of an agent
// that does not say. One of before says no sizes.
func imagesOf(r wire.Report) map[string]int64 {
	if len(r.Images) == 0 {
		return nil
	}
	images := make(map[string]int64, len(r.Images))
	for i, name := range r.Images {
		images[name] = 0
		if len(r.ImageBytes) == len(r.Images) {
			images[name] = min(max(r.ImageBytes[i], 0), maxImage)
		}
	}
	return images
}

// volumesOf is a set of volumes, which there may be none of.
func volumesOf(names []string) map[string]bool {
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
	if n.report != nil {
		if m.Devices = n.report.Devices; m.Devices == nil {
			m.Devices = map[string]bool{}
		}
	}
	if n.sample != nil {
		m.Temperature = n.sample.Temperature
	}
	return m
}
