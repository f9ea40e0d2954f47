package history

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// household is a cluster of nodes and services whose numbers wander as those of real ones do.
type household struct {
	random     *rand.Rand
	cpu        []float64
	sent       []uint64
	containers []otto.ContainerSample
	view       *otto.Cluster
}

func newHousehold(nodes, services int) *household {
	h := &household{
		random: rand.New(rand.NewPCG(1, 2)), cpu: make([]float64, nodes), sent: make([]uint64, nodes),
		containers: make([]otto.ContainerSample, services), view: &otto.Cluster{},
	}
	for i := range nodes {
		h.view.Nodes = append(h.view.Nodes, otto.NodeStatus{
			Node: otto.Node{ID: fmt.Sprintf("node-%d", i)}, State: otto.NodeReady, Facts: otto.NodeFacts{CPUs: 4},
		})
	}
	for i := range services {
		name := fmt.Sprintf("service-%d", i)
		h.view.Services = append(h.view.Services, otto.ServiceStatus{
			Service: otto.Service{Name: name},
			Instances: []otto.PlacedInstance{{
				Node:           fmt.Sprintf("node-%d", i%nodes),
				InstanceStatus: otto.InstanceStatus{Name: name, Service: name, State: otto.InstanceRunning},
			}},
		})
	}
	return h
}

// step is the next view; all samples in it are new.
func (h *household) step(t time.Time) *otto.Cluster {
	day := 1 + math.Sin(float64(t.Unix())/86400*2*math.Pi)
	for i := range h.view.Nodes {
		n := &h.view.Nodes[i]
		h.cpu[i] = min(max(0.9*h.cpu[i]+2*day+3*h.random.NormFloat64(), 0.5), 100)
		h.sent[i] += uint64(1e5 * h.random.ExpFloat64())
		temperature := 45 + h.cpu[i]/3
		n.LastSeen, n.SampleReceived = t, t
		n.Sample = &otto.NodeSample{
			Time: t.Add(time.Duration(h.random.IntN(20)) * time.Millisecond), CPUPercent: h.cpu[i],
			MemoryUsed: uint64(2e9 + 1e6*h.cpu[i]), MemoryTotal: 8 << 30, DiskUsed: 60<<30 + uint64(t.Unix()%1e7),
			DiskTotal: 256 << 30, NetSent: h.sent[i], NetRecv: 3 * h.sent[i], Uptime: float64(t.Unix() % 1e6),
			Load:        &otto.Load{One: h.cpu[i] / 25, Five: h.cpu[i] / 30, Fifteen: h.cpu[i] / 40},
			Temperature: &temperature, Pressure: &otto.Pressure{CPU: h.cpu[i] / 10}, Throttle: &otto.Throttle{},
		}
	}
	for i := range h.view.Services {
		c := h.containers[i]
		c.ID = "container"
		c.CPUPercent = max(0, 0.8*c.CPUPercent+day+2*h.random.NormFloat64())
		c.MemoryUsed, c.MemoryLimit = uint64(2e8+1e5*h.random.NormFloat64()), 8<<30
		c.NetRecv += uint64(1e4 * h.random.ExpFloat64())
		c.NetSent += uint64(1e4 * h.random.ExpFloat64())
		if h.random.IntN(10) == 0 {
			c.BlockRead += 4096
			c.BlockWrite += 8192
		}
		if i%2 == 0 {
			c.Probes = []otto.Probed{{Took: time.Duration(2e6 + 1e6*h.random.ExpFloat64())}}
		}
		h.containers[i] = c
		next := c
		h.view.Services[i].Instances[0].Sample = &next
	}
	return h.view
}

var days = flag.Int("history.days", 30, "virtual days that the benchmark keeps")

// BenchmarkHistory keeps 30 virtual days of 10 nodes and 100 services, the last one at the
// default interval and those before with two samples in a minute, and asks for what was kept.
func BenchmarkHistory(b *testing.B) {
	dir := b.TempDir()
	h := open(dir, quiet(), quick())
	home := newHousehold(10, 100)
	end := begin.AddDate(0, 0, *days)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	steps := 0
	last := end.Add(-25 * time.Hour)
	for t := begin; t.Before(last); t = t.Add(30 * time.Second) {
		h.see(home.step(t), t)
		h.second(t)
	}
	took := time.Now()
	for t := last; t.Before(end); t = t.Add(otto.DefaultInterval) {
		h.see(home.step(t), t)
		for s := range 5 {
			h.second(t.Add(time.Duration(s) * time.Second))
		}
		steps++
	}
	perStep := time.Since(took) / time.Duration(steps)
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := float64(h.shelf.size()) / 1e6
	memory := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / 1e6

	for name, q := range map[string]otto.HistoryQuery{
		"hour":       {Service: "service-7", Since: end.Add(-time.Hour)},
		"day":        {Service: "service-7", Since: end.Add(-24 * time.Hour)},
		"day-states": {Service: "service-7", Since: end.Add(-24 * time.Hour), Metrics: []string{otto.HistoryMetricState}},
		"month":      {Service: "service-7", Since: end.Add(-30 * 24 * time.Hour)},
	} {
		b.Run(name, func(b *testing.B) {
			q.Limit = otto.HistoryMaxPoints
			points := 0
			for b.Loop() {
				a := ask(b, h, q, end)
				points = 0
				for _, s := range a.Series {
					points += len(s.Points)
				}
			}
			b.ReportMetric(float64(points), "points")
			b.ReportMetric(size, "MB-disk")
			b.ReportMetric(memory, "MB-heap")
			b.ReportMetric(float64(perStep.Microseconds()), "µs-per-sample")
		})
	}
}
