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

// apart breaks every path between a host and the control plane; the others reach it.
func apart(c *ottotest.Cluster, host string) {
	c.Hosts[host].SetApart(true)
	c.Bus.Cut(host)
}

func liesOf(c *ottotest.Cluster, hosts ...string) {
	for _, h := range hosts {
		c.Hosts[h].SetLie(func(string) otto.Reply { return otto.ReplyProgram })
	}
}

func TestHostThatProvesItselfThroughAPeerIsNotLost(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		apart(c, "a")
		quiet(t, c, 5*time.Minute)
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeSuspect ||
			!strings.Contains(n.Reason, "has proven through node b") {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
	})
}

// TestLiarsDoNotKeepADeadHostAlive has one node, or all others, say that they reach a host
// without power.
func TestLiarsDoNotKeepADeadHostAlive(t *testing.T) {
	for _, liars := range [][]string{{"b"}, {"b", "c"}} {
		inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
			liesOf(c, liars...)
			c.PowerOff("a")
			answersElsewhere(t, c, "web", 10*time.Second)
			c.Wait(time.Second, "a is lost", func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeLost })
		})
	}
}

// TestClaimWithoutProofHoldsForHalfAMinute has nodes claim to reach a host whose SSH
// servers forward nothing, so that nobody can tell whether they lie.
func TestClaimWithoutProofHoldsForHalfAMinute(t *testing.T) {
	for name, what := range map[string]func(*ottotest.Cluster){
		"lie":   func(c *ottotest.Cluster) { liesOf(c, "b", "c"); c.PowerOff("a") },
		"truth": func(c *ottotest.Cluster) { apart(c, "a") },
		"grey":  func(c *ottotest.Cluster) { c.Freeze("a"); apart(c, "a") },
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
				for _, h := range []string{"b", "c"} {
					c.Hosts[h].SetForwarding(false)
				}
				what(c)
				if name != "grey" {
					nowhereElse(t, c, 25*time.Second, "web")
				}
				answersElsewhere(t, c, "web", 20*time.Second)
				v := c.Wait(30*time.Second, "a is lost",
					func(v *otto.Cluster) bool { return v.Nodes[0].State == otto.NodeLost })
				if r := v.Nodes[0].Reason; !strings.Contains(r, "has not proven it") {
					t.Errorf("lost: %s", r)
				}
			})
		})
	}
}

// TestPeerThatIsCutItselfKnowsNothing has a node without power, and one without a cable
// that would be asked about it.
func TestPeerThatIsCutItselfKnowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c", "d", "e"}, "web", "db")
		defer c.Close()
		c.StartPlane()
		w := three(movable("web", "a"), service("home", "b"))
		for _, id := range []string{"d", "e"} {
			w.Nodes = append(w.Nodes, otto.Node{ID: id, Host: id, DockerURL: "unix:///var/run/docker.sock"})
		}
		apply(t, c, w)
		c.WaitUp(20 * time.Second)
		time.Sleep(20 * time.Second)
		c.PowerOff("a")
		c.Cut("b")
		answersElsewhere(t, c, "web", 3*time.Second)
		c.Heal("b")
		if on := c.Running("home"); !slices.Equal(on, []string{"b"}) {
			t.Errorf("home runs on %v", on)
		}
	})
}
