package control_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

// probed gives a service a probe with the defaults, or the engine's own check.
func probed(s otto.Service) otto.Service {
	s.Probe = &otto.Probe{Exec: []string{"check"}}
	return s
}

func checked(s otto.Service) otto.Service {
	s.Spec.Healthcheck = &otto.Healthcheck{Test: []string{"CMD", "check"}}
	return s
}

// status is the only instance of the first service.
func status(c *ottotest.Cluster) otto.PlacedInstance {
	return c.Plane.Cluster().Services[0].Instances[0]
}

func TestUnhealthyIsRestartedThenMoved(t *testing.T) {
	for name, web := range map[string]otto.Service{
		"probe":                 probed(movable("web", "a")),
		"health check":          checked(movable("web", "a")),
		"probe, stateful":       probed(disposable("web", "a")),
		"probe, without a home": probed(service("web", "")),
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
				engine := c.Hosts["a"].Runtime
				first := engine.List()[0].ID
				engine.SetSick("web", "no answer")
				c.Wait(time.Minute, "restarted", func(*otto.Cluster) bool { return engine.Starts("web") == 2 })
				if now := engine.List()[0].ID; now != first {
					t.Error("it was made anew, not restarted")
				}
				v := c.Wait(6*time.Minute, "well elsewhere", func(v *otto.Cluster) bool {
					i := v.Services[0].Instances[0]
					return i.Node != "a" && i.Up()
				})
				if i := v.Services[0].Instances[0]; i.Health != "healthy" {
					t.Errorf("it is up elsewhere, and %q", i.Health)
				}
				if n := engine.Starts("web"); n < 3 || n > 10 {
					t.Errorf("started %d times before it was moved", n)
				}
				quiet(t, c, 10*time.Minute)
			})
		})
	}
}

func TestUnhealthyThatMayNotMoveIsRestartedEverMoreSlowly(t *testing.T) {
	web := probed(movable("web", "a"))
	web.Failover = otto.FailoverStay
	web.Probe.Interval, web.Probe.Retries = time.Second, 1
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		engine.SetSick("web", "no answer")
		v := c.Wait(time.Minute, "unhealthy", func(v *otto.Cluster) bool { return v.Services[0].Instances[0].State == otto.InstanceUnhealthy })
		if got, want := v.Services[0].Instances[0].Error, "probe exec check: no answer, 1 times"; got != want {
			t.Errorf("unhealthy because of %q, want %q", got, want)
		}
		time.Sleep(5 * time.Minute)
		runsOn(t, c, "web", "a", 10*time.Second)
		slowly := engine.Starts("web")
		time.Sleep(5 * time.Minute)
		if n := engine.Starts("web") - slowly; slowly > 15 || n < 4 || n > 8 {
			t.Errorf("%d starts in the first 5 minutes and %d in the next: that is no backoff to a minute", slowly, n)
		}
		engine.SetSick("web", "")
		v = c.WaitUp(2 * time.Minute)
		if i := v.Services[0].Instances[0]; !strings.Contains(i.Error, "has been restarted: probe exec check: no answer") {
			t.Errorf("after the last restart it says %q", i.Error)
		}
		c.Wait(5*time.Minute, "its past forgotten", func(v *otto.Cluster) bool { return v.Services[0].Instances[0].Error == "" })
	})
}

// TestUnhealthyAgainAfterEveryRestart: each restart helps for half a minute.
func TestUnhealthyAgainAfterEveryRestart(t *testing.T) {
	inThree(t, []otto.Service{probed(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		for starts, end := 1, time.Now().Add(5*time.Minute); status(c).Node == "a"; starts++ {
			if time.Now().After(end) {
				t.Fatalf("still on a after %d starts", starts)
			}
			engine.SetSick("web", "")
			time.Sleep(5 * time.Second)
			if s := status(c).State; starts > 1 && s != otto.InstanceRunning {
				t.Fatalf("after a restart that helps it is %s", s)
			}
			engine.SetSick("web", "no answer")
			for engine.Starts("web") == starts && status(c).Node == "a" {
				time.Sleep(100 * time.Millisecond)
			}
		}
		c.WaitUp(time.Minute)
	})
}

func TestUnhealthyWithoutRestartsIsOnlyReported(t *testing.T) {
	web := probed(service("web", "a"))
	web.Spec.Restart = "no"
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Runtime.SetSick("web", "no answer")
		time.Sleep(5 * time.Minute)
		if i := status(c); i.State != otto.InstanceUnhealthy || c.Hosts["a"].Runtime.Starts("web") != 1 {
			t.Errorf("it is %s after %d starts", i.State, c.Hosts["a"].Runtime.Starts("web"))
		}
		c.Hosts["a"].Runtime.SetSick("web", "")
		c.WaitUp(15 * time.Second) // one success
	})
}

