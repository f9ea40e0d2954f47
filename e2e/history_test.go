package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestHistoryIsKept kills the control plane, and looks at what there is of before.
func TestHistoryIsKept(t *testing.T) {
	l := lab.Up(t, 1)
	l.Images()
	l.Host("n1").Load("otto-echo:1")
	c := lab.NewCluster(t, fmt.Sprintf(`
metrics: {interval: 1s}
nodes:
  - {id: n1, host: %s, user: otto, identity_file: %s}
services:
  web:
    image: otto-echo:1
    entrypoint: [sh, -c, 'while :; do sleep 0.1; done']
    stop_grace_period: 1s
`, l.Host("n1").IP, l.Key))
	c.Know(l)
	c.Start()

	kept := func(name string, since time.Time) (h otto.History) {
		t.Helper()
		out := c.Run("metrics", name, "--since", since.Format(time.RFC3339), "-o", "json")
		if err := json.Unmarshal([]byte(out), &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	points := func(h otto.History, metric string) (list []otto.Point) {
		for _, s := range h.Series {
			if s.Metric == metric {
				list = append(list, s.Points...)
			}
		}
		return list
	}
	begun := time.Now()
	lab.Until(t, "there are numbers", func() bool {
		return len(points(kept("web", begun), "cpu")) > 5 && len(points(kept("n1", begun), "node.cpu")) > 5
	})
	written := func() bool {
		list, _ := filepath.Glob(filepath.Join(c.Dir, ".otto", "history", "full.*"))
		return len(list) > 0
	}
	for deadline := begun.Add(3 * time.Minute); !written(); {
		if time.Now().After(deadline) {
			t.Fatal("no minute was written")
		}
		time.Sleep(time.Second)
	}
	before := kept("n1", begun)
	var pid int
	out, err := exec.CommandContext(t.Context(), "pgrep", "-f", "^"+c.Path+" control-plane --worker").Output()
	if _, scanErr := fmt.Sscan(string(out), &pid); err != nil || scanErr != nil {
		t.Fatalf("no worker: %v %v", err, scanErr)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	minute := time.Now().Truncate(time.Minute)
	lab.Until(t, "numbers of after it", func() bool {
		if _, err := c.Try("cluster", "status"); err != nil {
			return false // it has left no view of the cluster yet, and is being started again
		}
		list := points(kept("n1", begun), "node.cpu")
		return len(list) > 0 && list[len(list)-1].Time.After(minute.Add(10*time.Second))
	})
	there := map[time.Time]bool{}
	for _, p := range points(kept("n1", begun), "node.cpu") {
		there[p.Time] = true
	}
	for _, p := range points(before, "node.cpu") {
		if p.Time.Before(minute) && !there[p.Time] {
			t.Errorf("%s is lost, and it was killed after %s", p.Time, minute)
		}
	}
	if text := c.Run("service", "show", "web"); !strings.Contains(text, "last 24h") || !strings.Contains(text, "▯") &&
		!strings.Contains(text, "▮") {
		t.Errorf("no bar of its last day:\n%s", text)
	}
	c.Run("cluster", "stop")
	lab.Until(t, "it is read without a control plane", func() bool {
		out, err := c.Try("metrics", "web", "cpu")
		return err == nil && strings.Contains(out, "│")
	})
}
