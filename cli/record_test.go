package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/recording"
)

// recorded is a control plane with one node and one service, which cannot be
// reached now and then.
type recorded struct{ asked int }

func (r *recorded) Cluster(context.Context) (*otto.Cluster, error) {
	if r.asked++; r.asked%5 == 0 {
		return nil, errors.New("not now")
	}
	spec := otto.ContainerSpec{Image: "web:1", Environment: map[string]string{"PASSWORD": "hunter2"}, Command: []string{"--token", "hunter2"}}
	return &otto.Cluster{
		Time: time.Now().UTC(),
		Nodes: []otto.NodeStatus{{
			Node: otto.Node{ID: "a"}, State: otto.NodeReady, Facts: otto.NodeFacts{CPUs: 4, MemoryBytes: 4 << 30},
			Sample: &otto.NodeSample{CPUPercent: 60, MemoryTotal: 4 << 30, MemoryUsed: 1 << 30},
		}},
		Services: []otto.ServiceStatus{{
			Service: otto.Service{Name: "web", Replicas: 1, Spec: spec, Requirements: []otto.Requirement{{Metric: "node.cpu", Notify: &otto.Notify{Webhook: "https://example.org/hunter2"}}}},
			Instances: []otto.PlacedInstance{{
				Node: "a", InstanceStatus: otto.InstanceStatus{Name: "web"}, Sample: &otto.ContainerSample{CPUPercent: 120, MemoryUsed: 1 << 28},
			}},
		}},
	}, nil
}

func TestRecordingCanBeSimulated(t *testing.T) {
	name := t.TempDir() + "/recording"
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		a := &app{out: &out, err: &errOut}
		if err := a.record(t.Context(), &recorded{}, name, time.Minute+time.Second); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "has 11 frames") || !strings.Contains(errOut.String(), "nothing recorded now: not now") {
			t.Errorf("%s%s", out.String(), errOut.String())
		}
		if err := a.record(t.Context(), &recorded{}, name, time.Minute); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Error(err)
		}
	})
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := recording.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Wanted.Services[0]; s.Spec.Environment != nil || s.Spec.Command != nil || s.Requirements[0].Notify != nil || s.Spec.Image != "web:1" {
		t.Errorf("%+v", s)
	}
	var out bytes.Buffer
	if code := Main("test", []string{"simulate", "--from", name, "--policy", "all"}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), "1 nodes, 1 services, 1m0s") {
		t.Errorf("%d: %s", code, out.String())
	}
}
