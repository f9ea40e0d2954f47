package bootstrap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/wire"
)

func TestNodeKeepsTwoSnapshotsForTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	f := w.fleet()
	if err := f.PutSnapshot(t.Context(), m.node, us, []byte("zero")); err == nil {
		t.Error("a host that is no node takes a snapshot")
	}
	if _, err := f.Snapshots(t.Context(), m.node, "", 99); err == nil {
		t.Error("a host that is no node has snapshots")
	}
	mustEnsure(t, f, m, newBroker(t))
	get := func(name string) (list []string) {
		t.Helper()
		sealed, err := f.Snapshots(t.Context(), m.node, name, 99)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sealed {
			list = append(list, string(s))
		}
		return list
	}
	for _, s := range []string{"one", "two", "three"} {
		if err := f.PutSnapshot(t.Context(), m.node, us, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", cluster} {
		if diff := cmp.Diff([]string{"three", "two"}, get(name)); diff != "" {
			t.Error(diff)
		}
	}
	// Killed before the last step: what was there is whole.
	if err := os.WriteFile(filepath.Join(m.nodeDir(), "snapshot.new"), []byte("fo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"three", "two"}, get("")); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"snapshot", "snapshot.1"} {
		if info, err := os.Stat(filepath.Join(m.nodeDir(), name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if _, err := f.Snapshots(t.Context(), m.node, cluster, 4); err == nil {
		t.Error("any amount is fetched")
	}
	if _, err := f.Snapshots(t.Context(), m.node, "../x", 99); err == nil {
		t.Error("any directory is read")
	}
	if err := f.Uninstall(t.Context(), m.node, us, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.nodeDir()); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", m.nodeDir(), err)
	}
}

func TestNodeIsLookedAtAndNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	f := w.fleet()
	if look, err := f.Look(t.Context(), m.node, cluster); err != nil || look.ClusterID != "" {
		t.Errorf("a bare host: %+v, %v", look, err)
	}
	mustEnsure(t, f, m, newBroker(t))
	before, files := m.state(t), listing(t, m.nodeDir())
	look, err := f.Look(t.Context(), m.node, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.Look{ClusterID: "c1", NodeID: "rpi-01"}, look); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, m.state(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(files, listing(t, m.nodeDir())); diff != "" {
		t.Error(diff)
	}
}

func TestTargetIsWrittenAsForSSH(t *testing.T) {
	n, err := Target("pi@10.0.0.2:2222")
	if err != nil || n.User != "pi" || n.Host != "10.0.0.2" || n.Port != 2222 {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := Target("pi@"); err == nil {
		t.Error("no host is a target")
	}
}
