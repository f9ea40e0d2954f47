package otto

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMetricsAreDocumented keeps the table of docs/requirements.md the one of the code.
func TestMetricsAreDocumented(t *testing.T) {
	const path = "docs/requirements.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	const head = "| metric | unit | of | what | read from | |\n|---|---|---|---|---|---|\n"
	table.WriteString(head)
	for _, m := range Metrics() {
		of, needs := "service", ""
		if m.Node {
			of = "node"
		}
		unit := m.Unit
		if m.Counter && unit == UnitBytes {
			unit = unit.PerSecond()
		}
		if m.Windowed {
			needs = "needs a window"
		}
		if m.Probe {
			needs = strings.TrimPrefix(needs+", a probe", ", ")
			needs = "needs " + strings.TrimPrefix(needs, "needs ")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | `%s` | %s |\n", m.Name, unit, of, m.Doc, m.Reads, needs)
	}
	before, rest, _ := strings.Cut(string(doc), head)
	_, after, found := strings.Cut(rest, "\n\n")
	if found {
		after = "\n" + after
	}
	want := before + table.String() + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(doc)); diff != "" {
		t.Errorf("run `go test . -update`:\n%s", diff)
	}
}

func TestMetricsReadTheirSamples(t *testing.T) {
	hot := 61.5
	node := NodeSample{
		CPUPercent: 12, MemoryUsed: 1 * GB, MemoryTotal: 4 * GB, DiskUsed: 3 * GB, DiskTotal: 4 * GB, NetSent: 5, NetRecv: 6,
		Load: &Load{1, 2, 3}, Pressure: &Pressure{4, 5, 6}, Temperature: &hot, Throttle: &Throttle{Heat: true}, Uptime: 77,
	}
	container := ContainerSample{CPUPercent: 50, MemoryUsed: 64 * MB, MemoryLimit: 4 * GB, NetRecv: 1, NetSent: 2, BlockRead: 3, BlockWrite: 4, Throttled: &hot}
	got := map[string]float64{}
	for _, m := range Metrics() {
		if m.FromNode != nil {
			got[m.Name], _ = m.FromNode(node)
			if _, ok := m.FromNode(NodeSample{}); ok != strings.Contains(" node.cpu node.network.received node.network.sent ", " "+m.Name+" ") {
				t.Errorf("%s of an empty sample: %t", m.Name, ok)
			}
		}
		if m.FromContainer != nil {
			got[m.Name], _ = m.FromContainer(container, Share{Cores: 0.5, Memory: 128 * MB})
		}
	}
	want := map[string]float64{
		"cpu": 100, "cpu.throttled": 61.5, "memory": 50, "memory.used": 64 * MB, "network.received": 1, "network.sent": 2, "disk.read": 3, "disk.written": 4,
		"node.cpu": 12, "node.memory": 25, "node.memory.available": 3 * GB, "node.disk": 75, "node.disk.free": GB,
		"node.load": 1, "node.load.5m": 2, "node.load.15m": 3, "node.pressure.cpu": 4, "node.pressure.memory": 5, "node.pressure.io": 6,
		"node.temperature": 61.5, "node.throttled": 100, "node.undervoltage": 0, "node.network.received": 6, "node.network.sent": 5, "node.uptime": 77,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRoundTripTimeIsThatToTheNodeOfItsName(t *testing.T) {
	s := NodeSample{RTT: map[string]float64{"rpi.1": 0.25}}
	for name, want := range map[string]bool{"rtt.rpi.1": true, "rtt.rpi": false} {
		m, known := FindMetric(name)
		if value, measured := m.FromNode(s); !known || !m.Node || measured != want || measured && value != 0.25 {
			t.Errorf("%s: %v, %t of %+v", name, value, measured, m)
		}
	}
	if _, known := FindMetric("rtt."); known {
		t.Error("rtt. is the time to nowhere")
	}
}

func TestMQTTMetrics(t *testing.T) {
	for name, want := range map[string]MQTTMetric{
		"mqtt:a":               {Topic: "a"},
		"mqtt:my/app#.a.b[10]": {Topic: "my/app", Path: []Step{{Key: "a"}, {Key: "b"}, {Index: 10}}},
		"mqtt:otto-app/x#[0]":  {Topic: "otto-app/x", Path: []Step{{Index: 0}}},
	} {
		if got, err := ParseMQTTMetric(name); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{
		"mqtt:", "mqtt:/a", "mqtt:a/", "mqtt:a/#", "mqtt:+/a", "mqtt:otto", "mqtt:otto/events", "mqtt:$SYS/a", "mqtt:a.b", "mqtt:a#", "mqtt:a#.", "mqtt:a#b",
		"mqtt:a#[01]", "mqtt:a#[-1]", "mqtt:a#[1", "mqtt:a#.b c", "mqtt:a>", "mqtt:" + strings.Repeat("a", 201), "mqtt:a#" + strings.Repeat(".a", 17),
	} {
		if got, err := ParseMQTTMetric(name); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestValuesAreShownForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"93.4%": UnitPercent.Show(93.42), "150ms": UnitSeconds.Show(0.15), "2.5s": UnitSeconds.Show(2.5), "90s": UnitSeconds.Show(90),
		"1.5MB/s": UnitBytesPerSecond.Show(1.5 * MB), "0%": UnitPercent.Show(0), "-3": UnitNone.Show(-3), "0.01/s": UnitPerSecond.Show(0.0123),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestVerdictWithoutDataHasNoNull(t *testing.T) {
	b, err := json.Marshal(Verdict{})
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
}
