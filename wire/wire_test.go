package wire_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	celsius = 51.5
	at      = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
	full    = otto.NodeSample{
		Time: at, CPUPercent: 12.3456, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 10 << 30, DiskTotal: 32 << 30,
		NetSent: 1, NetRecv: 2, Uptime: 3600.5, Load: &otto.Load{One: 0.5, Five: 0.25, Fifteen: 0.1},
		Temperature: &celsius, Pressure: &otto.Pressure{CPU: 1, Memory: 2, IO: 3}, Throttle: &otto.Throttle{Heat: true}, RTT: map[string]float64{"nas": 0.00125, "rpi-01": 0},
		Watched: map[string][]otto.Probed{"web": {{Ago: time.Second, Took: 3 * time.Second, Failed: true}, {Ago: 500 * time.Millisecond, Took: 2 * time.Millisecond}}},
	}
	containers = []otto.ContainerSample{
		{ID: strings.Repeat("ab", 32), Name: "web", CPUPercent: 187.5, MemoryUsed: 64 << 20, MemoryLimit: 128 << 20, NetRecv: 1, NetSent: 2, BlockRead: 3, BlockWrite: 4, Throttled: new(12.5), OOMKills: 2, Probes: []otto.Probed{
			{Ago: 1200 * time.Millisecond, Took: 12500 * time.Microsecond}, {Ago: 200 * time.Millisecond, Took: 3 * time.Second, Failed: true},
		}},
	}
)

func TestMetricsKeepThePublicContract(t *testing.T) {
	wild := full
	wild.CPUPercent, wild.MemoryUsed, wild.Uptime = math.NaN(), 9<<30, math.Inf(1)
	for name, s := range map[string]otto.NodeSample{"full": full, "empty": {Time: at}, "wild": wild} {
		b, err := wire.EncodeNodeSample("rpi-01", s)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "node-"+name+".json", b)
		m := contract(t, b, "node_id timestamp cpu_percent memory_percent memory_used_mb memory_total_mb disk_percent disk_used_gb disk_total_gb network_bytes_sent network_bytes_recv")
		for _, p := range []string{"cpu_percent", "memory_percent", "disk_percent"} {
			if v := m[p].(float64); v < 0 || v > 100 {
				t.Errorf("%s: %s is %v", name, p, v)
			}
		}
	}
	for name, list := range map[string][]otto.ContainerSample{"full": containers, "none": nil} {
		b, err := wire.EncodeContainerSamples("rpi-01", at, list)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "containers-"+name+".json", b)
		m := contract(t, b, "node_id timestamp containers")
		for _, c := range m["containers"].([]any) {
			one, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			fields(t, one, "container_id container_name cpu_percent memory_percent memory_usage_mb memory_limit_mb network_rx_bytes network_tx_bytes block_read_bytes block_write_bytes")
		}
	}
}

