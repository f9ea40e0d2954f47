package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/history"
)

// withPast is a directory of a cluster whose control plane has run for ten minutes, and has
// ended five minutes before now.
func withPast(t *testing.T) (config string, now time.Time) {
	t.Helper()
	dir := t.TempDir()
	d := stateDir(filepath.Join(dir, ".otto"))
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := history.Open(d.path(dirHistory), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- h.Run(ctx) }()
		begun := time.Now()
		var last *otto.Cluster
		for range 600 {
			last = viewOfPast(time.Now(), time.Since(begun))
			h.Take(last)
			time.Sleep(time.Second)
		}
		cancel()
		<-ended
		if err := d.write(fileView, last); err != nil {
			t.Fatal(err)
		}
		now = time.Now().Add(5 * time.Minute)
	})
	return filepath.Join(dir, "otto.yaml"), now
}

// viewOfPast has a service that does not run in the third minute.
func viewOfPast(t time.Time, after time.Duration) *otto.Cluster {
	cpu := after.Seconds() / 6
	inst := otto.PlacedInstance{
		Node:           "nas",
		InstanceStatus: otto.InstanceStatus{Name: "web-1", Service: "web", State: otto.InstanceRunning},
		Sample:         &otto.ContainerSample{ID: "c", CPUPercent: cpu, MemoryUsed: 1 << 28, MemoryLimit: 1 << 30},
	}
	if after >= 2*time.Minute && after < 3*time.Minute {
		inst.State, inst.Sample = otto.InstanceFailed, nil
	}
	return &otto.Cluster{
		Nodes: []otto.NodeStatus{{
			Node: otto.Node{ID: "nas"}, State: otto.NodeReady, LastSeen: t, SampleReceived: t,
			Facts: otto.NodeFacts{CPUs: 1}, Sample: &otto.NodeSample{Time: t, CPUPercent: cpu},
		}},
		Services: []otto.ServiceStatus{{Service: otto.Service{Name: "web"}, Instances: []otto.PlacedInstance{inst}}},
	}
}

func TestMetricsAreShownWithoutAControlPlane(t *testing.T) {
	t.Setenv("TZ", "UTC")
	config, now := withPast(t)
	run := func(o metricsOptions) (string, error) {
		var out bytes.Buffer
		a := &app{config: config, out: &out, err: &bytes.Buffer{}, output: "text"}
		o.since = cmpOr(o.since, "15m")
		err := a.metrics(t.Context(), o, now)
		return out.String(), err
	}
	text, err := run(metricsOptions{name: "web", format: "plot"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "x") || !strings.Contains(text, "90% of 10m") || !strings.Contains(text, "·") {
		t.Errorf("no bar of states:\n%s", text)
	}
	if strings.Contains(text, "\n\n") {
		t.Errorf("an empty line:\n%s", text)
	}
	large, err := run(metricsOptions{name: "nas", metrics: []string{"node.cpu"}, format: "plot"})
	if err != nil || strings.Count(large, "│") != plotRows || !strings.Contains(large, "█") {
		t.Errorf("%v\n%s", err, large)
	}
	table, err := run(metricsOptions{name: "web-1", metrics: []string{"cpu"}, format: "csv", resolution: "10m"})
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if err != nil || len(lines) != 2 || lines[0] != "time,node,service,instance,metric,unit,min,mean,max" ||
		!strings.Contains(lines[1], ",,web,web-1,cpu,%,0,") {
		t.Errorf("%v\n%s", err, table)
	}
	object, err := run(metricsOptions{name: "web", format: "json"})
	var h otto.History
	if err != nil || json.Unmarshal([]byte(object), &h) != nil || h.Service != "web" || len(h.Series) == 0 ||
		h.Resolution != time.Second {
		t.Errorf("%v\n%s", err, object)
	}
	for _, o := range []metricsOptions{
		{name: "none", format: "plot"},
		{name: "web", format: "xml"},
		{name: "web", format: "plot", since: "soon"},
		{name: "web", format: "plot", metrics: []string{"no.such"}},
		{name: "web", format: "plot", resolution: "7s"},
		{name: "web", format: "plot", since: "1s"},
	} {
		if text, err := run(o); err == nil || strings.Contains(err.Error(), "\n") || text != "" {
			t.Errorf("%+v: %v %s", o, err, text)
		}
	}
	var out bytes.Buffer
	a := &app{config: config, out: &out, err: &bytes.Buffer{}, output: "text"}
	d, err := a.dir()
	if err != nil {
		t.Fatal(err)
	}
	a.printDay(t.Context(), d, "web", now)
	if got := out.String(); !strings.HasPrefix(got, "last 24h     "+strings.Repeat("·", 47)) ||
		!strings.Contains(got, "▯  up 90% of 10m") {
		t.Errorf("the last day is %q", got)
	}
}
