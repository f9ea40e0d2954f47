package control_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestPowerCutInEachStepOfAMove has a service that requires a calm node move, and at
// every step that this takes kills the node that it leaves, the one that it goes to,
// or the control plane. It does so at every twelfth step unless OTTO_SOAK is set.
func TestPowerCutInEachStepOfAMove(t *testing.T) {
	db := disposable("db", "a")
	db.Requirements = demanding(otto.ActionMigrate).Requirements
	for _, service := range []otto.Service{demanding(otto.ActionMigrate), db} {
		for _, victim := range []string{"a", "b", "control"} {
			t.Run(service.Name+" "+victim, func(t *testing.T) {
				t.Parallel()
				stride := 12
				if os.Getenv("OTTO_SOAK") != "" {
					stride = 1
				}
				n := 1
				for ; movedAt(t, service, victim, n); n += stride {
					if t.Failed() {
						return
					}
				}
				if n < 10 {
					t.Errorf("%d steps only", n)
				}
				t.Logf("about %d steps", n)
			})
		}
	}
}

// movedAt has something killed at the nth step of a move, and reports whether there
// are so many.
func movedAt(t *testing.T, service otto.Service, victim string, nth int) (struck bool) {
	p := &points{victim: victim}
	inThreeWith(t, []otto.Service{service}, func(_ *testing.T, c *ottotest.Cluster) {
		c.AtEffect = p.take
		for _, h := range c.Hosts {
			h.Runtime.StartTime, h.Runtime.StopTime = 200*time.Millisecond, 100*time.Millisecond
		}
	}, func(t *testing.T, c *ottotest.Cluster) {
		p.struck = make(chan struct{}) // of this bubble
		cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 99})
		time.Sleep(9 * time.Second)
		p.arm(nth)
		select {
		case <-p.struck:
			struck = true
		case <-time.After(30 * time.Second):
			return
		}
		if victim == "control" {
			c.KillPlane()
			time.Sleep(time.Second)
			c.StartPlane()
		} else {
			c.PowerOff(victim)
			time.Sleep(30 * time.Second)
			if err := c.PowerOn(victim, true); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		c.WaitUp(3 * time.Minute)
		was := c.Running(service.Name)
		if len(was) != 1 {
			t.Fatalf("%s struck at step %d, %s: it runs on %v", victim, nth, p.at, was)
		}
		cpuIs(c, map[string]float64{"a": 5, "b": 5, "c": 5})
		time.Sleep(3 * time.Minute)
		if now := c.Running(service.Name); !slices.Equal(was, now) {
			t.Fatalf("%s struck at step %d, %s: from %v it went to %v", victim, nth, p.at, was, now)
		}
	})
	return struck
}
