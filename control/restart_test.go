package control_test

import (
	"testing"
	"time"

	"github.com/otto-edge/otto/ottotest"
)

// TestRestartIsOfTheSameContainerAndOnce also with an agent and a control plane
// that are killed in between.
func TestRestartIsOfTheSameContainerAndOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a"), service("db", "b")))
		c.WaitUp(10 * time.Second)
		before := c.Hosts["a"].Runtime.List()[0]
		c.KillAgent("a")
		if err := c.Plane.Restart(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		c.KillPlane()
		c.StartPlane()
		c.WaitUp(30 * time.Second)
		if got := c.Hosts["a"].Runtime.Starts("web"); got != 2 {
			t.Fatalf("started %d times", got)
		}
		c.KillAgent("a")
		c.KillPlane()
		c.StartPlane()
		c.WaitUp(30 * time.Second)
		time.Sleep(time.Minute)
		now := c.Hosts["a"].Runtime.List()
		if len(now) != 1 || now[0].ID != before.ID || c.Hosts["a"].Runtime.Starts("web") != 2 || c.Hosts["b"].Runtime.Starts("db") != 1 {
			t.Errorf("%d starts of web, %d of db: %v", c.Hosts["a"].Runtime.Starts("web"), c.Hosts["b"].Runtime.Starts("db"), now)
		}
		if err := c.Plane.Restart(t.Context(), "nobody"); err == nil {
			t.Error("restarts what is not there")
		}
	})
}
