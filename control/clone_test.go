package control_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestClonedNodeRunsNothingStatefulTwice boots a second machine from a copy of a
// node's disk, for some minutes.
func TestClonedNodeRunsNothingStatefulTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c", "clone"}, "web", "db", "pet")
		defer c.Close()
		pet := service("pet", "a")
		pet.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "pet", Target: "/data"}}
		c.StartPlane()
		apply(t, c, three(disposable("db", "a"), pet))
		c.WaitUp(20 * time.Second)
		c.NeverTwice("db")
		c.NeverTwice("pet")
		time.Sleep(20 * time.Second)
		if err := c.Clone("a", "clone"); err != nil {
			t.Fatal(err)
		}
		c.Wait(10*time.Second, "two agents are noticed", func(v *otto.Cluster) bool {
			return strings.Contains(v.Nodes[0].Problem, "two agents report as this node")
		})
		for range 5 { // each new control plane has yet to find out which of the two has the lease
			c.KillPlane()
			c.StartPlane()
			time.Sleep(time.Minute)
		}
		for _, s := range []string{"db", "pet"} {
			if on := c.Running(s); !slices.Equal(on, []string{"a"}) {
				t.Errorf("with a clone %s runs on %v", s, on)
			}
		}
		c.KillAgent("clone")
		c.WaitUp(20 * time.Second)
		c.Wait(2*time.Minute, "it is forgotten", func(v *otto.Cluster) bool { return v.Nodes[0].Problem == "" })
	})
}

// TestDiskInAnotherMachineWaitsForAPersonsWord moves a node's disk, or a copy of it, to
// another machine while nobody can know whether the former one still works.
func TestDiskInAnotherMachineWaitsForAPersonsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c", "spare"}, "web", "db", "pet")
		defer c.Close()
		pet := service("pet", "a")
		pet.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "pet", Target: "/data"}}
		c.StartPlane()
		apply(t, c, three(service("web", "b"), pet))
		c.WaitUp(20 * time.Second)
		c.NeverTwice("pet")
		ctx := t.Context()
		if err := c.Plane.AcceptMachine(ctx, "a"); err == nil {
			t.Error("the machine that it was is accepted as another one")
		}
		c.Cut("a")
		time.Sleep(20 * time.Second)
		if err := c.Clone("a", "spare"); err != nil {
			t.Fatal(err)
		}
		c.Wait(30*time.Second, "it is said what to do", func(v *otto.Cluster) bool {
			return strings.Contains(v.Nodes[0].Problem, "pet may still run on the former one") &&
				strings.Contains(v.Nodes[0].Problem, "otto node accept-machine a")
		})
		c.KillPlane()
		c.StartPlane()
		time.Sleep(time.Minute)
		if on := c.Running("pet"); !slices.Equal(on, []string{"a"}) {
			t.Fatalf("before a person has said anything pet runs on %v", on)
		}
		c.PowerOff("a")
		if err := c.Plane.AcceptMachine(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		c.Wait(30*time.Second, "that machine is the node",
			func(v *otto.Cluster) bool { return !strings.Contains(v.Nodes[0].Problem, "accept-machine") })
		time.Sleep(5 * time.Second)
		if err := c.Plane.AcceptData(ctx, "pet"); err != nil { // the disk of this test has no volumes
			t.Fatal(err)
		}
		c.Wait(30*time.Second, "pet runs on the machine that was accepted",
			func(*otto.Cluster) bool { return slices.Equal(c.Running("pet"), []string{"spare"}) })
	})
}

// TestRebootIsNoOtherMachine: another boot of the same machine needs nobody's word.
func TestRebootIsNoOtherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web", "db", "pet")
		defer c.Close()
		pet := service("pet", "a")
		pet.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "pet", Target: "/data"}}
		c.StartPlane()
		apply(t, c, three(service("web", "b"), pet))
		c.WaitUp(20 * time.Second)
		c.PowerOff("a")
		time.Sleep(time.Hour)
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(30 * time.Second)
	})
}
