package control_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// me is a context of a person who asks.
func me(t *testing.T) context.Context { return otto.WithBy(t.Context(), "me") }

// kinds are those of a control plane's events, with node and who asked.
func kinds(p *control.Plane, only ...string) (list []string) {
	events, _ := p.Events(0)
	for _, e := range events {
		if slices.Contains(only, e.Kind) {
			list = append(list, strings.TrimSpace(strings.Join([]string{e.Kind, e.Node, e.By}, " ")))
		}
	}
	return list
}

func TestCordonedNodeTakesNothingNew(t *testing.T) {
	inThree(t, []otto.Service{service("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		for _, n := range []string{"b", "a"} {
			if err := c.Plane.Intend(me(t), n, otto.Intent{Cordoned: true}); err != nil {
				t.Fatal(err)
			}
		}
		w := three(service("web", "a"), service("db", ""))
		apply(t, c, w)
		c.WaitUp(20 * time.Second)
		runsOn(t, c, "db", "c", time.Second)
		runsOn(t, c, "web", "a", 0) // what is there stays
		c.KillPlane()               // and a person's word outlives it
		c.StartPlane()
		now := c.WaitUp(20 * time.Second)
		if !now.Nodes[0].Intent.Cordoned || now.Nodes[0].Intent.By != "me" || now.Nodes[2].Intent.Cordoned {
			t.Errorf("%+v", now.Nodes)
		}
		if err := c.Plane.Intend(me(t), "b", otto.Intent{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Plane.Intend(me(t), "nobody", otto.Intent{}); err == nil || !strings.Contains(err.Error(), "there are a, b, c") {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"node-uncordoned b me"}, kinds(c.Plane, "node-cordoned", "node-uncordoned")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDrainedNodeGivesAwayWhatItCan(t *testing.T) {
	data := service("data", "")
	data.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}
	pets := []otto.Service{movable("web", "a"), disposable("cache", "a"), service("pet", "a"), data}
	inThree(t, pets, func(t *testing.T, c *ottotest.Cluster) {
		at := c.Running("data")[0]
		for _, n := range []string{"a", at} {
			if err := c.Plane.Intend(me(t), n, otto.Intent{Cordoned: true, Draining: true}); err != nil {
				t.Fatal(err)
			}
		}
		c.Wait(20*time.Second, "empty but for what cannot leave", func(now *otto.Cluster) bool {
			return !slices.Contains(c.Running("web"), "a") && !slices.Contains(c.Running("cache"), "a") && AllUpBut(now)
		})
		runsOn(t, c, "pet", "a", 0)
		runsOn(t, c, "data", at, 0)
		if err := c.Plane.Intend(me(t), "a", otto.Intent{}); err != nil {
			t.Fatal(err)
		}
		quiet(t, c, 2*time.Minute) // nothing goes back on its own
	})
}

// TestDrainWaitsForWhoHasNotObeyed: what a node was told to run a moment ago may begin there,
// although its last report does not have it.
func TestDrainWaitsForWhoHasNotObeyed(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		c.FreezeAgent("a")
		apply(t, c, three(movable("web", "a"), disposable("cache", "a")))
		time.Sleep(200 * time.Millisecond)
		if err := c.Plane.Intend(me(t), "a", otto.Intent{Cordoned: true, Draining: true}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			if on := c.Running("cache"); len(on) > 0 {
				t.Fatalf("it runs on %v before a has said that it does not", on)
			}
		}
		c.ThawAgent("a")
		c.Wait(20*time.Second, "elsewhere", func(*otto.Cluster) bool {
			on := c.Running("cache")
			return len(on) == 1 && on[0] != "a"
		})
	})
}

// AllUpBut reports whether all instances are up, whatever their nodes are.
func AllUpBut(c *otto.Cluster) bool {
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if !i.Up() {
				return false
			}
		}
	}
	return true
}

func TestRemovedNodeIsCutOffAtOnce(t *testing.T) {
	inThree(t, []otto.Service{service("web", "a"), service("any", ""), service("more", "")}, func(t *testing.T, c *ottotest.Cluster) {
		if err := c.Plane.Remove(me(t), "a"); err == nil || !strings.Contains(err.Error(), "service web has its home on a") {
			t.Errorf("a home is removed: %v", err)
		}
		victim := c.Running("any")[0]
		c.Cut(victim)
		if err := c.Plane.Remove(me(t), victim); err != nil {
			t.Fatal(err)
		}
		for _, k := range []wire.Kind{wire.KindAssignment, wire.KindStatus, wire.KindInstances} {
			if b := c.Bus.Retained(wire.NodeTopic(victim, k)); len(b) > 0 {
				t.Errorf("%s is retained: %s", k, b)
			}
		}
		c.Wait(20*time.Second, "gone, and replaced", func(now *otto.Cluster) bool {
			return !slices.ContainsFunc(now.Nodes, func(n otto.NodeStatus) bool { return n.ID == victim }) && ottotest.AllUp(now)
		})
	})
}

