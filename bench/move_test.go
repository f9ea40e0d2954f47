package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// BenchmarkMove is from the start of a load on the node of a service that requires
// node.cpu < 70% for 10s to the decision, and to the service being moved to an idle
// node, while a client asks it 100 times a second. The load is stress-ng's where that is
// installed, and a loop of the shell otherwise. Each of the lab's two hosts has a core of
// its own: on a machine that is busy with other things the target is no better, and it
// fails. Run it with -benchtime 10x.
//
//	decided-  s from the load to the decision
//	moved-    s from the load to the new container being up and serving
//	failed    requests that nobody answered, of all those of asked
func BenchmarkMove(b *testing.B) {
	l := lab.Up(b, 2)
	l.Images()
	user := &lab.Client{}
	for i, name := range []string{"n1", "n2"} {
		h := l.Host(name)
		h.Load("otto-echo:1")
		h.Cores(fmt.Sprint(i))
		user.Addresses = append(user.Addresses, h.IP+":"+port)
	}
	yaml := nodes(l, 2, "1s") + "  - {name: web, image: 'otto-echo:1', node: n1, failover: move, ports: ['" + port + ":8080'], probe: {http: ':8080/', interval: 1s}, requirements: ['node.cpu < 70% for 10s -> migrate']}\n"
	load := []string{"sh", "-c", "while :; do :; done"}
	if _, err := l.Host("n1").TryExec("which", "stress-ng"); err == nil {
		load = []string{"stress-ng", "--cpu", "1", "--timeout", "60"}
	}
	var decided, moved []time.Duration
	for b.Loop() {
		b.StopTimer()
		c := lab.NewCluster(b, yaml)
		c.Start()
		calm := func() bool {
			return up(c.Status()) && strings.Contains(c.Run("explain", "web"), "for 10s -> migrate: ok")
		}
		lab.Until(b, "web requires nothing more", calm)
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() { defer close(done); user.Run(ctx) }()
		time.Sleep(2 * time.Second)
		b.StartTimer()
		began := time.Now()
		end := l.Host("n1").Background(load...)
		var list []otto.Event
		lab.Until(b, "web has moved", func() bool { list = moves(b, c); return len(list) == 2 })
		b.StopTimer()
		decided, moved = append(decided, list[0].Time.Sub(began)), append(moved, list[1].Time.Sub(began))
		b.Log(list[1].Message)
		end()
		time.Sleep(6 * time.Second) // the former one is stopped two seconds later
		cancel()
		<-done
		c.Run("cluster", "uninstall")
		b.StartTimer()
	}
	b.Logf("by %s; %d of %d requests were answered by another host than the last", load[0], user.Strayed.Load(), user.Asked.Load())
	b.ReportMetric(median(decided).Seconds(), "decided-s-median")
	b.ReportMetric(slices.Max(decided).Seconds(), "decided-s-max")
	b.ReportMetric(median(moved).Seconds(), "moved-s-median")
	b.ReportMetric(slices.Max(moved).Seconds(), "moved-s-max")
	b.ReportMetric(float64(user.Failed.Load()), "failed")
	b.ReportMetric(float64(user.Asked.Load()), "asked")
	b.ReportMetric(0, "ns/op")
}

// moves are the events of the begin and the end of a move.
func moves(b *testing.B, c *lab.Cluster) (list []otto.Event) {
	b.Helper()
	for line := range strings.Lines(c.Run("events", "--output", "json")) {
		var e otto.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		if e.Kind == "service-moving" || e.Kind == "service-moved" {
			list = append(list, e)
		}
	}
	return list
}
