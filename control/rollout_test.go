package control_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// replicas is a service on both hosts, in a version.
func replicas(n int, user string) otto.Service {
	s := service("web", "")
	s.Replicas, s.Spec.User = n, user
	return s
}

// refuse makes a version not start anywhere.
func refuse(c *ottotest.Cluster, user string) {
	for _, h := range c.Hosts {
		h.Runtime.FailStart = func(i otto.Instance) error {
			if i.Spec.User == user {
				return errors.New("no such user")
			}
			return nil
		}
	}
}

// running counts the running containers by version.
func running(c *ottotest.Cluster) map[string]int {
	by := map[string]int{}
	for _, h := range c.Hosts {
		for _, ctr := range h.Runtime.List() {
			if ctr.State == otto.ContainerRunning {
				by[ctr.SpecHash]++
			}
		}
	}
	return by
}

func hash(user string) string { s := replicas(1, user).Spec; return s.Hash() }

func rolledOut(v *otto.Cluster) bool { return ottotest.AllUp(v) && v.Services[0].Rollout == nil }

func rolledBack(v *otto.Cluster) bool {
	r := v.Services[0].Rollout
	if r == nil || r.State != otto.UpdateReverted {
		return false
	}
	for _, i := range v.Services[0].Instances {
		if i.State != otto.InstanceRunning {
			return false
		}
	}
	return true
}

// least watches how many containers run on all hosts together, until stop.
func least(t *testing.T, c *ottotest.Cluster) (stop func() int) {
	t.Helper()
	done, fewest := make(chan struct{}), make(chan int)
	go func() {
		low := 1 << 30
		for {
			n := 0
			for _, k := range running(c) {
				n += k
			}
			low = min(low, n)
			select {
			case <-done:
				fewest <- low
				return
			case <-t.Context().Done():
				return
			case <-time.After(7 * time.Millisecond):
			}
		}
	}()
	return func() int { close(done); return <-fewest }
}

func TestRollingUpdateNeverLeavesTooFew(t *testing.T) {
	for order, want := range map[string]int{"": 3, otto.StopFirst: 2} {
		t.Run(order, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
				for _, h := range c.Hosts {
					h.Runtime.StartTime, h.Runtime.StopTime = 100*time.Millisecond, time.Second
				}
				s := replicas(3, "")
				s.Update.Order = order
				apply(t, c, wanted(s))
				c.WaitUp(30 * time.Second)
				stop := least(t, c)
				s.Spec.User = "www"
				apply(t, c, wanted(s))
				began := time.Now()
				c.Wait(time.Minute, "rolled out", rolledOut)
				if took := time.Since(began); took < 3*otto.DefaultMonitor {
					t.Errorf("nobody was watched: it took %s", took)
				}
				if got := stop(); got != want {
					t.Errorf("at one time only %d were running, not %d", got, want)
				}
				if diff := cmp.Diff(map[string]int{hash("www"): 3}, running(c)); diff != "" {
					t.Error(diff)
				}
				for id, h := range c.Hosts {
					for _, ctr := range h.Runtime.List() {
						if strings.Contains(ctr.Name, ".") {
							t.Errorf("%s is left on %s", ctr.Name, id)
						}
					}
				}
			})
		})
	}
}

