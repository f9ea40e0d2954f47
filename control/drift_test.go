package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

const (
	memoryLimit   = "memory limit"
	restartPolicy = "restart policy"
)

// limited is a service with a limit.
func limited(s otto.Service) otto.Service {
	s.Spec.Resources.MemoryBytes = 64 << 20
	return s
}

// only is the one container of an engine.
func only(t *testing.T, engine *ottotest.Runtime) otto.Container {
	t.Helper()
	list := engine.List()
	if len(list) != 1 {
		t.Fatalf("%d containers: %v", len(list), names(list))
	}
	return list[0]
}

// TestDisconnectedIsAttachedAgain: no restart mends it, and none is needed.
func TestDisconnectedIsAttachedAgain(t *testing.T) {
	for name, web := range map[string]otto.Service{
		"no probe": movable("web", "a"), "tcp probe": asked(movable("web", "a")), "exec probe": probed(movable("web", "a")), "stateful": asked(disposable("web", "a")),
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
				engine := c.Hosts["a"].Runtime
				first := only(t, engine)
				attached := func(*otto.Cluster) bool { now := only(t, engine); return now.Address == first.Address }
				engine.Disconnect("web")
				c.Wait(5*time.Second, "attached", attached)
				c.WaitUp(15 * time.Second)
				if said := events(c, "instance-drifted"); len(said) != 1 ||
					!strings.Contains(said[0], "attached to its network again") {
					t.Errorf("events: %q", said)
				}
				// Somebody attaches it without its names, while no agent is there.
				if name != "no probe" {
					return
				}
				time.Sleep(time.Hour)
				c.KillAgent("a")
				engine.Alter("web", otto.SetupNetwork+"test", "")
				c.Wait(time.Minute, "its names",
					func(*otto.Cluster) bool { return only(t, engine).Setup[otto.SetupNetwork+"test"] == "web web" })
				c.WaitUp(15 * time.Second)
				if now := only(t, engine); now.ID != first.ID || !now.Started.Equal(first.Started) {
					t.Error("it is another container, or was restarted")
				}
			})
		})
	}
}

// TestWhoeverDisconnectsAgainIsNotFought: it is mended once, then said. A service that
// may move does.
func TestWhoeverDisconnectsAgainIsNotFought(t *testing.T) {
	inThree(t, []otto.Service{asked(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		engine.Disconnect("web")
		c.Wait(5*time.Second, "attached", func(*otto.Cluster) bool { return only(t, engine).Address != "" })
		time.Sleep(5 * time.Minute)
		engine.Disconnect("web")
		v := c.Wait(10*time.Second, "said",
			func(v *otto.Cluster) bool { return v.Services[0].Instances[0].State == otto.InstanceUnhealthy })
		if i := v.Services[0].Instances[0]; !strings.Contains(i.Error, "no address") ||
			!strings.Contains(i.Warning, "network test is gone") {
			t.Errorf("error %q, warning %q", i.Error, i.Warning)
		}
		runsOn(t, c, "web", "b", 3*time.Minute)
		if engine.Starts("web") != 1 || len(events(c, "instance-drifted")) != 2 {
			t.Errorf("%d starts, %q", engine.Starts("web"), events(c, "instance-drifted"))
		}
	})
}

// TestWhatHasDriftedIsMadeAnewOnce: whatever Otto has set and somebody has changed.
func TestWhatHasDriftedIsMadeAnewOnce(t *testing.T) {
	bound := movable("web", "a")
	bound.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: "/etc/web", Target: "/conf", ReadOnly: true}}
	for name, tt := range map[string]struct {
		web           otto.Service
		aspect, value string
	}{
		"limit":                     {limited(movable("web", "a")), memoryLimit, "none"},
		"limit, stateful":           {limited(disposable("web", "a")), memoryLimit, "none"},
		"limit, start-first":        {func() otto.Service { s := limited(movable("web", "a")); s.Update.Order = otto.StartFirst; return s }(), memoryLimit, "none"},
		"port":                      {asked(movable("web", "a")), otto.SetupPort + "80", "-"},
		"mount":                     {bound, otto.SetupMount + "/conf", "/elsewhere"},
		"restart policy":            {movable("web", "a"), restartPolicy, "no"},
		"restart policy, with data": {disposable("web", "a"), restartPolicy, "always"}, // it would be started without a lease
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{tt.web}, func(t *testing.T, c *ottotest.Cluster) {
				engine := c.Hosts["a"].Runtime
				first := only(t, engine)
				changed := func() bool {
					l := engine.List()
					return len(l) == 1 && l[0].ID != first.ID && l[0].State == otto.ContainerRunning
				}
				engine.Alter("web", tt.aspect, tt.value)
				c.Wait(time.Minute, "made anew", func(*otto.Cluster) bool { return changed() })
				c.WaitUp(time.Minute)
				if now := only(t, engine); now.Setup[tt.aspect] != first.Setup[tt.aspect] || now.Name != "web" {
					t.Errorf("%s: %v", now.Name, now.Setup)
				}
				// Whoever does it again is not fought, across agents; a day later it is new.
				time.Sleep(5 * time.Minute)
				first = only(t, engine)
				engine.Alter("web", tt.aspect, tt.value)
				time.Sleep(2 * time.Minute)
				c.KillAgent("a")
				time.Sleep(2 * time.Minute)
				if now := only(t, engine); now.ID != first.ID || engine.Starts("web") != 2 {
					t.Errorf("made anew again: %d starts", engine.Starts("web"))
				}
				if i := status(c); !i.Up() || !strings.Contains(i.Warning, tt.aspect) {
					t.Errorf("up: %t, warning %q", i.Up(), i.Warning)
				}
				if said := events(c, "instance-drifted"); len(said) != 2 {
					t.Errorf("events: %q", said)
				}
				if name == "port" {
					time.Sleep(time.Hour)
					c.Wait(time.Minute, "made anew", func(*otto.Cluster) bool { return changed() })
				}
			})
		})
	}
}

