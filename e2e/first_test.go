package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestFirstFiveMinutes does on a terminal what the README says, in its words, from an empty
// directory to a service that was moved and its logs.
func TestFirstFiveMinutes(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	l := lab.Up(t, 1)
	l.Images()
	l.Engine()
	l.Load("otto-echo:1")
	l.Host("n1").Load("otto-echo:1")
	c := lab.NewCluster(t, "")
	c.Know(l)
	if err := os.Remove(filepath.Join(c.Dir, "otto.yaml")); err != nil {
		t.Fatal(err)
	}

	s := show(t, 100, 30, c, "env PS1='$ ' PATH="+filepath.Dir(c.Path)+":$PATH bash --norc --noprofile")
	types := func(command string) {
		t.Helper()
		if !regexp.MustCompile(`(?m)^ +` + regexp.QuoteMeta(command) + `( +#|$)`).MatchString(readme) {
			t.Fatalf("the README has no step %q", command)
		}
		s.press("clear; "+command, "Enter")
	}
	types("otto cluster init --example")
	s.has("Next: otto cluster start")
	const home = "    node: rpi-01          # leave it out, and Otto chooses\n"
	yaml := yamlOf(t, readme)
	if !strings.Contains(yaml, home) {
		t.Fatalf("its example has no line %q", home)
	}
	c.Write(strings.NewReplacer("192.168.2.7", l.Host("n1").IP, "user: pi", "user: otto\n    identity_file: "+l.Key, home, "",
		"nginx:alpine", "otto-echo:1"). // no registry is reached from here
		Replace(yaml))
	types("otto cluster start")
	s.has("service web              running on", "home-cluster is up: 2 nodes, 1 service.")
	from, to := "rpi-01", "local"
	if c.Status().Services[0].Instances[0].Node == to {
		from, to = to, from
	}
	types("otto cluster status")
	s.has("rpi-01", "local", "web      running  "+from)
	types("otto")
	s.has("otto home-cluster", "2/2 nodes", "1/1 services", "web", from)
	for _, key := range []string{"`l`", "`m`", "`w`", "`?`"} {
		if !strings.Contains(readme, key) {
			t.Errorf("the README does not say what %s does", key)
		}
	}
	s.press(":", "w", "e", "b", "Enter", "m")
	s.has("move web to")
	s.press(to, "Enter")
	s.has("otto service move web --to " + to + "?")
	s.press("y")
	lab.Until(t, "web is there", func() bool { return strings.Contains(c.Run("node", "show", to), "web is running") })
	s.has("otto home-cluster", "1/1 services")
	s.press("q")
	s.has("$") // the shell again
	types("otto logs web --follow")
	s.has("listening")
	s.press("C-c")
	s.has("$")
	types("otto cluster stop")
	s.has("stopped")
}

// yamlOf is the otto.yaml in the README.
func yamlOf(t *testing.T, readme string) string {
	t.Helper()
	_, rest, _ := strings.Cut(readme, "```yaml\ncluster:\n")
	yaml, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README has no otto.yaml")
	}
	return "cluster:\n" + yaml
}
