package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestStatus(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	warm := 51.4
	whole := &otto.Cluster{
		Name: "home", Broker: "10.77.0.1:1883 (served by Otto)", Time: now, Started: now.Add(-3 * time.Hour),
		Nodes: []otto.NodeStatus{
			{
				Node: otto.Node{ID: "pi", Host: "10.77.0.11"}, State: otto.NodeReady,
				Facts:          otto.NodeFacts{Arch: "arm64", Engine: otto.Engine{Name: "Docker", Version: "20.10.24"}},
				Sample:         &otto.NodeSample{CPUPercent: 12.6, MemoryUsed: 1 << 30, MemoryTotal: 4 << 30, DiskUsed: 8 << 30, DiskTotal: 32 << 30, Temperature: &warm},
				SampleReceived: now.Add(-2 * time.Second),
			},
			{Node: otto.Node{ID: "nas", Host: "10.77.0.12"}, State: otto.NodeLost, Reason: "silent for 12s, and it refuses connections"},
		},
		Services: []otto.ServiceStatus{{
			Service: otto.Service{Name: "web", Spec: otto.ContainerSpec{Image: "nginx:alpine", Ports: []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}}}},
			Instances: []otto.PlacedInstance{
				{Node: "pi", UpToDate: true, Sample: &otto.ContainerSample{CPUPercent: 0.25, MemoryUsed: 7 << 20}, InstanceStatus: otto.InstanceStatus{
					Name: "web", State: otto.InstanceRunning, Image: "nginx:alpine", Started: now.Add(-50 * time.Hour),
				}},
				{Node: "nas", InstanceStatus: otto.InstanceStatus{
					Name: "web-2", State: otto.InstanceFailed, Image: "nginx:alpine", Error: "ended with exit code 7", LogTail: []string{"no such file", "giving up"},
				}},
			},
		}},
	}
	whole.Nodes[0].Verdicts = []otto.Verdict{
		{Node: "pi", State: otto.RequirementUnknown, Reason: "nothing is measured yet", Since: now.Add(-2 * time.Minute), Evaluated: now},
		{Node: "pi", State: otto.RequirementUnknown, Reason: "measured for 40s of 1h so far", Requirement: otto.Requirement{Over: time.Hour}, Since: now.Add(-2 * time.Minute), Evaluated: now},
	}
	whole.Services[0].Verdicts = []otto.Verdict{
		{Instance: "web", Node: "pi", State: otto.RequirementViolated, Violated: now, Reason: "latency is 210ms and should be < 150ms"}, {Instance: "web", Node: "pi", State: otto.RequirementPending},
	}
	stopped := *whole
	stopped.Stopped = true
	tests := []struct {
		name    string
		c       *otto.Cluster
		running bool
		want    string
	}{
		{"running", whole, true, `home, broker 10.77.0.1:1883 (served by Otto), up 3h

NODE  STATE  ADDRESS     ARCH   ENGINE           CPU  MEMORY         DISK            TEMP  SAMPLE
pi    ready  10.77.0.11  arm64  Docker 20.10.24  13%  25% of 4.0 GB  25% of 32.0 GB  51°C  2s
nas   lost   10.77.0.12  -      -                -    -              -               -     -

SERVICE  STATE    NODE  IMAGE         UPTIME  CPU   MEMORY  PORTS
web      running  pi    nginx:alpine  2d      0.2%  7.0 MB  8080:80
web-2    failed   nas   nginx:alpine  -       -     -       8080:80

node nas: silent for 12s, and it refuses connections
service web-2 is failed on nas: ended with exit code 7
      | no such file
      | giving up
requirement of node pi is unknown: nothing is measured yet
requirement of web is violated: latency is 210ms and should be < 150ms
`},
		{"without a control plane", whole, false, "The control plane of home is not running; services run on. This is from 0s ago.\n"},
		{"stopped", &stopped, false, "home is stopped, since 0s ago.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			(&app{out: &out}).printStatus(&out, tt.c, tt.running, now)
			got := out.String()
			if !tt.running {
				got, _, _ = strings.Cut(got, "\n\n")
				got += "\n"
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAge(t *testing.T) {
	now := time.Unix(1e9, 0)
	for want, d := range map[string]time.Duration{
		"0s": -time.Minute, "59s": 59900 * time.Millisecond, "1m": time.Minute, "59m": time.Hour - 1, "47h": 48*time.Hour - 1, "2d": 48 * time.Hour,
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := age(now, time.Time{}); got != "-" {
		t.Errorf("never is %q", got)
	}
}

// FuzzStateFiles takes whatever a crash or a person may leave in .otto.
func FuzzStateFiles(f *testing.F) {
	f.Add([]byte(`{"name":"home","nodes":[{"id":"a","sample":{}}],"services":[{"instances":[{"name":"web"}]}]}`))
	f.Add([]byte(`{"name":1}`))
	f.Add([]byte("\x00\x00"))
	d := stateDir(f.TempDir())
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(d.path(fileView), content, 0o600); err != nil {
			t.Fatal(err)
		}
		var c otto.Cluster
		if d.read(fileView, &c) == nil {
			var out strings.Builder
			(&app{out: &out}).printStatus(&out, &c, false, time.Unix(1e9, 0))
			_ = missing(&c)
			_ = rows(&c)
		}
	})
}
