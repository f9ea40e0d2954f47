package control_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestExplain asks about a service that has moved, one that has no place, and a
// node that is lost.
func TestExplain(t *testing.T) {
	web, gpu := service("web", ""), service("gpu", "")
	web.Placement.Avoid = []otto.Expression{{Label: "node.id", Op: otto.OpEqual, Values: []string{"c"}}}
	inThree(t, []otto.Service{web, movable("db", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		gpu.Placement.Require = []otto.Expression{{Label: "gpu", Op: otto.OpExists}}
		apply(t, c, three(web, movable("db", "b"), gpu))
		c.PowerOff("a")
		runsOn(t, c, "web", "b", 20*time.Second)
		time.Sleep(15 * time.Second) // nothing is provisional any more

		e, err := c.Plane.ExplainService(t.Context(), "web")
		if err != nil || len(e.Service.Instances) != 1 {
			t.Fatalf("%+v, %v", e, err)
		}
		i := e.Service.Instances[0]
		if i.Node != "b" || !strings.Contains(i.Why, "b is the best of 2") || i.Last == nil || !strings.Contains(i.Last.Message, "node a is lost") {
			t.Errorf("why %q, last %+v", i.Why, i.Last)
		}
		if len(i.Refusals) != 1 || i.Refusals[0] != (otto.Refusal{Node: "a", Filter: "node", Reason: "it is lost"}) {
			t.Errorf("refused: %+v", i.Refusals)
		}
		if len(i.Rules) != 1 || i.Rules[0] != (otto.RuleHeld{Rule: "avoid node.id == c", Holds: true}) {
			t.Errorf("rules: %+v", i.Rules)
		}
		for _, p := range i.Scores[0].Parts {
			if p.Name == otto.ScoreImage && p.Reason != "the image is there" {
				t.Errorf("an image is not seen: %+v", p)
			}
			if p.Name == otto.ScoreCPU && !strings.HasPrefix(p.Reason, "7% ± 0% in use") {
				t.Errorf("what is measured does not count: %+v", p)
			}
		}
		if e, err = c.Plane.ExplainService(t.Context(), "gpu"); err != nil || !strings.Contains(e.Service.Instances[0].Why, "it has no label gpu") {
			t.Errorf("%+v, %v", e.Service, err)
		}
		if e, err = c.Plane.ExplainNode(t.Context(), "a"); err != nil || e.Node.State != otto.NodeLost || e.Node.Leaves != "is lost" || len(e.Node.Refused) < 3 {
			t.Errorf("%+v, %v", e.Node, err)
		}
		if e, err = c.Plane.ExplainNode(t.Context(), "b"); err != nil || len(e.Node.Instances) != 2 || e.Node.Instances[1].Why != "it is at home" {
			t.Errorf("%+v, %v", e.Node, err)
		}
		if _, err := c.Plane.ExplainService(t.Context(), "x"); err == nil {
			t.Error("a service that is not there is explained")
		}
	})
}

// TestGlobalServiceFollowsTheNodes: its instances come with nodes, stay when their
// node is lost, and go with it.
func TestGlobalServiceFollowsTheNodes(t *testing.T) {
	all := service("web", "")
	all.Mode = otto.ModeGlobal
	inThree(t, []otto.Service{all}, func(t *testing.T, c *ottotest.Cluster) {
		for _, id := range []string{"a", "b", "c"} {
			runsOn(t, c, "web-"+id, id, time.Second)
		}
		id := c.Hosts["a"].Runtime.List()[0].ID
		if e, err := c.Plane.ExplainService(t.Context(), "web"); err != nil || !slices.ContainsFunc(e.Service.Instances[0].Refusals, func(r otto.Refusal) bool {
			return r.Filter == "stays" && r.Reason == "it stays on a: it runs on every node that fits"
		}) {
			t.Errorf("%+v, %v", e.Service, err)
		}
		c.PowerOff("c")
		c.Wait(20*time.Second, "c is lost", func(v *otto.Cluster) bool { return v.Nodes[2].State == otto.NodeLost })
		if err := c.Plane.Remove(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		v := c.Wait(5*time.Second, "two instances", func(v *otto.Cluster) bool { return len(v.Services[0].Instances) == 2 })
		if !v.Services[0].Instances[0].Up() || !v.Services[0].Instances[1].Up() {
			t.Errorf("%+v", v.Services[0])
		}
		if c.Hosts["a"].Runtime.List()[0].ID != id {
			t.Error("it was restarted because another node left")
		}
	})
}
