package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// keeper is a service with data in a volume, which would like to be on a node.
func keeper(name, volume, likes string) otto.Service {
	s := service(name, "")
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: volume, Target: "/data"}}
	s.Placement.Prefer = []otto.Expression{{Label: otto.LabelNodeID, Op: otto.OpEqual, Values: []string{likes}}}
	return s
}

// waitsFor waits until a service has no place, for a reason that names each text.
func waitsFor(t *testing.T, c *ottotest.Cluster, service string, texts ...string) {
	t.Helper()
	c.Wait(time.Minute, service+" waits for "+strings.Join(texts, " and "), func(now *otto.Cluster) bool {
		i := slices.IndexFunc(now.Services, func(s otto.ServiceStatus) bool { return s.Name == service })
		missing := func(text string) bool { return !strings.Contains(now.Services[i].Instances[0].Reason, text) }
		return i >= 0 && !slices.ContainsFunc(texts, missing)
	})
	if hosts := c.Running(service); len(hosts) > 0 {
		t.Errorf("%s runs on %v", service, hosts)
	}
}

// TestServiceThatComesAgainGoesToItsData takes a service out of the file and puts it
// back, and then another one that shares its volume.
func TestServiceThatComesAgainGoesToItsData(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		runsOn(t, c, "db", "b", 0)
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		apply(t, c, three(keeper("db", "data", "a"), keeper("web", "data", "c")))
		runsOn(t, c, "db", "b", 10*time.Second)
		runsOn(t, c, "web", "b", 10*time.Second)
		e, err := c.Plane.ExplainService(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"a", "c"} {
			if want := (otto.Refusal{Node: node, Filter: "volumes", Reason: "its volume data is on b"}); !slices.Contains(e.Service.Instances[0].Refusals, want) {
				t.Errorf("%s is not refused: %+v", node, e.Service.Instances[0].Refusals)
			}
		}
		quiet(t, c, 10*time.Minute)
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		without := keeper("db", "data", "a")
		without.Data = otto.DataDisposable
		apply(t, c, three(without))
		runsOn(t, c, "db", "a", 10*time.Second)
	})
}

// TestServicesThatShareAVolumeBeginTogether has no volume yet.
func TestServicesThatShareAVolumeBeginTogether(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b"), keeper("web", "data", "c")}, func(t *testing.T, c *ottotest.Cluster) {
		runsOn(t, c, "db", "b", 0)
		runsOn(t, c, "web", "b", 0)
	})
}

// TestDataOnALostNodeIsWaitedForUntilThatHasLeft also has the broker and the control
// plane forget what the node has said.
func TestDataOnALostNodeIsWaitedForUntilThatHasLeft(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		c.PowerOff("b")
		time.Sleep(time.Minute)
		apply(t, c, three(keeper("db", "data", "a")))
		waitsFor(t, c, "db", "a: its volume data is on b", "b: it is lost")
		c.KillPlane()
		c.StartPlane()
		waitsFor(t, c, "db", "a: its volume data is on b")
		c.KillPlane()
		c.Bus.Inject(wire.NodeTopic("b", wire.KindInstances), true, nil)
		c.StartPlane()
		waitsFor(t, c, "db", "a: its volume data is on b") // as the control plane remembers
		time.Sleep(5 * time.Minute)
		waitsFor(t, c, "db", "c: its volume data is on b")
		if err := c.Plane.Remove(me(t), "b"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "a", 20*time.Second)
	})
}

// TestNodeThatComesBackBringsItsData has it come back after its services were placed.
func TestNodeThatComesBackBringsItsData(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		c.PowerOff("b")
		time.Sleep(time.Minute)
		apply(t, c, three(keeper("db", "data", "a"), keeper("new", "other", "a")))
		waitsFor(t, c, "db", "its volume data is on b")
		runsOn(t, c, "new", "a", 10*time.Second) // nobody has its data
		if err := c.PowerOn("b", true); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "b", time.Minute)
	})
}

// TestServiceThatComesAgainIsNotSentAwayFromItsData names another node than that of its
// volume, also after a restart of the control plane, and begins anew there only by
// another name; after that two nodes have data.
func TestServiceThatComesAgainIsNotSentAwayFromItsData(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		runsOn(t, c, "db", "b", 0)
		time.Sleep(10 * time.Second)
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		sent := keeper("db", "data", "a")
		sent.Node = "a"
		const want = "would begin with an empty volume data on node a: the one that services have run with is on node b"
		refused := func(w otto.Wanted, want string) {
			t.Helper()
			p, err := c.Plane.Plan(t.Context(), w)
			if err != nil || len(p.Refused) != 1 || !strings.Contains(p.Refused[0], want) {
				t.Errorf("plan: %v, %q", err, p.Refused)
			}
			if _, err := c.Plane.Apply(t.Context(), w, c.Plane.Cluster().Revision, false); err == nil ||
				!strings.Contains(err.Error(), want) {
				t.Errorf("apply: %v", err)
			}
		}
		refused(three(sent), want)
		c.KillPlane()
		c.StartPlane()
		refused(three(sent), want)
		sent.Spec.Mounts[0].External = true // it is there, or the service does not start
		apply(t, c, three(sent))
		runsOn(t, c, "db", "a", 20*time.Second)
		time.Sleep(10 * time.Second)
		apply(t, c, three())
		time.Sleep(10 * time.Second)
		refused(three(keeper("db", "data", "c")), "may get volume data of node a or of node b")
		back := keeper("db", "data", "b")
		back.Node = "b"
		p, err := c.Plane.Plan(t.Context(), three(back))
		if err != nil || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "is on node a") {
			t.Errorf("plan: %v, %q", err, p.Notes)
		}
		apply(t, c, three(back))
		runsOn(t, c, "db", "b", 20*time.Second)
	})
}
