package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestKeysAreRenewedAsItRuns renews all keys with one of three nodes without power, which
// gets them when it is back, and then once more as if they were stolen.
func TestKeysAreRenewedAsItRuns(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	var nodes strings.Builder
	for _, n := range hosts {
		l.Host(n).Load("otto-echo:1")
		fmt.Fprintf(&nodes, "  - {id: %s, host: %s, user: otto, identity_file: %s}\n", n, l.Host(n).IP, l.Key)
	}
	l.Host("n2").Load("redis:alpine")
	yaml := fmt.Sprintf(`cluster: {name: renewed}
mqtt: {port: 1894}
nodes:
%sservices:
  - {name: web, image: "otto-echo:1", node: n1}
  - {name: pet, image: "redis:alpine", node: n2, failover: move, data: disposable, volumes: ["pet:/data"]}
  - {name: far, image: "otto-echo:1", node: n3}
`, nodes.String())
	c := lab.NewCluster(t, yaml)
	c.Start()
	runs := map[string]string{"web": "n1", "pet": "n2", "far": "n3"}
	since := func(names ...string) (list []string) {
		for _, name := range names {
			list = append(list, l.Host(runs[name]).Docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", name))
		}
		return list
	}
	enrolment := func(host string) string { return l.Host(host).SSH("cat .local/share/otto/renewed/agent.json") }
	all := func(c *lab.Cluster) bool {
		v := c.Status()
		for _, n := range v.Nodes {
			if n.State != otto.NodeReady || time.Since(n.LastSeen) > 2*time.Second {
				return false
			}
		}
		for _, s := range v.Services {
			if !s.Instances[0].Up() {
				return false
			}
		}
		return true
	}
	up := func() bool { return all(c) }
	old := filepath.Join(t.TempDir(), "old.backup")
	c.Run("cluster", "backup", old)
	before, id := since("web", "pet"), c.Status().ID
	key := between(enrolment("n1"), `"control_key":"`, `"`)

	l.Host("n3").Kill()
	lab.Until(t, "n3 is lost", func() bool { return c.Status().Nodes[2].State == otto.NodeLost })
	out := c.Run("cluster", "rotate")
	if !strings.Contains(out, "those of before have ended. Without the new ones:\n  n3:") {
		t.Errorf("rotate says:\n%s", out)
	}
	for _, n := range []string{"n1", "n2"} {
		if e := enrolment(n); between(e, `"control_key":"`, `"`) == key || !strings.Contains(e, key) {
			t.Errorf("%s does not have the new keys", n)
		}
	}
	l.Host("n3").Boot()
	deadline := time.Now().Add(3 * time.Minute)
	for c.Status().Rotation != nil && time.Now().Before(deadline) {
		time.Sleep(time.Second)
	}
	if r := c.Status().Rotation; r != nil {
		t.Fatalf("n3 has not got its keys: %+v\n%s", r, c.Run("events"))
	}
	lab.Until(t, "all is up", up)
	if after := since("web", "pet"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("restarted: %v, then %v", before, after)
	}

	t.Run("compromised", func(t *testing.T) {
		before := since("web", "pet", "far")
		if out := c.Run("cluster", "rotate", "--compromised"); !strings.Contains(out, "All nodes have new keys") {
			t.Errorf("rotate says:\n%s", out)
		}
		lab.Until(t, "all is up", up)
		if after := since("web", "pet", "far"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("restarted: %v, then %v", before, after)
		}
	})
	t.Run("the control plane comes back with them", func(t *testing.T) {
		before := since("web", "pet", "far")
		killed(t, c)
		lab.Until(t, "all is up", up)
		if after := since("web", "pet", "far"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("restarted: %v, then %v", before, after)
		}
	})
	if c.Status().ID != id {
		t.Error("it is another cluster")
	}
	t.Run("a backup of before", func(t *testing.T) {
		before := since("web", "far") // pet needs a lease, and stops without a control plane
		key := between(enrolment("n1"), `"control_key":"`, `"`)
		abandon(t, c)
		other := elsewhere(t, l, c)
		other.Write(yaml)
		other.Run("cluster", "restore", old, "--yes")
		other.Start()
		lab.Until(t, "all is up", func() bool { return all(other) && other.Status().Rotation == nil })
		if now := enrolment("n1"); between(now, `"control_key":"`, `"`) == key || !strings.Contains(now, key) {
			t.Error("the nodes' keys are not replaced")
		}
		if after := since("web", "far"); fmt.Sprint(after) != fmt.Sprint(before) || other.Status().ID != id {
			t.Errorf("restarted: %v, then %v", before, after)
		}
		abandon(t, other)
	})
}
