// Package lab gives a test several real hosts on one Linux machine, each with its
// own address, disk, process tree, sshd and Docker engine, and the faults of real
// hosts: power cuts, pulled cables, full disks, hanging engines.
//
// The work is done by the script beside this file, which people use by hand too
// (lab help). This package runs it and makes its failures test failures. The lab
// is taken down when the test ends, whatever happened to it.
//
// Labs need root and some Debian packages. Where those are missing a test is
// skipped, or, with OTTO_E2E=required in the environment, fails: in CI a skipped
// end-to-end test proves nothing and looks like a passed one.
package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Lab is a running lab.
type Lab struct {
	Gateway    string // this machine's address, as the hosts see it
	Key        string // path of the private key that all users of all hosts take
	KnownHosts string // path of a known_hosts file with all hosts in it
	t          testing.TB
	env        []string
}

// Up takes down what an earlier run left, boots hosts n1 to n and waits for their
// sshd and engines, a second or two. One test at a time has the lab; others wait,
// those of other processes too.
func Up(t testing.TB, n int, options ...Option) *Lab {
	t.Helper()
	if problem := missing(); problem != "" {
		if os.Getenv("OTTO_E2E") == "required" {
			t.Fatalf("lab: %s", problem)
		}
		t.Skipf("SKIPPED, NOT TESTED: the lab %s", problem)
	}
	const dir = "/var/lib/otto-lab-test"
	l := &Lab{
		Gateway:    "10.77.0.1",
		Key:        filepath.Join(dir, "key"),
		KnownHosts: filepath.Join(dir, "known_hosts"),
		t:          t,
		env:        append(os.Environ(), "LAB_NAME=test"),
	}
	for _, option := range options {
		option(l)
	}
	l.lock()
	l.Run("down")
	t.Cleanup(func() { l.Run("down") })
	l.Run("up", fmt.Sprint(n))
	return l
}

// Option changes how the lab boots.
type Option func(*Lab)

// WithoutEngine boots the named hosts without Docker.
func WithoutEngine(hosts ...string) Option {
	return func(l *Lab) { l.env = append(l.env, "LAB_NO_ENGINE="+strings.Join(hosts, " ")) }
}

// missing says why there can be no lab here, or nothing.
func missing() string {
	if runtime.GOOS != "linux" {
		return "needs Linux"
	}
	if os.Geteuid() != 0 {
		return "needs root"
	}
	for _, tool := range []string{"dockerd", "docker", "sshd", "ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "needs " + tool + ": run scripts/setup"
		}
	}
	return ""
}

// lock holds the machine's one lab for this test: whichever checkout a test is
// from, its hosts have the same addresses. A lock on a directory leaves no file.
func (l *Lab) lock() {
	l.t.Helper()
	f, err := os.Open("/run")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		l.t.Fatalf("lab: wait for the lab: %v", err)
	}
}

// Run runs a command of the script and returns its output, trimmed.
func (l *Lab) Run(args ...string) string {
	l.t.Helper()
	out, err := l.Try(args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// Try is Run for commands that may fail; the error holds standard error.
func (l *Lab) Try(args ...string) (string, error) { return run(l.env, args...) }

func run(env []string, args ...string) (string, error) {
	// Not the test's own context: that has ended when the lab is taken down.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, script(), args...)
	cmd.Env, cmd.WaitDelay = env, 5*time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("lab %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// script is beside the source of this package.
func script() string {
	_, source, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(source), "lab")
}

// Host returns a host by its name: n1, n2, ...
func (l *Lab) Host(name string) *Host {
	var number int
	if _, err := fmt.Sscanf(name, "n%d", &number); err != nil {
		l.t.Fatalf("lab: host %q: hosts are n1, n2, ...", name)
	}
	return &Host{Name: name, IP: fmt.Sprintf("10.77.0.%d", 10+number), lab: l}
}

// Address gives this machine another address in the network of the hosts.
func (l *Lab) Address(ip string) { l.t.Helper(); l.Run("address", ip) }

// Engine makes sure that this machine itself has a Docker engine at
// /var/run/docker.sock: the one that is there, or one that ends with the lab.
func (l *Lab) Engine() { l.t.Helper(); l.Run("engine", "up") }

// Images builds the test images, which are the same for all tests; call it before Load.
// Where LAB_IMAGES names a directory they are there already.
func (l *Lab) Images() {
	l.t.Helper()
	if _, err := images(); err != nil {
		l.t.Fatal(err)
	}
}

var images = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // likewise
	if os.Getenv("LAB_IMAGES") != "" {
		return "", nil
	}
	return run(os.Environ(), "image")
})

// Load gives this machine's engine test images, or all.
func (l *Lab) Load(images ...string) {
	l.t.Helper()
	l.Run(append([]string{"load", "machine"}, images...)...)
}
