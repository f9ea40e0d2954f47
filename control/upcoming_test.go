package control_test

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestViewSaysWhatComesNext follows one violation: it is told when the service is to move,
// then that it moves, and when it has arrived neither.
func TestViewSaysWhatComesNext(t *testing.T) {
	inThree(t, []otto.Service{demanding(otto.ActionMigrate)}, func(t *testing.T, c *ottotest.Cluster) {
		cpuIs(c, map[string]float64{"a": 95, "b": 80, "c": 5})
		c.Wait(time.Minute, "moved", func(*otto.Cluster) bool { return len(happened(c, "service-moved")) == 1 })
		cpuIs(c, map[string]float64{"b": 5, "c": 95}) // within the cooldown
		var d otto.Decision
		c.Wait(2*time.Minute, "told to wait", func(v *otto.Cluster) bool {
			if s := v.Services[0]; len(s.Next) > 0 {
				d = s.Next[0]
			}
			return d.Outcome == otto.OutcomeWait && !d.Until.IsZero() && d.To != ""
		})
		if d.Instance != "web" || d.Node != "c" || d.Until.Before(time.Now()) || d.Predicted != nil || d.Refusals != nil {
			t.Errorf("next is %+v", d)
		}
		c.Wait(10*time.Minute, "on its way", func(v *otto.Cluster) bool { return v.Services[0].Instances[0].Moving != nil })
		if late := time.Since(d.Until); late < 0 || late > time.Minute {
			t.Errorf("it goes %s after what was told", late)
		}
		i := c.Plane.Cluster().Services[0].Instances[0]
		if m := i.Moving; m.From != "c" || m.To != d.To || time.Since(m.Since) > 5*time.Second {
			t.Errorf("it moves as %+v", m)
		}
		c.Wait(time.Minute, "arrived", func(v *otto.Cluster) bool {
			s := v.Services[0]
			return s.Instances[0].Moving == nil && s.Instances[0].Node == d.To && len(s.Next) == 0
		})
	})
}

// TestViewSaysWhatANodeWaitsFor: what a node requires is told with the node.
func TestViewSaysWhatANodeWaitsFor(t *testing.T) {
	stays := movable("web", "a")
	stays.Failover = otto.FailoverStay
	inThree(t, []otto.Service{stays}, func(t *testing.T, c *ottotest.Cluster) {
		w := three(stays)
		w.Nodes[0].Requirements = []otto.Requirement{required("node.cpu", 70, otto.ActionMigrate)}
		apply(t, c, w)
		cpuIs(c, map[string]float64{"a": 95, "b": 5, "c": 5})
		c.Wait(2*time.Minute, "told", func(v *otto.Cluster) bool {
			return len(v.Nodes[0].Next) == 1 && v.Nodes[0].Next[0].Outcome == otto.OutcomeStuck && len(v.Services[0].Next) == 0
		})
		cpuIs(c, map[string]float64{"a": 5})
		c.Wait(2*time.Minute, "over", func(v *otto.Cluster) bool { return len(v.Nodes[0].Next) == 0 })
	})
}
