package e2e_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// shopYAML is a project of what people have: a database, a cache, a worker, a service behind a
// VPN, a job that completes, and one with a fixed address.
const shopYAML = `
services:
  db:
    image: redis:alpine
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s}
  cache: {image: "redis:${CACHE_TAG:-alpine}"}
  init:
    image: redis:alpine
    command: [redis-cli, -h, db, incr, runs]
    depends_on: {db: {condition: service_healthy}}
  worker:
    image: redis:alpine
    entrypoint: [redis-cli, -h, cache, -r, "-1", -i, "0.2", incr, beats]
    depends_on: [cache, db]
    stop_grace_period: 0s
    x-otto: {requirements: [node.temperature < 75C for 3s -> migrate]}
  vpn: {image: "redis:alpine", restart: always, ports: ["8081:8080"]}
  web:
    image: otto-echo:1
    network_mode: service:vpn
    depends_on: {init: {condition: service_completed_successfully}}
    stop_grace_period: 0s
  fixed:
    image: redis:alpine
    networks: {back: {ipv4_address: 172.31.77.10}, default: {}}
networks:
  back: {ipam: {config: [{subnet: 172.31.77.0/24}]}}
`

// notesYAML keeps data.
const notesYAML = `
services:
  db:
    image: redis:alpine
    restart: always
    volumes: ["data:/data"]
    command: [redis-server, --protected-mode, "no", --dir, /data, --appendonly, "yes"]
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s}
  seed:
    image: redis:alpine
    depends_on: {db: {condition: service_healthy}}
    entrypoint: [redis-cli, -h, db, incr, seeds]
  app:
    image: redis:alpine
    restart: always
    depends_on: [db]
    entrypoint: [sleep, "100000"]
    stop_grace_period: 0s
volumes: {data: {}}
`

