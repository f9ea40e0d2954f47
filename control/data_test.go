package control_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// loseState takes away all that a host's agent has kept, as on a card that was written anew.
func loseState(t *testing.T, c *ottotest.Cluster, host string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.Hosts[host].Dir, "*"))
	for _, f := range files {
		if err == nil {
			err = os.RemoveAll(f)
		}
	}
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
}

// reboot has things happen to a host while its power is off.
func reboot(t *testing.T, c *ottotest.Cluster, host string, meanwhile ...func()) {
	t.Helper()
	c.PowerOff(host)
	time.Sleep(20 * time.Second)
	for _, do := range meanwhile {
		do()
	}
	if err := c.PowerOn(host, true); err != nil {
		t.Fatal(err)
	}
}

// waitsForData waits until a service says that it waits for its data, and sees that it
// is not started.
func waitsForData(t *testing.T, c *ottotest.Cluster, service, host, text string) {
	t.Helper()
	starts := c.Hosts[host].Runtime.Starts(service)
	waitsFor(t, c, service, text+" since 20", "otto service accept-data "+service)
	time.Sleep(2 * time.Minute)
	if n := c.Hosts[host].Runtime.Starts(service); n != starts {
		t.Errorf("it was started %d times on other data", n-starts)
	}
	now := c.Plane.Cluster()
	for _, s := range now.Services {
		if s.Name == service && (s.Instances[0].State != otto.InstanceWaiting || s.Instances[0].Up()) {
			t.Errorf("it is %s", s.Instances[0].State)
		}
	}
	if k := kinds(c.Plane, "data-missing"); len(k) != 1 {
		t.Errorf("events: %v", k)
	}
}

// TestDataThatIsGoneIsMissingAndNotNew loses a volume in all the ways that volumes are
// lost in, and brings it back.
func TestDataThatIsGoneIsMissingAndNotNew(t *testing.T) {
	byHand := func(c *ottotest.Cluster, replace func(r *ottotest.Runtime)) (back func()) {
		r := c.Hosts["b"].Runtime
		label, _ := r.VolumeLabel("data")
		for _, ctr := range r.List() {
			_ = r.Stop(c.T.Context(), ctr.ID)
			_ = r.Remove(c.T.Context(), ctr.ID)
		}
		replace(r)
		return func() { r.SetVolume("data", label) }
	}
	for name, tc := range map[string]struct {
		text string
		lose func(t *testing.T, c *ottotest.Cluster) (back func())
	}{
		"removed by hand, with its container": {"its volume data is missing", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			c.KillAgent("b")
			back = byHand(c, func(r *ottotest.Runtime) { r.RemoveVolume("data") })
			return back
		}},
		"another one of the name, made by Otto": {"its volume data is another one than before", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			c.KillAgent("b")
			return byHand(c, func(r *ottotest.Runtime) { r.SetVolume("data", "of-somebody") })
		}},
		"another one of the name, made by hand": {"its volume data is another one than before", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			c.KillAgent("b")
			return byHand(c, func(r *ottotest.Runtime) { r.SetVolume("data", "") })
		}},
		"the engine's disk is not there at boot": {"its volume data is missing", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			reboot(t, c, "b", func() { back = c.Hosts["b"].Runtime.LoseDisk() })
			return back
		}},
		"a card that was written anew": {"its volume data is missing", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			reboot(t, c, "b", func() { back = c.Hosts["b"].Runtime.LoseDisk() }, func() { loseState(t, c, "b") })
			return back
		}},
		"the same, and the control plane has just started": {"its volume data is missing", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			c.KillPlane()
			reboot(t, c, "b", func() { back = c.Hosts["b"].Runtime.LoseDisk() }, func() { loseState(t, c, "b") })
			c.StartPlane()
			return back
		}},
		"its service was taken out and is put back under another name": {"its volume data is missing", func(t *testing.T, c *ottotest.Cluster) (back func()) {
			apply(t, c, three())
			time.Sleep(10 * time.Second)
			back = byHand(c, func(r *ottotest.Runtime) { r.RemoveVolume("data") })
			time.Sleep(2 * time.Minute) // everybody has seen that it is not there
			db := keeper("db", "data", "a")
			db.Spec.Command = []string{"other"}
			apply(t, c, three(db))
			return back
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
				back := tc.lose(t, c)
				waitsForData(t, c, "db", "b", tc.text)
				c.KillAgent("b") // an agent that starts anew says the same, with the same time
				waitsForData(t, c, "db", "b", tc.text)
				back()
				runsOn(t, c, "db", "b", 20*time.Second)
				c.WaitUp(20 * time.Second)
				if k := kinds(c.Plane, "data-back"); len(k) != 1 {
					t.Errorf("events: %v", k)
				}
				quiet(t, c, 10*time.Minute)
			})
		})
	}
}

