package control_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestViewsAreSeenWhileNodesAreHeard cuts the control plane off its broker: what is not known
// then must not be kept as what is so.
func TestViewsAreSeenWhileNodesAreHeard(t *testing.T) {
	var seen atomic.Int64
	var last atomic.Pointer[otto.Cluster]
	watch := func(_ *testing.T, c *ottotest.Cluster) {
		c.Seen = func(v *otto.Cluster) { seen.Add(1); last.Store(v) }
	}
	inThreeWith(t, nil, watch, func(t *testing.T, c *ottotest.Cluster) {
		if v := last.Load(); v == nil || len(v.Nodes) != 3 || v.Nodes[0].State != otto.NodeReady {
			t.Fatalf("the last view that was seen is %+v", v)
		}
		c.Plane.Disconnected(nil)
		time.Sleep(time.Second)
		before := seen.Load()
		time.Sleep(10 * time.Second)
		if n := seen.Load() - before; n > 0 {
			t.Errorf("%d views were seen while nobody can be heard", n)
		}
		c.Plane.Connected(0)
		time.Sleep(5 * time.Second)
		if seen.Load() == before {
			t.Error("no view was seen when it was connected again")
		}
	})
}
