package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// Cluster is a directory with an otto.yaml, and the otto program to use there.
type Cluster struct {
	Dir  string
	Path string // of otto
	// Abandoned says that the nodes cannot be reached at the end of the test.
	Abandoned bool
	t         testing.TB
}

// NewCluster gets otto and writes an otto.yaml. What the test leaves of the
// cluster is uninstalled at its end.
func NewCluster(t testing.TB, yaml string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Dir: t.TempDir(), Path: filepath.Join(t.TempDir(), "otto")}
	binary, err := program()
	if err == nil {
		err = os.WriteFile(c.Path, binary, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Write(yaml)
	t.Cleanup(func() {
		if out, err := c.Try("cluster", "uninstall", "--volumes", "--yes"); err != nil && !c.Abandoned {
			t.Errorf("uninstall: %v\n%s", err, out)
		}
	})
	return c
}

// program is otto, built once, or as OTTO_PROGRAM says, where it lies. Each cluster has a
// copy of its own: processes are told apart by its path.
var program = sync.OnceValues(func() ([]byte, error) { //nolint:gochecknoglobals // it is the same for all tests
	if path := os.Getenv("OTTO_PROGRAM"); path != "" {
		return os.ReadFile(path)
	}
	dir, err := os.MkdirTemp("", "otto")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "otto")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/otto-edge/otto/cmd/otto").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build otto: %w\n%s", err, out)
	}
	return os.ReadFile(path)
})

// Write replaces otto.yaml.
func (c *Cluster) Write(yaml string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir, "otto.yaml"), []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Know makes the host keys of a lab known, as ssh-keyscan would.
func (c *Cluster) Know(l *Lab) {
	c.t.Helper()
	keys, err := os.ReadFile(l.KnownHosts)
	if err == nil {
		err = os.MkdirAll(filepath.Join(c.Dir, ".ssh"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Dir, ".ssh", "known_hosts"), keys, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Command is otto with a home directory of its own, so that no key and no agent
// of the user is touched.
func (c *Cluster) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Path, args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "HOME="+c.Dir)
	return cmd
}

// Try runs otto and returns all that it prints.
func (c *Cluster) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 3*time.Minute)
	defer cancel()
	out, err := c.Command(ctx, args...).CombinedOutput()
	return string(out), err
}

// Run is Try for commands that must not fail.
func (c *Cluster) Run(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.Dir, ".otto", "control.log"))
		c.t.Fatalf("otto %s: %v\n%s\n%s", strings.Join(args, " "), err, out, log)
	}
	return out
}

// Start is the command "cluster start" with new host keys accepted.
func (c *Cluster) Start() string {
	c.t.Helper()
	return c.Run("cluster", "start", "--accept-new-host-keys")
}

// Status is everything that the control plane knows.
func (c *Cluster) Status() otto.Cluster {
	c.t.Helper()
	var v otto.Cluster
	if err := json.Unmarshal([]byte(c.Run("cluster", "status", "-o", "json")), &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// Until waits for a condition, half a minute at most.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		<-tick.C
	}
}
