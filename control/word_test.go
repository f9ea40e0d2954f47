package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// rather has a service prefer a node, as far as it may be there.
func rather(s otto.Service, node string) otto.Service {
	s.Placement.Prefer = []otto.Expression{{Label: otto.LabelNodeID, Op: otto.OpEqual, Values: []string{node}}}
	return s
}

// onlyOn is a service for one host name or architecture.
func onlyOn(name, label, value string) otto.Service {
	s := rather(service(name, ""), "a")
	s.Placement.Require = []otto.Expression{{Label: label, Op: otto.OpEqual, Values: []string{value}}}
	s.Spec.Environment = map[string]string{"TOKEN": "secret of " + name}
	return s
}

// warned waits until a node has a warning with a text.
func warned(t *testing.T, c *ottotest.Cluster, node, text string) {
	t.Helper()
	c.Wait(time.Minute, node+" has a warning: "+text, func(v *otto.Cluster) bool {
		i := slices.IndexFunc(v.Nodes, func(n otto.NodeStatus) bool { return n.ID == node })
		return i >= 0 && slices.ContainsFunc(v.Nodes[i].Warnings, func(w string) bool { return strings.Contains(w, text) })
	})
}

// TestNodeIsSentNothingForWhatItSays has a node claim another one's host name, sixty-four
// idle cores, every image and the volumes of others, after it was taken over.
func TestNodeIsSentNothingForWhatItSays(t *testing.T) {
	prepare := func(_ *testing.T, c *ottotest.Cluster) {
		for _, h := range c.Hosts {
			h.CPUs = 4
		}
		c.Hosts["b"].Renamed, c.Hosts["b"].Arch = "vault", "arm64"
	}
	db := rather(keeper("db", "dbdata", "b"), "b")
	inThreeWith(t, []otto.Service{db}, prepare, func(t *testing.T, c *ottotest.Cluster) {
		runsOn(t, c, "db", "b", 0)
		apply(t, c, three()) // its data stays on b
		time.Sleep(10 * time.Second)
		c.Hosts["a"].Claims = &otto.MachineFacts{Hostname: "vault", Arch: "arm64", CPUs: 64, MemoryBytes: 1 << 40}
		c.WithoutAgent("a", func() {
			for _, volume := range []string{"dbdata", "newdata"} {
				c.Hosts["a"].Runtime.SetVolume(volume, "label")
			}
		})
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		warned(t, c, "a", "its host name is vault, and was a; it is a machine for arm64, and was one for amd64; it has 64 cores, and had 4")
		big := rather(service("big", ""), "a")
		big.Reserve.CPU = 8
		apply(t, c, three(
			onlyOn("named", otto.LabelNodeHostname, "vault"), onlyOn("built", otto.LabelNodeArch, "arm64"), big,
			rather(keeper("db", "dbdata", "b"), "a"), rather(keeper("new", "newdata", "a"), "a"),
		))
		time.Sleep(time.Minute)
		runsOn(t, c, "named", "b", 0)
		runsOn(t, c, "built", "b", 0)
		runsOn(t, c, "db", "b", 0)
		waitsFor(t, c, "big", "of its 4 cores are free")
		waitsFor(t, c, "new", "a says that it has or had its volume newdata, which it was never given: `otto volume adopt a newdata`")
		if list := c.Hosts["a"].Runtime.List(); len(list) > 0 {
			t.Errorf("a was sent %v", names(list))
		}
		if told := kinds(c.Plane, "node-machine"); len(told) != 1 {
			t.Errorf("events %v", told)
		}
		if err := c.Plane.AdoptVolume(me(t), "a", "newdata"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "new", "a", 10*time.Second)
	})
}

