package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// events are the messages of the events of a kind.
func events(c *ottotest.Cluster, kind string) (messages []string) {
	time.Sleep(2 * time.Second) // what is on its way arrives
	list, _ := c.Plane.Events(0)
	for _, e := range list {
		if e.Kind == kind {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

// asked probes a service at a port that it publishes.
func asked(s otto.Service) otto.Service {
	s.Spec.Ports = []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}}
	s.Probe = &otto.Probe{TCP: 80, Interval: 2 * time.Second}
	return s
}

// TestPausedIsLeftAloneForAWhile: a backup pauses a container. Nothing of it reads as
// well meanwhile, and nobody restarts or moves it; when nobody lets it go on, it is
// failing.
func TestPausedIsLeftAloneForAWhile(t *testing.T) {
	for name, web := range map[string]otto.Service{
		"no probe":     movable("web", "a"),
		"exec probe":   probed(movable("web", "a")),
		"tcp probe":    asked(movable("web", "a")), // the kernel accepts its connections
		"health check": checked(movable("web", "a")),
		"stateful":     probed(disposable("web", "a")),
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
				engine := c.Hosts["a"].Runtime
				engine.Pause("web", true)
				paused := func(v *otto.Cluster) bool { return v.Services[0].Instances[0].State == otto.InstancePaused }
				i := c.Wait(5*time.Second, "paused", paused).Services[0].Instances[0]
				if i.Up() || i.Health != "" || !strings.Contains(i.Reason, "docker unpause web") {
					t.Errorf("up: %t, health %q, because %q", i.Up(), i.Health, i.Reason)
				}
				if said := events(c, "instance-paused"); len(said) != 1 {
					t.Errorf("events: %q", said)
				}
				time.Sleep(7 * time.Minute)
				c.KillAgent("a") // the next one does not begin to count anew
				time.Sleep(7 * time.Minute)
				if i := status(c); i.State != otto.InstancePaused || i.Node != "a" || engine.Starts("web") != 1 {
					t.Errorf("after 14 minutes it is %s on %s, with %d starts", i.State, i.Node, engine.Starts("web"))
				}
				c.Wait(3*time.Minute, "restarted", func(*otto.Cluster) bool { return engine.Starts("web") == 2 })
				c.WaitUp(time.Minute)
				if said := events(c, "instance-unhealthy"); len(said) != 1 ||
					!strings.Contains(said[0], "paused for 15m") {
					t.Errorf("events: %q", said)
				}
			})
		})
	}
}

func TestPausedAndResumedIsAsBefore(t *testing.T) {
	inThree(t, []otto.Service{probed(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		for range 3 {
			engine.Pause("web", true)
			time.Sleep(10 * time.Minute)
			engine.Pause("web", false)
			c.WaitUp(15 * time.Second)
		}
		if engine.Starts("web") != 1 || len(events(c, "instance-resumed")) != 3 {
			t.Errorf("%d starts, %q", engine.Starts("web"), events(c, "instance-resumed"))
		}
	})
}

// TestUnhealthyThatIsPausedIsNotMoved: somebody looks what is wrong with it.
func TestUnhealthyThatIsPausedIsNotMoved(t *testing.T) {
	inThree(t, []otto.Service{probed(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		engine.SetSick("web", "no answer")
		c.Wait(time.Minute, "restarted", func(*otto.Cluster) bool { return engine.Starts("web") == 2 })
		engine.Pause("web", true)
		time.Sleep(10 * time.Minute)
		if i := status(c); i.Node != "a" || i.State != otto.InstancePaused || engine.Starts("web") != 2 {
			t.Errorf("it is %s on %s, with %d starts", i.State, i.Node, engine.Starts("web"))
		}
	})
}

// TestPausedIsNotAvailable: other machines reach its port, as the kernel accepts
// connections for it. It is not moved for that either.
func TestPausedIsNotAvailable(t *testing.T) {
	for _, from := range []string{"", otto.FromControl, "b"} {
		web := asked(movable("web", "a"))
		r := otto.Requirement{
			Metric:    otto.MetricAvailability,
			Aggregate: "avg",
			Over:      30 * time.Second,
			Operator:  ">",
			Limit:     90,
			Clear:     95,
			Action:    otto.ActionMigrate,
			Severity:  otto.SeverityWarning,
			Unit:      otto.UnitPercent,
		}
		if from != "" {
			r.Metric += "." + from
		}
		web.Requirements = []otto.Requirement{r}
		inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
			verdict := func(v *otto.Cluster) otto.RequirementState { return v.Services[0].Verdicts[0].State }
			c.Wait(time.Minute, "available", func(v *otto.Cluster) bool { return verdict(v) == otto.RequirementOK })
			c.Hosts["a"].Runtime.Pause("web", true)
			c.Wait(2*time.Minute, "not available",
				func(v *otto.Cluster) bool { return verdict(v) == otto.RequirementViolated })
			time.Sleep(5 * time.Minute)
			if i := status(c); i.Node != "a" || i.State != otto.InstancePaused {
				t.Errorf("from %q: it is %s on %s", from, i.State, i.Node)
			}
		})
	}
}

// TestPausedInAnUpdate: the new container is paused while it is tried.
func TestPausedInAnUpdate(t *testing.T) {
	for _, order := range []string{otto.StopFirst, otto.StartFirst} {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			engine := c.Hosts["a"].Runtime
			s := probed(service("web", "a"))
			s.Update.Order = order
			apply(t, c, wanted(s))
			c.WaitUp(20 * time.Second)
			s.Spec.Environment = map[string]string{"VERSION": "2"}
			apply(t, c, wanted(s))
			hash := s.Spec.Hash()
			isNew := func(o otto.Container) bool { return o.SpecHash == hash && o.State == otto.ContainerRunning }
			for !slices.ContainsFunc(engine.List(), isNew) {
				time.Sleep(10 * time.Millisecond)
			}
			engine.Pause("web", true)
			time.Sleep(time.Minute)
			engine.Pause("web", false)
			c.WaitUp(time.Minute)
			if said := events(c, "instance-not-up"); len(said) > 0 {
				t.Errorf("%s: %q", order, said)
			}
		})
	}
}

// TestCheckThatCannotBeDoneIsNotPassed: the engine is silent, or the node has no
// descriptors left. It is said, and nothing is restarted or moved for it.
func TestCheckThatCannotBeDoneIsNotPassed(t *testing.T) {
	for name, web := range map[string]otto.Service{"exec probe": probed(movable("web", "a")), "health check": checked(movable("web", "a"))} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
				engine := c.Hosts["a"].Runtime
				engine.SetDown("it does not answer")
				v := c.Wait(time.Minute, "unknown", func(v *otto.Cluster) bool {
					return v.Services[0].Instances[0].State == otto.InstanceUnknown
				})
				if i := v.Services[0].Instances[0]; i.Up() || i.Health != "unknown" ||
					!strings.Contains(i.Reason, "not") {
					t.Errorf("up: %t, health %q, because %q", i.Up(), i.Health, i.Reason)
				}
				engine.SetDown("")
				c.WaitUp(20 * time.Second)
				if engine.Starts("web") != 1 {
					t.Errorf("%d starts", engine.Starts("web"))
				}
			})
		})
	}
}
