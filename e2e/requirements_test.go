package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestRequirementsAreMeasured has real figures on their whole way: the load of a
// host's own core, a thermal zone, a processor that is held back, a probe, the way to
// another host, and a number that an application publishes. Another service goes where
// its device is.
func TestRequirementsAreMeasured(t *testing.T) {
	l := lab.Up(t, 2)
	h, far := l.Host("n1"), l.Host("n2")
	l.Images()
	h.Load("otto-echo:1")
	h.Cores("1")
	far.Load("otto-echo:1")
	far.Plug("stick")
	c := lab.NewCluster(t, fmt.Sprintf(`
metrics: {interval: 1s}
mqtt: {username: shop, password: may publish}
nodes:
  - {id: n1, host: %[1]s, user: otto, identity_file: %[3]s}
  - {id: n2, host: %[2]s, user: otto, identity_file: %[3]s}
requirements: [node.temperature < 75C for 2s]
services:
  web:
    image: otto-echo:1
    node: n1
    ports: ["8081:8080"]
    probe: {http: ":8080/", interval: 1s}
    requirements:
      - node.cpu < 90%% over 5s for 2s
      - node.throttled < 50%% over 5s for 2s
      - rtt.n2 < 25ms for 2s
      - latency p95 < 2s over 10s
      - latency.n2 p95 < 5s over 10s
      - availability.control >= 50%% over 10s
      - availability >= 50%% over 10s
      - mqtt:shop/queue#.length < 100 for 2s
  reader: {image: 'otto-echo:1', devices: ['/dev/shm/stick:/dev/stick']}
`, h.IP, far.IP, l.Key))
	c.Know(l)
	c.Start()
	app := mqtttest.Connected(t,
		mqtttest.Target{Addr: "10.77.0.1:1883", Username: "shop", Password: "may publish"}.Options("app"), nil)
	say := func(length int) { app.Send(t, "shop/queue", 1, false, fmt.Sprintf(`{"length": %d}`, length)) }
	states := func() string {
		var list []otto.Verdict
		if err := json.Unmarshal([]byte(c.Run("requirements", "--output", "json")), &list); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, v := range list {
			if v.Node == "n1" {
				words = append(words, v.Requirement.Metric+" "+string(v.State)+" "+v.Reason)
			}
		}
		return strings.Join(words, ", ")
	}
	now := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(now)
		}
	})
	is := func(metric string, state otto.RequirementState, while func()) {
		t.Helper()
		lab.Until(t, metric+" is "+string(state), func() bool {
			while()
			now = states()
			return strings.Contains(now, metric+" "+string(state))
		})
	}
	nothing := func() {}
	for _, metric := range []string{"node.temperature", "node.throttled", "latency", "availability", "latency.n2", "availability.control", "rtt.n2"} {
		is(metric, otto.RequirementOK, nothing)
	}
	is("mqtt:shop/queue#.length", otto.RequirementOK, func() { say(7) })

	clog(t, far) // it is measured every ten seconds only: what follows does not wait
	h.Heat(88)
	h.Throttle(true)
	is("node.temperature", otto.RequirementViolated, nothing)
	is("node.throttled", otto.RequirementViolated, nothing)
	h.Heat(40)
	h.Throttle(false)
	stop := h.Background("sh", "-c", "while :; do :; done")
	is("node.cpu", otto.RequirementViolated, nothing) // of two cores it would be half of that
	stop()
	is("mqtt:shop/queue#.length", otto.RequirementViolated, func() { say(700) })
	is("node.temperature", otto.RequirementOK, nothing)
	is("rtt.n2", otto.RequirementViolated, nothing)

	t.Log("\n" + c.Run("requirements"))
	if why := c.Run("explain", "reader"); !strings.Contains(why, "reader is running on n2") ||
		!strings.Contains(why, "it has no /dev/shm/stick") {
		t.Errorf("where the reader is: %s", why)
	}
	events := c.Run("events")
	for _, want := range []string{"node.temperature is 88C and should be < 75C", "requirement-met", "shop/queue#.length is 700"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event says %q:\n%s", want, events)
		}
	}
}

// clog gives a host a slow link and keeps it full until the test ends, so that whatever
// goes over it waits in a queue.
func clog(t *testing.T, h *lab.Host) {
	t.Helper()
	sink, err := net.Listen("tcp", "10.77.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	go func() {
		for conn, err := sink.Accept(); err == nil; conn, err = sink.Accept() {
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	h.Rate("2mbit")
	for range 2 { // one of them alone pauses now and then
		h.Background("timeout", "120", "bash", "-c",
			fmt.Sprintf("cat /dev/zero >/dev/tcp/10.77.0.1/%d", sink.Addr().(*net.TCPAddr).Port))
	}
}
