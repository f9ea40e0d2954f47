package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestUpdateOfWhatIsAsked updates a service while another one asks it all the time,
// by its name: but for the moment in which the name goes from one container to the
// other, it answers. An update that fails goes back, and costs no answer.
func TestUpdateOfWhatIsAsked(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	h := l.Host("n1")
	h.Load("otto-echo:1", "nginx:alpine")
	file := func(more string) string {
		return fmt.Sprintf(`
cluster: {name: updated}
nodes:
  - {id: pi, host: %s, user: otto, identity_file: %s}
services:
  web:
    image: otto-echo:1
    probe: {http: ":8080/", interval: 1s}
    update: {monitor: 2s}
    %s
  client:
    image: nginx:alpine
    stop_grace_period: 0s
    command:
      - sh
      - -c
      - |
        while :; do
          ip=
          for word in $$(nslookup web); do case $$word in 172.*) ip=$$word;; esac; done
          case $$(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 $$ip 8080) in *hostname*) echo good;; *) echo bad;; esac
        done
`, h.IP, l.Key, more)
	}
	c := lab.NewCluster(t, file("environment: {COLOR: red}"))
	c.Know(l)
	c.Start()
	asked := func() (good, bad int) {
		log := h.Docker("logs", "client")
		return strings.Count(log, "good"), strings.Count(log, "bad")
	}
	lab.Until(t, "web is asked", func() bool { good, _ := asked(); return good > 10 })
	before, missed := asked()
	id := regexp.MustCompile(`(?m)^Plan ([0-9a-f]{16}):`)

	plan, err := c.Try("plan")
	if err != nil || !strings.Contains(plan, "Nothing would change") {
		t.Fatalf("%v: %s", err, plan)
	}
	c.Write(file("environment: {COLOR: blue}"))
	plan, err = c.Try("plan")
	m := id.FindStringSubmatch(plan)
	if err == nil || m == nil || !strings.Contains(plan, "recreated, start-first") || strings.Contains(plan, "blue") {
		t.Fatalf("%v: %s", err, plan)
	}
	c.Run("apply", "--plan", m[1])
	if env := h.Docker("inspect", "-f", "{{.Config.Env}}", "web"); !strings.Contains(env, "COLOR=blue") {
		t.Errorf("environment of web: %s", env)
	}
	lab.Until(t, "web was asked some more", func() bool { good, _ := asked(); return good > before+100 })
	good, bad := asked()
	t.Logf("%d answers, %d missing", good-before, bad-missed)
	if (bad-missed)*20 > good-before {
		t.Errorf("%d answers were missing in the update, of %d", bad-missed, good-before)
	}
	if out, err := c.Try("apply", "--plan", m[1]); err == nil ||
		!strings.Contains(out, "is not what would be done any more") {
		t.Errorf("a plan of the past: %v: %s", err, out)
	}

	c.Write(file("command: ['-exit', '7']"))
	out, err := c.Try("apply", "--yes", "--timeout", "1m")
	if err == nil || !strings.Contains(out, "in its former version, as the new one failed") ||
		!strings.Contains(out, "it ended with exit code 7") ||
		!strings.Contains(out, "line 12: about to end with code 7") {
		t.Errorf("apply ends with %v and says:\n%s", err, out)
	}
	if env := h.Docker("inspect", "-f", "{{.Config.Env}}", "web"); !strings.Contains(env, "COLOR=blue") {
		t.Errorf("environment of web: %s", env)
	}
	if log := h.Docker("logs", "web.kept"); !strings.Contains(log, "about to end with code 7") {
		t.Errorf("the failed container says %q", log)
	}
	if _, again := asked(); again > bad+1 { // one may be lost to a busy machine, not to an update
		t.Errorf("%d answers were missing in the update that failed", again-bad)
	}

	c.Write(file("environment: {COLOR: blue}"))
	c.Run("apply", "--yes")
	container := h.Docker("inspect", "-f", "{{.Id}}", "web")
	c.Run("service", "restart", "web")
	if now := h.Docker("inspect", "-f", "{{.Id}} {{.RestartCount}}", "web"); now != container+" 0" {
		t.Errorf("restarted, %s has become %s", container, now)
	}
	c.Run("service", "scale", "web", "2")
	if text, err := os.ReadFile(c.Dir + "/otto.yaml"); err != nil ||
		!strings.Contains(string(text), "    replicas: 2\n") {
		t.Errorf("%v: %s", err, text)
	}
	c.Run("service", "rm", "client")
	lab.Until(t, "only two of web are left", func() bool {
		names := strings.Fields(h.Docker("ps", "-a", "--format", "{{.Names}}"))
		slices.Sort(names)
		return slices.Equal(names, []string{"web", "web-2"})
	})
}
