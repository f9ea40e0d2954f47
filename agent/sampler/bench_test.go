package sampler

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// BenchmarkSweep50 reads 50 real cgroups, each with a process of its own, where
// root can make them (cgroup v1), else one recorded container 50 times. One
// operation is one sweep; 5 ms is the most it may take.
func BenchmarkSweep50(b *testing.B) {
	const count = 50
	root, running := "/", realCgroups(b, count)
	if running == nil {
		b.Log("no cgroups can be made here: using the recorded tree")
		root = "testdata/v2"
		for i := range count {
			c := limited
			c.ID = fmt.Sprint(i)
			running = append(running, c)
		}
	}
	s := New(Options{Root: root})
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if got := s.Containers(time.Now(), running); len(got) != count {
			b.Fatalf("%d samples, want %d", len(got), count)
		}
	}
}

func BenchmarkNode(b *testing.B) {
	s := New(Options{})
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Node(time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

// realCgroups starts processes in cgroups of their own; nil if that is not possible.
func realCgroups(b *testing.B, count int) []otto.RunningContainer {
	b.Helper()
	var running []otto.RunningContainer
	for i := range count {
		cmd := exec.Command("sleep", "600")
		if cmd.Start() != nil {
			return nil
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		for _, controller := range []string{"cpuacct", "memory", "blkio"} {
			dir := filepath.Join("/sys/fs/cgroup", controller, fmt.Sprintf("otto-bench-%d-%d", os.Getpid(), i))
			if os.Mkdir(dir, 0o755) != nil {
				return nil
			}
			b.Cleanup(func() { removeCgroup(b, dir) })
			procs := filepath.Join(dir, "cgroup.procs")
			if os.WriteFile(procs, fmt.Append(nil, cmd.Process.Pid), 0o600) != nil {
				return nil
			}
		}
		running = append(running, otto.RunningContainer{ID: fmt.Sprint(i), Pid: cmd.Process.Pid})
	}
	return running
}

// removeCgroup waits for the cgroup's process to be gone.
func removeCgroup(b *testing.B, dir string) {
	b.Helper()
	root := filepath.Join(filepath.Dir(dir), "cgroup.procs")
	left, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	var pid int
	if _, err := fmt.Sscan(string(left), &pid); err == nil {
		_ = os.WriteFile(root, left, 0o600)
	}
	if err := os.Remove(dir); err != nil {
		b.Error(err)
	}
}