func TestEventsOutliveTheControlPlane(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	synctest.Test(t, func(t *testing.T) {
		open := func(c *ottotest.Cluster) {
			j, err := journal.Open(path, journal.Limit)
			if err != nil {
				t.Fatal(err)
			}
			c.Journal = j
		}
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		defer c.Close()
		open(c)
		c.StartPlane()
		w := wanted(service("web", "a"))
		w.Nodes = w.Nodes[:1]
		apply(t, c, w)
		c.WaitUp(20 * time.Second)
		before, _ := c.Plane.Events(0)

		c.KillPlane()
		_ = c.Journal.Close()
		time.Sleep(time.Minute)
		died := time.Now()
		c.Hosts["a"].Runtime.Exit("web", 3)
		time.Sleep(10 * time.Minute)
		open(c)
		c.StartPlane()
		c.WaitUp(20 * time.Second)

		c.Hosts["a"].Conn().Break() // it says all again
		c.WaitUp(20 * time.Second)
		time.Sleep(10 * time.Second)
		after, _ := c.Plane.Events(0)
		if diff := cmp.Diff(before, after[:len(before)]); diff != "" {
			t.Error(diff)
		}
		var seen int
		for i, e := range after {
			if e.Seq != uint64(i+1) {
				t.Errorf("event %d has number %d", i+1, e.Seq)
			}
			if e.Kind == "instance-died" {
				seen++
				if off := e.Time.Sub(died); off.Abs() > time.Second || !strings.Contains(e.Message, "exit code 3") || e.Service != "web" {
					t.Errorf("%s off: %+v", off, e)
				}
			}
		}
		if seen != 1 {
			t.Errorf("the death is told %d times", seen)
		}
		_ = c.Journal.Close()
	})
}

func TestOlderOfTwoControlPlanesStepsDown(t *testing.T) {
	inThree(t, []otto.Service{service("web", "a"), disposable("db", "")}, func(t *testing.T, c *ottotest.Cluster) {
		second := c.SecondPlane()
		deadline := time.Now().Add(10 * time.Second)
		for !strings.Contains(c.Plane.Cluster().Problem, "stepped down") {
			if time.Now().After(deadline) {
				t.Fatalf("the older one goes on: %q", c.Plane.Cluster().Problem)
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, err := c.Apply(three())
		if err == nil || !strings.Contains(err.Error(), "stepped down") {
			t.Errorf("it takes orders: %v", err)
		}
		quiet(t, c, 2*time.Minute)
		if p := second.Cluster(); p.Problem != "" || !ottotest.AllUp(p) {
			t.Errorf("the newer one: %+v", p)
		}
		c.KillPlane() // it does not forget
		c.StartPlane()
		quiet(t, c, time.Minute)
		if !strings.Contains(c.Plane.Cluster().Problem, "stepped down") || second.Cluster().Problem != "" {
			t.Errorf("%q and %q", c.Plane.Cluster().Problem, second.Cluster().Problem)
		}
		if err := c.Plane.TakeOver(me(t)); err != nil { // until a person says so
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if c.Plane.Cluster().Problem != "" || !strings.Contains(second.Cluster().Problem, "stepped down") {
			t.Errorf("after the take-over: %q and %q", c.Plane.Cluster().Problem, second.Cluster().Problem)
		}
		quiet(t, c, time.Minute)
	})
}

// TestNobodyIsDeposedWithoutProof has a node, and somebody on a broker that all
// may write to, tell of a newer control plane.
func TestNobodyIsDeposedWithoutProof(t *testing.T) {
	inThree(t, []otto.Service{service("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		id := c.Plane.Cluster().ID
		for topic, message := range map[string]any{
			wire.TopicControlStatus: wire.ControlStatus{ClusterID: id, Online: true, Epoch: 1 << 60, Warrant: []byte(`{"message":{},"signature":""}`)},
			wire.NodeTopic("a", wire.KindInstances): wire.Report{
				NodeID: "a", Revision: otto.Revision{Epoch: 1 << 60}, Warrant: []byte("x"), Instances: []otto.InstanceStatus{},
			},
		} {
			b, err := wire.Encode(message)
			if err != nil {
				t.Fatal(err)
			}
			c.Bus.Inject(topic, true, b)
			if _, kind, ok := wire.ParseNodeTopic(topic); ok {
				c.Say("a", kind, true, b)
			}
		}
		time.Sleep(10 * time.Second)
		if p := c.Plane.Cluster().Problem; p != "" {
			t.Error(p)
		}
	})
}

// TestUninstalledNodesAreNotWaitedFor starts a cluster again after all of Otto was
// taken off, without some of its nodes: nothing is there that they could say.
func TestUninstalledNodesAreNotWaitedFor(t *testing.T) {
	pet := service("pet", "")
	pet.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}
	inThree(t, []otto.Service{disposable("cache", "a"), pet}, func(t *testing.T, c *ottotest.Cluster) {
		at := c.Running("pet")[0]
		if err := c.Plane.Uninstall(me(t), false); err != nil {
			t.Fatal(err)
		}
		c.KillPlane()
		c.StartPlane()
		if left := c.Plane.Cluster().Nodes; len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
		w := three(disposable("cache", "a"), pet)
		w.Nodes = slices.DeleteFunc(w.Nodes, func(n otto.Node) bool { return n.ID == at })
		if _, err := c.Apply(w); err == nil || !strings.Contains(err.Error(), "pet keeps its data on node "+at) {
			t.Errorf("the data of pet are left behind: %v", err)
		}
		w = three(disposable("cache", "a"))
		w.Nodes = w.Nodes[:1]
		apply(t, c, w)
		c.WaitUp(5 * time.Second)
	})
}
