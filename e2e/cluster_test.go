// Package e2e_test tries Otto as a user does: the otto program, real Docker
// engines, real SSH, several hosts.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// cluster is a directory with an otto.yaml, and the program.
type cluster struct {
	t    *testing.T
	dir  string
	path string // of otto
}

func newCluster(t *testing.T, yaml string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), path: filepath.Join(t.TempDir(), "otto")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.path, "../cmd/otto")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build otto: %v\n%s", err, out)
	}
	c.write(yaml)
	t.Cleanup(func() {
		if out, err := c.try("cluster", "uninstall", "--volumes"); err != nil {
			t.Errorf("uninstall: %v\n%s", err, out)
		}
	})
	return c
}

func (c *cluster) write(yaml string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "otto.yaml"), []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// try runs otto with a home directory of its own, so that no key and no agent of
// the user is touched.
func (c *cluster) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(c.dir, ".otto", "control.log"))
		c.t.Fatalf("otto %s: %v\n%s\n%s", strings.Join(args, " "), err, out, log)
	}
	return out
}

func (c *cluster) status() otto.Cluster {
	c.t.Helper()
	var v otto.Cluster
	if err := json.Unmarshal([]byte(c.run("cluster", "status", "-o", "json")), &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

// example is the file of examples/home.yaml with its addresses swapped for the lab's.
func example(t *testing.T, l *lab.Lab) string {
	t.Helper()
	b, err := os.ReadFile("../examples/home.yaml")
	if err != nil {
		t.Fatal(err)
	}
	yaml := strings.NewReplacer(
		"192.168.2.3", "10.77.0.1", "192.168.2.7", l.Host("n1").IP,
		"user: lolosioann", "user: otto\n    identity_file: "+l.Key,
	).Replace(string(b))
	if strings.Contains(yaml, "192.168") {
		t.Fatal("an address of the example would be contacted")
	}
	return yaml
}

func labWithImages(t *testing.T) *lab.Lab {
	t.Helper()
	l := lab.Up(t, 1)
	l.Engine()
	l.Images()
	l.Load("redis:alpine")
	l.Host("n1").Load("nginx:alpine")
	return l
}

func TestExampleFileRunsOnTwoMachines(t *testing.T) {
	l := labWithImages(t)
	c := newCluster(t, example(t, l))
	c.run("cluster", "init")
	c.run("cluster", "start", "--accept-new-host-keys")

	if out := docker(t, "exec", "test-redis", "redis-cli", "ping"); out != "PONG" {
		t.Errorf("redis answers %q", out)
	}
	until(t, "nginx answers", func() bool {
		resp, err := http.Get("http://" + l.Host("n1").IP + ":8080/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	env := l.Host("n1").Docker("inspect", "--format", "{{json .Config.Env}}", "test-nginx")
	if !strings.Contains(env, "NGINX_HOST=example.com") {
		t.Errorf("environment of nginx: %s", env)
	}
	topics := subscribe(t, "10.77.0.1", "otto/nodes/+/metrics/#", 8)
	for _, want := range []string{"local/metrics/node", "local/metrics/containers", "rpi-01/metrics/node", "rpi-01/metrics/containers"} {
		if !strings.Contains(topics, "otto/nodes/"+want) {
			t.Errorf("no message on otto/nodes/%s: %s", want, topics)
		}
	}

	t.Run("start again is harmless", func(t *testing.T) {
		before := docker(t, "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "test-redis")
		c.run("cluster", "start")
		if after := docker(t, "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "test-redis"); after != before {
			t.Errorf("redis was touched: %s, then %s", before, after)
		}
	})
	t.Run("killed control plane comes back and restarts nothing", func(t *testing.T) { killed(t, c) })
	t.Run("killed agent comes back and restarts nothing", func(t *testing.T) {
		before := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "test-nginx")
		l.Host("n1").SSH("kill -9 $(head -n 1 .local/share/otto/home-cluster/agent.pid | tr -dc 0-9)")
		until(t, "the agent reports again", func() bool {
			n := c.status().Nodes[1]
			return n.State == otto.NodeReady && time.Since(n.LastSeen) < time.Second
		})
		if after := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "test-nginx"); after != before {
			t.Errorf("nginx was restarted")
		}
	})
	t.Run("stop leaves nothing running", func(t *testing.T) {
		c.run("cluster", "stop")
		if out := docker(t, "ps", "-q"); out != "" {
			t.Errorf("containers run on this machine: %s", out)
		}
		if out := l.Host("n1").Docker("ps", "-q"); out != "" {
			t.Errorf("containers run on n1: %s", out)
		}
		if out, err := l.Host("n1").TrySSH("otto", "pgrep -u otto otto-agent"); err == nil {
			t.Errorf("an agent runs on n1: %s", out)
		}
		if out := c.run("cluster", "status"); !strings.Contains(out, "is stopped") {
			t.Errorf("status after stop: %s", out)
		}
	})
}

// killed kills the control plane's worker with -9; its supervisor brings it back.
func killed(t *testing.T, c *cluster) {
	t.Helper()
	was := c.status()
	var pid int
	out, err := exec.CommandContext(t.Context(), "pgrep", "-f", "^"+c.path+" control-plane --worker").Output()
	if _, scanErr := fmt.Sscan(string(out), &pid); err != nil || scanErr != nil {
		t.Fatalf("no worker: %v %v", err, scanErr)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "a new epoch with all up", func() bool {
		out, err := c.try("cluster", "status", "-o", "json")
		var v otto.Cluster
		if err != nil || json.Unmarshal([]byte(out), &v) != nil || v.Epoch <= was.Epoch {
			return false
		}
		for i, s := range v.Services {
			if !s.Instances[0].Up() || s.Instances[0].ContainerID != was.Services[i].Instances[0].ContainerID {
				return false
			}
		}
		return true
	})
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// subscribe returns what mosquitto_sub prints of n messages.
func subscribe(t *testing.T, host, filter string, n int) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-t", filter, "-v", "-C", fmt.Sprint(n), "-W", "20")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("mosquitto_sub: %v\n%s", err, out.String())
	}
	return out.String()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		<-tick.C
	}
}
