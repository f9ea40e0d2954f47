package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// withAgent is a fleet whose local node has a script in place of an agent, none if
// it is empty.
func withAgent(t *testing.T, script string) (*Fleet, otto.Node) {
	t.Helper()
	home := t.TempDir()
	if script != "" {
		dir := filepath.Join(home, ".local/share/otto/home/agents/abc")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, agentName), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f := New(Options{Home: home, Binaries: func(string) (Binary, error) { return Binary{Hash: "abc"}, nil }})
	t.Cleanup(f.Close)
	return f, otto.Node{ID: "here", Host: "localhost", DockerURL: "tcp://127.0.0.1:1"}
}

func TestAgentExaminesItsNode(t *testing.T) {
	f, node := withAgent(t, `[ "$1 $2" = "examine --dir" ] && echo '{"time":"2025-06-01T12:00:00Z","agent":"1.0","model":"Pi"}'`)
	x := f.Examine(t.Context(), node, "home")
	if x.Err != nil || x.Facts.Model != "Pi" || x.Agent.Problem != "" || !x.Agent.Installed || !x.Agent.Current || x.Agent.Running || x.Received.IsZero() {
		t.Errorf("%+v", x)
	}
}

func TestNodeWithoutAnAgentThatCanIsExaminedByTheProbe(t *testing.T) {
	for script, problem := range map[string]string{
		"":                                "",
		"echo usage >&2; exit 2":          "usage",
		"echo no facts":                   "facts: ",
		"kill -9 $$":                      "killed",
		"echo '{\"agent\": \"no time\"}'": "facts: they have no time",
	} {
		f, node := withAgent(t, script)
		x := f.Examine(t.Context(), node, "home")
		if x.Err != nil || x.Facts.Time.IsZero() || x.Facts.Arch == "" || len(x.Facts.Disks) != 1 || x.Agent.Installed != (script != "") {
			t.Errorf("%q: %+v", script, x)
		}
		if !strings.Contains(x.Agent.Problem, problem) || (problem == "") != (x.Agent.Problem == "") {
			t.Errorf("%q: the agent's problem is %q", script, x.Agent.Problem)
		}
	}
}

func TestWhyANodeCannotBeExamined(t *testing.T) {
	f, node := withAgent(t, "")
	if x := f.Examine(t.Context(), node, "no such/name"); x.Err == nil {
		t.Error("a name that is none")
	}
}

func TestAgentCollects(t *testing.T) {
	f, node := withAgent(t, `[ "$1 $2" = "collect --dir" ] && echo '{"log":"a line","notes":["one"]}'`)
	n, err := f.Collect(t.Context(), node, "home")
	if err != nil || n.Log != "a line" || len(n.Notes) != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	f, node = withAgent(t, "")
	if _, err := f.Collect(t.Context(), node, "home"); err == nil || !strings.Contains(err.Error(), "no agent is there") {
		t.Errorf("without one: %v", err)
	}
}
