package agent_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

// sidecar is a stack in which web is in the network of vpn, tail in its processes, copy
// has its mounts, and page is to be restarted after it.
func sidecar() map[string]otto.Service {
	of := func(name string, spec otto.ContainerSpec, d ...otto.Dependency) otto.Service {
		spec.Image, spec.Exclusive = "web", true // so that the engine restarts nothing by itself
		return otto.Service{Name: "home/" + name, Node: "a", Unit: "home", Replicas: 1, DependsOn: d, Spec: spec}
	}
	on := otto.Dependency{Service: "home/vpn", Condition: otto.ServiceStarted, Restart: true}
	beside := on
	beside.Restart = false
	return map[string]otto.Service{
		"vpn":  of("vpn", otto.ContainerSpec{}),
		"web":  of("web", otto.ContainerSpec{NetworkMode: "service:home/vpn"}, on),
		"tail": of("tail", otto.ContainerSpec{Restart: "no", Engine: &otto.Options{PIDMode: "service:home/vpn"}}, on),
		"copy": of("copy", otto.ContainerSpec{VolumesFrom: []string{"service:home/vpn:ro"}}, beside),
		"page": of("page", otto.ContainerSpec{}, on),
		"free": of("free", otto.ContainerSpec{}, beside),
	}
}

// TestBorrowersFollowTheirLender restarts, kills and replaces the container that lends,
// and looks at who was restarted or made anew after it.
func TestBorrowersFollowTheirLender(t *testing.T) {
	for _, tt := range []struct {
		name   string
		strike func(*testing.T, *ottotest.Cluster, map[string]otto.Service)
		// starts are how often each was started afterwards, beside the first time.
		starts map[string]int
	}{
		{"restarted as asked", func(t *testing.T, c *ottotest.Cluster, _ map[string]otto.Service) {
			if err := c.Plane.Restart(t.Context(), "home/vpn"); err != nil {
				t.Fatal(err)
			}
		}, map[string]int{"vpn": 1, "web": 1, "tail": 1, "page": 1}},
		{"died", func(_ *testing.T, c *ottotest.Cluster, _ map[string]otto.Service) {
			c.Hosts["a"].Runtime.Exit("home/vpn", 1)
		}, map[string]int{"vpn": 1, "web": 1, "tail": 1}}, // depends_on is about what Compose does
		{"replaced", func(t *testing.T, c *ottotest.Cluster, all map[string]otto.Service) {
			vpn := all["vpn"]
			vpn.Spec.User = "nobody"
			all["vpn"] = vpn
			applyAll(t, c, all)
		}, map[string]int{"vpn": 1, "web": 1, "tail": 1, "copy": 1, "page": 1}},
		{"power cut", func(_ *testing.T, c *ottotest.Cluster, _ map[string]otto.Service) {
			c.PowerOff("a")
			time.Sleep(10 * time.Second)
			_ = c.PowerOn("a", true)
		}, map[string]int{"vpn": 1, "web": 1, "tail": 1, "copy": 1, "page": 1, "free": 1}},
		{"agent started anew", func(_ *testing.T, c *ottotest.Cluster, _ map[string]otto.Service) {
			c.KillAgent("a")
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, all := ottotest.NewCluster(t, []string{"a"}, "web"), sidecar()
				c.StartPlane()
				defer c.Close()
				applyAll(t, c, all)
				c.WaitUp(time.Minute)
				time.Sleep(time.Minute)
				tt.strike(t, c, all)
				time.Sleep(2 * time.Minute)
				c.WaitUp(time.Minute)
				engine := c.Hosts["a"].Runtime
				for name, s := range all {
					if got := engine.Starts(s.Name) - 1; got != tt.starts[name] {
						t.Errorf("%s was started %d times more, not %d", name, got, tt.starts[name])
					}
					if engine.CutOff(s.Name) {
						t.Errorf("%s is cut off", name)
					}
				}
			})
		})
	}
}

// TestBorrowerWaitsForItsLender begins with a lender that does not start.
func TestBorrowerWaitsForItsLender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, all := ottotest.NewCluster(t, []string{"a"}, "web"), sidecar()
		engine := c.Hosts["a"].Runtime
		var works atomic.Bool
		engine.FailStart = func(i otto.Instance) error {
			if i.Service == "home/vpn" && !works.Load() {
				return errors.New("no tunnel")
			}
			return nil
		}
		c.StartPlane()
		defer c.Close()
		applyAll(t, c, all)
		c.Wait(time.Minute, "web waits for it", func(now *otto.Cluster) bool {
			s := now.Services[len(now.Services)-1]
			return s.Name == "home/web" && len(s.Instances) == 1 && s.Instances[0].State == otto.InstanceWaiting
		})
		if n := engine.Starts("home/web"); n != 0 {
			t.Errorf("web was started %d times without a network", n)
		}
		works.Store(true)
		c.WaitUp(3 * time.Minute)
	})
}

// TestAgentKilledWhileBorrowersFollow kills the agent before or after each change that a
// new container of the lender brings.
func TestAgentKilledWhileBorrowersFollow(t *testing.T) {
	for nth, killed := 1, true; killed; nth++ {
		after := nth%2 == 0
		synctest.Test(t, func(t *testing.T) {
			c, all := ottotest.NewCluster(t, []string{"a"}, "web"), sidecar()
			delete(all, "tail")
			delete(all, "copy")
			h := c.Hosts["a"]
			c.StartPlane()
			defer c.Close()
			applyAll(t, c, all)
			c.WaitUp(time.Minute)
			engine := &dying{nth: nth, after: after, dead: make(chan struct{})}
			h.Wrap(func(r agent.Runtime) agent.Runtime { engine.Runtime = r; return engine })
			c.KillAgent("a")
			c.WaitUp(time.Minute)
			vpn := all["vpn"]
			vpn.Spec.User = "nobody"
			all["vpn"] = vpn
			applyAll(t, c, all)
			select {
			case <-engine.dead:
				killed = true
			case <-time.After(20 * time.Second):
				killed = false
			}
			h.Wrap(nil)
			c.KillAgent("a")
			time.Sleep(time.Minute)
			c.WaitUp(time.Minute)
			if n := len(h.Runtime.List()); n != len(all) {
				t.Errorf("killed at change %d (after: %t): %d containers", nth, after, n)
			}
			for _, s := range all {
				if h.Runtime.CutOff(s.Name) {
					t.Errorf("killed at change %d (after: %t): %s is cut off", nth, after, s.Name)
				}
			}
			if n := h.Runtime.Starts("home/page"); n < 2 || n > 3 {
				t.Errorf("killed at change %d (after: %t): page was started %d times", nth, after, n)
			}
			if n := h.Runtime.Starts("home/free"); n != 1 {
				t.Errorf("killed at change %d (after: %t): free was started %d times", nth, after, n)
			}
		})
	}
}

func applyAll(t *testing.T, c *ottotest.Cluster, all map[string]otto.Service) {
	t.Helper()
	w := wanted()
	w.Services = nil
	for _, name := range []string{"copy", "free", "page", "tail", "vpn", "web"} {
		if s, ok := all[name]; ok {
			w.Services = append(w.Services, s)
		}
	}
	if _, err := c.Apply(w); err != nil {
		t.Fatal(err)
	}
}