// contract checks a message as a subscriber of the first prototype reads it.
func contract(t *testing.T, b []byte, names string) map[string]any {
	t.Helper()
	m := fields(t, b, names)
	if ts := m["timestamp"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$`).MatchString(ts) {
		t.Errorf("timestamp %q", ts)
	}
	return m
}

func fields(t *testing.T, b []byte, names string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(names) {
		if m[name] == nil {
			t.Errorf("%s is missing or null in %s", name, b)
		}
	}
	for name, v := range m {
		if v == nil {
			t.Errorf("%s is null", name)
		}
	}
	return m
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Error(diff)
	}
}

func TestNodeSampleComesBack(t *testing.T) {
	b, err := wire.EncodeNodeSample("n", full)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeNodeSample("n", b)
	if err != nil {
		t.Fatal(err)
	}
	want := full
	want.Time, want.CPUPercent = at.Truncate(time.Microsecond), 12.346
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := wire.DecodeNodeSample("other", b); err == nil {
		t.Error("a sample on another node's topic was taken")
	}
}

func TestAssignmentIsTakenOnlyAsSigned(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, strangerKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := otto.Assignment{ClusterID: "c", Node: "n", Revision: otto.Revision{Epoch: 1, Number: 2}, Instances: []otto.Instance{{Name: "web", Service: "web"}}}
	good, err := wire.SignAssignment(key, a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.OpenAssignment(public, "c", "n", good)
	if diff := cmp.Diff(a, got); diff != "" || err != nil {
		t.Fatalf("%v %s", err, diff)
	}
	forged, err := wire.SignAssignment(strangerKey, a)
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (otto.Assignment, error){
		"stranger's signature": func() (otto.Assignment, error) { return wire.OpenAssignment(public, "c", "n", forged) },
		"stranger's key":       func() (otto.Assignment, error) { return wire.OpenAssignment(stranger, "c", "n", good) },
		"another node":         func() (otto.Assignment, error) { return wire.OpenAssignment(public, "c", "m", good) },
		"another cluster":      func() (otto.Assignment, error) { return wire.OpenAssignment(public, "d", "n", good) },
		"empty key":            func() (otto.Assignment, error) { return wire.OpenAssignment(nil, "c", "n", good) },
		"changed": func() (otto.Assignment, error) {
			return wire.OpenAssignment(public, "c", "n", []byte(strings.Replace(string(good), "web", "wet", 1)))
		},
		"unsigned": func() (otto.Assignment, error) {
			return wire.OpenAssignment(public, "c", "n", []byte(`{"assignment":{"cluster_id":"c","node":"n"}}`))
		},
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := wire.OpenAssignment(public, "c", "n", forged); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("got %v", err)
	}
	if _, err := wire.SignAssignment(nil, a); err == nil {
		t.Error("signed with an empty key")
	}
}

func TestTopicsComeBack(t *testing.T) {
	for _, k := range append(wire.ReportKinds(), wire.KindAssignment) {
		node, kind, ok := wire.ParseNodeTopic(wire.NodeTopic("rpi-01", k))
		if !ok || node != "rpi-01" || kind != k {
			t.Errorf("%s: %s %s %v", k, node, kind, ok)
		}
	}
	for _, bad := range []string{"", "otto/nodes/", "otto/nodes/a", "otto/nodes/a.b/status", "otto/nodes/a/other", "otto/nodes/+/status", "x/otto/nodes/a/status"} {
		if _, _, ok := wire.ParseNodeTopic(bad); ok {
			t.Errorf("%q is taken for a node's topic", bad)
		}
	}
}

func TestHeartbeatIsSmall(t *testing.T) {
	for machine, ok := range map[string]bool{"": true, "0b7bbd4e-8ab4-4c1f-9d2e-1c9b7b0c1f6a": true, strings.Repeat("x", 65): false} {
		b, err := wire.Encode(wire.Heartbeat{BootID: "b", Seq: 1, Machine: machine})
		if err != nil {
			t.Fatal(err)
		}
		h, err := wire.DecodeHeartbeat(b)
		if ok != (err == nil) || ok && h.Machine != machine {
			t.Errorf("a heartbeat from the machine %q: %q, %v", machine, h.Machine, err)
		}
	}
}

func TestSamplesMayBeLeftOut(t *testing.T) {
	for _, kind := range append(wire.ReportKinds(), wire.OrderKinds()...) {
		want := kind == wire.KindNodeMetrics || kind == wire.KindContainerMetrics
		if got := wire.Sampled(wire.NodeTopic("n", kind)); got != want {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
	for _, topic := range []string{wire.TopicControlStatus, wire.TopicEvents, "home/metrics/node", "otto/nodes/metrics/node"} {
		if wire.Sampled(topic) {
			t.Errorf("%s may be left out", topic)
		}
	}
}

func FuzzDecoders(f *testing.F) {
	node, _ := wire.EncodeNodeSample("n", full)
	list, _ := wire.EncodeContainerSamples("n", at, containers)
	status, _ := wire.Encode(wire.Status{NodeID: "n", Online: true, BootID: "b"})
	for _, b := range [][]byte{node, list, status, []byte(`null`), []byte(`{"node_id":"n","timestamp":"x"}`), []byte(`{"assignment":null,"signature":""}`), {0xff}} {
		f.Add(b)
	}
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = wire.DecodeLook(b)
		if s, err := wire.DecodeNodeSample("n", b); err == nil {
			again, err := wire.EncodeNodeSample("n", s)
			if err != nil && s.Time.Year() < 10000 && s.Load == nil && s.Pressure == nil {
				t.Errorf("%s does not come back: %v", again, err)
			}
		}
		_, _, _ = wire.DecodeContainerSamples("n", b)
		_, _ = wire.DecodeHeartbeat(b)
		_, _ = wire.DecodeStatus("n", b)
		_, _ = wire.DecodeReport("n", b)
		_, _ = wire.DecodeAnswer("n", b)
		_, _ = wire.DecodeNodeEvents("n", b)
		_, _ = wire.DecodeControlStatus(b)
		_, _ = wire.DecodeEnrolment(b)
		_, _ = wire.DecodeFloor(b)
		for what, open := range map[string]func() error{
			"an assignment": func() error { _, err := wire.OpenAssignment(public, "c", "n", b); return err },
			"a lease":       func() error { _, err := wire.OpenLease(public, "c", "n", b); return err },
			"a question":    func() error { _, err := wire.OpenQuestion(public, "c", "n", b); return err },
			"a warrant":     func() error { _, err := wire.OpenWarrant(public, "c", b); return err },
		} {
			if open() == nil {
				t.Errorf("%q was taken for %s", b, what)
			}
		}
	})
}

func TestServicesOfStacksHaveTopicsOfTheirOwn(t *testing.T) {
	for got, want := range map[string]string{
		wire.ServiceTopic("web"):              "otto/services/web",
		wire.ServiceTopic("shop/web"):         "otto/stacks/shop/services/web",
		wire.ServiceTopic("shop/My.Web_1"):    "otto/stacks/shop/services/My%2EWeb_1",
		wire.RequirementTopic("web", ""):      "otto/requirements/services/web",
		wire.RequirementTopic("shop/web", ""): "otto/requirements/stacks/shop/services/web",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
