package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/seed"
)

// takeInEnv has the test program take in data below a directory, to be killed.
const takeInEnv = "OTTO_TEST_TAKE_IN"

// changing are the system calls that change files.
var changing = []uint64{
	syscall.SYS_WRITE, syscall.SYS_PWRITE64, syscall.SYS_OPENAT, syscall.SYS_MKDIRAT, syscall.SYS_RENAMEAT, 316, /* renameat2 */
	syscall.SYS_LINKAT, syscall.SYS_SYMLINKAT, syscall.SYS_FCHOWNAT, syscall.SYS_FCHMODAT, syscall.SYS_FCHMOD, 452, /* fchmodat2 */
	syscall.SYS_UTIMENSAT, syscall.SYS_UNLINKAT, syscall.SYS_FSYNC, 306 /* syncfs */, 326, /* copy_file_range */
	syscall.SYS_SENDFILE, syscall.SYS_SPLICE, syscall.SYS_FTRUNCATE,
}

// changes reports whether a system call changes files: it opens none only to read it.
func changes(regs syscall.PtraceRegs) bool {
	reads := regs.Orig_rax == syscall.SYS_OPENAT && regs.Rdx&syscall.O_CREAT == 0
	return slices.Contains(changing, regs.Orig_rax) && !reads
}

// realSeeding takes in data as an agent that is root does.
func realSeeding(dir string) Seeding {
	return Seeding{
		Dir: filepath.Join(dir, "data"), ClusterID: "c1",
		Unpack: func(_ context.Context, from io.Reader, into string) error { return seed.Receive(from, into) },
		Remove: func(_ context.Context, at string) error { return folder.Remove(at) },
	}
}

// TestTakeInToBeKilled is what TestTakeThatIsKilledAtEachChange runs.
func TestTakeInToBeKilled(t *testing.T) {
	dir := os.Getenv(takeInEnv)
	if dir == "" {
		t.Skip("another test runs it")
	}
	stream, err := os.ReadFile(filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	from := func() (io.Reader, error) { return bytes.NewReader(stream), nil }
	if err := realSeeding(dir).Take(t.Context(), seeded, from); err != nil {
		t.Fatal(err)
	}
}

// TestTakeThatIsKilledAtEachChange of a file, before and after the system call that makes it:
// what is there then is nothing or all, and the next one finishes.
func TestTakeThatIsKilledAtEachChange(t *testing.T) {
	project := t.TempDir()
	data := filepath.Join(project, "data")
	err := errors.Join(
		os.MkdirAll(filepath.Join(data, "a/b"), 0o750), os.WriteFile(filepath.Join(data, "a/file"), []byte("text"), 0o640),
		os.Link(filepath.Join(data, "a/file"), filepath.Join(data, "a/b/same")), os.Symlink("a/file", filepath.Join(data, "link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := seed.Send(&stream, project, "data"); err != nil {
		t.Fatal(err)
	}
	whole := namesIn(t, data)
	nothing, all := 0, 0
	for nth := 1; ; nth++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "stream"), stream.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		killed, err := killAtChange(t, dir, nth)
		if errors.Is(err, syscall.EPERM) {
			t.Skip("no process may be traced here")
		} else if err != nil {
			t.Fatal(err)
		}
		s := realSeeding(dir)
		f := (seeds{s.Dir, s.ClusterID}).look(seeded)
		switch {
		case f.unclear != "":
			t.Errorf("killed at change %d: %s", nth, f.unclear)
		case !f.there:
			nothing++
		default:
			all++
			if got := namesIn(t, (seeds{s.Dir, s.ClusterID}).tree(seeded)); !slices.Equal(got, whole) {
				t.Errorf("killed at change %d, there is %q", nth, got)
			}
		}
		from := func() (io.Reader, error) { return bytes.NewReader(stream.Bytes()), nil }
		if f.there {
			from = never
		}
		if err := s.Take(t.Context(), seeded, from); err != nil {
			t.Errorf("killed at change %d: %v", nth, err)
		}
		if got := namesIn(t, (seeds{s.Dir, s.ClusterID}).tree(seeded)); !slices.Equal(got, whole) {
			t.Errorf("killed at change %d, in the end there is %q", nth, got)
		}
		if list, err := os.ReadDir(s.Dir); err != nil || len(list) != 2 { // and the lock
			t.Errorf("killed at change %d, left is %v (%v)", nth, list, err)
		}
		if !killed {
			break
		}
	}
	t.Logf("killed %d times with nothing there, %d times with all of it", nothing, all)
	if nothing < 20 || all < 2 {
		t.Errorf("killed %d times with nothing there and %d times with all of it", nothing, all)
	}
}

// namesIn is what is in a folder, with the text of files.
func namesIn(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(path, dir) + " " + info.Mode().String()
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			lines = append(lines, line+" "+string(text))
			return err
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// killAtChange runs TestTakeInToBeKilled and kills it at the nth stop at a system call that
// changes files: there is one before it and one after. It reports whether it came so far.
func killAtChange(t *testing.T, dir string, nth int) (killed bool, err error) {
	t.Helper()
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestTakeInToBeKilled$")
	cmd.Env = append(os.Environ(), takeInEnv+"="+dir, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	defer func() { _ = cmd.Process.Release() }()
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil || !status.Stopped() {
		return false, fmt.Errorf("it does not stop: %v, %w", status, err)
	}
	const exitKill = 0x100000
	if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACECLONE|syscall.PTRACE_O_TRACESYSGOOD|exitKill); err != nil {
		return false, err
	}
	if err := syscall.PtraceSyscall(pid, 0); err != nil {
		return false, err
	}
	for seen := 0; ; {
		tid, err := syscall.Wait4(-pid, &status, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return false, err
		case status.Exited() || status.Signaled():
			if tid == pid {
				if !killed && status.ExitStatus() != 0 {
					return false, fmt.Errorf("it fails by itself: %v", status)
				}
				return killed, nil
			}
			continue
		}
		pass := 0
		switch sig := status.StopSignal(); {
		case sig == syscall.SIGTRAP|0x80:
			var regs syscall.PtraceRegs
			if err := syscall.PtraceGetRegs(tid, &regs); err == nil && changes(regs) {
				if seen++; seen == nth {
					killed = true
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						return false, err
					}
				}
			}
		case sig != syscall.SIGTRAP && sig != syscall.SIGSTOP:
			pass = int(sig)
		}
		_ = syscall.PtraceSyscall(tid, pass) // it may be dead
	}
}