// TestNodeAloneWaitsForItsData has no control plane to ask.
func TestNodeAloneWaitsForItsData(t *testing.T) {
	// A stateful service would wait for the control plane's word after a reboot, so it is
	// the agent alone that starts again here.
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		c.KillPlane()
		c.KillAgent("b")
		r := c.Hosts["b"].Runtime
		starts, back := r.Starts("db"), r.LoseDisk()
		if err := c.StartAgent("b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if n := r.Starts("db"); n != starts {
			t.Errorf("it was started %d times", n-starts)
		}
		back()
		runsOn(t, c, "db", "b", 20*time.Second)
	})
}

// TestLostDataIsAccepted lets a service begin anew, and go on with what was restored.
func TestLostDataIsAccepted(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		if err := c.Plane.AcceptData(me(t), "db"); err == nil ||
			!strings.Contains(err.Error(), "does not wait for data") {
			t.Errorf("accepted without a loss: %v", err)
		}
		first, _ := c.Hosts["b"].Runtime.VolumeLabel("data")
		reboot(t, c, "b", func() { c.Hosts["b"].Runtime.LoseDisk() })
		waitsForData(t, c, "db", "b", "its volume data is missing")
		if err := c.Plane.AcceptData(me(t), "db"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "b", 20*time.Second)
		c.WaitUp(20 * time.Second)
		second, there := c.Hosts["b"].Runtime.VolumeLabel("data")
		if !there || second == first {
			t.Errorf("it runs with %q after %q", second, first)
		}
		reboot(t, c, "b", func() {
			c.Hosts["b"].Runtime.LoseDisk()
			c.Hosts["b"].Runtime.SetVolume("data", "") // restored by hand
		})
		waitsFor(t, c, "db", "its volume data is another one than before")
		if err := c.Plane.AcceptData(me(t), "db"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "b", 20*time.Second)
		c.WaitUp(20 * time.Second)
		if label, _ := c.Hosts["b"].Runtime.VolumeLabel("data"); label != "" {
			t.Errorf("it runs with %q", label)
		}
		if k := kinds(c.Plane,
			"data-accepted"); !slices.Equal(k, []string{"data-accepted b me", "data-accepted b me"}) {
			t.Errorf("events: %v", k)
		}
		reboot(t, c, "b", func() { c.Hosts["b"].Runtime.LoseDisk() }) // what was accepted is remembered in turn
		waitsFor(t, c, "db", "its volume data is missing")
	})
}

// TestWhatNeverRanStartsUnasked also has a volume removed that nothing ran with, as its
// container did not start, and one of a service that needs no data.
func TestWhatNeverRanStartsUnasked(t *testing.T) {
	db, cache := keeper("db", "data", "b"), disposable("cache", "b")
	broken := func(inst otto.Instance) error {
		if inst.Name == "new" {
			return errors.New("it does not start")
		}
		return nil
	}
	inThree(t, []otto.Service{db, cache}, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		r.FailStart = broken
		apply(t, c, three(db, cache, keeper("new", "fresh", "b")))
		time.Sleep(time.Minute)
		if _, there := r.VolumeLabel("fresh"); !there {
			t.Error("its volume was not made")
		}
		apply(t, c, three(db, cache))
		time.Sleep(10 * time.Second)
		r.RemoveVolume("fresh")
		apply(t, c, three(db, cache, keeper("other", "fresh", "b")))
		c.WaitUp(20 * time.Second)
		c.WithoutAgent("b", func() { r.LoseDisk() })
		runsOn(t, c, "cache", "b", time.Minute)
		waitsFor(t, c, "db", "its volume data is missing")
	})
}

