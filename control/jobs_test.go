package control_test

import (
	"slices"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestJobRunsOnce has a job that completes, one that fails, and a service, none of which
// is to be restarted: only what was stopped is started again.
func TestJobRunsOnce(t *testing.T) {
	once := func(name string, after ...string) otto.Service {
		s := service("shop/"+name, "a")
		s.Unit, s.Spec.Restart = "shop", "no"
		for _, on := range after {
			s.DependsOn = append(s.DependsOn, otto.Dependency{Service: "shop/" + on, Condition: otto.ServiceCompleted})
		}
		return s
	}
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		w := wanted(once("init"), once("bad"), once("web", "init"))
		apply(t, c, w)
		a := c.Hosts["a"].Runtime
		c.Wait(time.Minute, "the job runs",
			func(*otto.Cluster) bool { return len(c.Running("shop/init")) == 1 && len(c.Running("shop/bad")) == 1 })
		if n := a.Starts("shop/web"); n != 0 {
			t.Errorf("web was started %d times before its job has completed", n)
		}
		a.Exit("shop/init", 0)
		a.Exit("shop/bad", 3)
		c.Wait(time.Minute, "web runs", func(*otto.Cluster) bool { return len(c.Running("shop/web")) == 1 })
		check := func(when string, web int) {
			t.Helper()
			c.Wait(2*time.Minute, "web runs "+when, func(*otto.Cluster) bool { return len(c.Running("shop/web")) == 1 })
			time.Sleep(2 * time.Minute)
			starts := []int{a.Starts("shop/init"), a.Starts("shop/bad"), a.Starts("shop/web")}
			if !slices.Equal(starts, []int{1, 1, web}) {
				t.Errorf("%s: init, bad and web were started %v times", when, starts)
			}
			states := map[string]otto.InstanceState{}
			for _, s := range c.Plane.Cluster().Services {
				states[s.Name] = s.Instances[0].State
				if s.Name == "shop/bad" && (s.Instances[0].Error == "" || len(s.Instances[0].LogTail) == 0) {
					t.Errorf("%s: it is not said how bad has ended: %+v", when, s.Instances[0])
				}
			}
			if states["shop/init"] != otto.InstanceCompleted || states["shop/bad"] != otto.InstanceFailed ||
				states["shop/web"] != otto.InstanceRunning {
				t.Errorf("%s: %v", when, states)
			}
		}
		check("at first", 1)
		c.PowerOff("a")
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		check("after a power cut", 2)
		c.KillAgent("a")
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		check("with another agent", 2)
		if err := c.Plane.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Plane.Apply(t.Context(), w, c.Plane.Cluster().Revision, false); err != nil {
			t.Fatal(err)
		}
		check("after a stop of the cluster", 3)
	})
}
