package control_test

import (
	"slices"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// binder is a service that mounts a host directory.
func binder(name, path, on string, readOnly bool) otto.Service {
	s := service(name, on)
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: path, Target: "/data", ReadOnly: readOnly}}
	return s
}

// On a stick that is mounted, and what is there when it is not.
var (
	onStick  = otto.DataID{FileSystem: "stick", Path: "/db", Inode: 7}
	onRoot   = otto.DataID{FileSystem: "root", Path: "/mnt/usb/db", Inode: 99}
	madeAnew = otto.DataID{FileSystem: "stick", Path: "/db", Inode: 8}
)

const usb = "/mnt/usb/db"

// TestDirectoryThatIsGoneIsMissingAndNotNew has a directory not be there, or be another
// one, and then be back.
func TestDirectoryThatIsGoneIsMissingAndNotNew(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		lose func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime)
	}{
		"its stick is not mounted at boot": {"its directory " + usb + " is missing", func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime) {
			reboot(t, c, "b", func() { r.RemoveDirectory(usb) })
		}},
		"there is one on the root disk": {"its directory " + usb + " is another one than before", func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime) {
			reboot(t, c, "b", func() { r.SetDirectory(usb, onRoot) })
		}},
		"it was made anew on its disk": {"its directory " + usb + " is another one than before", func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime) {
			reboot(t, c, "b", func() { r.SetDirectory(usb, madeAnew) })
		}},
		"its agent has lost its state, too": {"its directory " + usb + " is another one than before", func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime) {
			reboot(t, c, "b", func() { r.SetDirectory(usb, onRoot) }, func() { loseState(t, c, "b") })
		}},
		"its server hangs": {"its directory " + usb + " cannot be looked at (its disk does not answer)", func(t *testing.T, c *ottotest.Cluster, r *ottotest.Runtime) {
			reboot(t, c, "b", func() { r.HangDirectories(true) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
				r := c.Hosts["b"].Runtime
				r.SetDirectory(usb, onStick)
				apply(t, c, three(binder("db", usb, "b", false), service("web", "b")))
				c.WaitUp(20 * time.Second)
				tc.lose(t, c, r)
				waitsForData(t, c, "db", "b", tc.text)
				runsOn(t, c, "web", "b", 0)
				before := r.List()
				r.HangDirectories(false)
				r.SetDirectory(usb, onStick)
				runsOn(t, c, "db", "b", 20*time.Second)
				c.WaitUp(20 * time.Second)
				if k := kinds(c.Plane, "data-back"); len(k) != 1 {
					t.Errorf("events: %v", k)
				}
				quiet(t, c, 10*time.Minute)
				for _, was := range before {
					for _, now := range r.List() {
						if was.Instance == "web" && now.Instance == "web" &&
							(now.ID != was.ID || !now.Started.Equal(was.Started)) {
							t.Error("web was restarted")
						}
					}
				}
				if made := r.MadeDirectories(); len(made) > 0 {
					t.Errorf("the engine has made %v", made)
				}
			})
		})
	}
}

// TestFirstDirectoryIsMade is Compose's promise. It holds once: what the engine has made
// is remembered in turn.
func TestFirstDirectoryIsMade(t *testing.T) {
	inThree(t, []otto.Service{binder("db", usb, "b", false)}, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		if made := r.MadeDirectories(); !slices.Equal(made, []string{usb}) {
			t.Fatalf("the engine has made %v", made)
		}
		reboot(t, c, "b", func() { r.RemoveDirectory(usb) })
		waitsForData(t, c, "db", "b", "its directory "+usb+" is missing")
		if err := c.Plane.AcceptData(me(t), "db"); err != nil {
			t.Fatal(err)
		}
		runsOn(t, c, "db", "b", 20*time.Second)
		c.WaitUp(20 * time.Second)
	})
}

// TestReadOnlyDirectoryIsReportedAndComesBack has the engine start at boot what only
// reads: it is told of, and restarted when its disk is there.
func TestReadOnlyDirectoryIsReportedAndComesBack(t *testing.T) {
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		r.SetDirectory(usb, onStick)
		apply(t, c, three(binder("site", usb, "b", true)))
		c.WaitUp(20 * time.Second)
		starts := r.Starts("site")
		reboot(t, c, "b", func() { r.SetDirectory(usb, onRoot) })
		c.Wait(time.Minute, "site waits", func(now *otto.Cluster) bool {
			i := now.Services[0].Instances[0]
			return i.State == otto.InstanceWaiting && !i.Up()
		})
		if k := kinds(c.Plane, "data-missing"); len(k) != 1 {
			t.Errorf("events: %v", k)
		}
		r.SetDirectory(usb, onStick)
		c.WaitUp(20 * time.Second)
		if n := r.Starts("site") - starts; n != 1 {
			t.Errorf("it was started %d times", n)
		}
		r.SetDirectory(usb, madeAnew) // as tools do that replace a directory: nothing is lost
		quiet(t, c, 10*time.Minute)
		if n := r.Starts("site") - starts; n != 1 {
			t.Errorf("it was started %d times", n)
		}
	})
}

// TestServerThatHangsRestartsNothing has a server not answer for a while to what runs.
func TestServerThatHangsRestartsNothing(t *testing.T) {
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		r.SetDirectory(usb, onStick)
		apply(t, c, three(binder("db", usb, "b", false)))
		c.WaitUp(20 * time.Second)
		starts := r.Starts("db")
		r.HangDirectories(true)
		quiet(t, c, 10*time.Minute)
		r.HangDirectories(false)
		quiet(t, c, 10*time.Minute)
		if n := r.Starts("db"); n != starts || len(kinds(c.Plane, "data-missing")) > 0 {
			t.Errorf("it was started %d times, events: %v", n-starts, kinds(c.Plane, "data-missing"))
		}
	})
}

// TestDirectoriesOfAFormerBuildAreRememberedAsTheyAre has an agent come that is the first
// to look.
func TestDirectoriesOfAFormerBuildAreRememberedAsTheyAre(t *testing.T) {
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		r.SetDirectory(usb, onStick)
		apply(t, c, three(binder("db", usb, "b", false), binder("site", usb, "b", true)))
		c.WaitUp(20 * time.Second)
		c.KillPlane()
		c.KillAgent("b")
		loseState(t, c, "b")
		c.Store.Lose("data")
		before := r.List()
		c.StartPlane()
		c.WaitUp(time.Minute)
		quiet(t, c, 10*time.Minute)
		if now := r.List(); !slices.EqualFunc(now, before,
			func(a, b otto.Container) bool { return a.ID == b.ID && a.Started.Equal(b.Started) }) {
			t.Errorf("containers were %v and are %v", before, now)
		}
		reboot(t, c, "b", func() { r.SetDirectory(usb, onRoot) })
		waitsFor(t, c, "db", "its directory "+usb+" is another one than before")
	})
}
