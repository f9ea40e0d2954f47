package e2e_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// stopsAt is a docker command that runs the real one and stands still before or after a kind of
// command, or while it is under way, so that otto can be killed there.
type stopsAt struct {
	t        *testing.T
	bin, hit string
}

func newStopsAt(t *testing.T) stopsAt {
	t.Helper()
	real, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	s := stopsAt{t: t, bin: t.TempDir(), hit: filepath.Join(t.TempDir(), "hit")}
	script := `#!/bin/sh
stop() { echo $$ >"$STOP_HIT.new"; mv "$STOP_HIT.new" "$STOP_HIT"; exec sleep 600; }
case "$*" in "$STOP_AT"*) ;; *) exec ` + real + ` "$@" ;; esac
[ "$STOP_WHEN" != before ] || stop
[ "$STOP_WHEN" = after ] || exec ` + real + ` "$@"
` + real + ` "$@"
stop
`
	if err := os.WriteFile(filepath.Join(s.bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// kill runs otto and kills it before or after a command of docker that begins as at says, or once
// meanwhile says so. What docker command is left then is ended, as nobody reads what it says.
func (s stopsAt) kill(c *lab.Cluster, when, at string, meanwhile func() bool, args ...string) {
	s.t.Helper()
	_ = os.Remove(s.hit)
	cmd := c.Command(s.t.Context(), args...)
	cmd.Env = append(cmd.Env, "PATH="+s.bin+":"+os.Getenv("PATH"), "STOP_AT="+at, "STOP_WHEN="+when, "STOP_HIT="+s.hit)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second // of a docker command that has its output
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if meanwhile == nil {
		meanwhile = func() bool { _, err := os.Stat(s.hit); return err == nil }
	}
	lab.Until(s.t, "otto is "+when+" docker "+at, func() bool {
		select {
		case err := <-ended:
			s.t.Fatalf("it has ended, not %s docker %s: %v\n%s", when, at, err, said.String())
		default:
		}
		return meanwhile()
	})
	_ = cmd.Process.Kill()
	<-ended
	if text, err := os.ReadFile(s.hit); err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			s.t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// killedProject builds an image, part of which takes a moment, and has data of its own.
const killedProject = `
services:
  web:
    build: ./web
    stop_grace_period: 0s
    restart: unless-stopped
    volumes: ["./data:/data"]
`

// TestApplyIsKilledAtEachStep kills otto apply before and after each command of docker and each
// request that it makes, while it builds and while the data of a new stack is copied. What runs
// is the former image or, once that is applied, the new one, never without its data; and the next apply goes on.
func TestApplyIsKilledAtEachStep(t *testing.T) {
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	n1 := l.Host("n1")
	nodes := strings.Replace(nodesYAML(l, "root", "n1"), "services:\n", "", 1)
	stack := "stacks:\n  - {name: killed, compose: shop, node: n1}\n"
	c := lab.NewCluster(t, nodes)
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
	write("compose.yaml", killedProject)
	large := make([]byte, 8<<20) // which cannot be compressed
	_, _ = rand.Read(large)
	write("data/large", string(large))
	write("web/Dockerfile", "FROM redis:alpine\nENTRYPOINT []\nCMD [\"sh\", \"-c\", \"ls /data; cat /text; exec sleep 10000\"]\n"+
		"COPY text pause /\nRUN sleep $(cat /pause)\n")
	write("web/pause", "0")
	write("web/text", "first\n")
	c.Start()
	says := func(want string) bool {
		out, err := n1.TryDocker("logs", "killed-web-1")
		return err == nil && strings.TrimSpace(out) == "large\n"+want
	}
	c.Write(nodes + stack)
	n1.Rate("10mbit") // some 7 s for the data
	copying := func() bool {
		out, _ := n1.TryExec("sh", "-c", "ls -d /root/.local/share/otto/faults/data/.new-*/tree 2>/dev/null")
		return out != ""
	}
	s := newStopsAt(t)
	s.kill(c, "after", "nothing, while data is copied", copying, "apply", "--yes")
	if out, err := n1.TryDocker("inspect", "-f", "{{.Id}}", "killed-web-1"); copying() && err == nil {
		t.Errorf("killed while data is copied: it was made with a part of it: %s", out)
	}
	n1.Rate("none")
	within(t, copyTime, "it runs with its data, after apply was killed", func() bool { return says("first") })
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") {
		t.Errorf("applied again, it says:\n%s", out)
	}
	running := func() string { return n1.Docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}") }
	first, images := running(), n1.Docker("image", "ls", "-q", "--no-trunc")

	write("web/pause", "no time")
	if out, err := c.Try("apply", "--yes"); err == nil || !strings.Contains(out, "nothing was changed, as the build failed") {
		t.Errorf("a step of the build fails: %v\n%s", err, out)
	}
	if left := docker(t, "ps", "-a", "-q"); left != "" {
		t.Errorf("a step of the build fails, and there is left: %s", left)
	}
	write("web/pause", "0")
	write("web/text", "second\n")
	steps := []struct{ when, at string }{
		{"before", "version"},
		{"before", "build "},
		{"while", "build "},
		{"after", "build "},
		{"after", "image inspect"},
		{"before", "tag"},
		{"after", "tag"},
		{"before", "save"},
		{"after", "save"},
	}
	for _, step := range steps {
		var meanwhile func() bool
		if step.when == "while" {
			write("web/pause", "5")
			meanwhile = func() bool { return docker(t, "ps", "-q") != "" }
		}
		s.kill(c, step.when, step.at, meanwhile, "apply", "--yes")
		if now := running(); now != first || !says("first") {
			t.Errorf("killed %s docker %s, there runs %s, before %s", step.when, step.at, now, first)
		}
		if step.at != "save" && n1.Docker("image", "ls", "-q", "--no-trunc") != images {
			t.Errorf("killed %s docker %s, the node has other images", step.when, step.at)
		}
		if step.when == "while" {
			write("web/pause", "0")
			lab.Until(t, "nothing is left of the build that was killed", func() bool { return docker(t, "ps", "-a", "-q") == "" })
		}
	}
	killedAt(t, c, "PUT /v1/wanted", false, "apply", "--yes")
	if running() != first {
		t.Error("killed before it has applied that, something else runs")
	}
	killedAt(t, c, "PUT /v1/wanted", true, "apply", "--yes")
	lab.Until(t, "what was applied runs", func() bool { return says("second") })
	second := running()
	for _, when := range []string{"before", "after"} {
		s.kill(c, when, "image ls", nil, "apply", "--yes")
	}
	if out := c.Run("apply", "--yes"); !strings.Contains(out, "Nothing would change.") || running() != second {
		t.Errorf("applied again, there runs %s, before %s, and it says:\n%s", running(), second, out)
	}
	if got, want := docker(t, "image", "ls", "-q", "--no-trunc", "otto.invalid/*"), docker(t, "inspect", "-f", "{{.Id}}", "killed-web"); got != want {
		t.Errorf("here are kept %s, and there runs %s", got, want)
	}
	if left := docker(t, "ps", "-a", "-q"); left != "" {
		t.Errorf("of the builds is left: %s", left)
	}
}
