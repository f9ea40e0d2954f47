package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

const composedThereYAML = `services:
  db:
    image: redis:alpine
    restart: always
    env_file: [db.env]
    volumes: ["./data:/data", "./conf:/conf:ro"]
    command: [redis-server, --dir, /data, --appendonly, "yes", "${QUIET}", "${LEVEL}"]
    stop_grace_period: 0s
`

// TestRemoteProjectIsAdopted takes over a project of another node, whose files are brought from
// there, and cuts the node's power in the middle. Its data stays where it is.
func TestRemoteProjectIsAdopted(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	n1 := l.Host("n1")
	n1.Load("redis:alpine")
	c := lab.NewCluster(t, nodesYAML(l, "root", "n1")+"  - {name: other, image: 'redis:alpine', node: n1}\n")
	c.Know(l)
	tellIfFailed(t, c)
	c.Start()
	tool, err := filepath.Abs(composeTool)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(tool)
	if err != nil {
		t.Skip("needs Compose itself: make bin/tools/docker-compose")
	}
	if _, err := n1.TryExec("test", "-x", tool); err != nil {
		t.Skipf("the lab's hosts do not see %s (%d bytes): %v", tool, len(program), err)
	}
	for name, text := range map[string]string{
		"compose.yaml": composedThereYAML, ".env": "QUIET=--loglevel\nLEVEL=warning\n", "db.env": "PASSWORD=secret\n", "conf/a.conf": "a\n",
	} {
		n1.Exec("sh", "-c", "mkdir -p /srv/shop/conf /srv/shop/data && echo "+base64.StdEncoding.EncodeToString([]byte(text))+
			" | base64 -d > /srv/shop/"+name)
	}
	compose := func(args string) string { return n1.Exec("sh", "-c", "cd /srv/shop && "+tool+" "+args+" 2>&1") }
	compose("up -d")
	redis := func(args ...string) string {
		out, _ := n1.TryDocker(append([]string{"exec", "shop-db-1", "redis-cli"}, args...)...)
		return strings.TrimSpace(out)
	}
	lab.Until(t, "a note is written", func() bool { return redis("set", "note", "kept") == "OK" })
	first := n1.Docker("inspect", "-f", "{{.Id}}", "shop-db-1")

	if out := c.Run("adopt"); !strings.Contains(out, "shop") || !strings.Contains(out, "yes") {
		t.Errorf("the list says:\n%s", out)
	}
	out, err := c.Try("adopt", "n1", "shop")
	if err == nil || !strings.Contains(out, "this needs a yes") ||
		!strings.Contains(out, "to shop/: .env, compose.yaml, db.env, conf/a.conf, otto-kept.yaml") ||
		!strings.Contains(out, "/srv/shop/data stays on n1") {
		t.Errorf("nobody says yes: %v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "*shop*")); len(left) > 0 {
		t.Errorf("nobody has said yes, and there are %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, ".shop*")); len(left) > 0 {
		t.Errorf("nobody has said yes, and there are %v", left)
	}

	cmd := c.Command(t.Context(), "adopt", "n1", "shop", "--yes")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "the new container is made", func() bool {
		out, _ := n1.TryDocker("ps", "-a", "--format", "{{.Names}}")
		return strings.Contains(out, "shop-db-1.next")
	})
	n1.Kill()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	n1.Boot()
	lab.Until(t, "the node is back", func() bool { _, err := c.Try("adopt", "n1"); return err == nil })
	t.Log(c.Run("adopt", "n1", "shop", "--yes"))
	lab.Until(t, "it is whole", func() bool {
		out, err := n1.TryDocker("ps", "-a", "--filter", "name=shop", "--format", "{{.Names}} {{.Label \"otto.cluster\"}}")
		return err == nil && strings.HasPrefix(out, "shop-db-1 ") && !strings.Contains(out, "\n") && redis("get", "note") == "kept"
	})
	if n1.Docker("inspect", "-f", "{{.Id}}", "shop-db-1") == first {
		t.Error("the container is Compose's")
	}
	if got := n1.Docker("exec", "shop-db-1", "sh", "-c", "cat /conf/a.conf; echo $PASSWORD"); got != "a\nsecret" {
		t.Errorf("it has %q", got)
	}
	if out, _ := c.Try("plan"); !strings.Contains(out, "Nothing would change.") {
		t.Errorf("the plan says:\n%s", out)
	}
	for name, mode := range map[string]os.FileMode{"compose.yaml": 0o600, ".env": 0o600, "db.env": 0o600, "conf/a.conf": 0o644} {
		if info, err := os.Stat(filepath.Join(c.Dir, "shop", name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "shop", "data")); err == nil {
		t.Error("its data was brought")
	}

	c.Run("release", "shop", "--yes")
	before := n1.Docker("inspect", "-f", "{{.Id}}", "shop-db-1")
	compose("up -d")
	if n1.Docker("inspect", "-f", "{{.Id}}", "shop-db-1") != before || redis("get", "note") != "kept" {
		t.Error("Compose makes anew what was given back")
	}
	compose("down")
}
