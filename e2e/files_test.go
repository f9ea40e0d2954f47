package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// filesProject is a plain Compose file with configuration beside it. Its user is neither
// root nor the agent's.
const filesProject = `
services:
  web:
    image: redis:alpine
    user: "999:1000"
    command: [sleep, "10000"]
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./conf:/conf:ro", "./single.conf:/etc/single.conf:ro"]
  single:
    image: redis:alpine
    command: [sleep, "10000"]
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./single.conf:/etc/single.conf:ro"]
`

// TestConfigurationOfAProject runs a project with a folder of configuration on a node
// whose agent is root and on one whose agent is not, and one that may be anywhere: both
// serve it, an edited file recreates exactly what uses it, and after a power cut the other
// node has what was applied, and not what was edited since.
func TestConfigurationOfAProject(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("redis:alpine")
	l.Host("n2").Load("redis:alpine")
	nodes := strings.Replace(nodesYAML(l, "root", "n1", "n2"), "services:\n", "", 1)
	nodes = strings.Replace(nodes, l.Host("n2").IP+", user: root", l.Host("n2").IP+", user: otto", 1)
	c := lab.NewCluster(t, nodes+"stacks:\n  - {name: one, compose: shop, node: n1}\n"+
		"  - {name: two, compose: shop, node: n2}\n  - {name: roam, compose: shop}\n")
	c.Know(l)
	tellIfFailed(t, c)
	shop := filepath.Join(c.Dir, "shop")
	write := func(name, text string) {
		t.Helper()
		at := filepath.Join(shop, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("compose.yaml", filesProject)
	write("conf/app.conf", "first\n")
	write("conf/sub/private.conf", "private\n")
	write("single.conf", "single\n")
	private := filepath.Join(shop, "conf/sub/private.conf")
	if err := errors.Join(os.Chown(private, 999, 1000), os.Chmod(private, 0o600),
		os.Symlink("sub/private.conf", filepath.Join(shop, "conf/link"))); err != nil {
		t.Fatal(err)
	}
	c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	at := func(service string) string {
		for _, s := range c.Status().Services {
			if s.Name == service && len(s.Instances) == 1 {
				return s.Instances[0].Node
			}
		}
		return ""
	}
	reads := func(host, container, want string) {
		t.Helper()
		last := ""
		lab.Until(t, container+" on "+host+" reads "+strings.ReplaceAll(want, "\n", " "), func() bool {
			out, _ := l.Host(host).TryDocker("exec", container, "cat", "/conf/app.conf", "/conf/link", "/etc/single.conf")
			if out != last {
				t.Logf("%s on %s reads %q", container, host, out)
				last = out
			}
			return strings.TrimSpace(out) == want
		})
	}
	roaming := at("roam/web")
	for container, host := range map[string]string{"one-web-1": "n1", "two-web-1": "n2", "roam-web-1": roaming} {
		reads(host, container, "first\nprivate\nsingle")
	}
	if out, err := l.Host("n1").TryDocker("exec", "-u", "0", "one-web-1", "sh", "-c", "echo x >/conf/app.conf"); err == nil {
		t.Errorf("it is writable: %s", out)
	}
	owner := "stat -c '%u:%g %a' .local/share/otto/faults/files/*/tree/sub/private.conf"
	if out, err := l.Host("n1").TrySSH("root", owner); strings.TrimSpace(out) != "999:1000 600" {
		t.Errorf("its owner and mode are %s (%v)", out, err)
	}
	if out := c.Run("run", "one/web", "cat", "/conf/app.conf"); !strings.Contains(out, "first") {
		t.Errorf("a run beside the service says %s", out)
	}

	id := func(host, container string) string { return l.Host(host).Docker("inspect", "-f", "{{.Id}}", container) }
	web, single := id("n1", "one-web-1"), id("n1", "one-single-1")
	write("conf/app.conf", "second\n")
	out, _ := c.Try("plan") // which ends with 1 if there is something to do
	if !strings.Contains(out, "files ./conf have changed") || strings.Contains(out, "single:") {
		t.Errorf("the plan says:\n%s", out)
	}
	c.Run("apply", "--yes")
	roaming = at("roam/web")
	for container, host := range map[string]string{"one-web-1": "n1", "two-web-1": "n2", "roam-web-1": roaming} {
		reads(host, container, "second\nprivate\nsingle")
	}
	if id("n1", "one-web-1") == web || id("n1", "one-single-1") != single {
		t.Error("an edited file has not recreated what uses it, and that alone")
	}

	write("conf/app.conf", "edited and not applied\n")
	other := map[string]string{"n1": "n2", "n2": "n1"}[roaming]
	l.Host(roaming).Kill()
	reads(other, "roam-web-1", "second\nprivate\nsingle")
	l.Host(roaming).Boot()
	home := map[string]string{"n1": "one-web-1", "n2": "two-web-1"}[roaming]
	reads(roaming, home, "second\nprivate\nsingle")

	// Spoiled on the node, and then started: it is brought again.
	user := map[string]string{"n1": "root", "n2": "otto"}[other]
	home = map[string]string{"n1": "one-web-1", "n2": "two-web-1"}[other]
	spoil := `for f in .local/share/otto/faults/files/*/tree/app.conf; do chmod u+w "$f"; echo spoiled >"$f"; done`
	if out, err := l.Host(other).TrySSH(user, spoil); err != nil {
		t.Fatal(out)
	}
	service := map[string]string{"n1": "one/web", "n2": "two/web"}[other]
	c.Run("service", "restart", service)
	reads(other, home, "second\nprivate\nsingle")
}
