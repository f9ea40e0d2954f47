package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestLeaseEndsAlsoWhenNothingAnswers cuts a node off whose agent waits for
// something at that time: for an engine that hangs, or for the broker to take what
// it has to say. The service under the lease is down all the same when it is
// started elsewhere, which the control plane does by the clock alone.
func TestLeaseEndsAlsoWhenNothingAnswers(t *testing.T) {
	for _, before := range []time.Duration{-9, -5, -3, -1, 0, 1, 2, 3, 5, 7} {
		for _, fault := range []string{"hang", "news"} {
			t.Run(fmt.Sprintf("%s %ds after the cut", fault, before), func(t *testing.T) {
				inThree(t, []otto.Service{disposable("db", "a"), service("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
					h := c.Hosts["a"]
					strike := func() {
						h.Runtime.Exit("web", 1) // something to ask the engine about, and to tell
						if fault == "hang" {
							h.Runtime.SetHung(true)
						}
					}
					if before < 0 {
						strike()
						time.Sleep(-before * time.Second)
						c.Cut("a")
					} else {
						c.Cut("a")
						time.Sleep(before * time.Second)
						strike()
					}
					for end := time.Now().Add(30 * time.Second); len(c.Running("db")) != 1 || c.Running("db")[0] == "a"; time.Sleep(100 * time.Millisecond) {
						if time.Now().After(end) {
							t.Fatalf("db runs on %v", c.Running("db"))
						}
					}
					h.Runtime.SetHung(false)
					c.Heal("a")
					c.WaitUp(time.Minute)
				})
			})
		}
	}
}