func TestFailedUpdateGoesBackAndSaysSoUntilTheFileChanges(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(replicas(3, "")))
		c.WaitUp(30 * time.Second)
		refuse(c, "nobody")
		stop := least(t, c)
		apply(t, c, wanted(replicas(3, "nobody")))
		v := c.Wait(time.Minute, "rolled back", rolledBack)
		if got := stop(); got != 3 {
			t.Errorf("at one time only %d were running", got)
		}
		if diff := cmp.Diff(map[string]int{hash(""): 3}, running(c)); diff != "" {
			t.Error(diff)
		}
		f := v.Services[0].Rollout.Failed
		if f.Instance != "web" || !strings.Contains(f.Why, "no such user") || v.Services[0].Instances[2].Up() {
			t.Errorf("it says %+v", f)
		}
		events, _ := c.Plane.Events(0)
		if !slices.ContainsFunc(events, func(e otto.Event) bool {
			return e.Kind == "service-update-failed" && strings.Contains(e.Message, "no such user") && strings.Contains(e.Message, "go back")
		}) {
			t.Errorf("no event says so: %v", events)
		}
		time.Sleep(time.Hour)
		var kept []string
		for _, h := range c.Hosts {
			for _, ctr := range h.Runtime.List() {
				if strings.HasSuffix(ctr.Name, otto.SuffixKept) {
					kept = append(kept, ctr.Name)
				}
			}
		}
		if diff := cmp.Diff([]string{"web.kept"}, kept); diff != "" || !rolledBack(c.Plane.Cluster()) {
			t.Error("an hour later:", diff)
		}
		refuse(c, "")
		if changes := apply(t, c, wanted(replicas(3, "nobody"))); len(changes) != 1 || !strings.Contains(changes[0].Detail, "tried again") {
			t.Errorf("changes %+v", changes)
		}
		c.Wait(time.Minute, "rolled out", rolledOut)
		if diff := cmp.Diff(map[string]int{hash("nobody"): 3}, running(c)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestUpdateThatDoesNotStayWellGoesBack comes up and falls ill while it is watched,
// when the former containers are gone already.
func TestUpdateThatDoesNotStayWellGoesBack(t *testing.T) {
	for _, order := range []string{otto.StartFirst, otto.StopFirst} {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			s := replicas(1, "")
			s.Node, s.Update.Order, s.Update.Monitor = "a", order, 20*time.Second
			s.Spec.Healthcheck = &otto.Healthcheck{Test: []string{"CMD", "true"}}
			apply(t, c, wanted(s))
			c.WaitUp(30 * time.Second)
			good := s.Spec.Hash()
			s.Spec.User = "www"
			apply(t, c, wanted(s))
			c.Wait(20*time.Second, "up", ottotest.AllUp)
			time.Sleep(5 * time.Second)
			c.Hosts["a"].Runtime.SetSick("web", "it is full")
			c.Wait(20*time.Second, "failed", func(v *otto.Cluster) bool { return v.Services[0].Rollout.Failed != nil })
			c.Hosts["a"].Runtime.SetSick("web", "")
			c.Wait(time.Minute, "rolled back", func(v *otto.Cluster) bool { return rolledBack(v) && running(c)[good] == 1 })
			time.Sleep(time.Minute)
			if diff := cmp.Diff([]string{"web running", "web.kept exited"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
				t.Error(order, diff)
			}
		})
	}
}

// TestControlPlaneKilledInAnUpdate at every single write to its store: the next
// one goes on, or goes back.
func TestControlPlaneKilledInAnUpdate(t *testing.T) {
	for _, bad := range []bool{false, true} {
		for nth, hit := 1, true; hit; nth++ {
			for _, when := range []string{"before", "after"} {
				hit = killedInAnUpdate(t, bad, when+" store desired", nth)
			}
			if !hit && nth < 4 {
				t.Errorf("only %d writes: nothing much was killed", nth)
			}
		}
	}
}

func killedInAnUpdate(t *testing.T, bad bool, point string, nth int) (hit bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		var armed atomic.Bool
		seen := 0
		died := make(chan struct{})
		c.AtEffect = func(p *ottotest.Process, at string) {
			if p.Name != "control" || !armed.Load() || at != point {
				return
			}
			if seen++; seen == nth {
				armed.Store(false)
				p.Kill()
				close(died)
			}
		}
		c.StartPlane()
		defer c.Close()
		apply(t, c, wanted(replicas(2, "")))
		c.WaitUp(30 * time.Second)
		if bad {
			refuse(c, "www")
		}
		armed.Store(true)
		go func() { _, _ = c.Apply(wanted(replicas(2, "www"))) }()
		select {
		case <-died:
			hit = true
			c.KillPlane()
			c.StartPlane()
		case <-time.After(2 * time.Minute):
		}
		armed.Store(false)
		c.Wait(time.Minute, "nodes", func(v *otto.Cluster) bool {
			return v.Nodes[0].State == otto.NodeReady && v.Nodes[1].State == otto.NodeReady
		})
		apply(t, c, wanted(replicas(2, "www"))) // as who has got no answer does
		ends, want := rolledOut, map[string]int{hash("www"): 2}
		if bad {
			ends, want = rolledBack, map[string]int{hash(""): 2}
		}
		c.Wait(2*time.Minute, "its end", ends)
		if diff := cmp.Diff(want, running(c)); diff != "" {
			t.Errorf("killed %s %d: %s", point, nth, diff)
		}
	})
	return hit
}