// TestOtherMachineCountsWhenAPersonAsks has SSH find something else than at enrolment: that
// is said, and moves nothing until somebody has started the cluster again.
func TestOtherMachineCountsWhenAPersonAsks(t *testing.T) {
	inThree(t, []otto.Service{onlyOn("web", otto.LabelNodeHostname, "a")}, func(t *testing.T, c *ottotest.Cluster) {
		runsOn(t, c, "web", "a", 0)
		c.Hosts["a"].Renamed = "attic" // who brings the agent back sees it
		c.KillAgent("a")
		warned(t, c, "a", "its host name is attic, and was a: `otto cluster start` says that it counts")
		time.Sleep(5 * time.Minute)
		runsOn(t, c, "web", "a", 0)
		if told := kinds(c.Plane, "node-machine"); !slices.Equal(told, []string{"node-machine a"}) {
			t.Errorf("events %v", told)
		}
		apply(t, c, three(onlyOn("web", otto.LabelNodeHostname, "attic")))
		runsOn(t, c, "web", "a", 10*time.Second)
		c.Wait(10*time.Second, "its name, and no warning", func(v *otto.Cluster) bool {
			return v.Nodes[0].Facts.Hostname == "attic" && len(v.Nodes[0].Warnings) == 0
		})
		c.KillPlane()
		c.StartPlane()
		c.WaitUp(20 * time.Second)
		runsOn(t, c, "web", "a", 0)
	})
}

// TestClusterOfBeforeRecordsGoesOn is a state that says nothing of machines and of what
// nodes were given: what nodes say first counts until SSH looks, and nothing moves.
func TestClusterOfBeforeRecordsGoesOn(t *testing.T) {
	inThree(t, []otto.Service{onlyOn("web", otto.LabelNodeHostname, "b"), keeper("db", "data", "c")}, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, three(onlyOn("web", otto.LabelNodeHostname, "b"))) // the data of db stays on c
		time.Sleep(10 * time.Second)
		c.KillPlane()
		forget(t, c, "enrolled", "machine")
		forget(t, c, "desired", "given")
		for _, h := range c.Hosts {
			h.SetUnreachable(errors.New("no route to host"))
		}
		before := c.Hosts["b"].Runtime.List()
		c.StartPlane()
		time.Sleep(time.Minute)
		runsOn(t, c, "web", "b", 0)
		c.Hosts["a"].Claims = &otto.MachineFacts{Hostname: "b", Arch: "amd64"}
		c.KillAgent("a")
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		warned(t, c, "a", "its host name is b, and was a")
		apply(t, c, three(rather(onlyOn("web", otto.LabelNodeHostname, "b"), "a"), rather(keeper("db", "data", "c"), "a")))
		runsOn(t, c, "db", "c", 20*time.Second)
		runsOn(t, c, "web", "b", 0)
		if now := c.Hosts["b"].Runtime.List(); len(now) != 1 || now[0].ID != before[0].ID || !now[0].Started.Equal(before[0].Started) {
			t.Errorf("web was restarted: %v and %v", before, now)
		}
	})
}

// forget takes a field out of all objects of a stored document.
func forget(t *testing.T, c *ottotest.Cluster, document, field string) {
	t.Helper()
	var d map[string]any
	if found, err := c.Store.Get(t.Context(), document, &d); err != nil || !found {
		t.Fatal(found, err)
	}
	delete(d, field)
	for _, v := range d {
		if object, ok := v.(map[string]any); ok {
			delete(object, field)
		}
	}
	if err := c.Store.Put(t.Context(), document, d); err != nil {
		t.Fatal(err)
	}
}

// TestMachineInstalledAnewTakesNoOldAssignment has somebody say again what a node was told
// once, when its machine has just been installed anew.
func TestMachineInstalledAnewTakesNoOldAssignment(t *testing.T) {
	inThree(t, []otto.Service{service("web", "a"), service("old", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		topic := wire.NodeTopic("a", wire.KindAssignment)
		before := c.Bus.Retained(topic)
		apply(t, c, three(service("web", "a")))
		c.Wait(10*time.Second, "old is gone", func(*otto.Cluster) bool { return len(c.Running("old")) == 0 })
		c.PowerOff("a")
		loseState(t, c, "a")
		starts := c.Hosts["a"].Runtime.Starts("old")
		if err := c.PowerOn("a", false); err != nil {
			t.Fatal(err)
		}
		for range 600 { // SSH brings its agent back meanwhile
			c.Bus.Inject(topic, true, before)
			time.Sleep(100 * time.Millisecond)
		}
		if !c.Hosts["a"].Alive() {
			t.Fatal("its agent is not there")
		}
		runsOn(t, c, "web", "a", 20*time.Second)
		if n := c.Hosts["a"].Runtime.Starts("old"); n != starts {
			t.Errorf("old was started %d times more", n-starts)
		}
	})
}
