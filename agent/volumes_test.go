package agent_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// lister counts how often an engine is asked for its volumes, which it may refuse to
// tell.
type lister struct {
	agent.Runtime
	asked atomic.Int64
	mute  atomic.Bool
}

// Volumes implements agent.Runtime.
func (l *lister) Volumes(ctx context.Context) ([]string, error) {
	l.asked.Add(1)
	if l.mute.Load() {
		return nil, errors.New("its volume driver hangs")
	}
	return l.Runtime.Volumes(ctx)
}

// TestVolumesAreToldAndRarelyAskedFor follows a volume from before it is there until
// after its service has gone.
func TestVolumesAreToldAndRarelyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		defer c.Close()
		var engine *lister
		c.Hosts["a"].Wrap(func(r agent.Runtime) agent.Runtime {
			engine = &lister{Runtime: r}
			engine.mute.Store(true)
			return engine
		})
		apply := func(w otto.Wanted) {
			t.Helper()
			if _, err := c.Apply(w); err != nil {
				t.Fatal(err)
			}
			c.WaitUp(time.Minute)
			time.Sleep(2 * time.Second)
		}
		told := func(want []string) {
			t.Helper()
			r, err := wire.DecodeReport("a", c.Bus.Retained(wire.NodeTopic("a", wire.KindInstances)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, r.Volumes); diff != "" {
				t.Error(diff)
			}
		}
		c.StartPlane()
		apply(wanted())
		told(nil)
		engine.mute.Store(false)
		time.Sleep(90 * time.Second)
		told([]string{})
		db := web("")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}, {Type: otto.MountVolume, Target: "/cache"}}
		apply(wanted(db))
		told([]string{"data"})
		apply(wanted())
		told([]string{"data"})
		before := engine.asked.Load()
		for range 20 { // none of which makes a volume
			apply(wanted(web("")))
			apply(wanted())
		}
		time.Sleep(time.Hour)
		if n := engine.asked.Load() - before; n < 12 || n > 14 {
			t.Errorf("in an hour it was asked %d times", n)
		}
		told([]string{"data"})
	})
}
