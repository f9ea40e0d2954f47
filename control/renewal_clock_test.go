package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/ottotest"
)

// TestKeysAreRenewedWhateverClocksSay: one node's is in 1970, one's is ten years ahead, and
// the third has an agent of a former build. None is locked out, also after a restart of the
// control plane meanwhile, and nothing is restarted.
func TestKeysAreRenewedWhateverClocksSay(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		t.Run(fmt.Sprintf("compromised %t", compromised), func(t *testing.T) {
			var events *journal.Journal
			prepare := func(t *testing.T, c *ottotest.Cluster) {
				own(&events)(t, c)
				c.Hosts["a"].SetSkew(time.Until(time.Unix(3600, 0)))
				c.Hosts["b"].SetSkew(10 * 365 * 24 * time.Hour)
				c.Hosts["c"].Former = true
			}
			inThreeWith(t, errand(), prepare, func(t *testing.T, c *ottotest.Cluster) {
				was := map[string]bool{}
				for id, h := range c.Hosts {
					was[id+fmt.Sprint(h.Enrolment().ControlKey)] = true
				}
				rotate(t, c, compromised)
				time.Sleep(200 * time.Millisecond)
				c.KillPlane()
				c.StartPlane()
				renewed(t, c, 2*time.Minute)
				c.WaitUp(20 * time.Second)
				for id, h := range c.Hosts {
					if was[id+fmt.Sprint(h.Enrolment().ControlKey)] || !c.Admits(*h.Enrolment()) {
						t.Errorf("%s has not got the new keys", id)
					}
				}
				if diff := cmp.Diff(once, started(c, "web", "db", "home")); diff != "" {
					t.Errorf("starts: %s", diff)
				}
				if bad := eventsOf(events, "instance-fenced", "service-moved", "node-lost", "stepped-down"); bad != nil {
					t.Error(bad)
				}
			})
		})
	}
}
