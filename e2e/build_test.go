package e2e_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

const buildProject = `
services:
  web:
    build: ./web
    stop_grace_period: 0s
    restart: unless-stopped
  other:
    build: {context: web, dockerfile_inline: "FROM scratch\nCOPY app /app\nCOPY other.txt /text\nENTRYPOINT [\"/app\"]\n"}
    stop_grace_period: 0s
    restart: unless-stopped
  same:
    image: build-web
    stop_grace_period: 0s
    restart: unless-stopped
`

// sleeper is a program for images that have nothing else in them.
const sleeper = `package main

import (
	"os"
	"time"
)

func main() {
	text, _ := os.ReadFile("/text")
	os.Stdout.Write(text)
	time.Sleep(time.Hour)
}
`

// compile makes app of app.go in a directory.
func compile(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "app"), filepath.Join(dir, "app.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestStackIsBuiltAndSent builds the images of a stack on this machine, for two nodes: they are
// sent, what has changed recreates exactly what uses it, and after a power cut the other node
// goes on from its copy. A build that fails changes nothing.
func TestStackIsBuiltAndSent(t *testing.T) {
	l := lab.Up(t, 2)
	l.Engine()
	nodes := strings.Replace(nodesYAML(l, "root", "n1", "n2"), "services:\n", "", 1)
	c := lab.NewCluster(t, nodes+"stacks:\n  - {name: build, compose: shop}\n")
	c.Know(l)
	tellIfFailed(t, c)
	web := filepath.Join(c.Dir, "shop", "web")
	write := func(name, text string) {
		t.Helper()
		at := filepath.Join(c.Dir, "shop", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	const dockerfile = "FROM scratch\nCOPY app /app\nCOPY text.txt /text\nENTRYPOINT [\"/app\"]\n"
	write("compose.yaml", buildProject)
	write("web/Dockerfile", dockerfile)
	write("web/text.txt", "first\n")
	write("web/other.txt", "other\n")
	write("web/app.go", sleeper)
	compile(t, web)
	t.Log(c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug"))
	at := func() string {
		for _, s := range c.Status().Services {
			if s.Name == "build/web" && len(s.Instances) == 1 && s.Instances[0].Up() {
				return s.Instances[0].Node
			}
		}
		return ""
	}
	on := at()
	if on == "" {
		t.Fatal(c.Run("cluster", "status"))
	}
	says := func(host, container, want string) {
		t.Helper()
		lab.Until(t, container+" on "+host+" says "+want, func() bool {
			out, err := l.Host(host).TryDocker("logs", container)
			return err == nil && strings.TrimSpace(out) == want
		})
	}
	id := func(container string) string { return l.Host(on).Docker("inspect", "-f", "{{.Id}}", container) }
	all := func() [3]string { return [3]string{id("build-web-1"), id("build-other-1"), id("build-same-1")} }
	says(on, "build-web-1", "first")
	says(on, "build-same-1", "first")
	says(on, "build-other-1", "other")

	before := all()
	again := c.Run("apply", "--yes")
	if strings.Contains(again, "image build-") { // "is on", or "sending"
		t.Errorf("an apply without a change has sent something:\n%s", again)
	}
	if all() != before {
		t.Error("an apply without a change has recreated something")
	}
	write("web/text.txt", "second\n")
	if out, _ := c.Try("plan"); !strings.Contains(out, "Nothing would change.") || !strings.Contains(out, "would be built") {
		t.Errorf("the plan says:\n%s", out)
	}
	t.Log(c.Run("apply", "--yes"))
	says(on, "build-web-1", "second")
	says(on, "build-same-1", "second")
	after := all()
	if after[0] == before[0] || after[1] != before[1] || after[2] == before[2] {
		t.Errorf("not what uses it was recreated, and that alone: %v, before %v", after, before)
	}

	write("web/Dockerfile", dockerfile+"COPY nothing /nothing\n")
	out, err := c.Try("apply", "--yes")
	if err == nil || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "compose.yaml:4:12") {
		t.Errorf("a Dockerfile that fails: %v\n%s", err, out)
	}
	if all() != after {
		t.Error("a build that fails has changed something")
	}
	write("web/Dockerfile", dockerfile)

	other := map[string]string{"n1": "n2", "n2": "n1"}[on]
	write("web/text.txt", "not applied\n")
	l.Host(on).Kill()
	says(other, "build-web-1", "second")
	says(other, "build-other-1", "other")
	l.Host(on).Boot()
}

// TestSendingAnImageIsKilled ends the command that sends an image in the middle, and the agent's that
// takes it in, and fills the node's disk: nothing half is there, what runs runs on, and run again, it finishes.
func TestSendingAnImageIsKilled(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	c := lab.NewCluster(t, strings.Replace(nodesYAML(l, "root", "n1"), "services:\n", "services: {web: {build: ., node: n1, stop_grace_period: 0s}}\n", 1))
	c.Know(l)
	tellIfFailed(t, c)
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.Dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	payload := make([]byte, 16<<20) // which cannot be compressed
	fill := func() {
		_, _ = rand.Read(payload)
		write("payload", payload)
	}
	write(".dockerignore", []byte("*\n!app\n!payload\n"))
	write("Dockerfile", []byte("FROM scratch\nCOPY app payload /\nENTRYPOINT [\"/app\"]\n"))
	write("app.go", []byte(sleeper))
	compile(t, c.Dir)
	write("payload", nil)
	c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	n1 := l.Host("n1")
	running := func() string { return strings.TrimSpace(n1.Docker("ps", "-q", "--no-trunc", "--filter", "name=web")) }
	images := func() string { return n1.Docker("image", "ls", "-q", "--all", "--no-trunc") }
	first, had := running(), images()
	if first == "" {
		t.Fatal(c.Run("cluster", "status"))
	}
	taking := func() string {
		out, _ := n1.TryExec("pgrep", "-f", "otto-agent image")
		return strings.TrimSpace(out)
	}

	fill()
	n1.Rate("4mbit")
	for _, whom := range []string{"the command", "the agent's"} {
		cmd := c.Command(t.Context(), "apply", "--yes")
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "the image is being sent", func() bool { return taking() != "" })
		if whom == "the command" {
			_ = cmd.Process.Kill()
		} else {
			n1.Exec(append([]string{"kill", "-9"}, strings.Fields(taking())...)...)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("%s was killed, and apply says:\n%s", whom, said.String())
		}
		if whom != "the command" && !strings.Contains(said.String(), "nothing was changed: image faults-web could not be brought to n1") {
			t.Errorf("%s was killed, and apply says:\n%s", whom, said.String())
		}
		lab.Until(t, "nobody takes it in any more", func() bool { return taking() == "" })
		if running() != first || images() != had {
			t.Errorf("%s was killed: what runs is %s, was %s; images are %s, were %s", whom, running(), first, images(), had)
		}
	}
	n1.Rate("none")
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "~ service web: image: ") {
		t.Errorf("a command that was killed has applied it: %s", out)
	}
	second := running()
	if second == first || images() == had {
		t.Error("run again, it does not finish")
	}

	fill()
	had = images()
	n1.Fill()
	out, err := c.Try("apply", "--yes")
	if err == nil || !strings.Contains(out, "nothing was changed") || !strings.Contains(out, "disk of the engine is nearly full") {
		t.Errorf("with a full disk: %v\n%s", err, out)
	}
	n1.Free()
	if running() != second || images() != had {
		t.Error("with a full disk something has changed")
	}
	c.Run("apply", "--yes")
	if running() == second {
		t.Error("with room again it does not finish")
	}
}

// TestImageIsBuiltOnItsNode has a docker command here whose engine is of another architecture and
// has no builder for that of the node.
func TestImageIsBuiltOnItsNode(t *testing.T) {
	l := lab.Up(t, 1)
	nodes := nodesYAML(l, "root", "n1")
	c := lab.NewCluster(t, strings.Replace(nodes, "services:\n", "", 1))
	c.Know(l)
	tellIfFailed(t, c)
	c.Run("cluster", "start", "--accept-new-host-keys", "--log-level", "debug")
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := "#!/bin/sh\nif [ -z \"$DOCKER_HOST\" ]; then [ \"$1\" = version ] && echo arm64 && exit; echo not here >&2; exit 1; fi\nexec " + docker + " \"$@\"\n"
	for name, text := range map[string]string{
		filepath.Join(bin, "docker"): script, filepath.Join(c.Dir, "app.go"): sleeper, filepath.Join(c.Dir, ".dockerignore"): "*\n!app\n",
		filepath.Join(c.Dir, "Dockerfile"): "FROM scratch\nCOPY app /\nENTRYPOINT [\"/app\"]\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	compile(t, c.Dir)
	c.Write(strings.Replace(nodes, "services:\n", "services: {web: {build: ., node: n1, stop_grace_period: 0s}}\n", 1))
	apply := func() {
		t.Helper()
		cmd := c.Command(t.Context(), "apply", "--yes")
		cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "is built on n1") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	running := func() string {
		return strings.TrimSpace(l.Host("n1").Docker("ps", "-q", "--no-trunc", "--filter", "name=web"))
	}
	apply()
	first := running()
	if apply(); first == "" || running() != first {
		t.Errorf("again without a change: %s runs, before %s", running(), first)
	}
}