// TestUpgradeRemembersWhatRuns has an agent come that is the first to remember, where
// volumes have no label, as its former build drew none.
func TestUpgradeRemembersWhatRuns(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b"), service("web", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		c.KillPlane()
		c.KillAgent("b")
		for _, name := range []string{"data.json", "data.previous.json"} {
			_ = os.Remove(filepath.Join(c.Hosts["b"].Dir, name))
		}
		c.Store.Lose("data")
		r.SetVolume("data", "")
		before := r.List()
		if err := c.StartAgent("b"); err != nil {
			t.Fatal(err)
		}
		c.StartPlane()
		c.WaitUp(20 * time.Second)
		time.Sleep(time.Minute)
		if now := r.List(); !slices.EqualFunc(now, before,
			func(a, b otto.Container) bool { return a.ID == b.ID && a.Started.Equal(b.Started) }) {
			t.Errorf("containers were %v and are %v", before, now)
		}
		if k := kinds(c.Plane, "data-missing"); len(k) != 0 {
			t.Errorf("events: %v", k)
		}
		reboot(t, c, "b", func() { r.LoseDisk() })
		waitsForData(t, c, "db", "b", "its volume data is missing")
	})
}

// TestOldBackupBelievesTheNewerRecord restores what was before a person has accepted
// other data.
func TestOldBackupBelievesTheNewerRecord(t *testing.T) {
	inThree(t, []otto.Service{keeper("db", "data", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		old := c.Backup()
		reboot(t, c, "b", func() { c.Hosts["b"].Runtime.LoseDisk() })
		waitsFor(t, c, "db", "its volume data is missing")
		if err := c.Plane.AcceptData(me(t), "db"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "b", 20*time.Second)
		time.Sleep(time.Minute)
		c.KillPlane()
		c.Restore(old)
		c.StartPlane()
		apply(t, c, three(keeper("db", "data", "b")))
		c.WaitUp(time.Minute)
		reboot(t, c, "b", func() { loseState(t, c, "b") }) // the control plane tells it
		runsOn(t, c, "db", "b", time.Minute)
		quiet(t, c, 10*time.Minute)
	})
}

// TestVolumeOfOthersIsAnErrorOfThatServiceAlone is about one of another cluster, one of
// nobody, and what makes each of them this cluster's.
func TestVolumeOfOthersIsAnErrorOfThatServiceAlone(t *testing.T) {
	shared := keeper("shared", "pool", "b")
	shared.Spec.Mounts[0].External = true
	own, theirs, hand := keeper("own", "data", "b"), keeper("db", "theirs", "b"), keeper("old", "hand", "b")
	inThree(t, []otto.Service{own}, func(t *testing.T, c *ottotest.Cluster) {
		for _, h := range c.Hosts {
			r := h.Runtime
			r.SetVolume("theirs", "label-of-theirs")
			r.GiveVolume("theirs", "it is of another cluster, named hb")
			r.SetVolume("hand", "")
			r.GiveVolume("hand", "nobody knows whose")
			r.SetVolume("pool", "")
			r.GiveVolume("pool", "nobody knows whose")
		}
		theirs.Node, hand.Node, shared.Node = "b", "b", "b"
		apply(t, c, three(own, theirs, hand, shared))
		failed := func(service, text string) {
			t.Helper()
			c.Wait(time.Minute, service+" fails", func(now *otto.Cluster) bool {
				i := slices.IndexFunc(now.Services, func(s otto.ServiceStatus) bool { return s.Name == service })
				return i >= 0 && now.Services[i].Instances[0].State == otto.InstanceFailed &&
					strings.Contains(now.Services[i].Instances[0].Error, text)
			})
		}
		failed("db", "volume theirs on this node is not this cluster's (it is of another cluster, named hb)")
		failed("old", "otto volume adopt b hand")
		runsOn(t, c, "shared", "b", time.Minute)
		runsOn(t, c, "own", "b", 0)
		time.Sleep(5 * time.Minute)
		if n := c.Hosts["b"].Runtime.Starts("db") + c.Hosts["b"].Runtime.Starts("old"); n != 0 {
			t.Errorf("they were started %d times", n)
		}
		if err := c.Plane.AdoptVolume(me(t), "b", "none"); err == nil {
			t.Error("a volume that no service has is adopted")
		}
		for _, v := range []string{"theirs", "hand"} {
			if err := c.Plane.AdoptVolume(me(t), "b", v); err != nil {
				t.Fatal(err)
			}
		}
		runsOn(t, c, "db", "b", time.Minute) // they are tried again with a growing pause
		runsOn(t, c, "old", "b", time.Minute)
		c.WaitUp(20 * time.Second)
		reboot(t, c, "b", func() { loseState(t, c, "b") }) // the control plane remembers what is adopted
		c.WaitUp(2 * time.Minute)
	})
}
