package control_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// TestRekeyShutsACopyOutAtASharedBroker: who has read a node's agent.json speaks for it until
// it has used its next key, and opens nothing that is sealed since.
func TestRekeyShutsACopyOutAtASharedBroker(t *testing.T) {
	inShared(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster, _ *tap) {
		h := c.Hosts["a"]
		stolen := h.Enrolment().SealKey
		number := uint64(0)
		forge := func() {
			t.Helper()
			signed := c.Bus.Retained(wire.NodeTopic("a", wire.KindAssignment))
			asg, err := wire.OpenAssignment(h.Enrolment().ControlKey, h.Enrolment().ClusterID, "a", signed)
			if err != nil {
				t.Fatal(err)
			}
			number++
			topic := wire.NodeTopic("a", wire.KindHeartbeat)
			said := fmt.Appendf(nil, `{"boot_id":"forged","seq":%d}`, number)
			proven, err := wire.Prove(wire.ProofKey(stolen, asg.ClusterID, "a"), topic, said,
				wire.Proof{Boot: 42, Heard: asg.Revision, Number: number})
			if err != nil {
				t.Fatal(err)
			}
			c.Bus.Inject(topic, false, proven)
		}
		// dead reports whether node a is lost without power, with somebody who speaks for it.
		dead := func() bool {
			c.PowerOff("a")
			for range 15 {
				forge()
				time.Sleep(time.Second)
			}
			lost := c.Plane.Cluster().Nodes[0].State == otto.NodeLost
			if err := c.PowerOn("a", true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			c.WaitUp(time.Minute)
			return lost
		}
		if dead() {
			t.Fatal("a stolen key does not keep a dead node alive: this test shows nothing")
		}
		starts := h.Runtime.Starts("web")

		if err := c.Plane.Rekey(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := c.Plane.Rekey(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "has not used its last new key yet") {
			t.Errorf("again, at once: %v", err)
		}
		time.Sleep(30 * time.Second)
		c.WaitUp(time.Minute)
		if n := h.Runtime.Starts("web"); n != starts {
			t.Errorf("web was started %d times", n-starts)
		}
		signed := c.Bus.Retained(wire.NodeTopic("a", wire.KindAssignment))
		asg, err := wire.OpenAssignment(h.Enrolment().ControlKey, h.Enrolment().ClusterID, "a", signed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wire.Unseal(asg, stolen); err == nil || !asg.Covered {
			t.Error("the former key opens what is sent now")
		}
		if !dead() {
			t.Error("the former key keeps a dead node alive")
		}
		if err := c.Plane.Rekey(t.Context(), "a"); err != nil {
			t.Errorf("once more, later: %v", err)
		}
	})
}
