package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// abandon kills the control plane of a directory with -9.
func abandon(t *testing.T, c *lab.Cluster) {
	t.Helper()
	c.Abandoned = true
	for _, pid := range slices.Sorted(slices.Values(controlPlane(t, c))) { // the supervisor first
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	lab.Until(t, "no control plane", func() bool {
		out, err := c.Try("cluster", "status")
		return err != nil || strings.Contains(out, "is not running")
	})
}

// elsewhere is another machine: another directory, home and known_hosts.
func elsewhere(t *testing.T, l *lab.Lab, c *lab.Cluster) *lab.Cluster {
	t.Helper()
	other := *c
	other.Dir, other.Abandoned = t.TempDir(), false
	other.Know(l)
	return &other
}

// backupYAML has a service that may move, one with data, and perhaps more.
func backupYAML(l *lab.Lab, more string) string {
	var nodes strings.Builder
	for _, n := range hosts {
		fmt.Fprintf(&nodes, "  - {id: %s, host: %s, user: otto, identity_file: %s}\n", n, l.Host(n).IP, l.Key)
	}
	return fmt.Sprintf(`cluster: {name: backed-up}
mqtt: {port: 1893}
nodes:
%sservices:
  - {name: web, image: "otto-echo:1", node: n1, failover: move, ports: ["8080:8080"]}
  - {name: pet, image: "redis:alpine", node: n2, volumes: ["pet:/data"]}
%s`, nodes.String(), more)
}

func TestClusterIsRestoredOnAnotherMachine(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	for _, n := range hosts {
		l.Host(n).Load("otto-echo:1", "redis:alpine")
	}
	c := lab.NewCluster(t, backupYAML(l, ""))
	out := c.Start()
	key := regexp.MustCompile(`recovery key: ([0-9A-Z-]{44}) `).FindStringSubmatch(out)
	if key == nil {
		t.Fatalf("no recovery key is shown:\n%s", out)
	}
	lab.Until(t, "all is up", func() bool { return allUp(c) })
	old := filepath.Join(t.TempDir(), "old.backup")
	c.Run("cluster", "backup", old)

	// The world moves on: a service more, a node that dies and comes back.
	c.Write(backupYAML(l, `  - {name: late, image: "redis:alpine", node: n3}`+"\n"))
	if out := c.Run("cluster", "start"); strings.Contains(out, "recovery key") {
		t.Errorf("the recovery key is shown again:\n%s", out)
	}
	l.Host("n1").Kill()
	lab.Until(t, "web is elsewhere", func() bool {
		return c.Status().Services[0].Instances[0].Node != "n1" && c.Status().Services[0].Instances[0].Up()
	})
	l.Host("n1").Boot()
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	time.Sleep(12 * time.Second) // what stood in is final
	final := time.Now()
	c.Run("node", "cordon", "n3") // changes that the next snapshots have to hold
	c.Run("node", "uncordon", "n3")
	lab.Until(t, "two snapshots of now", func() bool {
		n := 0
		for _, s := range c.Status().Snapshots {
			if s.Problem == "" && s.Time.After(final) {
				n++
			}
		}
		return n >= 2
	})
	c.Run("cluster", "status")
	before := places(l)
	abandon(t, c)

	t.Run("from an old backup", func(t *testing.T) {
		bare := elsewhere(t, l, c)
		out := bare.Run("cluster", "restore", old, "--dry-run")
		for _, want := range []string{`web +adopts .*the backup has it on n1`, `n2 +pet +keeps`, `n3 +late +would stop +what is wanted does not have it`} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("the dry run does not say %q:\n%s", want, out)
			}
		}
		if left, _ := os.ReadDir(bare.Dir); len(left) != 1 { // .ssh
			t.Errorf("the dry run left %v", left)
		}

		other := elsewhere(t, l, c)
		other.Write(backupYAML(l, `  - {name: late, image: "redis:alpine", node: n3}`+"\n"))
		out = other.Run("cluster", "restore", old, "--yes")
		if strings.Contains(out, "would") {
			t.Errorf("with the newer file:\n%s", out)
		}
		unmoved(t, l, before)
		other.Start()
		lab.Until(t, "all is up", func() bool { return allUp(other) })
		unmoved(t, l, before)
		abandon(t, other)
	})
	t.Run("from the snapshot of a node", func(t *testing.T) {
		other := elsewhere(t, l, c)
		file := filepath.Join(other.Dir, "key")
		if err := os.WriteFile(file, []byte(strings.ToLower(key[1])), 0o600); err != nil {
			t.Fatal(err)
		}
		var from string
		for _, n := range hosts {
			if out, err := l.Host(n).TrySSH("otto", "stat -c %a .local/share/otto/backed-up/snapshot"); err == nil {
				if from = l.Host(n).IP; strings.TrimSpace(out) != "600" {
					t.Errorf("others may read the snapshot on %s: %s", n, out)
				}
			}
		}
		restore := []string{"cluster", "restore", "--from", "otto@" + from, "--identity-file", l.Key, "--yes"}
		if out, err := other.Try(restore...); err == nil || !strings.Contains(out, "--recovery-key-file") {
			t.Errorf("without a key: %v\n%s", err, out)
		}
		out := other.Run(append(restore, "--recovery-key-file", file)...)
		if strings.Contains(out, "would") || !strings.Contains(out, "late") {
			t.Errorf("the snapshot is not of now:\n%s", out)
		}
		other.Start()
		lab.Until(t, "all is up", func() bool { return allUp(other) })
		unmoved(t, l, before)
		if got := strings.TrimSpace(other.Run("cluster", "backup", "--recovery-key")); got != key[1] {
			t.Errorf("the recovery key is another one: %s", got)
		}
		other.Run("cluster", "uninstall", "--volumes", "--yes")
		if out, err := l.Host("n2").TrySSH("otto", "ls -A .local/share/otto"); err == nil && out != "" {
			t.Errorf("left on n2: %s", out)
		}
	})
}

