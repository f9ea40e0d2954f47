package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

// viewed is a control plane whose view never changes.
type viewed struct {
	api.Plane
	view *otto.Cluster
}

func (v viewed) Cluster() *otto.Cluster                 { return v.view }
func (v viewed) Next() (*otto.Cluster, <-chan struct{}) { return v.view, nil }

// BenchmarkServiceList is the command "otto service ls", a process each time, of 1,000 services
// with a container each on 50 nodes. It needs no lab.
func BenchmarkServiceList(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "otto")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program,
		"github.com/otto-edge/otto/cmd/otto").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	yaml := "nodes: [{id: node-0, host: localhost}]\n"
	if err := os.WriteFile(filepath.Join(dir, "otto.yaml"), []byte(yaml), 0o600); err != nil {
		b.Fatal(err)
	}
	view := &otto.Cluster{Name: "home"}
	for i := range 50 {
		view.Nodes = append(view.Nodes, otto.NodeStatus{Node: otto.Node{ID: fmt.Sprintf("node-%d", i)}, State: otto.NodeReady})
	}
	for i := range 1000 {
		name := fmt.Sprintf("service-%d", i)
		view.Services = append(view.Services, otto.ServiceStatus{
			Service: otto.Service{Name: name, Replicas: 1, Spec: otto.ContainerSpec{Image: "nginx:1.27"}},
			Instances: []otto.PlacedInstance{{
				Node: fmt.Sprintf("node-%d", i%50), Sample: &otto.ContainerSample{MemoryUsed: 1 << 20},
				InstanceStatus: otto.InstanceStatus{Name: name, Service: name, State: otto.InstanceRunning, Started: time.Now()},
			}},
		})
	}
	if err := os.Mkdir(filepath.Join(dir, ".otto"), 0o700); err != nil {
		b.Fatal(err)
	}
	listener, err := api.Listen(b.Context(), api.Socket(filepath.Join(dir, ".otto")))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.NewServer(viewed{view: view}, nil, "", cancel).Run(ctx, listener) }()
	defer func() { cancel(); <-served }()

	var took []time.Duration
	for b.Loop() {
		cmd := exec.Command(program, "service", "ls")
		cmd.Dir = dir
		began := time.Now()
		out, err := cmd.CombinedOutput()
		took = append(took, time.Since(began))
		if n := strings.Count(string(out), "service-"); err != nil || n != 1000 {
			b.Fatalf("%v: %d services: %.500s", err, n, out)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
	b.ReportMetric(0, "ns/op")
}
