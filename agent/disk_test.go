package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// TestFullDiskIsMadeUpFor has a node whose agent cannot write for a while. The
// assignment holds meanwhile, and is on disk soon after there is space again,
// without a new one and without a restart.
func TestFullDiskIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		defer c.Close()
		c.StartPlane()
		apply := func(w otto.Wanted) {
			t.Helper()
			if _, err := c.Apply(w); err != nil {
				t.Fatal(err)
			}
		}
		apply(wanted())
		c.WaitUp(time.Minute)
		full := filepath.Join(c.Hosts["a"].Dir, "assignment.json.new")
		if err := os.Mkdir(full, 0o700); err != nil {
			t.Fatal(err)
		}
		apply(wanted(web("")))
		c.WaitUp(time.Minute)
		problem := func(v *otto.Cluster) string { return v.Nodes[0].Problem }
		c.Wait(time.Minute, "the node says that its disk is full", func(v *otto.Cluster) bool {
			return strings.Contains(problem(v), "after a restart the one before it would hold")
		})
		time.Sleep(10 * time.Minute)
		if problem(c.Plane.Cluster()) == "" {
			t.Error("the node says no more that its disk is full")
		}
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		c.Wait(10*time.Second, "the node is well", func(v *otto.Cluster) bool { return problem(v) == "" })
		c.KillPlane()
		c.KillAgent("a")
		c.Bus.Inject(wire.NodeTopic("a", wire.KindAssignment), true, nil)
		c.Hosts["a"].Runtime.Exit("web", 1)
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(c.Running("web")); n != 1 {
			t.Errorf("web runs %d times with an agent that has only its disk", n)
		}
	})
}
