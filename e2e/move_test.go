package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestServiceLeavesABusyNode loads the core of the host that a service is on.
func TestServiceLeavesABusyNode(t *testing.T) {
	testLeaves(
		t,
		burden{
			of:      "node.cpu < 70% for 10s -> migrate",
			decided: 13 * time.Second,
			says:    "decision-stuck",
			load: func(h *lab.Host) (end func()) {
				return h.Background("sh", "-c", "while :; do :; done")
			},
		},
	)
}

// TestServiceLeavesAHotNode heats it, which other work on this machine cannot do.
func TestServiceLeavesAHotNode(t *testing.T) {
	testLeaves(
		t,
		burden{
			of:      "node.temperature < 75C for 3s -> migrate",
			decided: 6 * time.Second,
			says:    "decision-stuck",
			load: func(h *lab.Host) (end func()) {
				h.Heat(88)
				return func() { h.Heat(40) }
			},
		},
	)
}

// TestServiceLeavesANodeWhereItIsSlow has it answer late on one host.
func TestServiceLeavesANodeWhereItIsSlow(t *testing.T) {
	if _, long := soak(t); !long {
		t.Skip("takes a minute: with OTTO_SOAK")
	}
	testLeaves(
		t,
		burden{
			of:      "latency p95 < 100ms over 2s for 3s -> migrate",
			decided: 8 * time.Second,
			says:    "decision-useless",
			load: func(h *lab.Host) (end func()) {
				delay := func(by string) {
					resp, err := http.Post("http://"+h.IP+":8081/delay?by="+by, "", nil)
					if err != nil {
						return // it is on the other host
					}
					_ = resp.Body.Close()
				}
				delay("200ms")
				return func() { delay("0") }
			},
		},
	)
}

// TestServiceLeavesANodeWhereItSaysSo has the application itself publish a number that
// is too high on one host.
func TestServiceLeavesANodeWhereItSaysSo(t *testing.T) {
	if _, long := soak(t); !long {
		t.Skip("takes a minute: with OTTO_SOAK")
	}
	var bad sync.Map // addresses of hosts
	length := func() (n int) {
		n = 7
		bad.Range(func(ip, _ any) bool {
			if conn, err := net.DialTimeout("tcp", fmt.Sprint(ip, ":8081"), time.Second); err == nil {
				_ = conn.Close()
				n = 700
			}
			return true
		})
		return n
	}
	b := burden{
		of:      "mqtt:shop/queue#.length < 100 for 3s -> migrate",
		decided: 6 * time.Second,
		says:    "decision-useless",
	}
	b.before = func() {
		app := mqtttest.Connected(t,
			mqtttest.Target{Addr: "10.77.0.1:1883", Username: "shop", Password: "may publish"}.Options("app"), nil)
		go func() {
			for tick := time.NewTicker(500 * time.Millisecond); t.Context().Err() == nil; <-tick.C {
				_ = app.Publish(t.Context(), "shop/queue", 1, false, fmt.Appendf(nil, `{"length": %d}`, length()))
			}
		}()
	}
	b.load = func(h *lab.Host) (end func()) {
		bad.Store(h.IP, true)
		return func() { bad.Delete(h.IP) }
	}
	testLeaves(t, b)
}

// burden is what makes a host a bad place for a service. What another host would be
// like is foreseen of load and heat: that nothing helps is known before a move. Of what
// the service itself shows it is known after one.
type burden struct {
	of      string        // the requirement that it violates
	decided time.Duration // within that time: what the requirement allows, an interval of 1 s and 2 s
	before  func()        // done when the cluster runs; may be nil
	says    string        // the event that tells that nothing helps
	load    func(*lab.Host) (end func())
}

// testLeaves has a service leave the host that is loaded: it goes to the other one,
// and nobody who asks it goes without an answer. When that is loaded as well it stays,
// and says so; and when the load ends it stays, too.
func testLeaves(t *testing.T, b burden) {
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
mqtt: {username: shop, password: may publish}
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
`, strings.Join(nodes, "\n"), b.of))
	c.Know(l)
	c.Start()
	if b.before != nil {
		b.before()
	}
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
	if strings.Contains(b.of, "cpu") {
		if cpu := idle(c); max(cpu[0], cpu[1]) > 40 {
			t.Skipf("this machine is busy with other things: its cores are at %.0f%% and %.0f%%", cpu[0], cpu[1])
		}
	}
	is(b.of + ": ok")

	ctx, cancel := context.WithCancel(t.Context())
	user, done := &lab.Client{Addresses: addresses}, make(chan struct{})
	go func() { defer close(done); user.Run(ctx) }()
	began := time.Now()
	end := b.load(l.Host("n1"))
	lab.Until(t, "web has moved", func() bool {
		if strings.Contains(b.of, "cpu") && time.Since(began) > 20*time.Second &&
			strings.Contains(c.Run("explain", "web"), "n2: its node.cpu would be") {
			t.Skip("this machine has become busy with other things: n2 is no better")
		}
		return len(events("service-moved")) == 1
	})
	moving, moved := events("service-moving")[0], events("service-moved")[0]
	t.Logf("decided %s after the load, up after %s more: %s; %s", moving.Time.Sub(began).Round(10*time.Millisecond),
		moved.Time.Sub(moving.Time).Round(10*time.Millisecond), moving.Message, moved.Message)
	if took := moving.Time.Sub(began); took > b.decided {
		t.Errorf("decided %s after the load, and not within %s", took, b.decided)
	}

	endToo := b.load(l.Host("n2"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", c.Run("events"), c.Run("explain", "web"))
		}
	})
	lab.Until(t, "it says that nothing helps", func() bool { return len(events(b.says)) == 1 })
	t.Log(events(b.says)[0].Message)
	t.Log("\n" + c.Run("explain", "web"))
	end()
	endToo()
	is(b.of + ": ok")
	for time.Since(moved.Time) < 30*time.Second { // return_after is over, too
		is("web is running on n2")
	}
	if n := len(events("service-moving")); n != 1 {
		t.Errorf("%d moves", n)
	}
	cancel()
	<-done
	t.Logf("%d requests, %d failed, %d answered by another address than the last", user.Asked.Load(),
		user.Failed.Load(), user.Strayed.Load())
	if user.Failed.Load() > 0 || user.Asked.Load() < 1000 {
		t.Errorf("%d of %d requests failed, the last at %v", user.Failed.Load(), user.Asked.Load(), user.Why.Load())
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
