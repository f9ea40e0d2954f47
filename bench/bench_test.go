// Package bench measures Otto as a whole: the otto program, its agents and real
// Docker engines on the lab's hosts. README.md says what each figure may be and
// was; results/ holds runs for benchstat.
//
// A benchmark here measures and reports. It fails when the cluster does not work,
// never because a figure is high: that is for people to judge, side by side.
package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// nodes is the head of an otto.yaml with n hosts of the lab.
func nodes(l *lab.Lab, n int, interval string) string {
	var yaml strings.Builder
	fmt.Fprintf(&yaml, "cluster: {name: bench}\nmqtt: {host: %s}\nmetrics: {interval: %s}\nnodes:\n", l.Gateway, interval)
	for i := range n {
		h := l.Host(fmt.Sprintf("n%d", i+1))
		fmt.Fprintf(&yaml, "  - {id: %s, host: %s, user: otto, identity_file: %s}\n", h.Name, h.IP, l.Key)
	}
	yaml.WriteString("services:\n")
	return yaml.String()
}

// threeNodes has one service on each of three hosts.
func threeNodes(b *testing.B) (*lab.Lab, *lab.Cluster) {
	b.Helper()
	l := lab.Up(b, 3)
	l.Images()
	yaml := nodes(l, 3, "5s")
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		l.Host(name).Load("otto-echo:1")
		yaml += fmt.Sprintf("  - {name: echo-%d, image: 'otto-echo:1', node: %s}\n", i+1, name)
	}
	return l, lab.NewCluster(b, yaml)
}

// BenchmarkStart is from the command to all services of three nodes running:
// "upload" with nothing of Otto's on the nodes, "agents" with the agents on their
// disks and everything stopped, "running" with all up.
func BenchmarkStart(b *testing.B) {
	_, c := threeNodes(b)
	measure := func(b *testing.B, before func()) {
		for b.Loop() {
			b.StopTimer()
			before()
			b.StartTimer()
			c.Start()
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("upload", func(b *testing.B) { measure(b, func() { c.Run("cluster", "uninstall") }) })
	b.Run("agents", func(b *testing.B) { measure(b, func() { c.Run("cluster", "stop") }) })
	b.Run("running", func(b *testing.B) { measure(b, func() {}) })
}

// BenchmarkStatus is the whole command, with and without a control plane.
func BenchmarkStatus(b *testing.B) {
	_, c := threeNodes(b)
	c.Start()
	measure := func(b *testing.B) {
		for b.Loop() {
			c.Run("cluster", "status")
		}
		b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/status")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("running", measure)
	c.Run("cluster", "stop")
	b.Run("stopped", measure)
}

// soak is what OTTO_BENCH_SOAK says.
func soak(b *testing.B, otherwise time.Duration) time.Duration {
	b.Helper()
	s := os.Getenv("OTTO_BENCH_SOAK")
	if s == "" {
		return otherwise
	}
	long, err := time.ParseDuration(s)
	if err != nil {
		b.Fatal(err)
	}
	return long
}

// BenchmarkAgent50 is an agent with 50 containers, sampled every second, for as
// long as OTTO_BENCH_SOAK says (a minute by default), and beside it what
// "docker stats" costs for the same containers at the same rate.
//
//	rss-MB         the agent's resident memory at the end
//	growth-MB      from the first quarter's mean to the last's
//	agent-cpu-%    of one CPU, everything that the agent does
//	collect-cpu-%  of one CPU, how much less it is with an hour between samples
//	stats-cpu-%    of one CPU, what the engine's processes and the docker command
//	               use with "docker stats" beyond what they use without
//	stats/collect  the last divided by the one before
func BenchmarkAgent50(b *testing.B) {
	soak := soak(b, time.Minute)
	l := lab.Up(b, 1)
	l.Images()
	l.Host("n1").Load("otto-echo:1")
	const services = "  - {name: echo, image: 'otto-echo:1', replicas: 50}\n"
	c := lab.NewCluster(b, nodes(l, 1, "1s")+services)
	c.Start()
	lab.Until(b, "50 containers are sampled", func() bool { return sampled(c.Status()) == 50 })
	agent := func() []int { return l.Host("n1").Processes("otto-agent") }
	engine := func() []int { return l.Host("n1").Processes("dockerd", "containerd", "containerd-shim", "docker") }
	for b.Loop() {
		pid := agent()[0]
		rss := watch(b, pid, soak/2)
		sampling := cpuPercent(b, agent, soak/2)
		rss = append(rss, memory(b, pid))
		quiet := cpuPercent(b, engine, statsTime)
		stop := l.Host("n1").Background("docker", "stats")
		stats := cpuPercent(b, engine, statsTime) - quiet
		stop()
		c.Write(nodes(l, 1, "1h") + services)
		c.Start()
		time.Sleep(settle)
		collect := sampling - cpuPercent(b, agent, soak/2)
		b.ReportMetric(rss[len(rss)-1], "rss-MB")
		b.ReportMetric(mean(rss[len(rss)*3/4:])-mean(rss[:len(rss)/4+1]), "growth-MB")
		b.ReportMetric(sampling, "agent-cpu-%")
		b.ReportMetric(collect, "collect-cpu-%")
		b.ReportMetric(stats, "stats-cpu-%")
		b.ReportMetric(stats/collect, "stats/collect")
		b.ReportMetric(0, "ns/op")
	}
}

const (
	// statsTime is how long the engine is watched with and without docker stats.
	statsTime = 30 * time.Second
	// settle is for an agent that has just started.
	settle = 10 * time.Second
)

func sampled(c otto.Cluster) (n int) {
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if i.Sample != nil {
				n++
			}
		}
	}
	return n
}

// watch returns a process's memory in MB, read every few seconds.
func watch(b *testing.B, pid int, d time.Duration) []float64 {
	b.Helper()
	var list []float64
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(d / 20) {
		list = append(list, memory(b, pid))
	}
	return list
}

func mean(list []float64) (m float64) {
	for _, v := range list {
		m += v / float64(len(list))
	}
	return m
}

// memory is a process's resident set in MB.
func memory(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}

// cpuPercent is the CPU time of processes during d, in percent of one CPU. It
// adds up the processes rather than reading the load of the machine, on which
// other things run. One that starts in between counts from its start.
func cpuPercent(b *testing.B, processes func() []int, d time.Duration) float64 {
	b.Helper()
	before := map[int]float64{}
	for _, pid := range processes() {
		before[pid], _ = cpuSeconds(pid)
	}
	start := time.Now()
	time.Sleep(d)
	var used float64
	for _, pid := range processes() {
		if now, ok := cpuSeconds(pid); ok {
			used += now - before[pid]
		}
	}
	return 100 * used / time.Since(start).Seconds()
}

// cpuSeconds is what a process's threads have used until now, or false if it has
// ended. The scheduler counts in nanoseconds; /proc/PID/stat in ticks of 10 ms,
// which says little about a process that wakes for 4 ms.
func cpuSeconds(pid int) (seconds float64, ok bool) {
	threads, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/schedstat"))
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseFloat(ns, 64)
		if err != nil {
			return 0, false
		}
		seconds += n / 1e9
		ok = true
	}
	return seconds, ok
}
