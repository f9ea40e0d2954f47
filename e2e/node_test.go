package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

func TestNodesAreDrainedRemovedAndAdded(t *testing.T) {
	l, c := threeHosts(t)
	if out := c.Run("node", "ls"); strings.Count(out, "ready") != 3 || !strings.Contains(out, "web,db,pet") {
		t.Errorf("node ls:\n%s", out)
	}
	c.Run("node", "cordon", "n2")
	out, err := c.Try("node", "drain", "n1", "--deadline", "1m")
	_, left, _ := strings.Cut(out, "still there:")
	if err == nil || !strings.Contains(left, "pet: its home is n1") || strings.Contains(left, "web") ||
		!strings.Contains(out, "web: ") {
		t.Errorf("drain: %v\n%s", err, out)
	}
	for _, name := range []string{"web", "db"} {
		if got := l.Host("n3").Docker("ps", "--format", "{{.Names}}", "--filter", "name=^"+name+"$"); got != name {
			t.Errorf("%s is not on n3", name)
		}
		if got := l.Host("n1").Docker("ps", "-aq", "--filter", "name=^"+name+"$"); got != "" {
			t.Errorf("%s is still on n1", name)
		}
	}
	if out := c.Run("node", "show", "n1"); !strings.Contains(out, "draining") ||
		!strings.Contains(out, "node-drained") {
		t.Errorf("node show:\n%s", out)
	}
	if out, err := c.Try("node", "rm", "n1"); err == nil || !strings.Contains(out, "n1") {
		t.Errorf("a home is removed: %v\n%s", err, out)
	}
	c.Run("node", "uncordon", "n1")
	c.Run("node", "uncordon", "n2")

	before, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c.Run("node", "rm", "n3")
	lab.Until(t, "n3 is gone, with all that was Otto's", func() bool {
		if len(c.Status().Nodes) != 2 || !allUp(c) {
			return false
		}
		left := l.Host("n3").Docker("ps", "-aq")
		return left == "" && len(l.Host("n3").Processes("otto-agent")) == 0
	})
	if out := c.Run("cluster", "start"); strings.Contains(out, "n3") {
		t.Errorf("it comes back: %s", out)
	}
	c.Run("node", "add", "n3", "--host", l.Host("n3").IP, "--user", "otto", "--identity-file", l.Key)
	if !allUp(c) || len(c.Status().Nodes) != 3 {
		t.Errorf("n3 was added:\n%s", c.Run("cluster", "status"))
	}
	after, err := os.ReadFile(filepath.Join(c.Dir, "otto.yaml"))
	if err != nil || strings.Count(string(after), "\n") != strings.Count(string(before), "\n")+3 {
		t.Errorf("%v, otto.yaml was\n%s\nand is\n%s", err, before, after)
	}
	said := c.Run("events")
	for _, kind := range []string{"node-cordoned", "node-drained", "node-removed", "node-left", "service-moved"} {
		if !strings.Contains(said, kind) {
			t.Errorf("no %s in the events:\n%s", kind, said)
		}
	}
	if !strings.Contains(said, "(by ") {
		t.Errorf("nobody did it:\n%s", said)
	}
	c.Run("cluster", "stop")
	if again := c.Run("events"); !strings.HasPrefix(again, said) {
		t.Errorf("after the stop there is\n%s\nand there was\n%s", again, said)
	}
	c.Start()
}
