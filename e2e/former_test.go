package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestFormerAgentWhileKeysAreRenewed takes over a running cluster of OTTO_FORMER, the path of
// an otto of before, while SSH does not reach n2, which goes on with its former agent. Then all
// keys are renewed. Nobody is locked out, and nothing is restarted: not while n2 waits, and
// not when its new agent comes.
func TestFormerAgentWhileKeysAreRenewed(t *testing.T) {
	former := os.Getenv("OTTO_FORMER")
	if former == "" {
		t.Skip("needs an otto of before, which takes minutes to build: OTTO_FORMER=$(scripts/former COMMIT)")
	}
	for _, compromised := range []bool{false, true} {
		t.Run(fmt.Sprintf("compromised=%v", compromised), func(t *testing.T) { renewUnderFormer(t, former, compromised) })
	}
}

func renewUnderFormer(t *testing.T, former string, compromised bool) {
	l := lab.Up(t, 2)
	l.Images()
	both := []string{"n1", "n2"}
	for _, name := range both {
		l.Host(name).Load("otto-echo:1", "redis:alpine")
	}
	c := lab.NewCluster(t, nodesYAML(l, "otto", both...)+`
  web: {image: "otto-echo:1", node: n1, environment: {TOKEN: before}}
  far: {image: "otto-echo:1", node: n2}
  pet: {image: "redis:alpine", node: n2, volumes: ["pet:/data"]}
`)
	c.Know(l)
	tellIfFailed(t, c)
	now := c.Path
	c.Path = former
	c.Start()
	runs := func() (all string) {
		for _, name := range both {
			all += l.Host(name).Exec("sh", "-c",
				"docker ps -aq | sort | xargs docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}} {{.RestartCount}}'")
		}
		return all
	}
	before := runs()
	unharmed := func(when string) {
		t.Helper()
		if diff := cmp.Diff(before, runs()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", when, diff)
		}
	}
	far := l.Host("n2")
	agent := func() string { return far.Exec("sh", "-c", "readlink /proc/$(pgrep -o otto-agent)/exe") }
	old := agent()

	far.Exec("iptables", "-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "REJECT", "--reject-with", "tcp-reset")
	c.Path = now
	out, _ := c.Try("cluster", "start", "--timeout", "20s")
	t.Log(out)
	ready := func() bool {
		v := c.Status()
		for _, n := range v.Nodes {
			if n.State != otto.NodeReady || time.Since(n.LastSeen) > 3*time.Second {
				return false
			}
		}
		return allUp(c)
	}
	lab.Until(t, "the former agent is heard", ready)
	unharmed("taken over")
	if now := agent(); now != old {
		t.Fatalf("n2 runs %s, not its former agent", now)
	}

	rotate := []string{"cluster", "rotate", "--timeout", "15s"}
	if compromised {
		rotate = append(rotate, "--compromised")
	}
	out, _ = c.Try(rotate...)
	t.Log(out)
	if !strings.Contains(out, "n2: ") {
		t.Errorf("rotate does not say who lacks the new keys:\n%s", out)
	}
	if !compromised { // its password and the former signing key hold
		lab.Until(t, "the former agent is still heard", ready)
		key := between(far.Exec("cat", "/home/otto/.local/share/otto/faults/agent.json"), `"control_key":"`, `"`)
		if mine := between(l.Host("n1").SSH("cat .local/share/otto/faults/agent.json"), `"control_key":"`, `"`); mine == key {
			t.Error("n1 has no new keys")
		}
	}
	unharmed("renewed without n2")
	began := time.Now()
	killControlPlane(t, c)
	c.Try("cluster", "start", "--timeout", "15s")
	t.Logf("control plane killed, started after %s", time.Since(began).Round(time.Second))
	if !compromised {
		lab.Until(t, "the former agent is heard by a control plane that has begun anew", ready)
	}
	unharmed("control plane killed meanwhile")

	far.Exec("iptables", "-D", "INPUT", "-p", "tcp", "--dport", "22", "-j", "REJECT", "--reject-with", "tcp-reset")
	within(t, 2*time.Minute, "n2 has its new keys", func() bool { return c.Status().Rotation == nil && ready() })
	if now := agent(); now == old {
		t.Error("n2 runs its former agent")
	}
	unharmed("n2 has its new agent and keys")
	c.Run("cluster", "rotate")
	lab.Until(t, "all is up", ready)
	unharmed("renewed once more")
}
