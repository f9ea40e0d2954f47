package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// screen is a program on a terminal of tmux, with a server of its own.
type screen struct {
	t      *testing.T
	socket string
}

// show runs a command on a terminal of a size.
func show(t *testing.T, width, height int, c *lab.Cluster, command string) *screen {
	t.Helper()
	s := &screen{t, filepath.Join(t.TempDir(), "tmux")}
	t.Cleanup(func() { _ = s.command("kill-server").Run() })
	s.tmux("new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), "-c", c.Dir, "-e", "HOME="+c.Dir, command)
	return s
}

func (s *screen) command(args ...string) *exec.Cmd {
	c := exec.Command("tmux", append([]string{"-S", s.socket, "-f", "/dev/null", "-u"}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	return c
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *screen) text() string {
	s.t.Helper()
	return s.tmux("capture-pane", "-p")
}

// has waits until all of this is on the screen at once.
func (s *screen) has(texts ...string) {
	s.t.Helper()
	var last string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		last = s.text()
		missing := ""
		for _, want := range texts {
			if !strings.Contains(last, want) {
				missing = want
			}
		}
		if missing == "" {
			s.t.Logf("\n%s", last)
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("no %q within 30 s on\n%s", missing, last)
		}
	}
}

// press types keys as tmux names them.
func (s *screen) press(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

// TestTopOnATerminal looks at a cluster through a power cut and the end of its control
// plane.
func TestTopOnATerminal(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	var nodes []string
	for _, id := range []string{"n1", "n2", "n3"} {
		l.Host(id).Load("otto-echo:1")
		nodes = append(nodes,
			fmt.Sprintf("  - {id: %s, host: %s, user: otto, identity_file: %s}", id, l.Host(id).IP, l.Key))
	}
	const loop = `{image: otto-echo:1, entrypoint: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo "line $$i"; sleep 0.2; done'],
    stop_grace_period: 1s`
	c := lab.NewCluster(t, fmt.Sprintf(`
cluster: {name: home}
nodes:
%s
services:
  count: %s, node: n1}
  web: %s, deploy: {replicas: 2}}
  fixed: %s, node: n3}
stacks:
  - {name: shop, compose: shop/compose.yaml}
`, strings.Join(nodes, "\n"), loop, loop, loop))
	shop := fmt.Sprintf("services:\n  front: %s}\n  back: %s}\n", loop, loop)
	if err := os.MkdirAll(filepath.Join(c.Dir, "shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "shop", "compose.yaml"), []byte(shop), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Know(l)
	c.Start()

	s := show(t, 80, 24, c, c.Path)
	s.has("otto home", "3/3 nodes", "5/5 services", "▸ shop", "2/2 running", "% ")
	s.tmux("resize-window", "-x", "120", "-y", "44")
	s.has("EVENTS", "TEMP")
	s.tmux("resize-window", "-x", "80", "-y", "24")
	l.Host("n3").Kill()
	s.has("2/3 nodes", "n3", "lost for", "!n3")
	l.Host("n3").Boot()
	s.has("3/3 nodes", "5/5 services")
	s.press("/", "c", "o", "u", "n", "t", "Enter", "G", "l")
	s.has("Logs of count", "| line ")
	s.press("q", ":", "w", "e", "b", "Enter", "w")
	s.has("Why web", "web is running on")
	s.press("q", "Enter")
	s.has("service      web", "last 24h")
	s.press("q")
	acts(s, c)
	killed(t, c)
	s.has("3/3 nodes", "5/5 services")
	c.Run("cluster", "stop")
	s.has("stopped", "ago", "count")
	s.press("q")
	lab.Until(t, "it has left the terminal", func() bool { return s.command("has-session").Run() != nil })
	if out := c.Run("top"); !strings.Contains(out, "stopped") || !strings.Contains(out, "  front") ||
		strings.Contains(out, "\x1b") {
		t.Errorf("what is no terminal gets\n%s", out)
	}
}

// acts has something done, each time after a yes, and runs a shell.
func acts(s *screen, c *lab.Cluster) {
	s.press(":", "n", "1", "Enter", "c")
	s.has("otto node cordon n1?", "count", "stays")
	s.press("n")
	s.has("left as it is", "3/3 nodes")
	s.press("c", "y")
	s.has("ready, cordoned")
	s.press("u")
	s.has("takes services again")
	s.press("y")
	lab.Until(s.t, "n1 is uncordoned", func() bool { return !c.Status().Nodes[0].Intent.Cordoned })
	s.press(":", "w", "e", "b", "Enter", "m")
	s.has("move web to")
	s.press("n", "3", "Enter")
	s.has("otto service move web --to n3?", "→ n3", "scores")
	s.press("y")
	s.has("web goes from")
	lab.Until(s.t, "web is on n3", func() bool { return strings.Contains(c.Run("node", "show", "n3"), "web is running") })
	s.press(":", "c", "o", "u", "n", "t", "Enter", "s")
	s.has("A shell in a container of count")
	s.press("echo $((6*7)) $(hostname)", "Enter")
	s.has("42 ")
	s.press("exit", "Enter")
	s.has("otto home", "SERVICE")
	s.press("?") // the first key after a shell is the terminal's again
	s.has("Ctrl-C      leave")
	s.press("q")
}