// TestComposeProjectRunsAsOne writes a plain Compose file into a cluster of two nodes:
// all of it is on one node, its names resolve, its job runs once, who is in the network
// of another container follows that. It leaves a node that is hot, drained or without power
// together and in order, a project with data waits for its node, and what is removed leaves
// its volume and nothing else.
func TestComposeProjectRunsAsOne(t *testing.T) {
	l := lab.Up(t, 2)
	l.Images()
	both := []string{"n1", "n2"}
	for _, name := range both {
		l.Host(name).Load("otto-echo:1", "redis:alpine")
		l.Host(name).Heat(40)
	}
	yaml := "metrics: {interval: 1s}\n" + nodesYAML(l, "otto", both...)
	c := lab.NewCluster(t, yaml+"  - {name: alone, image: 'otto-echo:1', node: n1}\n")
	c.Know(l)
	tellIfFailed(t, c)
	c.Start()
	t.Setenv("CACHE_TAG", "alpine")
	for name, text := range map[string]string{"shop": shopYAML, "notes": notesYAML} {
		dir := filepath.Join(c.Dir, name)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c.Run("apply", "-f", "shop", "--yes")
	s := shop{t, l, c}
	node := s.isWhole(both...)
	if got := s.ask("db", "get", "runs"); got != "1" {
		t.Errorf("the job has run %s times", got)
	}
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") ||
		!strings.Contains(out, "stack shop takes from the shell: CACHE_TAG") {
		t.Errorf("a second apply says:\n%s", out)
	}
	if err := os.Unsetenv("CACHE_TAG"); err != nil {
		t.Fatal(err)
	}
	if out := c.Run("plan"); !strings.Contains(out, "stack shop took CACHE_TAG from the shell at the last apply") {
		t.Errorf("without the variable the plan says:\n%s", out)
	}
	if out := c.Run("run", "shop/init"); strings.TrimSpace(out) != "2" || s.ask("db", "get", "runs") != "2" { // where db is found
		t.Errorf("a run of the job says %q", out)
	}
	runsLeaveNothing(t, l, c, node)

	l.Host(node).Docker("kill", "shop-vpn-1")
	lab.Until(t, "web is in the network of vpn again", s.answers)

	l.Host(node).Heat(88)
	node = s.isWhole(other(node))
	l.Host(other(node)).Heat(40)

	since := strings.TrimSpace(l.Host(node).Exec("date", "+%s"))
	if out, err := c.Try("node", "drain", node); err != nil && !strings.Contains(out, "alone: its home is "+node) {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	s.endedInOrder(node, since)
	node = s.isWhole(other(node))
	c.Run("node", "uncordon", other(node))

	c.Run("apply", "-f", "notes", "--node", node, "--yes")
	notes := func(args ...string) string {
		out, _ := l.Host(node).TryDocker(append([]string{"exec", "notes-db-1", "redis-cli"}, args...)...)
		return strings.TrimSpace(out)
	}
	lab.Until(t, "a note is written", func() bool { return notes("set", "note", "kept") == "OK" })
	l.Host(node).Kill()
	s.isWhole(other(node))
	if names := l.Host(other(node)).Docker("ps", "-a", "--format", "{{.Names}}"); strings.Contains(names, "notes") {
		t.Errorf("what keeps data is elsewhere without it: %s", names)
	}
	l.Host(node).Boot()
	lab.Until(t, "the notes are back with their data", func() bool { return notes("get", "note") == "kept" })
	lab.Until(t, "nothing runs twice", func() bool {
		names, err := l.Host(node).TryDocker("ps", "--format", "{{.Names}}")
		return err == nil && !strings.Contains(names, "shop") && strings.Contains(names, "notes-app-1")
	})
	s.isWhole(other(node))
	if got := notes("get", "seeds"); got != "1" {
		t.Errorf("the job of the notes has run %s times for the same data", got)
	}
	l.Host(node).Docker("rm", "-f", "notes-db-1")
	l.Host(node).Docker("volume", "rm", "notes_data")
	lab.Until(t, "the data is missed", func() bool { return strings.Contains(c.Run("events"), "notes/db: its volume notes_data is missing") })
	c.Run("service", "accept-data", "notes/db")
	lab.Until(t, "the job has run for data that begins anew", func() bool { return notes("get", "seeds") == "1" })
	if got := notes("get", "note"); got != "" {
		t.Errorf("data that is lost says %q", got)
	}

	c.Run("stack", "rm", "shop")
	for _, name := range both {
		lab.Until(t, "nothing of it is left on "+name, func() bool { // what depends on another one stops first
			return l.Host(name).Docker("ps", "-aq", "--filter", "label=otto.cluster", "--filter",
				"label=com.docker.compose.project=shop") == ""
		})
	}
	lab.Until(t, "all else is up", func() bool { return allUp(c) })
	if s := c.Status().Services; len(s) != 4 {
		t.Errorf("left: %+v", s)
	}
}

func other(node string) string { return map[string]string{"n1": "n2", "n2": "n1"}[node] }

// shop is the stack of shopYAML, wherever it is.
type shop struct {
	t *testing.T
	l *lab.Lab
	c *lab.Cluster
}

// home is the one node that its services run on, empty if there is none or are several.
func (s shop) home() (node string) {
	for _, sv := range s.c.Status().Services {
		if name, _, _ := strings.Cut(sv.Name, "/"); name != "shop" {
			continue
		}
		if len(sv.Instances) != 1 || !sv.Instances[0].Up() || node != "" && sv.Instances[0].Node != node {
			return ""
		}
		node = sv.Instances[0].Node
	}
	return node
}

// ask has the client of a service say something to its own server.
func (s shop) ask(service string, args ...string) string {
	node := s.home()
	if node == "" {
		return ""
	}
	out, _ := s.l.Host(node).TryDocker(append([]string{"exec", "shop-" + service + "-1", "redis-cli"}, args...)...)
	return strings.TrimSpace(out)
}

// answers reports whether web does, at the port that vpn publishes.
func (s shop) answers() bool {
	node := s.home()
	if node == "" {
		return false
	}
	resp, err := http.Get("http://" + s.l.Host(node).IP + ":8081/")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// isWhole waits until all of it is up on one of some nodes, and was started in order there. All
// find each other, and nothing of it runs elsewhere.
func (s shop) isWhole(nodes ...string) string {
	s.t.Helper()
	lab.Until(s.t, "all is up on "+strings.Join(nodes, " or "), func() bool { return slices.Contains(nodes, s.home()) })
	node := s.home()
	for _, server := range []string{"db", "cache", "vpn", "fixed", "172.31.77.10"} {
		client := "db"
		if server == "172.31.77.10" { // in a network that db is not in
			client = "fixed"
		}
		if got := s.ask(client, "-h", server, "ping"); got != "PONG" {
			s.t.Errorf("%s does not reach %s: %s", client, server, got)
		}
	}
	lab.Until(s.t, "web answers in the network of vpn", s.answers)
	before := s.ask("cache", "get", "beats")
	lab.Until(s.t, "the worker finds its cache", func() bool { return s.ask("cache", "get", "beats") != before })

	h := s.l.Host(node)
	at := func(service, of string) time.Time {
		s.t.Helper()
		when, err := time.Parse(time.RFC3339Nano, h.Docker("inspect", "-f", "{{.State."+of+"}}", "shop-"+service+"-1"))
		if err != nil {
			s.t.Fatal(err)
		}
		return when
	}
	if !at("db", "StartedAt").Before(at("init", "StartedAt")) || !at("init", "FinishedAt").Before(at("web", "StartedAt")) ||
		!at("cache", "StartedAt").Before(at("worker", "StartedAt")) {
		s.t.Errorf("it was not started in order on %s", node)
	}
	return node
}

// endedInOrder looks at what an engine says of ends: who depends on another service was first.
func (s shop) endedInOrder(node, since string) {
	s.t.Helper()
	ends := strings.Fields(s.l.Host(node).Docker("events", "--since", since, "--until", "0s", "--filter", "event=die",
		"--filter", "label=com.docker.compose.project=shop", "--format", "{{.Actor.Attributes.name}}"))
	for _, pair := range [][2]string{{"shop-worker-1", "shop-cache-1"}, {"shop-worker-1", "shop-db-1"}, {"shop-web-1", "shop-vpn-1"}} {
		first, second := slices.Index(ends, pair[0]), slices.Index(ends, pair[1])
		if first < 0 || second < first {
			s.t.Errorf("%s was not ended before %s: %v", pair[0], pair[1], ends)
		}
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
		if out := c.Run("stack", "ls"); !strings.Contains(out, "7/7") {
			t.Errorf("beside a run: %s", out)
		}
		end.of(cmd, label())
		lab.Until(t, "nothing is left after a kill of "+end.who, func() bool { return label() == "" })
		_ = cmd.Wait()
	}
}
