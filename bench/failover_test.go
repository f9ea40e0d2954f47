package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

const port = "8081"

// serving waits until one of the hosts answers and returns when it did.
func serving(b *testing.B, within time.Duration, hosts ...*lab.Host) time.Time {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), within)
	defer cancel()
	first := make(chan time.Time, len(hosts))
	for _, h := range hosts {
		go func() {
			for ctx.Err() == nil {
				if answers(ctx, h) {
					first <- time.Now()
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
	}
	select {
	case t := <-first:
		return t
	case <-ctx.Done():
		b.Fatalf("nobody answers within %s", within)
		return time.Time{}
	}
}

func answers(ctx context.Context, h *lab.Host) bool {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.IP+":"+port+"/", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// median of at least one.
func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

func report(b *testing.B, list []time.Duration) {
	b.ReportMetric(median(list).Seconds(), "s-median")
	b.ReportMetric(slices.Max(list).Seconds(), "s-max")
	b.ReportMetric(0, "ns/op")
}

// others are the hosts of a lab without one.
func others(l *lab.Lab, not string, names ...string) (hosts []*lab.Host) {
	for _, n := range names {
		if n != not {
			hosts = append(hosts, l.Host(n))
		}
	}
	return hosts
}

// BenchmarkPowerCut is from a power cut of a service's node to the service
// answering on another one: stateless with Docker Swarm as it is, with a
// heartbeat of a second, and with Otto; then one with a lease with Otto. The
// image is on every node and honours SIGTERM. Run it with -benchtime 10x.
func BenchmarkPowerCut(b *testing.B) {
	l := lab.Up(b, 3)
	l.Images()
	names := []string{"n1", "n2", "n3"}
	for _, n := range names {
		l.Host(n).Load("otto-echo:1")
	}
	var swarm, tuned time.Duration
	b.Run("swarm", func(b *testing.B) { swarm = swarmCut(b, l, "5s", (*lab.Host).Kill) })
	b.Run("swarm-1s", func(b *testing.B) { tuned = swarmCut(b, l, "1s", (*lab.Host).Kill) })
	b.Run("otto", func(b *testing.B) {
		ours := ottoCut(b, l, names, "failover: move", (*lab.Host).Kill)
		if ours > 0 {
			b.ReportMetric(swarm.Seconds()/ours.Seconds(), "swarm/otto")
			b.ReportMetric(tuned.Seconds()/ours.Seconds(), "swarm-1s/otto")
		}
	})
	b.Run("otto-lease", func(b *testing.B) {
		ottoCut(b, l, names, "failover: move, stateful: true, data: disposable", (*lab.Host).Kill)
	})
}

// BenchmarkGreyHost is from every process of a service's node being frozen, or killed,
// while its kernel answers, to the service answering on another one: with Docker Swarm
// as it is and with Otto. Run it with -benchtime 5x.
func BenchmarkGreyHost(b *testing.B) {
	l := lab.Up(b, 3)
	l.Images()
	names := []string{"n1", "n2", "n3"}
	for _, n := range names {
		l.Host(n).Load("otto-echo:1")
	}
	for _, fault := range []struct {
		name string
		do   func(*lab.Host)
	}{{"frozen", (*lab.Host).Freeze}, {"killed", (*lab.Host).KillPrograms}} {
		var swarm time.Duration
		b.Run("swarm-"+fault.name, func(b *testing.B) { swarm = swarmCut(b, l, "5s", fault.do) })
		b.Run("otto-"+fault.name, func(b *testing.B) {
			if ours := ottoCut(b, l, names, "failover: move", fault.do); ours > 0 {
				b.ReportMetric(swarm.Seconds()/ours.Seconds(), "swarm/otto")
			}
		})
	}
}

// swarmCut has the manager on n1, and a service on n2 or n3, to whose node a fault is done.
func swarmCut(b *testing.B, l *lab.Lab, heartbeat string, fault func(*lab.Host)) time.Duration {
	b.Helper()
	manager := l.Host("n1")
	manager.Docker("swarm", "init", "--advertise-addr", manager.IP)
	b.Cleanup(func() {
		for _, n := range []string{"n2", "n3", "n1"} {
			_, _ = l.Host(n).TryDocker("swarm", "leave", "--force")
		}
	})
	manager.Docker("swarm", "update", "--dispatcher-heartbeat", heartbeat)
	token := manager.Docker("swarm", "join-token", "-q", "worker")
	for _, n := range []string{"n2", "n3"} {
		l.Host(n).Docker("swarm", "join", "--token", token, manager.IP+":2377")
	}
	manager.Docker("service", "create", "--detach", "--name", "web", "--no-resolve-image", "--constraint", "node.role==worker",
		"--publish", "published="+port+",target=8080,mode=host", "otto-echo:1")
	ready := func() bool {
		states, err := manager.TryDocker("node", "ls", "--format", "{{.Status}}")
		return err == nil && strings.Count(states, "Ready") == 3
	}
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		lab.Until(b, "three nodes are ready", ready)
		serving(b, time.Minute, l.Host("n2"), l.Host("n3"))
		time.Sleep(5 * time.Second) // beyond what Swarm watches a new task for
		victim := l.Host("n2")
		if !answers(b.Context(), victim) {
			victim = l.Host("n3")
		}
		b.StartTimer()
		cut := time.Now()
		fault(victim)
		took = append(took, serving(b, 2*time.Minute, others(l, victim.Name, "n2", "n3")...).Sub(cut))
		b.StopTimer()
		victim.Kill()
		victim.Boot()
		b.StartTimer()
	}
	report(b, took)
	return median(took)
}

// ottoCut has a service with the given keys on one of the nodes, to which a fault is done. It
// reports also when its container was started, before it answers.
func ottoCut(b *testing.B, l *lab.Lab, names []string, keys string, fault func(*lab.Host)) time.Duration {
	b.Helper()
	c := lab.NewCluster(b, nodes(l, 3, "5s")+fmt.Sprintf("  - {name: web, image: 'otto-echo:1', ports: ['%s:8080'], %s}\n", port, keys))
	c.Start()
	var took, started []time.Duration
	for b.Loop() {
		b.StopTimer()
		lab.Until(b, "all is up", func() bool { return up(c.Status()) })
		time.Sleep(10 * time.Second) // links are learned
		victim := l.Host(c.Status().Services[0].Instances[0].Node)
		b.StartTimer()
		cut := time.Now()
		fault(victim)
		took = append(took, serving(b, 2*time.Minute, others(l, victim.Name, names...)...).Sub(cut))
		b.StopTimer()
		started = append(started, restarted(b, others(l, victim.Name, names...)).Sub(cut))
		victim.Kill()
		victim.Boot()
		b.StartTimer()
	}
	report(b, took)
	b.ReportMetric(median(started).Seconds(), "s-started-median")
	b.ReportMetric(slices.Max(started).Seconds(), "s-started-max")
	return median(took)
}

// restarted is when the container of web was started, by the engine of the host that
// has it.
func restarted(b *testing.B, hosts []*lab.Host) time.Time {
	b.Helper()
	for _, h := range hosts {
		out, err := h.TryDocker("inspect", "-f", "{{.State.StartedAt}}", "web")
		if err != nil {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(out))
		if err != nil {
			b.Fatal(err)
		}
		return at
	}
	b.Fatal("no host has it")
	return time.Time{}
}

func up(v otto.Cluster) bool {
	for _, n := range v.Nodes {
		if n.State != otto.NodeReady {
			return false
		}
	}
	for _, s := range v.Services {
		for _, i := range s.Instances {
			if !i.Up() {
				return false
			}
		}
	}
	return true
}

// BenchmarkAgentKilled is from kill -9 of an agent to the control plane knowing
// it, and to the agent running and heard again, over SSH.
func BenchmarkAgentKilled(b *testing.B) {
	l := lab.Up(b, 3)
	l.Images()
	l.Host("n1").Load("otto-echo:1")
	c := lab.NewCluster(b, nodes(l, 3, "5s")+"  - {name: web, image: 'otto-echo:1', node: n1}\n")
	c.Start()
	lab.Until(b, "all is up", func() bool { return up(c.Status()) })
	container := l.Host("n1").Docker("ps", "-q", "--no-trunc")
	var noticed, again []time.Duration
	for b.Loop() {
		b.StopTimer()
		time.Sleep(6 * time.Second)
		b.StartTimer()
		killed := time.Now()
		if err := syscall.Kill(l.Host("n1").Processes("otto-agent")[0], syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		noticed = append(noticed, event(b, c, "node-suspect", killed).Sub(killed))
		again = append(again, event(b, c, "node-ready", killed).Sub(killed))
	}
	if now := l.Host("n1").Docker("ps", "-q", "--no-trunc"); now != container {
		b.Errorf("the container is %s, was %s", now, container)
	}
	b.ReportMetric(median(noticed).Seconds()*1000, "ms-noticed-median")
	b.ReportMetric(slices.Max(noticed).Seconds()*1000, "ms-noticed-max")
	b.ReportMetric(median(again).Seconds(), "s-again-median")
	b.ReportMetric(slices.Max(again).Seconds(), "s-again-max")
	b.ReportMetric(0, "ns/op")
}

// event waits for an event of n1 in the control plane's log.
func event(b *testing.B, c *lab.Cluster, kind string, after time.Time) (at time.Time) {
	b.Helper()
	lab.Until(b, kind, func() bool {
		f, err := os.Open(filepath.Join(c.Dir, ".otto", "control.log"))
		if err != nil {
			return false
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var line struct {
				Time       time.Time
				Kind, Node string
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Kind == kind && line.Node == "n1" && line.Time.After(after) {
				at = line.Time
				return true
			}
		}
		return false
	})
	return at
}
