package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// stackOf are services of the stack shop, which nothing keeps on a node.
func stackOf(names ...string) (list []otto.Service) {
	for _, name := range names {
		s := service("shop/"+name, "")
		s.Unit, s.Spec.Image = "shop", name
		if name != "db" {
			s.DependsOn = []otto.Dependency{{Service: "shop/db", Condition: otto.ServiceStarted}}
		}
		list = append(list, s)
	}
	return list
}

// stackAt is where all of a stack runs, and nothing of it elsewhere; empty if it is not
// on one host.
func stackAt(c *ottotest.Cluster, services []otto.Service) (host string) {
	for _, s := range services {
		on := c.Running(s.Name)
		if len(on) != 1 || host != "" && on[0] != host {
			return ""
		}
		host = on[0]
	}
	return host
}

func waitStack(c *ottotest.Cluster, services []otto.Service, what string, ok func(at string) bool) (at string) {
	c.Wait(2*time.Minute, what, func(*otto.Cluster) bool {
		at = stackAt(c, services)
		return at != "" && ok(at)
	})
	return at
}

// TestStackGoesTogether takes a stack through a power cut, a drain and a violated
// requirement of one member: it is always on one node.
func TestStackGoesTogether(t *testing.T) {
	shop := stackOf("db", "web")
	shop[1].Requirements = []otto.Requirement{required("node.cpu", 70, otto.ActionMigrate)}
	inThree(t, shop, func(t *testing.T, c *ottotest.Cluster) {
		anywhere := func(string) bool { return true }
		first := waitStack(c, shop, "the stack on one node", anywhere)
		c.PowerOff(first)
		second := waitStack(c, shop, "the stack on another node", func(at string) bool { return at != first })
		if err := c.PowerOn(first, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if at := stackAt(c, shop); at != second {
			t.Fatalf("after the return of %s it is on %q, not %s", first, at, second)
		}
		if err := c.Plane.Intend(t.Context(), second, otto.Intent{Cordoned: true, Draining: true}); err != nil {
			t.Fatal(err)
		}
		third := waitStack(c, shop, "the stack on a node that is not drained",
			func(at string) bool { return at != second })
		if err := c.Plane.Intend(t.Context(), second, otto.Intent{}); err != nil {
			t.Fatal(err)
		}
		cpuIs(c, map[string]float64{"a": 5, "b": 5, "c": 5})
		time.Sleep(time.Minute)
		cpuIs(c, map[string]float64{third: 95})
		fourth := waitStack(c, shop, "the stack on a calm node", func(at string) bool { return at != third })
		begun := happened(c, "service-moving")
		if len(begun) != 1 || !strings.Contains(begun[0], "shop/web goes from "+third+" to "+fourth) ||
			!strings.Contains(begun[0], "all of its stack goes with it: shop/db, shop/web") {
			t.Errorf("told as %q", begun)
		}
		c.Wait(3*time.Minute, "found to have helped",
			func(*otto.Cluster) bool { return len(happened(c, "decision-helped")) == 1 })
		time.Sleep(time.Hour)
		if at := stackAt(c, shop); at != fourth {
			t.Errorf("an hour later it is on %q, not %s", at, fourth)
		}
	})
}

// TestStacksThatShareANetworkStayTogether has two stacks with a network of both, which a
// lost node and a drain take to one node, and no requirement of one of them.
func TestStacksThatShareANetworkStayTogether(t *testing.T) {
	both := stackOf("db", "web")
	both[0].Name, both[0].Shares = "traefik/edge", "the network proxy of stack shop"
	both[1].Shares, both[1].DependsOn = "the network proxy of stack traefik", nil
	both[1].Requirements = []otto.Requirement{required("node.cpu", 70, otto.ActionMigrate)}
	inThree(t, both, func(t *testing.T, c *ottotest.Cluster) {
		first := waitStack(c, both, "both on one node", func(string) bool { return true })
		c.PowerOff(first)
		second := waitStack(c, both, "both on another node", func(at string) bool { return at != first })
		if err := c.PowerOn(first, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if err := c.Plane.Intend(t.Context(), second, otto.Intent{Cordoned: true, Draining: true}); err != nil {
			t.Fatal(err)
		}
		third := waitStack(c, both, "both on a node that is not drained", func(at string) bool { return at != second })
		if err := c.Plane.Intend(t.Context(), second, otto.Intent{}); err != nil {
			t.Fatal(err)
		}
		cpuIs(c, map[string]float64{"a": 5, "b": 5, "c": 5})
		time.Sleep(time.Minute)
		cpuIs(c, map[string]float64{third: 95})
		time.Sleep(10 * time.Minute)
		if at := stackAt(c, both); at != third {
			t.Errorf("the requirement of one of them has brought both to %q", at)
		}
		why := happened(c, "decision-stuck")
		if len(why) == 0 || !strings.Contains(why[0], "it would leave the network proxy of stack traefik") {
			t.Errorf("said: %q", why)
		}
	})
}

// TestStackUnderALeaseGoesTogether has one member that must not run twice, and so none
// does.
func TestStackUnderALeaseGoesTogether(t *testing.T) {
	shop := stackOf("db", "web")
	for i := range shop {
		shop[i].Data, shop[i].Spec.Exclusive = otto.DataDisposable, true
	}
	inThree(t, shop, func(t *testing.T, c *ottotest.Cluster) {
		first := stackAt(c, shop)
		c.Cut(first)
		c.Wait(time.Minute, "elsewhere",
			func(*otto.Cluster) bool { return stackAt(c, shop) != first && stackAt(c, shop) != "" })
		c.Heal(first)
		quiet(t, c, time.Minute)
	})
}

// TestMoveOfAStackGoesBackTogether moves a stack to where one of it does not start.
func TestMoveOfAStackGoesBackTogether(t *testing.T) {
	shop := stackOf("db", "web")
	inThree(t, shop, func(t *testing.T, c *ottotest.Cluster) {
		first := stackAt(c, shop)
		to := "a"
		if first == to {
			to = "b"
		}
		c.Hosts[to].Runtime.FailStart = func(i otto.Instance) error {
			if i.Name == "shop/web" {
				return fmt.Errorf("no such device")
			}
			return nil
		}
		if _, err := c.Plane.Move(t.Context(), "shop/db", to, false); err != nil {
			t.Fatal(err)
		}
		c.Wait(5*time.Minute, "given up",
			func(*otto.Cluster) bool { return len(happened(c, "service-move-failed")) > 0 })
		waitStack(c, shop, "the stack where it was", func(at string) bool { return at == first })
		if failed := happened(c, "service-move-failed"); len(failed) != 1 ||
			!strings.Contains(failed[0], "shop/web stays on "+first) {
			t.Errorf("told as %q", failed)
		}
		time.Sleep(10 * time.Minute)
		if at := stackAt(c, shop); at != first {
			t.Errorf("it is on %q", at)
		}
	})
}

// TestPowerCutInEachStepOfAStacksMove cuts either node off its power in the middle of a
// move, and kills the control plane with it.
func TestPowerCutInEachStepOfAStacksMove(t *testing.T) {
	for step := range 4 {
		for _, victim := range []string{"source", "target"} {
			t.Run(fmt.Sprintf("%s %d", victim, step), func(t *testing.T) {
				shop := stackOf("db", "web")
				inThree(t, shop, func(t *testing.T, c *ottotest.Cluster) {
					first := stackAt(c, shop)
					others := slices.DeleteFunc([]string{"a", "b", "c"}, func(id string) bool { return id == first })
					if _, err := c.Plane.Move(t.Context(), "shop/web", others[0], false); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Duration(step) * 700 * time.Millisecond)
					host := map[string]string{"source": first, "target": others[0]}[victim]
					c.PowerOff(host)
					c.KillPlane()
					c.StartPlane()
					waitStack(c, shop, "the stack on a node that has power", func(at string) bool { return at != host })
					if err := c.PowerOn(host, true); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Minute)
					if at := stackAt(c, shop); at == "" {
						t.Errorf("it is divided: %v and %v", c.Running("shop/db"), c.Running("shop/web"))
					}
				})
			})
		}
	}
}
