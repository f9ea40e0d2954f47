package service

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The test binary is the agent of its own tests: it is copied to the place of an
// agent and does there what otto-agent does.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "otto-agent" {
		os.Exit(m.Run())
	}
	if err := agentMain(os.Args[1], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func agentMain(verb, dir string) error {
	switch verb {
	case "start":
		return StartDetached(dir, false)
	case "run":
		if exists(filepath.Join(dir, "state", "broken")) {
			return fmt.Errorf("the engine of doom\nis here")
		}
		if exists(filepath.Join(dir, "state", "deaf")) {
			signal.Ignore(syscall.SIGTERM)
		}
		release, err := Hold(dir)
		if err != nil {
			return err
		}
		defer release()
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		if exists(filepath.Join(dir, "state", "deaf")) {
			signal.Ignore(syscall.SIGTERM)
		}
		<-end
	}
	return nil
}

// nodeDir is a node directory with two agents, which differ in their path only.
func nodeDir(t *testing.T) (dir, a, b string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "otto", "home")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"state", "agents/a", "agents/b"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a, b = filepath.Join(dir, "agents/a/otto-agent"), filepath.Join(dir, "agents/b/otto-agent")
	for _, path := range []string{a, b} {
		if err := os.Link(self, path); err != nil {
			copyFile(t, self, path)
		}
	}
	write(t, dir, enrolmentFile, "{}")
	t.Cleanup(func() {
		if err := Stop(dir); err != nil {
			t.Error(err)
		}
	})
	return dir, a, b
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startAs starts the agent as `otto-agent start` does, from a process that ends.
func startAs(t *testing.T, exe, dir string) agent {
	t.Helper()
	if out, err := exec.Command(exe, "start", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("start: %v: %s", err, out)
	}
	now, err := running(dir)
	if err != nil || now.exe() != exe {
		t.Fatalf("%s runs, want %s (%v)", now.exe(), exe, err)
	}
	return now
}

func TestStartedAgentOutlivesItsStarterInASessionOfItsOwn(t *testing.T) {
	dir, a, _ := nodeDir(t)
	now := startAs(t, a, dir)
	sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(now.pid), 0, 0)
	if errno != 0 || int(sid) != now.pid {
		t.Errorf("the agent %d is in session %d (%v)", now.pid, sid, errno)
	}
}

func TestStartingTwiceChangesNothing(t *testing.T) {
	dir, a, _ := nodeDir(t)
	first := startAs(t, a, dir)
	if second := startAs(t, a, dir); second.pid != first.pid {
		t.Errorf("the second start replaced agent %d by %d", first.pid, second.pid)
	}
}

func TestStartReplacesAnotherBinary(t *testing.T) {
	dir, a, b := nodeDir(t)
	first := startAs(t, a, dir)
	startAs(t, b, dir)
	if alive(first.pid) {
		t.Errorf("agent %d still runs beside its successor", first.pid)
	}
}

func TestStartReplacesAnAgentWithAnotherEnrolment(t *testing.T) {
	dir, a, _ := nodeDir(t)
	first := startAs(t, a, dir)
	write(t, dir, enrolmentFile, `{"node_id":"other"}`)
	if second := startAs(t, a, dir); second.pid == first.pid {
		t.Error("the agent has not read its new enrolment")
	}
}

func TestKilledAgentLeavesAStalePidFileThatStopsNobody(t *testing.T) {
	dir, a, _ := nodeDir(t)
	first := startAs(t, a, dir)
	if err := syscall.Kill(first.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !released(dir, first.pid, 5*time.Second) {
		t.Fatal("a killed agent still holds its directory")
	}
	startAs(t, a, dir)
}

func TestPidOfAStrangerIsNotTakenForTheAgents(t *testing.T) {
	dir, a, _ := nodeDir(t)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Wait() }() // it is killed
	defer func() { _ = stranger.Process.Kill() }()
	write(t, dir, pidFile, fmt.Sprintf("%d\n\n", stranger.Process.Pid))
	if err := Stop(dir); err != nil {
		t.Fatal(err)
	}
	startAs(t, a, dir)
	if !alive(stranger.Process.Pid) {
		t.Error("a process that is not the agent was killed")
	}
}

func TestStopEndsADeafAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the grace period")
	}
	dir, a, _ := nodeDir(t)
	write(t, dir, "state/deaf", "")
	now := startAs(t, a, dir)
	if err := Stop(dir); err != nil {
		t.Fatal(err)
	}
	if alive(now.pid) {
		t.Error("it runs on")
	}
}

func TestStopWithoutAnAgentIsFine(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		if err := Stop(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestFailedStartShowsTheEndOfTheLog(t *testing.T) {
	dir, a, _ := nodeDir(t)
	write(t, dir, logFile, "an old line\n")
	write(t, dir, "state/broken", "")
	out, err := exec.Command(a, "start", "--dir", dir).CombinedOutput()
	want := "the agent ended at once (exit status 1): the engine of doom | is here\n"
	if diff := cmp.Diff(want, string(out)); err == nil || diff != "" {
		t.Errorf("start: %v (-want +got)\n%s", err, diff)
	}
}

func TestOnlyOneHoldsADirectory(t *testing.T) {
	dir := t.TempDir()
	release, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Hold(dir)
	if want := fmt.Sprintf("another agent (pid %d) serves %s", os.Getpid(), dir); err == nil || err.Error() != want {
		t.Errorf("second Hold: %v, want %s", err, want)
	}
	release()
	release, err = Hold(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	release()
}

func TestRemoveLeavesNothingOfOttos(t *testing.T) {
	dir, a, _ := nodeDir(t)
	startAs(t, a, dir)
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if parent := filepath.Dir(dir); exists(parent) {
		t.Errorf("%s is still there", parent)
	}
}

func TestRemoveLeavesWhatIsNotOttos(t *testing.T) {
	dir, _, _ := nodeDir(t)
	write(t, dir, "notes.txt", "mine")
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if diff := cmp.Diff([]string{filepath.Join(dir, "notes.txt")}, left); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestLogKeepsItsNewestPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	io.WriteString(log, strings.Repeat("old", 100)+"newest")
	if err := boundLog(path, 6); err != nil {
		t.Fatal(err)
	}
	io.WriteString(log, "next")
	for name, want := range map[string]string{path: "next", path + ".1": "newest"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s has %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestReachableKeepsTheOrder(t *testing.T) {
	listen := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}
	a, b := listen(), listen()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	got := Reachable(t.Context(), []string{b, dead.Addr().String(), "no port", a})
	if diff := cmp.Diff([]string{b, a}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzPidFile(f *testing.F) {
	f.Add("123\nabc\n")
	f.Add("-1\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if a := parsePidFile(s); a.pid < 0 || a.pid == 1 {
			t.Errorf("%q: pid %d must never be signalled", s, a.pid)
		}
	})
}

// alive is false for a zombie too: where nobody reaps the orphans of a test, it stays.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}
