package agent_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestDependentsStopFirst ends a stack in the ways in which it can end, and looks at the
// order.
func TestDependentsStopFirst(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *ottotest.Cluster, otto.Wanted){
		"the cluster is stopped": func(t *testing.T, c *ottotest.Cluster, _ otto.Wanted) {
			if err := c.Plane.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"the stack is removed": func(t *testing.T, c *ottotest.Cluster, w otto.Wanted) {
			w.Services = nil
			if _, err := c.Apply(w); err != nil {
				t.Fatal(err)
			}
		},
		"the stack moves": func(t *testing.T, c *ottotest.Cluster, w otto.Wanted) {
			w.Services = slices.Clone(w.Services)
			for i := range w.Services {
				w.Services[i].Node = "b"
			}
			if _, err := c.Apply(w); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
				engine := c.Hosts["a"].Runtime
				engine.StopTime = 3 * time.Second
				var mu sync.Mutex
				var order []string
				engine.Observe = func(o ottotest.Observed) {
					mu.Lock()
					defer mu.Unlock()
					if o.State != otto.ContainerRunning {
						order = append(order, strings.TrimPrefix(o.Instance, "home/"))
					}
				}
				c.StartPlane()
				defer c.Close()
				w := wanted()
				w.Nodes = append(w.Nodes, otto.Node{ID: "b", Host: "b", DockerURL: "unix:///var/run/docker.sock"})
				w.Services = nil
				for name, on := range map[string]string{"db": "", "app": "db", "proxy": "app", "alone": ""} {
					s := otto.Service{
						Name:     "home/" + name,
						Node:     "a",
						Unit:     "home",
						Replicas: 1,
						Data:     otto.DataDisposable,
						Spec:     otto.ContainerSpec{Image: "web", Exclusive: true},
					}
					if on != "" {
						s.DependsOn = []otto.Dependency{{Service: "home/" + on, Condition: otto.ServiceStarted}}
					}
					w.Services = append(w.Services, s)
				}
				if _, err := c.Apply(w); err != nil {
					t.Fatal(err)
				}
				c.WaitUp(time.Minute)
				end(t, c, w)
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				order = slices.DeleteFunc(order, func(s string) bool { return s == "alone" })
				if want := []string{"proxy", "app", "db"}; !slices.Equal(order, want) {
					t.Errorf("stopped in the order %v, not %v", order, want)
				}
			})
		})
	}
}