// TestDataElsewhereIsSaidAndLeft: another container would be another look at what may
// be gone.
func TestDataElsewhereIsSaidAndLeft(t *testing.T) {
	inThree(t, []otto.Service{disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		engine.Alter("db", otto.SetupMount+"/data", "other")
		c.Wait(2*time.Minute, "said", func(v *otto.Cluster) bool {
			return strings.Contains(v.Services[0].Instances[0].Warning, "mount /data: other instead of db")
		})
		time.Sleep(20 * time.Minute)
		if engine.Starts("db") != 1 || len(events(c, "instance-drifted")) != 1 {
			t.Errorf("%d starts, %q", engine.Starts("db"), events(c, "instance-drifted"))
		}
	})
}

// TestEngineThatIgnoresALimitIsNoDrift: what the engine said first is what counts.
func TestEngineThatIgnoresALimitIsNoDrift(t *testing.T) {
	limitless := func(_ *testing.T, c *ottotest.Cluster) { c.Hosts["a"].Runtime.Limitless = true }
	inThreeWith(t, []otto.Service{limited(movable("web", "a"))}, limitless, func(t *testing.T, c *ottotest.Cluster) {
		time.Sleep(20 * time.Minute)
		if n := c.Hosts["a"].Runtime.Starts("web"); n != 1 || len(events(c, "instance-drifted")) > 0 {
			t.Errorf("%d starts, %q", n, events(c, "instance-drifted"))
		}
	})
}

// TestContainersOfAFormerAgentAreNotMadeAnew: there is no record of how they were made.
func TestContainersOfAFormerAgentAreNotMadeAnew(t *testing.T) {
	inThree(t, []otto.Service{limited(asked(movable("web", "a")))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		first := only(t, engine)
		c.WithoutAgent("a", func() {
			if err := os.Remove(filepath.Join(c.Hosts["a"].Dir, "setups.json")); err != nil {
				t.Fatal(err)
			}
			engine.Alter("web", memoryLimit, "none")
			engine.Alter("web", otto.SetupPort+"80", "-")
		})
		time.Sleep(10 * time.Minute)
		engine.Disconnect("web") // which needs no record
		c.Wait(5*time.Second, "attached", func(*otto.Cluster) bool { return only(t, engine).Address != "" })
		time.Sleep(10 * time.Minute)
		if now := only(t, engine); now.ID != first.ID || !now.Started.Equal(first.Started) {
			t.Error("it was made anew, or restarted")
		}
	})
}

// unattachable is an engine that does not attach.
type unattachable struct{ agent.Runtime }

// Attach implements agent.Runtime.
func (unattachable) Attach(context.Context, otto.Instance, string) error {
	return errors.New("no more addresses in the network")
}

// TestAttachmentThatFailsIsSaidAndTriedAgain: without an address it has failed, and it
// is never restarted for it.
func TestAttachmentThatFailsIsSaidAndTriedAgain(t *testing.T) {
	web := asked(movable("web", "a"))
	web.Failover = otto.FailoverStay
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		h := c.Hosts["a"]
		c.WithoutAgent("a", func() {
			h.Wrap(func(r agent.Runtime) agent.Runtime { return unattachable{r} })
		})
		c.WaitUp(time.Minute)
		h.Runtime.Disconnect("web")
		v := c.Wait(10*time.Second, "said",
			func(v *otto.Cluster) bool { return v.Services[0].Instances[0].State == otto.InstanceUnhealthy })
		if i := v.Services[0].Instances[0]; !strings.Contains(i.Error, "no address") ||
			len(events(c, "instance-not-up")) == 0 {
			t.Errorf("error %q, events %q", i.Error, events(c, "instance-not-up"))
		}
		time.Sleep(10 * time.Minute)
		c.WithoutAgent("a", func() { h.Wrap(nil) })
		c.WaitUp(2 * time.Minute)
		if h.Runtime.Starts("web") != 1 {
			t.Errorf("%d starts", h.Runtime.Starts("web"))
		}
	})
}

// TestNetworkOfWhatIsStoppedIsRemoved: by `docker network prune`, while the cluster is
// stopped.
func TestNetworkOfWhatIsStoppedIsRemoved(t *testing.T) {
	inThree(t, []otto.Service{asked(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		first := only(t, engine)
		if err := engine.Stop(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		engine.LoseNetwork()
		c.Wait(time.Minute, "up again",
			func(v *otto.Cluster) bool { return only(t, engine).State == otto.ContainerRunning && ottotest.AllUp(v) })
		if now := only(t, engine); now.ID != first.ID || len(events(c, "instance-not-up")) > 0 {
			t.Errorf("%v, %q", now.ID == first.ID, events(c, "instance-not-up"))
		}
	})
}

// TestEngineThatDoesNotKnowYetIsNoDrift: it has just started, and tells of a port only
// some seconds later.
func TestEngineThatDoesNotKnowYetIsNoDrift(t *testing.T) {
	inThree(t, []otto.Service{asked(movable("web", "a"))}, func(t *testing.T, c *ottotest.Cluster) {
		engine := c.Hosts["a"].Runtime
		for range 5 {
			engine.Alter("web", otto.SetupPort+"80", "-")
			time.Sleep(7 * time.Second)
			engine.Alter("web", otto.SetupPort+"80", "8080")
			time.Sleep(time.Minute)
		}
		if engine.Starts("web") != 1 || len(events(c, "instance-drifted")) > 0 {
			t.Errorf("%d starts, %q", engine.Starts("web"), events(c, "instance-drifted"))
		}
	})
}
