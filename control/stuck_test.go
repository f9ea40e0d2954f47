package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

func TestFrozenAgentIsReplacedAndNothingMoves(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), service("home", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		boots := c.Hosts["a"].Boots()
		c.FreezeAgent("a")
		quiet(t, c, 15*time.Second)
		c.WaitUp(time.Second)
		quiet(t, c, 10*time.Minute)
		if n := c.Hosts["a"].Boots() - boots; n != 1 {
			t.Errorf("its agent was started %d times", n)
		}
		if diff := cmp.Diff([]string{"agent-replaced a"},
			kinds(c.Plane, "agent-replaced", "node-problem", "service-stand-in")); diff != "" {
			t.Error(diff)
		}
	})
}

// TestAgentThatCannotBeEnded waits for a disk that does not answer, so that no signal ends it.
func TestAgentThatCannotBeEnded(t *testing.T) {
	inThree(t, greyServices(), func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].SetStuck(true)
		c.FreezeAgent("a")
		answersElsewhere(t, c, "web", 20*time.Second)
		nowhereElse(t, c, 10*time.Minute, "db", "pet")
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeUnresponsive ||
			!strings.Contains(n.Reason, "cannot be ended") {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
		if list := kinds(c.Plane, "node-problem"); len(list) != 1 {
			t.Errorf("said %d times in ten minutes", len(list))
		}
		c.Hosts["a"].SetStuck(false)
		c.WaitUp(2 * time.Minute)
	})
}
