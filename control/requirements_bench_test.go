package control

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/lookout"
)

// BenchmarkRequirements is one second of 1,000 nodes with 20 containers each, at
// 1 Hz, with two requirements of each container and one of each node: what taking
// in and judging the samples costs, what one pass over all does when each node
// has been judged, and what a change of the wanted state does.
func BenchmarkRequirements(b *testing.B) {
	const nodes, containers = 1000, 20
	events, err := journal.Open("", journal.Limit)
	if err != nil {
		b.Fatal(err)
	}
	p := &Plane{
		Options: Options{Log: slog.New(slog.DiscardHandler), Journal: events, Store: &fleet{}, Reach: &fleet{}}, nodes: map[string]*node{},
		lookout: lookout.New(nil), ctx: b.Context(),
	}
	below := func(metric, aggregate string, over time.Duration) otto.Requirement {
		return otto.Requirement{Metric: metric, Aggregate: aggregate, Over: over, Operator: "<", Limit: 80, Clear: 72, Unit: "%", For: 30 * time.Second}
	}
	w := otto.Wanted{Interval: time.Second, Requirements: []otto.Requirement{
		below("node.cpu", "avg", 30*time.Second), below("cpu", "p95", 30*time.Second), below("memory", "last", 0),
	}}
	p.desired.Placement = plan.Placement{}
	samples := map[string][]otto.ContainerSample{}
	for i := range nodes {
		n := otto.Node{ID: fmt.Sprintf("n%d", i)}
		w.Nodes = append(w.Nodes, n)
		p.nodes[n.ID] = newNode(n)
		p.nodes[n.ID].facts.CPUs = 4
		for j := range containers {
			s := otto.Service{Name: fmt.Sprintf("s%d-%d", i, j), Replicas: 1}
			w.Services = append(w.Services, s)
			p.desired.Placement[s.Name] = n.ID
			samples[n.ID] = append(samples[n.ID], otto.ContainerSample{Name: s.Name, CPUPercent: 50, MemoryUsed: 1 << 20, MemoryLimit: 1 << 30})
		}
	}
	p.desired.Wanted = w
	p.require()
	now := time.Now()
	second := func() {
		now = now.Add(time.Second)
		for id, n := range p.nodes {
			p.measureNode(n, otto.NodeSample{CPUPercent: 50}, now)
			p.measureContainers(n, samples[id], now)
		}
	}
	for range 60 {
		second()
	}
	b.Run("samples and verdicts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			second()
		}
	})
	b.Run("sweep", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.required.evaluated = time.Time{}
			p.evaluate(now)
		}
	})
	b.Run("require", func(b *testing.B) {
		for b.Loop() {
			p.required.from = demands{}
			p.require()
		}
	})
}
