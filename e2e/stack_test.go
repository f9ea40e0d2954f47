package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestComposeProjectRunsAsOne writes a plain Compose file into a cluster of two nodes:
// all of it is on one node, its names resolve, its job runs once, who is in the network
// of another container follows that, it leaves a node that is drained together, and what
// is removed leaves its volume and nothing else.
func TestComposeProjectRunsAsOne(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	both := []string{"n1", "n2"}
	for _, name := range both {
		l.Host(name).Load("otto-echo:1", "redis:alpine")
	}
	c := lab.NewCluster(t, nodesYAML(l, "otto", both...)+"  - {name: alone, image: 'otto-echo:1', node: n1}\n")
	c.Know(l)
	tellIfFailed(t, c)
	c.Start()
	shop := filepath.Join(c.Dir, "shop")
	if err := os.Mkdir(shop, 0o700); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(filepath.Join(shop, "compose.yaml"), []byte(`
services:
  db:
    image: redis:alpine
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s}
  init:
    image: redis:alpine
    command: [redis-cli, -h, db, incr, runs]
    depends_on: {db: {condition: service_healthy}}
  web:
    image: otto-echo:1
    depends_on: {init: {condition: service_completed_successfully}}
  vpn: {image: "redis:alpine", restart: always}
  ask:
    image: redis:alpine
    entrypoint: [sleep, "1000"]
    network_mode: service:vpn
    stop_grace_period: 0s
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c.Run("apply", "-f", "shop", "--yes")
	home := func() (node string) {
		t.Helper()
		for _, name := range both {
			if names := l.Host(name).Docker("ps", "--format", "{{.Names}}"); strings.Contains(names, "shop-web-1") {
				if !strings.Contains(names, "shop-db-1") {
					t.Errorf("%s has only a part of the stack: %s", name, names)
				}
				node += name
			}
		}
		return node
	}
	runs := func() string {
		return strings.TrimSpace(l.Host(home()).Docker("exec", "shop-db-1", "redis-cli", "get", "runs"))
	}
	node := home()
	if node != "n1" && node != "n2" {
		t.Fatalf("the stack is on %q", node)
	}
	if got := runs(); got != "1" {
		t.Errorf("the job has run %s times", got)
	}
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") {
		t.Errorf("a second apply says:\n%s", out)
	}
	if out := c.Run("stack", "ls"); !strings.Contains(out, "5/5") {
		t.Error(out)
	}

	if out := c.Run("run", "shop/init"); strings.TrimSpace(out) != "2" || runs() != "2" { // where db is found
		t.Errorf("a run of the job says %q, and db has %s", out, runs())
	}
	runsLeaveNothing(t, l, c, node)

	inVPN := func() bool { // what ask reaches at its own address is the server of vpn
		pong, err := l.Host(home()).TryDocker("exec", "shop-ask-1", "redis-cli", "ping")
		return err == nil && pong == "PONG"
	}
	lab.Until(t, "ask is in the network of vpn", inVPN)
	l.Host(node).Docker("kill", "shop-vpn-1")
	lab.Until(t, "ask is in its network again", inVPN)

	if out, err := c.Try("node", "drain", node); err != nil && !strings.Contains(out, "alone: its home is "+node) {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	if other := home(); other == node || other == "" {
		t.Errorf("drained, it is on %q", other)
	}
	lab.Until(t, "all is up", func() bool { return strings.Contains(c.Run("stack", "ls"), "5/5") })
	c.Run("node", "uncordon", node)

	c.Run("stack", "rm", "shop")
	for _, name := range both {
		lab.Until(t, "nothing of it is left on "+name, func() bool { // what depends on another one stops first
			return l.Host(name).Docker("ps", "-aq", "--filter", "label=otto.cluster", "--filter",
				"label=com.docker.compose.project=shop") == ""
		})
	}
	if s := c.Status().Services; len(s) != 1 || s[0].Name != "alone" ||
		s[0].Instances[0].State != otto.InstanceRunning {
		t.Errorf("left: %+v", s)
	}
}

// runsLeaveNothing kills who waits for a run, here and on its node.
func runsLeaveNothing(t *testing.T, l *lab.Lab, c *lab.Cluster, node string) {
	t.Helper()
	h := l.Host(node)
	label := func() string {
		return strings.TrimSpace(h.Docker("ps", "-a", "--filter", "label=otto.once", "--format", "{{.Label \"otto.runner\"}}"))
	}
	for _, end := range []struct {
		who string
		of  func(cmd *exec.Cmd, runner string)
	}{
		{"otto run", func(cmd *exec.Cmd, _ string) { _ = cmd.Process.Kill() }},
		{"its agent", func(_ *exec.Cmd, runner string) {
			pid, _, _ := strings.Cut(runner, "/")
			h.Exec("kill", "-9", pid)
		}},
	} {
		cmd := c.Command(t.Context(), "run", "shop/db", "sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "a run", func() bool { return label() != "" })
		if out := c.Run("stack", "ls"); !strings.Contains(out, "5/5") {
			t.Errorf("beside a run: %s", out)
		}
		end.of(cmd, label())
		lab.Until(t, "nothing is left after a kill of "+end.who, func() bool { return label() == "" })
		_ = cmd.Wait()
	}
}
