package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// A grey host is one whose kernel answers and whose programs do not.

// greyServices are one that may run twice, one under a lease and one that stays with its
// data, all on a.
func greyServices() []otto.Service {
	pet := service("pet", "a")
	pet.Spec.Image = "db"
	pet.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "pet", Target: "/data"}}
	return []otto.Service{movable("web", "a"), disposable("db", "a"), pet}
}

// nowhereElse fails the test if an instance of any of these names runs on another host
// than a within d.
func nowhereElse(t *testing.T, c *ottotest.Cluster, d time.Duration, names ...string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, name := range names {
			if hosts := c.Running(name); slices.ContainsFunc(hosts, func(h string) bool { return h != "a" }) {
				t.Fatalf("%s runs on %v", name, hosts)
			}
		}
	}
}

// answersElsewhere waits until an instance runs on another host than a.
func answersElsewhere(t *testing.T, c *ottotest.Cluster, name string, limit time.Duration) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if slices.ContainsFunc(c.Running(name), func(h string) bool { return h != "a" }) {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%s runs on %v after %s: %+v", name, c.Running(name), limit, c.Plane.Cluster().Nodes[0])
		}
	}
}

func TestFrozenHostIsStoodInForUntilItIsThawed(t *testing.T) {
	inThree(t, greyServices(), func(t *testing.T, c *ottotest.Cluster) {
		before := c.Hosts["a"].Runtime.List()
		c.Freeze("a")
		answersElsewhere(t, c, "web", 10*time.Second)
		nowhereElse(t, c, 5*time.Minute, "db", "pet")
		v := c.Plane.Cluster()
		if n := v.Nodes[0]; n.State != otto.NodeUnresponsive ||
			!strings.Contains(n.Reason, "accepts connections and says nothing") {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
		for _, s := range v.Services[1:] {
			if i := s.Instances[0]; i.Node != "a" || !strings.Contains(i.Reason, "unresponsive") {
				t.Errorf("%s on %s: %s", i.Name, i.Node, i.Reason)
			}
		}
		c.Thaw("a")
		runsOn(t, c, "web", "a", 10*time.Second)
		c.WaitUp(20 * time.Second)
		if diff := cmp.Diff(before[0].ID, c.Hosts["a"].Runtime.List()[0].ID); diff != "" {
			t.Errorf("the containers of a: %s", diff)
		}
		if diff := cmp.Diff([]string{"service-stand-in b", "service-kept a"},
			kinds(c.Plane, "service-stand-in", "service-moved", "service-kept")); diff != "" {
			t.Error(diff)
		}
	})
}

// TestKilledHostGivesUpWhatItHasOnlyWhenItIsLost has every program of a host die, and
// then its power cut.
func TestKilledHostGivesUpWhatItHasOnlyWhenItIsLost(t *testing.T) {
	inThree(t, greyServices(), func(t *testing.T, c *ottotest.Cluster) {
		c.KillPrograms("a")
		answersElsewhere(t, c, "web", 10*time.Second)
		time.Sleep(time.Minute)
		nowhereElse(t, c, time.Minute, "db", "pet")
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeUnresponsive ||
			!strings.Contains(n.Reason, "refuses connections") {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
		c.PowerOff("a")
		runsOn(t, c, "db", "c", 30*time.Second)
		c.Wait(time.Second, "a is lost", func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeLost })
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(20 * time.Second)
		runsOn(t, c, "web", "b", 0)
		runsOn(t, c, "db", "c", 0)
		runsOn(t, c, "pet", "a", 0)
	})
}

// TestSSHAndAgentThatStartAgainMoveNothing has both away for some seconds, as in an
// upgrade of the machine.
func TestSSHAndAgentThatStartAgainMoveNothing(t *testing.T) {
	inThree(t, greyServices(), func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].StopSSH()
		quiet(t, c, time.Minute) // who is heard is not asked
		for range 5 {
			c.Hosts["a"].StopSSH()
			c.KillAgent("a")
			time.AfterFunc(3*time.Second, c.Hosts["a"].StartSSH)
			quiet(t, c, 30*time.Second)
			c.WaitUp(time.Second)
		}
	})
}

func TestMostHostsFrozenAtOnceMoveNothing(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Freeze("a")
		c.Freeze("b")
		quiet(t, c, time.Minute)
		c.Thaw("a")
		c.Thaw("b")
		quiet(t, c, time.Minute)
		c.WaitUp(time.Second)
	})
}

// TestFrozenHostOfBeforeTheControlPlane is one that a control plane has never heard.
func TestFrozenHostOfBeforeTheControlPlane(t *testing.T) {
	inThree(t, greyServices(), func(t *testing.T, c *ottotest.Cluster) {
		c.KillPlane()
		c.Freeze("a")
		c.StartPlane()
		answersElsewhere(t, c, "web", time.Minute)
		nowhereElse(t, c, 5*time.Minute, "db", "pet")
		c.Bus.Cut("control") // what it has found out does not fade while it hears nobody
		nowhereElse(t, c, time.Minute, "db", "pet")
		c.Bus.Heal("control")
		nowhereElse(t, c, 10*time.Second, "db", "pet")
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeUnresponsive {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
	})
}

// TestFrozenHostThatVanishesIsLost has the cable of a frozen host pulled and put back.
func TestFrozenHostThatVanishesIsLost(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Freeze("a")
		answersElsewhere(t, c, "web", 10*time.Second)
		c.Cut("a") // and the cable is pulled
		c.Wait(10*time.Second, "a is lost", func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeLost })
		c.Heal("a")
		c.Wait(10*time.Second, "a is unresponsive",
			func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeUnresponsive })
	})
}
