package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/logs"
)

// TestLogsGoOn follows the log of a service of two instances, each of which counts
// from 1 on, through a restart, a move, the end of the control plane and a power
// cut; and runs commands in its containers.
func TestLogsGoOn(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	var nodes []string
	for _, id := range []string{"n1", "n2", "n3"} {
		l.Host(id).Load("otto-echo:1")
		nodes = append(nodes,
			fmt.Sprintf("  - {id: %s, host: %s, user: otto, identity_file: %s}", id, l.Host(id).IP, l.Key))
	}
	c := lab.NewCluster(t, fmt.Sprintf(`
nodes:
%s
services:
  count:
    image: otto-echo:1
    entrypoint: [sh, -c, 'i=0; while :; do i=$$((i+1)); echo "line $$i"; sleep 0.02; done']
    stop_grace_period: 1s
    deploy: {replicas: 2}
`, strings.Join(nodes, "\n")))
	c.Know(l)
	c.Start()

	f := followLogs(t, c, "count", "--tail", "all")
	where := func(name string) (node string) {
		for _, s := range c.Status().Services {
			for _, i := range s.Instances {
				if i.Name == name {
					node = i.Node
				}
			}
		}
		return node
	}
	f.goesOn("count", where("count"))
	f.goesOn("count-2", where("count-2"))
	c.Run("service", "restart", "count")
	f.goesOn("count", where("count"))

	taken := []string{where("count"), where("count-2")}
	third := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return slices.Contains(taken, id) })[0]
	c.Run("service", "move", "count-2", "--to", third)
	f.goesOn("count-2", third)

	killed(t, c)
	f.goesOn("count", where("count"))

	cut := where("count")
	commandsRun(t, c, "count")
	portIsReached(t, c, "count")
	l.Host(cut).Kill()
	lab.Until(t, "count is elsewhere", func() bool { return where("count") != cut })
	f.goesOn("count", where("count"))
	l.Host(cut).Boot()
	lab.Until(t, "the node is back",
		func() bool { return strings.Contains(c.Run("cluster", "status"), cut+"    ready") })
	f.goesOn("count-2", where("count-2"))
	f.end()

	said := commandUnderWay(t, c, "count-2")
	l.Host(third).Cut()
	began := time.Now()
	if got := <-said; !strings.Contains(got, "the connection was lost") {
		t.Errorf("a command on a node that is cut off: %q", got)
	}
	t.Logf("that the link was lost is said after %s", time.Since(began).Round(time.Millisecond))
	l.Host(third).Heal()
	lab.Until(t, "the node is heard again",
		func() bool { return strings.Contains(c.Run("cluster", "status"), third+"    ready") })
	if out := c.Run("logs", third, "--tail", "2", "--no-prefix"); strings.Count(out, "\n") < 2 ||
		!strings.HasPrefix(out, "line ") {
		t.Errorf("the log of a node is %q", out)
	}
	if out, err := c.Try("logs", "cuont"); err == nil ||
		strings.TrimSpace(out) != `otto: no service or node "cuont": did you mean count?` {
		t.Errorf("got %q", out)
	}
}

// follower is an otto logs --follow under way.
type follower struct {
	t    *testing.T
	stop func()
	done chan struct{}

	mu      sync.Mutex
	entries []logs.Entry
}

func followLogs(t *testing.T, c *lab.Cluster, args ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := c.Command(ctx, append([]string{"logs", "--follow", "--output", "json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			var e logs.Entry
			if err := json.Unmarshal(in.Bytes(), &e); err != nil {
				t.Errorf("%s: %v", in.Text(), err)
			}
			f.mu.Lock()
			f.entries = append(f.entries, e)
			f.mu.Unlock()
		}
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			t.Errorf("otto logs ended: %v", err)
		}
	}()
	return f
}

// goesOn waits for some more lines of an instance on a node.
func (f *follower) goesOn(instance, node string) {
	f.t.Helper()
	f.mu.Lock()
	before := len(f.entries)
	f.mu.Unlock()
	lab.Until(f.t, fmt.Sprintf("the log of %s on %s goes on", instance, node), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := 0
		for _, e := range f.entries[before:] {
			if e.Mark == "" && e.Instance == instance && e.Node == node {
				n++
			}
		}
		return n > 20
	})
}

// end ends the following and checks that each container was read without a gap
// and nothing twice.
func (f *follower) end() {
	f.t.Helper()
	f.stop()
	<-f.done
	last, runs := map[string]int{}, map[string]int{}
	for _, e := range f.entries {
		if e.Mark != "" {
			f.t.Logf("%s: %s", e.Mark, e.Text)
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(e.Text, "line "))
		if err != nil {
			f.t.Fatalf("line %q", e.Text)
		}
		if n == 1 {
			runs[e.Container]++
		} else if n != last[e.Container]+1 {
			f.t.Errorf("%s on %s: line %d follows line %d", e.Instance, e.Node, n, last[e.Container])
		}
		last[e.Container] = n
	}
	f.t.Logf("%d lines of %d containers", len(f.entries), len(last))
	restarted := 0
	for _, n := range runs {
		restarted = max(restarted, n)
	}
	// Restarted when it was asked for, and perhaps by its engine once more, when its node had power again.
	if len(last) < 4 || restarted < 2 {
		f.t.Errorf("the logs of %d containers were read, one of them through %d starts", len(last), restarted)
	}
}
