package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCopyOfADirectoryIsNoMove moves, copies and puts back a directory that a cluster was
// started from.
func TestCopyOfADirectoryIsNoMove(t *testing.T) {
	dir := t.TempDir()
	made := func(name string) stateDir { return stateDir(filepath.Join(dir, name, ".otto")) }
	a := made("a")
	c := clusterFile{ClusterName: "home"}
	if err := os.MkdirAll(string(a), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.Place, err = a.place(); err != nil {
		t.Fatal(err)
	}
	if err := a.write(fileCluster, c); err != nil {
		t.Fatal(err)
	}
	if err := a.mayTakeDown(); err != nil {
		t.Errorf("where it is: %v", err)
	}
	run := func(words ...string) {
		t.Helper()
		for i, w := range words[1:] {
			if !strings.HasPrefix(w, "-") {
				words[i+1] = filepath.Join(dir, w)
			}
		}
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run("cp", "-a", "a", "copy")
	if err := made("copy").mayTakeDown(); err == nil || !strings.Contains(err.Error(), "is a copy of") {
		t.Errorf("a copy: %v", err)
	}
	run("mv", "a", "moved")
	if err := made("moved").mayTakeDown(); err != nil {
		t.Errorf("moved: %v", err)
	}
	run("mv", "copy", "a") // from a backup, say
	if err := a.mayTakeDown(); err != nil {
		t.Errorf("put back: %v", err)
	}
}

// TestControlPlaneOfARemovedDirectoryIsNamed removes the directory of a process that goes on.
func TestControlPlaneOfARemovedDirectoryIsNamed(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), ".otto"))
	if err := os.Mkdir(string(d), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.orphaned(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `exec 3>"$0"; echo up; exec sleep 60`, d.path(fileControlLock))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(string(d)); err != nil {
		t.Fatal(err)
	}
	if got := d.holders(true); !slices.Equal(got, []int{cmd.Process.Pid}) {
		t.Errorf("held by %v", got)
	}
	if err := d.orphaned(); err == nil || !strings.Contains(err.Error(), pidList([]int{cmd.Process.Pid})) {
		t.Errorf("got %v", err)
	}
}

// TestControlPlaneNoticesThatItsDirectoryHasGone moves it away, and loses its parent.
func TestControlPlaneNoticesThatItsDirectoryHasGone(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), ".otto"))
	if err := os.Mkdir(string(d), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newSelf(d, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ailments(); len(got) > 0 {
		t.Error(got)
	}
	if err := os.Rename(string(d), string(d)+".away"); err != nil {
		t.Fatal(err)
	}
	s.parent++
	got := strings.Join(s.ailments(), "\n")
	if !strings.Contains(got, "supervisor of the control plane is gone") ||
		!strings.Contains(got, "was moved or removed") {
		t.Error(got)
	}
}

// TestBackupOfANamesakeIsRestoredElsewhere compares ids, not names alone.
func TestBackupOfANamesakeIsRestoredElsewhere(t *testing.T) {
	d := stateDir(filepath.Join(t.TempDir(), ".otto"))
	if err := d.sameCluster("home", "c1"); err != nil {
		t.Errorf("a new directory: %v", err)
	}
	if err := d.write(fileCluster, clusterFile{ClusterName: "home", ClusterID: "c1"}); err != nil {
		t.Fatal(err)
	}
	if err := d.sameCluster("home", "c1"); err != nil {
		t.Error(err)
	}
	if err := d.sameCluster("home", "c2"); err == nil ||
		!strings.Contains(err.Error(), "the id c1, and the backup is of one with the id c2") {
		t.Errorf("a namesake's: %v", err)
	}
}
