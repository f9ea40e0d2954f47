package docker

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProcessOfRootIsEndedBySudo runs itself as nobody, who may not end root's
// processes, with a sudo that only notes what it was asked.
func TestProcessOfRootIsEndedBySudo(t *testing.T) {
	if pid := os.Getenv("TEST_END_PROCESS"); pid != "" {
		n, err := strconv.Atoi(pid)
		if err == nil {
			err = endProcess(n)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "sudo") //nolint:usetesting // nobody cannot reach the test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	for path, content := range map[string]string{program: string(self), filepath.Join(dir, "sudo"): "#!/bin/sh\nprintf '%s\\n' \"$*\" >" + dir + "/asked\n[ ! -e " + dir + "/refuse ] || { echo a password is required; exit 1; }\n"} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	asNobody := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), program, "-test.run", "^"+t.Name()+"$")
		cmd.Dir, cmd.Env = "/", []string{"PATH=" + dir + ":/usr/bin:/bin", "TEST_END_PROCESS=" + strconv.Itoa(os.Getpid())}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := asNobody(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if want := "-n kill -KILL " + strconv.Itoa(os.Getpid()); err != nil || strings.TrimSpace(string(asked)) != want {
		t.Errorf("asked %q (%v), want %q", asked, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "refuse"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := asNobody(); err == nil || !strings.Contains(out, "operation not permitted") || !strings.Contains(out, "a password is required") {
		t.Errorf("refused: %v: %s", err, out)
	}
	if err := endProcess(1 << 30); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a process that is not there: %v", err)
	}
}
