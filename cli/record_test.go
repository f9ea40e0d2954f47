package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/recording"
	"github.com/otto-edge/otto/ottotest"
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

// viewed is a control plane as its clients see it.
type viewed struct{ *control.Plane }

func (v viewed) Cluster(context.Context) (*otto.Cluster, error) { return v.Plane.Cluster(), nil }

// crowded is what is wanted of three nodes, one of which is too busy for all that
// is there. Decisions are only advised.
func crowded() otto.Wanted {
	r := otto.Requirement{
		Metric: "node.cpu", Aggregate: otto.AggregateLast, Operator: "<", Limit: 70, Clear: 63, Unit: otto.UnitPercent, For: 10 * time.Second,
		Action: otto.ActionMigrate, Severity: otto.SeverityWarning, Notify: &otto.Notify{Webhook: "https://example.org/hunter2"},
	}
	w := otto.Wanted{
		Requirements: []otto.Requirement{r},
		Decisions:    otto.Decisions{Mode: otto.DecideAdvise, Cooldown: 2 * time.Minute, PerCluster: 7},
		Scheduler:    otto.Scheduler{Weights: map[string]float64{otto.ScoreHeat: 0}},
	}
	for _, id := range []string{"a", "b", "c"} {
		w.Nodes = append(w.Nodes, otto.Node{ID: id, Host: id})
	}
	for _, name := range []string{"web", "mail"} {
		w.Services = append(w.Services, otto.Service{Name: name, Node: "a", Failover: otto.FailoverMove, Replicas: 1, Spec: otto.ContainerSpec{Image: "web"}})
	}
	return w
}

// recordCrowded has a control plane in virtual time run that, and records it.
func recordCrowded(t *testing.T, name string) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web")
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(crowded()); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		busy := func(id string, percent float64) {
			c.Hosts[id].Measure(func(n *otto.NodeSample, list []otto.ContainerSample) {
				n.CPUPercent = percent
				for i := range list {
					list[i].CPUPercent, list[i].MemoryUsed = 20, 100<<20
				}
			})
		}
		busy("a", 50)
		busy("b", 10)
		busy("c", 60)
		go func() {
			time.Sleep(5 * time.Minute)
			busy("a", 85)
		}()
		a := &app{out: new(bytes.Buffer), err: new(bytes.Buffer)}
		if err := a.record(t.Context(), viewed{c.Plane}, name, 15*time.Minute); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRecordingOfAControlPlaneIsSimulatedWithItsOwnSettings does so with one that
// is made now, and with one that was made when the format was new; -update makes
// that anew.
func TestRecordingOfAControlPlaneIsSimulatedWithItsOwnSettings(t *testing.T) {
	kept, now := "testdata/crowded.otto-recording", t.TempDir()+"/recording"
	recordCrowded(t, now)
	if *update {
		b, err := os.ReadFile(now)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	act := t.TempDir() + "/act.yaml"
	if err := os.WriteFile(act, []byte("decisions: {mode: auto}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{now, kept} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := recording.Read(f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := crowded()
		want.Requirements[0].Notify = nil
		for _, diff := range []string{
			cmp.Diff(want.Requirements, r.Wanted.Requirements), cmp.Diff(want.Decisions, r.Wanted.Decisions), cmp.Diff(want.Scheduler, r.Wanted.Scheduler),
		} {
			if diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		var out bytes.Buffer
		if code := Main("test", []string{"simulate", "--from", name, "--policy", "ours", "--policy", act, "--policy", "threshold", "--output", "json"}, nil, &out, &out); code != 0 {
			t.Fatalf("%s: %d: %s", name, code, out.String())
		}
		var s simulation
		if err := json.Unmarshal(out.Bytes(), &s); err != nil || len(s.Results) != 3 {
			t.Fatalf("%s: %v: %s", name, err, out.String())
		}
		advised, acted, threshold := s.Results[0], s.Results[1], s.Results[2]
		if advised.Moves != 0 || advised.Over < 9*time.Minute || advised.Over > 10*time.Minute {
			t.Errorf("%s: with the cluster's own settings: %+v", name, advised)
		}
		if acted.Moves < 1 || acted.Moves > 2 || acted.Over < 10*time.Second || acted.Over > time.Minute || acted.Policy != "act.yaml" {
			t.Errorf("%s: where it may act: %+v", name, acted)
		}
		if threshold.Moves == 0 || threshold.Over < acted.Over {
			t.Errorf("%s: threshold: %+v", name, threshold)
		}
	}
}
