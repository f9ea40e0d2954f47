package e2e_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// secretsProject is a plain Compose file. The container's user is neither root nor the
// agent's.
const secretsProject = `
services:
  web:
    image: redis:alpine
    user: "999:1000"
    command: [sleep, "10000"]
    stop_grace_period: 0s
    environment: {PASSWORD_FILE: /run/secrets/db_password, MARKED: "${MARK}"}
    x-otto: {secret_environment: [MARKED]}
    secrets: [db_password, {source: token, target: api/token}]
    configs: [{source: conf, target: /etc/app.conf}]
  other: {image: "redis:alpine", restart: always}
secrets:
  db_password: {file: ./db_password.txt}
  token: {environment: API_TOKEN}
configs:
  conf: {content: "greeting = hunter2-config\n"}
`

// TestSecretsOfAComposeFile runs a project with secrets and configs on a node whose agent
// is root and on one whose agent is not: the container reads them, nobody else finds them,
// a changed one recreates what uses it alone, and a reboot loses none.
func TestSecretsOfAComposeFile(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("redis:alpine")
	l.Host("n2").Load("redis:alpine")
	nodes := strings.Replace(nodesYAML(l, "root", "n1", "n2"), "services:\n", "", 1)
	nodes = strings.Replace(nodes, l.Host("n2").IP+", user: root", l.Host("n2").IP+", user: otto", 1)
	c := lab.NewCluster(t, nodes+"stacks:\n  - {name: shop, compose: shop, node: n1}\n  - {name: user, compose: shop, node: n2}\n")
	c.Know(l)
	tellIfFailed(t, c)
	shop := filepath.Join(c.Dir, "shop")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(shop, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(shop, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("compose.yaml", secretsProject)
	write("db_password.txt", "hunter2-of-the-database\n")
	write(".env", "API_TOKEN=hunter2-token\nMARK=m4rked-variable\n")
	said := c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	reads := func(host, container string) string {
		out, _ := l.Host(host).TryDocker("exec", container, "sh", "-c", "cat /run/secrets/db_password /run/secrets/api/token /etc/app.conf")
		return out
	}
	wait := func(password string) {
		t.Helper()
		want := password + "\nhunter2-tokengreeting = hunter2-config\n"
		for host, container := range map[string]string{"n1": "shop-web-1", "n2": "user-web-1"} {
			last := ""
			lab.Until(t, container+" reads its secrets", func() bool {
				if got := reads(host, container); got != last {
					last = got
					t.Logf("%s reads %q", container, got)
				}
				return strings.TrimSpace(last) == strings.TrimSpace(want)
			})
		}
	}
	wait("hunter2-of-the-database")

	for host, container := range map[string]string{"n1": "shop-web-1", "n2": "user-web-1"} {
		if got := strings.TrimSpace(l.Host(host).Docker("exec", container, "sh", "-c", "echo $MARKED")); got != "m4rked-variable" {
			t.Errorf("%s has the variable %q", container, got)
		}
	}

	t.Run("nobody else finds them", func(t *testing.T) {
		texts := map[string]string{
			"what start says": said,
			"status":          c.Run("cluster", "status", "-o", "json"),
			"events":          c.Run("events", "-o", "json"),
			"explain":         c.Run("explain", "shop/web"),
			"plan":            c.Run("plan"),
		}
		for host, state := range map[string]string{"n1": "/root", "n2": ".local/share/otto"} {
			h := l.Host(host)
			texts["inspect on "+host] = h.Docker("inspect", strings.Fields(h.Docker("ps", "-q"))[0], strings.Fields(h.Docker("ps", "-q"))[1])
			user := map[string]string{"n1": "root", "n2": "otto"}[host]
			found, err := h.TrySSH(user, "grep -rlF hunter2 "+state+" /var/log /tmp /var/lib/docker/containers 2>/dev/null; true")
			if err != nil || found != "" {
				t.Errorf("it is in files of %s (%v):\n%s", host, err, found)
			}
			found, err = h.TrySSH(user, "grep -rlF m4rked "+state+" /var/log /tmp 2>/dev/null; true")
			if err != nil || found != "" {
				t.Errorf("the variable is in files of %s (%v):\n%s", host, err, found)
			}
			if there, err := h.TrySSH(user, "ls "+state+" >/dev/null 2>&1; find "+state+" -name assignment.json"); err != nil || there == "" {
				t.Errorf("no assignment is in %s of %s (%v)", state, host, err)
			}
			texts["processes of "+host] = h.Exec("sh", "-c", "for pid in $(pgrep otto-agent); do tr '\\0' '\\n' </proc/$pid/cmdline; tr '\\0' '\\n' </proc/$pid/environ; done")
		}
		err := filepath.WalkDir(filepath.Join(c.Dir, ".otto"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "store" { // which holds them
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			texts[d.Name()] = string(b)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		for name, text := range texts {
			if strings.Contains(text, "m4rked") && !strings.HasPrefix(name, "inspect on ") {
				t.Errorf("%s has the variable", name)
			}
			if at := strings.Index(text, "hunter2"); at >= 0 || len(text) == 0 && !strings.HasSuffix(name, ".lock") {
				t.Errorf("%s has %q", name, text[max(0, at-60):min(len(text), max(0, at)+30)])
			}
		}
		noSecretInBundle(t, c, "control/control.log", "nodes/n1/agent.log")
	})

	t.Run("a run beside the service has them", func(t *testing.T) {
		if out := c.Run("run", "shop/web", "sh", "-c", "echo $MARKED"); !strings.Contains(out, "m4rked-variable") {
			t.Errorf("its variable is %s", out)
		}
		if out := c.Run("run", "shop/web", "cat", "/run/secrets/api/token"); !strings.Contains(out, "hunter2-token") {
			t.Errorf("it says %s", out)
		}
	})

	t.Run("a changed one recreates what uses it", func(t *testing.T) {
		id := func(container string) string { return l.Host("n1").Docker("inspect", "-f", "{{.Id}}", container) }
		web, other := id("shop-web-1"), id("shop-other-1")
		write("db_password.txt", "hunter2-changed\n")
		out, _ := c.Try("plan") // which ends with 1 if there is something to do
		if !strings.Contains(out, "secret db_password has changed") || strings.Contains(out, "hunter2") {
			t.Errorf("the plan says:\n%s", out)
		}
		c.Run("apply", "--yes")
		wait("hunter2-changed")
		if id("shop-web-1") == web || id("shop-other-1") != other {
			t.Error("it is not exactly what uses it that was made anew")
		}
		if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") {
			t.Errorf("a second apply says:\n%s", out)
		}
	})

	t.Run("a reboot loses none", func(t *testing.T) {
		for _, host := range []string{"n1", "n2"} {
			l.Host(host).Kill()
			l.Host(host).Boot()
		}
		wait("hunter2-changed")
		memory := l.Host("n1").Exec("sh", "-c", "ls -ld /run/otto-*; ls /run/otto-*")
		if !strings.Contains(memory, "drwx------") || len(strings.Split(strings.TrimSpace(memory), "\n")) != 2 {
			t.Errorf("in memory there is\n%s", memory)
		}
	})

	t.Run("what is not used any more is gone", func(t *testing.T) {
		c.Run("stack", "rm", "shop")
		c.Run("stack", "rm", "user")
		for host, where := range map[string]string{"n1": "/run", "n2": "/dev/shm"} {
			lab.Until(t, "secrets are gone on "+host, func() bool {
				out, err := l.Host(host).TryExec("sh", "-c", "grep -rlF hunter2 "+where+"/otto-*; ls "+where+"/otto-*")
				return err == nil && len(bytes.TrimSpace([]byte(out))) == 0
			})
		}
	})
}
