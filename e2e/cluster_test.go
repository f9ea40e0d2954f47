// Package e2e_test tries Otto as a user does: the otto program, real Docker
// engines, real SSH, several hosts.
package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
	"github.com/otto-edge/otto/wire"
)

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
	c := lab.NewCluster(t, example(t, l))
	c.Run("cluster", "init")
	c.Start()

	if out := docker(t, "exec", "test-redis", "redis-cli", "ping"); out != "PONG" {
		t.Errorf("redis answers %q", out)
	}
	lab.Until(t, "nginx answers", func() bool {
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
	metricsAreRead(t, []string{"local", "rpi-01"})

	for _, n := range c.Status().Nodes { // what SSH has found is what the agent says
		if n.Facts.Hostname == "" || n.Facts.CPUs == 0 || n.Facts.MemoryBytes == 0 ||
			strings.Contains(strings.Join(n.Warnings, " "), "machine") {
			t.Errorf("node %s: %+v, %q", n.ID, n.Facts, n.Warnings)
		}
	}

	t.Run("start again is harmless", func(t *testing.T) {
		before := docker(t, "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "test-redis")
		c.Run("cluster", "start")
		if after := docker(t, "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "test-redis"); after != before {
			t.Errorf("redis was touched: %s, then %s", before, after)
		}
	})
	t.Run("killed control plane comes back and restarts nothing", func(t *testing.T) { killed(t, c) })
	t.Run("killed agent comes back and restarts nothing", func(t *testing.T) {
		before := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "test-nginx")
		l.Host("n1").SSH("kill -9 $(head -n 1 .local/share/otto/home-cluster/agent.pid | tr -dc 0-9)")
		lab.Until(t, "the agent reports again", func() bool {
			n := c.Status().Nodes[1]
			return n.State == otto.NodeReady && time.Since(n.LastSeen) < time.Second
		})
		if after := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "test-nginx"); after != before {
			t.Errorf("nginx was restarted")
		}
	})
	t.Run("stop leaves nothing running", func(t *testing.T) {
		c.Run("cluster", "stop")
		if out := docker(t, "ps", "-q"); out != "" {
			t.Errorf("containers run on this machine: %s", out)
		}
		if out := l.Host("n1").Docker("ps", "-q"); out != "" {
			t.Errorf("containers run on n1: %s", out)
		}
		if out, err := l.Host("n1").TrySSH("otto", "pgrep -u otto otto-agent"); err == nil {
			t.Errorf("an agent runs on n1: %s", out)
		}
		if out := c.Run("cluster", "status"); !strings.Contains(out, "is stopped") {
			t.Errorf("status after stop: %s", out)
		}
	})
}

// killed kills the control plane's worker with -9; its supervisor brings it back.
func killed(t *testing.T, c *lab.Cluster) {
	t.Helper()
	was := c.Status()
	var pid int
	out, err := exec.CommandContext(t.Context(), "pgrep", "-f", "^"+c.Path+" control-plane --worker").Output()
	if _, scanErr := fmt.Sscan(string(out), &pid); err != nil || scanErr != nil {
		t.Fatalf("no worker: %v %v", err, scanErr)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "a new epoch with all up", func() bool {
		out, err := c.Try("cluster", "status", "-o", "json")
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

// metricsAreRead has subscribers of MQTT 3.1.1 and 5 read both topics of metrics of nodes.
func metricsAreRead(t *testing.T, nodes []string, more ...string) {
	t.Helper()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		var filters []string
		for _, n := range nodes {
			for _, k := range []wire.Kind{wire.KindNodeMetrics, wire.KindContainerMetrics} {
				filters = append(filters, wire.NodeTopic(n, k))
			}
		}
		for _, topic := range filters { // each for itself: of all together one could say everything
			out := subscribe(t, "10.77.0.1", topic, 1, append([]string{"-V", version}, more...)...)
			if !strings.HasPrefix(out, topic+" {") || !strings.Contains(out, `"timestamp"`) {
				t.Errorf("%s reads of %s: %s", version, topic, out)
			}
		}
	}
}

// subscribe returns what mosquitto_sub prints of n messages.
func subscribe(t *testing.T, host, filter string, n int, more ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(
		t.Context(),
		"mosquitto_sub",
		append(more, "-h", host, "-t", filter, "-v", "-C", fmt.Sprint(n), "-W", "20")...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("mosquitto_sub: %v\n%s", err, out.String())
	}
	return out.String()
}