func TestAnotherProbeLeavesTheContainerAlone(t *testing.T) {
	web := probed(service("web", "a"))
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		before := engine.List()
		for _, p := range []*otto.Probe{nil, {Exec: []string{"another"}}, {Exec: []string{"another"}, Interval: time.Minute}} {
			web.Probe = p
			apply(t, c, three(web))
			c.WaitUp(20 * time.Second)
			time.Sleep(time.Minute)
		}
		after := engine.List()
		if len(after) != 1 || after[0].ID != before[0].ID || engine.Starts("web") != 1 {
			t.Errorf("before %+v, after %+v, %d starts", before, after, engine.Starts("web"))
		}
	})
}

// counting is an engine that counts the commands under way.
type counting struct {
	agent.Runtime
	now, most, all *atomic.Int64
}

// Exec implements agent.Runtime.
func (e counting) Exec(ctx context.Context, id string, command []string) (string, error) {
	e.all.Add(1)
	n := e.now.Add(1)
	defer e.now.Add(-1)
	for most := e.most.Load(); n > most && !e.most.CompareAndSwap(most, n); most = e.most.Load() {
	}
	failed, err := e.Runtime.Exec(ctx, id, command)
	time.Sleep(100 * time.Millisecond) // an engine does not let go at once
	return failed, err
}

// TestNeverTwoProbesAtATime: whatever happens to a service whose probe hangs, and
// none is left when its agent has ended.
func TestNeverTwoProbesAtATime(t *testing.T) {
	web := probed(service("web", "a"))
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		var now, most, all atomic.Int64
		h := c.Hosts["a"]
		h.Runtime.ExecTime = time.Hour
		h.Wrap(func(r agent.Runtime) agent.Runtime { return counting{r, &now, &most, &all} })
		c.KillAgent("a")
		for i := range 20 {
			web.Probe = &otto.Probe{Exec: []string{"hang"}, Interval: time.Duration(i+1) * time.Second}
			web.Spec.User = strings.Repeat("x", i%3+1)
			apply(t, c, three(web))
			time.Sleep(time.Duration(i) * 700 * time.Millisecond)
			if i%5 == 4 {
				h.Runtime.Exit("web", 1)
			}
		}
		if most.Load() != 1 || all.Load() < 20 {
			t.Errorf("%d probes, %d of them at a time", all.Load(), most.Load())
		}
		c.KillAgent("a")
		if now.Load() != 0 {
			t.Error("a probe has outlived its agent")
		}
	})
}

// TestUnhealthyStatefulIsNotStartedWithoutALease: neither is it stopped for a
// restart that may not come.
func TestUnhealthyStatefulIsNotStartedWithoutALease(t *testing.T) {
	inThree(t, []otto.Service{probed(disposable("db", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		engine.StopTime = 8 * time.Second // a restart that outlasts what is left of the lease
		engine.SetSick("db", "no answer")
		for !slices.ContainsFunc(engine.List(), func(o otto.Container) bool {
			return o.State == otto.ContainerRunning && status(c).State == otto.InstanceUnhealthy
		}) {
			time.Sleep(10 * time.Millisecond)
		}
		starts := engine.Starts("db")
		c.Cut("a")
		time.Sleep(2 * time.Minute)
		if n := engine.Starts("db"); n != starts && n != starts+1 || slices.Contains(c.Running("db"), "a") {
			t.Errorf("started %d times, runs on %v", n-starts, c.Running("db"))
		}
	})
}