// TestControlPlaneWithAnotherAddressIsFound changes the address of this machine,
// as a router may at any time.
func TestControlPlaneWithAnotherAddressIsFound(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	for _, n := range hosts {
		l.Host(n).Load("otto-echo:1", "redis:alpine")
	}
	yaml := backupYAML(l, `  - {name: cache, image: "redis:alpine", node: n1, failover: move, data: disposable, volumes: ["cache:/data"]}`+"\n")
	c := lab.NewCluster(t, yaml)
	change := func(t *testing.T, to string) {
		t.Helper()
		time.Sleep(5 * time.Second) // links are learned
		before := places(l)
		began := time.Now()
		l.Address(to)
		lab.Until(t, "the change is noticed", func() bool { return !allUp(c) })
		lab.Until(t, "all is up again", func() bool { return allUp(c) })
		t.Logf("all is up again after %s", time.Since(began).Round(100*time.Millisecond))
		time.Sleep(8 * time.Second) // time enough to move something
		unmoved(t, l, before)
		for _, s := range []string{"web", "pet", "cache"} {
			if list := moves(c, s); len(list) > 0 {
				t.Errorf("moves of %s: %q", s, list)
			}
		}
		for _, n := range c.Status().Nodes {
			if n.State != otto.NodeReady || n.Problem != "" {
				t.Errorf("%s is %s: %s", n.ID, n.State, n.Problem)
			}
			if json := l.Host(n.ID).SSH("cat .local/share/otto/backed-up/agent.json"); !strings.Contains(json, `"`+to+`:1893"`) {
				t.Errorf("%s does not know the new address: %s", n.ID, json)
			}
		}
	}
	c.Start()
	t.Run("three nodes", func(t *testing.T) { change(t, "10.77.0.5") })
	t.Run("one node", func(t *testing.T) {
		c.Run("cluster", "uninstall")
		c.Write(regexp.MustCompile(`(?m)^.*(id: n[23]|name: pet).*\n`).ReplaceAllString(yaml, ""))
		c.Start()
		change(t, "10.77.0.1")
	})
}
