package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto/wire"
)

const (
	// slowNode makes this test's program the node n0, by the enrolment that it reads.
	slowNode = "OTTO_BENCH_NODE"
	// leased gives n0 something that runs under a lease, and fewer services to all.
	leased = "OTTO_BENCH_LEASE"
	// reconnects is how often the control plane is killed.
	reconnects = 5
	// reconnectServices run on every node: few, as all nodes share the machine here with the
	// control plane, which they do not elsewhere.
	reconnectServices = 2
)

// BenchmarkReconnectThousand kills the control plane of BenchmarkThousandNodes and starts it
// again, five times, with two services a node instead of twenty. All nodes come back over
// TLS, each with its own key, and one of them, a process of its own, has 5 % of a core: it
// runs what needs a lease. Figures are of the
// longest of the five, from when the control plane listens again, but down-s.
//
//	down-s      from the kill until the control plane listens
//	lease-s     until the node with 5 % of a core has a lease
//	lease-p50-s the median of that
//	ready-s     until the control plane has heard of all nodes
//
// It needs root, for the limit.
func BenchmarkReconnectThousand(b *testing.B) {
	b.Setenv(leased, "1")
	for b.Loop() {
		var slow *slowProcess
		ctx, leave := context.WithCancel(b.Context())
		p := &planeProcess{dir: b.TempDir(), listen: freePort(b), nodes: new(errgroup.Group), leave: leave}
		enrolled := map[string]bool{}
		begin := func(e wire.Enrolment) {
			switch {
			case enrolled[e.NodeID]:
				return
			case e.NodeID == "n0":
				slow = startSlow(b, e)
			default:
				n := newSimulated(e, len(enrolled))
				p.nodes.Go(func() error { return n.run(ctx) })
			}
			enrolled[e.NodeID] = true
		}
		p.start(b, begin)
		b.Cleanup(func() { leave(); _ = p.cmd.Process.Kill() })
		up := func(a answer) bool { return a.Up == reconnectServices*thousandNodes+1 && a.Ready == thousandNodes }
		p.until(b, "all is up", thousandWithin, up)

		var down, lease, ready []time.Duration
		for range reconnects {
			slow.next(b) // it has one
			p.until(b, "all is up again", thousandWithin, up)
			slow.drop()
			killed := time.Now()
			if err := p.cmd.Process.Kill(); err != nil {
				b.Fatal(err)
			}
			_ = p.cmd.Wait()
			p.start(b, begin)
			for conn, err := net.Dial("tcp", p.listen); ; conn, err = net.Dial("tcp", p.listen) {
				if err == nil {
					_ = conn.Close()
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			listens := time.Now()
			down = append(down, listens.Sub(killed))
			lease = append(lease, slow.next(b).Sub(listens))
			p.until(b, "all are ready", thousandWithin, func(a answer) bool { return a.Ready == thousandNodes })
			ready = append(ready, time.Since(listens))
			last := len(down) - 1
			b.Logf("down for %v, lease after %v more, all ready after %v", down[last], lease[last], ready[last])
		}
		b.ReportMetric(slices.Max(down).Seconds(), "down-s")
		b.ReportMetric(slices.Max(lease).Seconds(), "lease-s")
		slices.Sort(lease)
		b.ReportMetric(lease[len(lease)/2].Seconds(), "lease-p50-s")
		b.ReportMetric(slices.Max(ready).Seconds(), "ready-s")
		b.ReportMetric(0, "ns/op")
		p.stop(b)
		slow.stop()
	}
}

// slowProcess is a node in a process of its own, with 5 % of a core.
type slowProcess struct {
	leases chan time.Time // when each came, by the clock of this machine
	stop   func()
}

func startSlow(b *testing.B, e wire.Enrolment) *slowProcess {
	b.Helper()
	group := "/sys/fs/cgroup/cpu/otto-bench-slow"
	limits := map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "5000"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limits = "/sys/fs/cgroup/otto-bench-slow", map[string]string{"cpu.max": "5000 100000"}
	}
	if err := os.Mkdir(group, 0o755); err != nil && !os.IsExist(err) {
		b.Skipf("no cgroup can be made for the slow node: %v", err)
	}
	for name, value := range limits {
		if err := os.WriteFile(filepath.Join(group, name), []byte(value), 0o644); err != nil {
			b.Skipf("the slow node cannot be limited: %v", err)
		}
	}
	enrolment, err := json.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), slowNode+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(fmt.Sprint(cmd.Process.Pid)), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	s := &slowProcess{leases: make(chan time.Time, 1000)}
	s.stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(group)
	}
	b.Cleanup(func() { s.stop() })
	go func() {
		for lines := json.NewDecoder(out); ; {
			var at time.Time
			if lines.Decode(&at) != nil {
				return
			}
			select {
			case s.leases <- at:
			default:
			}
		}
	}()
	if _, err := in.Write(enrolment); err != nil {
		b.Fatal(err)
	}
	_ = in.Close()
	return s
}

// next is when the next lease comes.
func (s *slowProcess) next(b *testing.B) time.Time {
	b.Helper()
	select {
	case at := <-s.leases:
		return at
	case <-time.After(time.Minute):
		b.Fatal("no lease within a minute")
	}
	return time.Time{}
}

// drop forgets those that have come.
func (s *slowProcess) drop() {
	for len(s.leases) > 0 {
		<-s.leases
	}
}

// runSlow is the slow node's process. It prints when each lease comes.
func runSlow() {
	var e wire.Enrolment
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.NewDecoder(strings.NewReader(string(text))).Decode(&e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n := newSimulated(e, 1)
	out := json.NewEncoder(os.Stdout)
	n.leased = func(wire.Lease) { _ = out.Encode(time.Now()) }
	_ = n.run(context.Background())
}