func TestDrainInTheMiddleOfAnUpdate(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(replicas(4, "")))
		c.WaitUp(30 * time.Second)
		apply(t, c, wanted(replicas(4, "www")))
		c.Wait(20*time.Second, "one of them", func(*otto.Cluster) bool { return running(c)[hash("www")] == 1 })
		if err := c.Plane.Intend(t.Context(), "a", otto.Intent{Cordoned: true, Draining: true}); err != nil {
			t.Fatal(err)
		}
		c.Wait(2*time.Minute, "rolled out", func(v *otto.Cluster) bool {
			return v.Services[0].Rollout == nil && running(c)[hash("www")] == 4 && len(running(c)) == 1
		})
		time.Sleep(time.Minute)
		if got := names(c.Hosts["a"].Runtime.List()); len(got) > 0 {
			t.Errorf("on a drained node there is %v", got)
		}
	})
}

func TestUpdateOfAnUpdateEndsInTheLastOne(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(replicas(3, "")))
		c.WaitUp(30 * time.Second)
		apply(t, c, wanted(replicas(3, "www")))
		c.Wait(20*time.Second, "one of them", func(*otto.Cluster) bool { return running(c)[hash("www")] == 1 })
		stop := least(t, c)
		apply(t, c, wanted(replicas(3, "root")))
		c.Wait(time.Minute, "rolled out", rolledOut)
		if got := stop(); got != 3 {
			t.Errorf("at one time only %d were running", got)
		}
		if diff := cmp.Diff(map[string]int{hash("root"): 3}, running(c)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPowerCutInTheMiddleOfAnUpdate(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(replicas(4, "")))
		c.WaitUp(30 * time.Second)
		apply(t, c, wanted(replicas(4, "www")))
		c.Wait(20*time.Second, "one of them", func(*otto.Cluster) bool { return running(c)[hash("www")] == 1 })
		c.PowerOff("a")
		time.Sleep(time.Minute)
		c.PowerOn("a", true)
		c.Wait(2*time.Minute, "rolled out", rolledOut)
		if diff := cmp.Diff(map[string]int{hash("www"): 4}, running(c)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestServiceRestartGoesOneByOne with the same containers.
func TestServiceRestartGoesOneByOne(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(replicas(3, "")))
		c.WaitUp(30 * time.Second)
		var before []string
		for _, h := range c.Hosts {
			h.Runtime.StopTime, h.Runtime.StartTime = time.Second, 100*time.Millisecond
			for _, ctr := range h.Runtime.List() {
				before = append(before, ctr.ID)
			}
		}
		stop := least(t, c)
		if err := c.Plane.Restart(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if c.Plane.Cluster().Services[0].Rollout == nil {
			t.Fatal("nothing is under way")
		}
		c.Wait(time.Minute, "all restarted", rolledOut)
		if got := stop(); got != 2 {
			t.Errorf("at one time only %d were running", got)
		}
		for id, h := range c.Hosts {
			for _, ctr := range h.Runtime.List() {
				if h.Runtime.Starts(ctr.Instance) != 2 || !slices.Contains(before, ctr.ID) {
					t.Errorf("%s on %s was started %d times", ctr.Name, id, h.Runtime.Starts(ctr.Instance))
				}
			}
		}
		if err := c.Plane.Restart(t.Context(), "mail"); err == nil {
			t.Error("restarts what is not there")
		}
	})
}
