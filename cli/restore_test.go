package cli

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/folder"
)

// ottoProgram runs the commands of TestMain as programs of their own.
type ottoProgram struct {
	t    *testing.T
	bin  string
	home string
}

func newOttoProgram(t *testing.T) ottoProgram {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"otto", "otto-state"} { // which command it is goes by the name
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return ottoProgram{t, bin, t.TempDir()}
}

func (o ottoProgram) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, name), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+o.home)
	return cmd
}

func (o ottoProgram) run(dir, name string, args ...string) {
	o.t.Helper()
	if out, err := o.command(o.t.Context(), dir, name, args...).CombinedOutput(); err != nil {
		o.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func TestKilledRestoreLeavesAllOrNothing(t *testing.T) {
	o := newOttoProgram(t)
	from := t.TempDir()
	const yaml = "cluster: {name: home}\nnodes: [{id: local, host: localhost}]\nservices: [{name: web, image: nginx, node: local}]\n"
	if err := os.WriteFile(filepath.Join(from, "otto.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	o.run(from, "otto-state")
	file := filepath.Join(from, "home.backup")
	o.run(from, "otto", "cluster", "backup", file)

	whole, killed := 0, 0
	for after := 10 * time.Millisecond; whole < 3 && after < time.Minute; after += after / 8 {
		dir := t.TempDir()
		d := stateDir(filepath.Join(dir, ".otto"))
		ctx, cancel := context.WithTimeout(t.Context(), after) // and kill it then
		err := o.command(ctx, dir, "otto", "cluster", "restore", file, "--yes").Run()
		cancel()
		if err != nil {
			killed++
		}
		if !d.hasStore() { // what a start would do with it is in control's tests
			var c clusterFile
			if err := d.read(fileCluster, &c); err == nil && c.StartedAt.IsZero() {
				t.Fatalf("killed after %s: a start would take this for a cluster that was never started", after)
			}
			o.run(dir, "otto", "cluster", "restore", file, "--yes")
		} else {
			whole++
		}
		if keys := documents(t, d); len(keys) != 6 {
			t.Fatalf("killed after %s: the store has %v", after, keys)
		}
	}
	if whole < 3 || killed == 0 {
		t.Errorf("%d restores were killed, %d left all", killed, whole)
	}
}

// documents are those of a store, which must be a state.
func documents(t *testing.T, d stateDir) (keys []string) {
	t.Helper()
	err := withStore(t.Context(), d.path(dirStore), false, func(s *store.Store) error {
		b, err := control.StoredBackup(t.Context(), s, folder.NewStore(""))
		for key := range b.Documents {
			keys = append(keys, key)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestBackupHoldsWhatItNeeds(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), ".otto"))
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(path, []byte("cluster: {name: home}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.write(fileCluster, clusterFile{ConfigPath: path, ClusterName: "home"}); err != nil {
		t.Fatal(err)
	}
	if err := d.write(fileRecoveryKey, "key"); err != nil {
		t.Fatal(err)
	}
	files, err := d.files()
	if err != nil || len(files) != 3 || files[keptConfig] != "cluster: {name: home}\n" {
		t.Errorf("%v: %v", err, files)
	}
	var c clusterFile
	if err := backedUp(backup.Backup{Files: files}, fileCluster, &c); err != nil || c.ClusterName != "home" {
		t.Errorf("%v: %+v", err, c)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if files, err := d.files(); err != nil || len(files) != 2 {
		t.Errorf("without an otto.yaml: %v: %v", err, files)
	}
}

// TestRestoredEventsGoOn has the journal number new events after the restored ones.
func TestRestoredEventsGoOn(t *testing.T) {
	e := restoredEvent(backup.Backup{Events: []otto.Event{{Seq: 7}, {Seq: 9}}})
	if e.Seq != 10 || restoredEvent(backup.Backup{}).Seq != 1 {
		t.Errorf("event %d", e.Seq)
	}
}

func TestVerdictsAreWords(t *testing.T) {
	got := map[control.Verdict]string{}
	for _, v := range []control.Verdict{control.Keeps, control.Starts, control.Stops, control.Unseen, control.Lacks, control.Leaves} {
		got[v] = verdictText(v)
	}
	if diff := cmp.Diff(map[control.Verdict]string{
		control.Keeps: "keeps", control.Starts: "would start", control.Stops: "would stop",
		control.Unseen: "not seen", control.Lacks: "has no data", control.Leaves: "would leave",
	}, got); diff != "" {
		t.Error(diff)
	}
}
