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
