package control_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestWhatFormerBuildsMadeIsAdoptedAsItRuns upgrades an agent whose containers do not
// say of which cluster they are.
func TestWhatFormerBuildsMadeIsAdoptedAsItRuns(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		a := c.Hosts["a"]
		before := a.Runtime.List()[0]
		c.WithoutAgent("a", func() {
			a.Runtime.Relabel("web", otto.Unproven)
			if err := os.Remove(filepath.Join(a.Dir, "adopted.json")); err != nil {
				t.Fatal(err)
			}
			a.Runtime.SetDown("it starts")
		})
		same := func(when string) {
			t.Helper()
			c.WaitUp(30 * time.Second)
			if now := a.Runtime.List(); len(now) != 1 || now[0].ID != before.ID || a.Runtime.Starts("web") != 1 {
				t.Errorf("%s: %d starts, %v", when, a.Runtime.Starts("web"), now)
			}
		}
		time.Sleep(10 * time.Second)
		a.Runtime.SetDown("")
		same("with the record that it made once the engine answered")
		c.KillAgent("a")
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		same("with the record on its disk")
	})
}

// TestWhatFormerBuildsMadeIsAdoptedUnderNewKeys has an agent of a former build replaced only
// after the cluster's keys were renewed as compromised ones: what it has on its disk does not
// count any more, but that an agent of the cluster has been there does, also if the new agent
// is killed before its engine has answered.
func TestWhatFormerBuildsMadeIsAdoptedUnderNewKeys(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		a := c.Hosts["a"]
		before := a.Runtime.List()[0]
		c.WithoutAgent("a", func() {
			a.Runtime.Relabel("web", otto.Unproven)
			if err := os.Remove(filepath.Join(a.Dir, "adopted.json")); err != nil {
				t.Fatal(err)
			}
			a.Runtime.SetDown("it starts")
			rotate(t, c, true)
		})
		time.Sleep(10 * time.Second)
		c.KillAgent("a")
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(a.Dir, "assignment.json.bad")); err != nil {
			t.Errorf("what was stored counts by a compromised key: %v", err)
		}
		time.Sleep(10 * time.Second)
		a.Runtime.SetDown("")
		c.WaitUp(30 * time.Second)
		if now := a.Runtime.List(); len(now) != 1 || now[0].ID != before.ID || a.Runtime.Starts("web") != 1 {
			t.Errorf("%d starts, %v", a.Runtime.Starts("web"), now)
		}
	})
}

// TestNamesakeIsNeverTouched has containers of another cluster of the same name, with
// the same names of services, on a node: with its id, and without any.
func TestNamesakeIsNeverTouched(t *testing.T) {
	for _, of := range []otto.Ownership{otto.OtherOwner, otto.Unproven} {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			a := c.Hosts["a"].Runtime
			a.AddOthers("web", "web", of)
			a.AddOthers("db", "db", of)
			apply(t, c, wanted(service("web", "a")))
			time.Sleep(time.Minute)
			list := a.List()
			if len(list) != 2 || list[0].State != otto.ContainerRunning || list[1].State != otto.ContainerRunning {
				t.Errorf("%v: %v", of, list)
			}
			if v := c.Plane.Cluster(); v.Services[0].Instances[0].State != otto.InstanceFailed {
				t.Errorf("%v: web is %s", of, v.Services[0].Instances[0].State)
			}
		})
	}
}
