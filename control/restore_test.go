package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// started are how often each instance has been started, on all hosts together.
func started(c *ottotest.Cluster, instances ...string) map[string]int {
	n := map[string]int{}
	for _, i := range instances {
		for _, h := range c.Hosts {
			n[i] += h.Runtime.Starts(i)
		}
	}
	return n
}

func verdicts(r control.Restored) (list []string) {
	for _, f := range r.Findings {
		list = append(list, fmt.Sprintf("%s %s/%s", f.Verdict, f.Node, f.Instance))
	}
	return list
}

// TestOldBackupIsRestoredToWhatReallyRuns makes a backup, lets a node die so that
// what was on it moves, and the node come back; then the control plane's machine
// dies, and the old backup is restored.
func TestOldBackupIsRestoredToWhatReallyRuns(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "a"), service("home", "b")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		old := c.Backup()
		c.PowerOff("a")
		runsOn(t, c, "web", "c", 30*time.Second)
		runsOn(t, c, "db", "b", 30*time.Second)
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(30 * time.Second)
		time.Sleep(20 * time.Second)
		c.KillPlane() // and with it all that it kept
		c.StartPlane()
		c.WaitUp(30 * time.Second) // another epoch, unknown to the backup
		epoch := c.Plane.Epoch()
		c.KillPlane()
		before := started(c, "web", "db", "home")

		r := c.Restore(old)
		if diff := cmp.Diff([]string{"adopts c/web", "adopts b/db", "keeps b/home"}, verdicts(r)); diff != "" {
			t.Error(diff)
		}
		c.StartPlane()
		if got := c.Plane.Epoch(); got <= epoch {
			t.Errorf("epoch %d after %d", got, epoch)
		}
		time.Sleep(time.Minute)
		if problem := c.Plane.Cluster().Problem; problem == "" {
			t.Error("it decides although nobody has said what is wanted")
		}
		if !slices.Equal(c.Running("web"), []string{"c"}) || c.Running("db") != nil && !slices.Equal(c.Running("db"), []string{"b"}) {
			t.Errorf("web runs on %v, db on %v", c.Running("web"), c.Running("db"))
		}
		apply(t, c, three(services...))
		c.WaitUp(30 * time.Second)
		time.Sleep(time.Minute)
		c.WaitUp(10 * time.Second)
		after := started(c, "web", "db", "home")
		if after["web"] != before["web"] || after["home"] != before["home"] {
			t.Errorf("started: %v, then %v", before, after)
		}
		runsOn(t, c, "db", "b", time.Second)
	})
}

// TestRestoreAtOnceRestartsNothing is a restore within the lease of what is
// under one.
func TestRestoreAtOnceRestartsNothing(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "b")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		old := c.Backup()
		c.KillPlane()
		before := started(c, "web", "db")
		r := c.Restore(old)
		if diff := cmp.Diff([]string{"keeps a/web", "keeps b/db"}, verdicts(r)); diff != "" {
			t.Error(diff)
		}
		c.StartPlane()
		apply(t, c, three(services...))
		c.WaitUp(30 * time.Second)
		if diff := cmp.Diff(before, started(c, "web", "db")); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRestoreMovesNothingFromANodeOutOfSight has the restored control plane meet
// a node that could not be looked at, and that it then takes for what it is.
func TestRestoreMovesNothingFromANodeOutOfSight(t *testing.T) {
	pet := disposable("pet", "a")
	pet.Data = ""
	services := []otto.Service{movable("web", "a"), disposable("db", "a"), pet}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		old := c.Backup()
		c.KillPlane()
		c.StartPlane()
		c.WaitUp(30 * time.Second) // node a learns of an epoch that nobody else tells
		c.KillPlane()
		c.Cut("a")
		before := started(c, "web", "pet")
		r := c.Restore(old)
		if diff := cmp.Diff([]string{"unseen a/", "unseen a/web", "unseen a/db", "unseen a/pet"}, verdicts(r)); diff != "" {
			t.Error(diff)
		}
		c.Heal("a")
		c.StartPlane()
		apply(t, c, three(services...))
		c.WaitUp(time.Minute)
		if diff := cmp.Diff(before, started(c, "web", "pet")); diff != "" {
			t.Error(diff)
		}
		for _, name := range []string{"web", "db", "pet"} {
			runsOn(t, c, name, "a", 10*time.Second)
		}
		if problem := c.Plane.Cluster().Problem; problem != "" {
			t.Error(problem)
		}
	})
}

// TestRestoreStartsNothingThatMayRunOutOfSight has a service under a lease moved to
// a node that cannot be looked at, and the old backup know nothing of that.
func TestRestoreStartsNothingThatMayRunOutOfSight(t *testing.T) {
	services := []otto.Service{disposable("db", "a")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		old := c.Backup()
		c.PowerOff("a")
		runsOn(t, c, "db", "b", 30*time.Second)
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(30 * time.Second)
		c.KillPlane()
		c.Cut("b")
		r := c.Restore(old)
		if diff := cmp.Diff([]string{"unseen b/", "starts a/db"}, verdicts(r)); diff != "" {
			t.Error(diff)
		}
		c.StartPlane()
		apply(t, c, three(services...))
		runsOn(t, c, "db", "a", time.Minute) // and never on both, as is watched all the time
	})
}

