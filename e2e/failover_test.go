package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

var hosts = []string{"n1", "n2", "n3"}

// threeHosts starts a cluster of three hosts that have the images of what may
// move: web, and db with data that it can do without, both at home on n1.
func threeHosts(t *testing.T) (*lab.Lab, *lab.Cluster) {
	t.Helper()
	l := lab.Up(t, 3)
	l.Images()
	var nodes strings.Builder
	for _, n := range hosts {
		l.Host(n).Load("otto-echo:1", "redis:alpine")
		fmt.Fprintf(&nodes, "  - {id: %s, host: %s, user: otto, identity_file: %s}\n", n, l.Host(n).IP, l.Key)
	}
	c := lab.NewCluster(t, fmt.Sprintf(`cluster: {name: failover}
mqtt: {host: 10.77.0.1}
nodes:
%sservices:
  - {name: web, image: "otto-echo:1", node: n1, failover: move, ports: ["8080:8080"]}
  - {name: db, image: "redis:alpine", node: n1, failover: move, data: disposable, volumes: ["data:/data"]}
  - {name: pet, image: "redis:alpine", node: n1, volumes: ["pet:/data"]}
`, nodes.String()))
	c.Start()
	time.Sleep(5 * time.Second) // links are learned
	return l, c
}

// places are the running containers of each host, in truth.
func places(l *lab.Lab) map[string]string {
	all := map[string]string{}
	for _, n := range hosts {
		all[n] = strings.Join(strings.Fields(l.Host(n).Docker("ps", "-q", "--no-trunc")), " ")
	}
	return all
}

// unmoved fails the test if anything is not where and what it was.
func unmoved(t *testing.T, l *lab.Lab, before map[string]string) {
	t.Helper()
	if now := places(l); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the containers were %v and are %v", before, now)
	}
}

// moves are the moves of a service so far, as told by otto events.
func moves(c *lab.Cluster, service string) (list []string) {
	for line := range strings.Lines(c.Run("events", "--service", service, "-o", "json")) {
		var e otto.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Kind == "service-moved" {
			list = append(list, e.Message)
		}
	}
	return list
}

// allUp reports whether every node is ready and all is as wanted.
func allUp(c *lab.Cluster) bool {
	v := c.Status()
	for _, n := range v.Nodes {
		if n.State != otto.NodeReady {
			return false
		}
	}
	for _, s := range v.Services {
		for _, i := range s.Instances {
			if !i.Up() {
				return false
			}
		}
	}
	return true
}

func TestCableOfThreeSecondsMovesNothing(t *testing.T) {
	l, c := threeHosts(t)
	before := places(l)
	for _, n := range []string{"n1", "n2"} {
		l.Host(n).Cut()
		time.Sleep(3 * time.Second)
		l.Host(n).Heal()
		lab.Until(t, "all is up again", func() bool { return allUp(c) })
	}
	unmoved(t, l, before)
	if list := append(moves(c, "web"), moves(c, "db")...); len(list) > 0 {
		t.Errorf("moved: %q", list)
	}

	t.Run("control plane suspended", func(t *testing.T) {
		asleep := 20 * time.Second
		if os.Getenv("OTTO_SOAK") != "" {
			asleep = 5 * time.Minute
		}
		began := time.Now()
		for _, pid := range controlPlane(t, c) {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(asleep, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		}
		time.Sleep(asleep)
		lab.Until(t, "all is up again", func() bool { return allUp(c) })
		if list := append(moves(c, "web"), moves(c, "db")...); len(list) > 0 {
			t.Errorf("moved: %q", list)
		}
		for line := range strings.Lines(c.Run("events", "--since", began.Format(time.RFC3339), "-o", "json")) {
			if strings.Contains(line, `"node-lost"`) {
				t.Error(line)
			}
		}
		// What may be started elsewhere has lost its lease meanwhile; all else runs on.
		for _, name := range []string{"web", "pet"} {
			id := l.Host("n1").Docker("ps", "-q", "--no-trunc", "--filter", "name=^"+name+"$")
			if id == "" || !strings.Contains(before["n1"], id) {
				t.Errorf("%s is %q now, the containers were %s", name, id, before["n1"])
			}
		}
	})
}

func TestCutOffNodeIsReplacedOnceAndNothingRunsTwice(t *testing.T) {
	l, c := threeHosts(t)
	began := time.Now()
	n1 := l.Host("n1")
	n1.Cut()
	cut := 25 * time.Second // db's lease ends after 12
	if _, long := soak(t); long {
		cut = time.Minute
	}
	time.Sleep(cut)
	n1.Heal()
	lab.Until(t, "all is up again", func() bool { return allUp(c) })
	time.Sleep(10 * time.Second) // time enough to flap
	for _, s := range []string{"web", "db", "pet"} {
		want := 1
		if s == "pet" {
			want = 0 // its data is on n1
		}
		if list := moves(c, s); len(list) != want {
			t.Errorf("moves of %s: %q", s, list)
		}
		var on []string
		for _, n := range hosts {
			on = append(on, strings.Fields(l.Host(n).Docker("ps", "-a", "--format", n+"/{{.State}}", "--filter", "name=^"+s+"$"))...)
		}
		if len(on) != 1 || !strings.HasSuffix(on[0], "/running") || (on[0] == "n1/running") != (s == "pet") {
			t.Errorf("%s is on %v", s, on)
		}
	}
	neverTwice(t, l, "db", began)
}

// neverTwice fails the test if the engines of two hosts say that a container of
// this name ran at the same time.
func neverTwice(t *testing.T, l *lab.Lab, name string, since time.Time) {
	t.Helper()
	type event struct {
		TimeNano int64  `json:"timeNano"`
		Action   string `json:"Action"`
		Actor    struct{ Attributes struct{ Name string } }
		host     string
	}
	var all []event
	running := map[string]bool{}
	for _, n := range hosts {
		out := l.Host(n).Docker("events", "--since", fmt.Sprint(since.Unix()), "--until", fmt.Sprint(time.Now().Unix()+1),
			"--filter", "container="+name, "--filter", "event=start", "--filter", "event=die", "--format", "{{json .}}")
		first := true
		for line := range strings.Lines(out) {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Actor.Attributes.Name != name {
				continue // the filter is for prefixes, of ids too
			}
			e.host = n
			if first && e.Action == "die" {
				running[n] = true // from before
			}
			first = false
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b event) int { return cmp.Compare(a.TimeNano, b.TimeNano) })
	if len(all) < 2 {
		t.Errorf("%s was not moved: %v", name, all)
	}
	for _, e := range all {
		running[e.host] = e.Action == "start"
		n := 0
		for _, r := range running {
			if r {
				n++
			}
		}
		if n > 1 {
			t.Errorf("%s runs on %v at once: %+v", name, running, all)
		}
	}
}

// controlPlane are the processes of a control plane: its supervisor and its worker.
func controlPlane(t *testing.T, c *lab.Cluster) (pids []int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pgrep", "-f", "^"+c.Path+" control-plane").Output()
	if err != nil {
		t.Fatalf("no control plane: %v", err)
	}
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
