package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// client asks a service 100 times a second, each time over a new connection. It
// knows all its addresses and asks the one that answered last, and the others if
// that does not answer: a request has failed if nobody answers it.
type client struct {
	addresses              []string
	asked, failed, strayed atomic.Int64 // strayed: answered by another one than the last
}

func (c *client) run(ctx context.Context) {
	h := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := 0
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		c.asked.Add(1)
		answered := false
		for i := range c.addresses {
			at := (last + i) % len(c.addresses)
			resp, err := h.Get("http://" + c.addresses[at] + "/")
			if err != nil {
				continue
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				continue
			}
			if i > 0 {
				c.strayed.Add(1)
			}
			answered, last = true, at
			break
		}
		if !answered && ctx.Err() == nil {
			c.failed.Add(1)
		}
	}
}

// TestServiceLeavesABusyNode loads the core of the host that a service is on.
func TestServiceLeavesABusyNode(t *testing.T) {
	testLeaves(t, "node.cpu < 70% for 10s -> migrate", 10*time.Second, func(h *lab.Host) (end func()) {
		return h.Background("sh", "-c", "while :; do :; done")
	})
}

// TestServiceLeavesAHotNode heats it, which other work on this machine cannot do.
func TestServiceLeavesAHotNode(t *testing.T) {
	testLeaves(t, "node.temperature < 75C for 3s -> migrate", 3*time.Second, func(h *lab.Host) (end func()) {
		h.Heat(88)
		return func() { h.Heat(40) }
	})
}

// testLeaves has a service leave the host that is loaded: it goes to the other one,
// and nobody who asks it goes without an answer. When that is loaded as well it stays,
// and says so; and when the load ends it stays, too.
func testLeaves(t *testing.T, requirement string, hold time.Duration, load func(*lab.Host) (end func())) {
	l := lab.Up(t, 2)
	l.Images()
	var nodes, addresses []string
	for i, id := range []string{"n1", "n2"} {
		h := l.Host(id)
		h.Load("otto-echo:1")
		h.Cores(fmt.Sprint(i))
		nodes = append(nodes, fmt.Sprintf("  - {id: %s, host: %s, user: otto, identity_file: %s}", id, h.IP, l.Key))
		addresses = append(addresses, h.IP+":8081")
	}
	c := lab.NewCluster(t, fmt.Sprintf(`
metrics: {interval: 1s}
decisions: {cooldown: 5s, settle: 5s, return_after: 10s}
nodes:
%s
services:
  web:
    image: otto-echo:1
    node: n1
    failover: move
    ports: ["8081:8080"]
    probe: {http: ":8080/", interval: 1s}
    requirements: ["%s"]
`, strings.Join(nodes, "\n"), requirement))
	c.Know(l)
	c.Start()
	events := func(kind string) (list []otto.Event) {
		for line := range strings.Lines(c.Run("events", "--output", "json")) {
			var e otto.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if e.Kind == kind {
				list = append(list, e)
			}
		}
		return list
	}
	is := func(want string) {
		t.Helper()
		lab.Until(t, want, func() bool { return strings.Contains(c.Run("explain", "web"), want) })
	}
	if strings.Contains(requirement, "cpu") {
		if cpu := idle(c); max(cpu[0], cpu[1]) > 40 {
			t.Skipf("this machine is busy with other things: its cores are at %.0f%% and %.0f%%", cpu[0], cpu[1])
		}
	}
	is(requirement + ": ok")

	ctx, cancel := context.WithCancel(t.Context())
	user, done := &client{addresses: addresses}, make(chan struct{})
	go func() { defer close(done); user.run(ctx) }()
	began := time.Now()
	end := load(l.Host("n1"))
	lab.Until(t, "web has moved", func() bool { return len(events("service-moved")) == 1 })
	moving, moved := events("service-moving")[0], events("service-moved")[0]
	t.Logf("decided %s after the load, up after %s more: %s; %s", moving.Time.Sub(began).Round(10*time.Millisecond),
		moved.Time.Sub(moving.Time).Round(10*time.Millisecond), moving.Message, moved.Message)
	if took := moving.Time.Sub(began); took > hold+3*time.Second {
		t.Errorf("decided %s after the load: %s, an interval of 1 s and 2 s are right", took, hold)
	}

	endToo := load(l.Host("n2"))
	lab.Until(t, "it says that nothing helps", func() bool { return len(events("decision-stuck")) == 1 })
	t.Log(events("decision-stuck")[0].Message)
	t.Log("\n" + c.Run("explain", "web"))
	end()
	endToo()
	is(requirement + ": ok")
	for calm := time.Now().Add(15 * time.Second); time.Now().Before(calm); { // more than return_after
		is("web is running on n2")
	}
	if n := len(events("service-moving")); n != 1 {
		t.Errorf("%d moves", n)
	}
	cancel()
	<-done
	t.Logf("%d requests, %d failed, %d answered by another address than the last", user.asked.Load(), user.failed.Load(), user.strayed.Load())
	if user.failed.Load() > 0 || user.asked.Load() < 1000 {
		t.Errorf("%d of %d requests failed", user.failed.Load(), user.asked.Load())
	}
}

// idle is what the nodes' cores have to do before the test gives them something, the
// least of some seconds.
func idle(c *lab.Cluster) (cpu [2]float64) {
	cpu = [2]float64{100, 100}
	for range 6 {
		for i, n := range c.Status().Nodes {
			if n.Sample != nil {
				cpu[i] = min(cpu[i], n.Sample.CPUPercent)
			}
		}
		time.Sleep(time.Second)
	}
	return cpu
}