// TestRestoredControlPlaneAndTheOldOne has the machine that was thought dead come back.
func TestRestoredControlPlaneAndTheOldOne(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "b")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		first := c.Plane
		r := c.Restore(c.Backup()) // while it lives
		if diff := cmp.Diff([]string{"keeps a/web", "keeps b/db"}, verdicts(r)); diff != "" {
			t.Error(diff)
		}
		before := started(c, "web", "db")
		second := c.SecondPlane()
		if _, err := second.Apply(context.Background(), three(services...), second.Cluster().Revision, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := first.Apply(context.Background(), three(services...), 1, false); !errors.Is(err, otto.ErrSteppedDown) {
			t.Errorf("the older one: %v", err)
		}
		if problem := second.Cluster().Problem; problem != "" || !ottotest.AllUp(second.Cluster()) {
			t.Errorf("the newer one: %q", problem)
		}
		if diff := cmp.Diff(before, started(c, "web", "db")); diff != "" {
			t.Error(diff)
		}
	})
}

// vault takes snapshots for nodes.
type vault struct {
	key backup.Key

	mu   sync.Mutex
	puts []string // nodes, in order
	kept map[string][]byte
	fail map[string]error
}

func newVault() *vault {
	return &vault{key: backup.NewKey(), kept: map[string][]byte{}, fail: map[string]error{}}
}

func (v *vault) Seal(content []byte) ([]byte, error) { return backup.Seal(v.key, content) }

func (v *vault) Put(_ context.Context, n otto.Node, _ wire.Authority, sealed []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.puts = append(v.puts, n.ID)
	if err := v.fail[n.ID]; err != nil {
		return err
	}
	v.kept[n.ID] = bytes.Clone(sealed)
	return nil
}

// count is how many snapshots have been left, and on which nodes.
func (v *vault) count() (n int, nodes string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := slices.Clone(v.puts)
	slices.Sort(list)
	return len(list), fmt.Sprint(slices.Compact(list))
}

// inVault runs a test with three hosts and snapshots.
func inVault(t *testing.T, f func(*testing.T, *ottotest.Cluster, *vault)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web", "db")
		v := newVault()
		c.Snapshots = v
		defer c.Close()
		c.StartPlane()
		apply(t, c, three(movable("web", "a")))
		c.WaitUp(20 * time.Second)
		time.Sleep(30 * time.Second)
		f(t, c, v)
	})
}

func TestSnapshotsFollowChanges(t *testing.T) {
	inVault(t, func(t *testing.T, c *ottotest.Cluster, v *vault) {
		n, nodes := v.count()
		if nodes != "[a b]" || n > 4 {
			t.Errorf("%d snapshots on %s after the start", n, nodes)
		}
		time.Sleep(time.Hour)
		if quiet, _ := v.count(); quiet > n+2 {
			t.Errorf("%d snapshots in an hour without anything new", quiet-n)
		}
		n, _ = v.count()
		for i := range 10 {
			s := movable("web", "a")
			s.Rejoin = []string{otto.RejoinHome, otto.RejoinKeep}[i%2]
			apply(t, c, three(s))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		if more, _ := v.count(); more < n+2 || more > n+4 {
			t.Errorf("%d snapshots for ten changes in a second", more-n)
		}
		view := c.Plane.Cluster()
		if len(view.Snapshots) != 2 || view.Snapshots[0].Node != "a" || time.Since(view.Snapshots[0].Time) > time.Minute {
			t.Errorf("status shows %+v", view.Snapshots)
		}

		// The newest one is a backup that the cluster can be restored from.
		content, err := backup.Open(v.key, v.kept["b"])
		if err != nil {
			t.Fatal(err)
		}
		c.KillPlane()
		before := started(c, "web")
		if diff := cmp.Diff([]string{"keeps a/web"}, verdicts(c.Restore(content))); diff != "" {
			t.Error(diff)
		}
		c.StartPlane()
		s := movable("web", "a")
		s.Rejoin = otto.RejoinKeep
		if changes := apply(t, c, three(s)); len(changes) > 0 {
			t.Errorf("it was of before the last change: %v", changes)
		}
		c.WaitUp(20 * time.Second)
		if diff := cmp.Diff(before, started(c, "web")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSnapshotThatFailsDisturbsNothing(t *testing.T) {
	inVault(t, func(t *testing.T, c *ottotest.Cluster, v *vault) {
		v.mu.Lock()
		v.fail["a"] = errors.New("disk full")
		v.mu.Unlock()
		s := movable("web", "a")
		s.Spec.Environment = map[string]string{"N": "1"}
		apply(t, c, three(s))
		c.WaitUp(20 * time.Second)
		time.Sleep(2 * time.Minute)
		if _, nodes := v.count(); nodes != "[a b c]" {
			t.Errorf("snapshots were left on %s", nodes)
		}
		view := c.Plane.Cluster()
		if view.Snapshots[0].Problem != "disk full" || view.Snapshots[2].Time.IsZero() {
			t.Errorf("status shows %+v", view.Snapshots)
		}
		failures := 0
		list, _ := c.Plane.Events(0)
		for _, e := range list {
			if e.Kind == "snapshot-failed" {
				failures++
			}
		}
		if failures != 1 {
			t.Errorf("%d events of it", failures)
		}
		if n, _ := v.count(); n > 12 {
			t.Errorf("%d tries", n)
		}
	})
}
