package e2e_test

import (
	"fmt"
	"net"
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

// twoHostsYAML has redis on one host and nginx on the other.
func twoHostsYAML(l *lab.Lab, mqtt string) string {
	return fmt.Sprintf(`cluster: {name: killed}
mqtt: %[1]s
nodes:
  - {id: n1, host: %[2]s, user: otto, identity_file: %[4]s}
  - {id: n2, host: %[3]s, user: otto, identity_file: %[4]s}
services:
  - {name: db, image: "redis:alpine", node: n1, volumes: ["data:/data"]}
  - {name: web, image: "nginx:alpine", node: n2, ports: ["8080:80"]}
`, mqtt, l.Host("n1").IP, l.Host("n2").IP, l.Key)
}

// twoHosts boots the lab with the images of both.
func twoHosts(t *testing.T) *lab.Lab {
	t.Helper()
	l := lab.Up(t, 2)
	l.Images()
	l.Host("n1").Load("redis:alpine")
	l.Host("n2").Load("nginx:alpine")
	return l
}

// whole reports whether every node is ready, every service up, and each of them
// in one container only.
func whole(l *lab.Lab, c *lab.Cluster) bool {
	v := c.Status()
	for _, n := range v.Nodes {
		if n.State != otto.NodeReady || n.Problem != "" || time.Since(n.LastSeen) > 2*time.Second {
			return false
		}
	}
	for _, s := range v.Services {
		if !s.Instances[0].Up() {
			return false
		}
		names, err := l.Host(s.Node).TryDocker("ps", "-a", "--format", "{{.Names}}")
		if err != nil || names != s.Name {
			return false
		}
	}
	return len(v.Services) == 2
}

func TestClusterComesBackFromKills(t *testing.T) {
	l := twoHosts(t)
	n1 := l.Host("n1")
	stick := newStick(n1)
	stick.mount()
	yaml := twoHostsYAML(l, "{host: 10.77.0.1}")
	c := lab.NewCluster(t,
		strings.Replace(yaml, `"data:/data"`, `"data:/data", "/media/stick:/stick", "/media/stick/notes:/notes"`, 1))
	c.Start()
	n1.Docker("exec", "db", "redis-cli", "set", "color", "green")
	n1.Exec("touch", "/media/stick/notes/kept")
	kept := func(t *testing.T) {
		t.Helper()
		if got := n1.Docker("exec", "db", "redis-cli", "get", "color"); got != "green" {
			t.Errorf("the value in redis is %q", got)
		}
		root := "/proc/" + n1.Docker("inspect", "--format", "{{.State.Pid}}", "db") + "/root"
		n1.Exec("ls", root+"/notes/kept", root+"/stick/notes/kept")
	}
	n1.Docker("exec", "db", "redis-cli", "save")

	t.Run("engine killed", func(t *testing.T) {
		n1.KillEngine()
		lab.Until(t, "all is up again", func() bool { return whole(l, c) })
		kept(t)
	})
	t.Run("engine hangs", func(t *testing.T) {
		n1.HangEngine()
		lab.Until(t, "status says so, and the node is alive", func() bool {
			n := c.Status().Nodes[0]
			return n.State == otto.NodeReady && strings.Contains(n.Problem, "does not answer")
		})
		n1.ResumeEngine()
		lab.Until(t, "all is up again", func() bool { return whole(l, c) })
		kept(t)
	})
	t.Run("power cut, and the stick is not mounted at boot", func(t *testing.T) {
		n1.Kill()
		lab.Until(t, "the node is lost", func() bool { return c.Status().Nodes[0].State == otto.NodeLost })
		n1.Boot()
		lab.Until(t, "db waits for the stick",
			func() bool { return stick.waitedFor(c.Status().Services[0].Instances[0].Reason) })
		stick.untouched(t)
		if events := c.Run("events", "-o", "json"); !strings.Contains(events, `"data-missing"`) {
			t.Errorf("no event tells of it:\n%s", events)
		}
		stick.mount()
		lab.Until(t, "all is up again", func() bool { return whole(l, c) })
		kept(t)
	})
	t.Run("link cut in mid-upload", func(t *testing.T) { cutUpload(t, l, c) })
	t.Run("start killed on its way", func(t *testing.T) {
		for _, after := range []time.Duration{20, 60, 120, 250, 500, 900} {
			c.Run("cluster", "stop")
			start := c.Command(t.Context(), "cluster", "start")
			if err := start.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after * time.Millisecond) // that is the test: any moment will do
			_ = start.Process.Kill()
			_ = start.Wait()
			c.Start()
			if !whole(l, c) {
				t.Errorf("killed after %d ms and started again:\n%s", after, c.Run("cluster", "status"))
			}
		}
		kept(t)
	})
	t.Run("stick taken out while the cluster is stopped", func(t *testing.T) {
		c.Run("cluster", "stop")
		n1.Exec("umount", "/media/stick")
		start := c.Command(t.Context(), "cluster", "start")
		if err := start.Start(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "db waits for the stick", func() bool {
			status, err := c.Try("cluster", "status", "-o", "json")
			return err == nil && stick.waitedFor(status)
		})
		stick.untouched(t)
		stick.mount()
		if err := start.Wait(); err != nil || !whole(l, c) {
			t.Errorf("start ends with %v", err)
		}
		kept(t)
	})
}

// stick is a disk with a file system of its own, which nobody mounts at boot.
type stick struct{ host *lab.Host }

func newStick(h *lab.Host) stick {
	h.Exec("truncate", "-s", "16M", "/root/stick.img")
	h.Exec("mkfs.ext4", "-q", "/root/stick.img")
	h.Exec("mkdir", "-p", "/media/stick")
	return stick{host: h}
}

func (s stick) mount() { s.host.Exec("mount", "-o", "loop", "/root/stick.img", "/media/stick") }

// waitedFor reports whether that is said, of both of its directories.
func (s stick) waitedFor(text string) bool {
	return strings.Contains(text, "directory /media/stick/notes is missing since") &&
		strings.Contains(text,
			"directory /media/stick is another one") && strings.Contains(text, "otto service accept-data db")
}

// untouched fails the test if anything was made where it should be mounted, or runs there.
func (s stick) untouched(t *testing.T) {
	t.Helper()
	if made := s.host.Exec("ls", "-A", "/media/stick"); made != "" {
		t.Errorf("made where the stick should be: %s", made)
	}
	if run := s.host.Docker("ps", "--format", "{{.Names}}"); run != "" {
		t.Errorf("without its stick there runs %s", run)
	}
}

// cutUpload has an agent replaced over a slow link that is cut meanwhile.
func cutUpload(t *testing.T, l *lab.Lab, c *lab.Cluster) {
	t.Helper()
	h := l.Host("n2")
	agent := strings.TrimSpace(h.SSH("readlink /proc/$(head -n 1 .local/share/otto/killed/agent.pid | tr -dc 0-9)/exe"))
	before := h.Processes("otto-agent")
	h.SSH(fmt.Sprintf("cp %[1]s %[1]s.old && echo older >>%[1]s.old && mv %[1]s.old %[1]s", agent))
	h.Rate("4mbit")
	start := c.Command(t.Context(), "cluster", "start")
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, "the upload has begun", func() bool {
		out, err := h.TryExec("find", "/home/otto", "-name", "*otto-agent*", "-newer", agent, "-size", "+100k")
		return err == nil && out != ""
	})
	h.Cut()
	lab.Until(t, "the cut is noticed", func() bool { return c.Status().Nodes[1].State != otto.NodeReady })
	if now := h.Processes("otto-agent"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("agents on n2 were %v and are %v", before, now)
	}
	h.Rate("none")
	h.Heal()
	_ = start.Wait()
	lab.Until(t, "all is up, with the new agent", func() bool {
		tail, err := h.TryExec("tail", "-c", "6", agent)
		return err == nil && !strings.Contains(tail, "older") && whole(l, c)
	})
	if left := h.Exec("find", "/home/otto", "-name", "*otto-agent*"); len(strings.Fields(left)) > 2 {
		t.Errorf("files of the upload are left on n2:\n%s", left)
	}
}

func TestClusterComesBackWithItsBroker(t *testing.T) {
	addr := net.JoinHostPort("10.77.0.1", "1884")
	var broker *exec.Cmd
	start := func() {
		file := filepath.Join(t.TempDir(), "mosquitto.conf")
		if err := os.WriteFile(file, []byte("listener 1884 10.77.0.1\nallow_anonymous true\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		broker = exec.Command("mosquitto", "-c", file)
		if err := broker.Start(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, "mosquitto listens", func() bool {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	l := twoHosts(t)
	start()
	t.Cleanup(func() { _ = broker.Process.Kill(); _ = broker.Wait() })
	c := lab.NewCluster(t, twoHostsYAML(l, "{host: 10.77.0.1, port: 1884, embedded: false}"))
	c.Start()
	started := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "db")
	_ = broker.Process.Signal(syscall.SIGKILL)
	_ = broker.Wait()
	lab.Until(t, "status says that the broker is away",
		func() bool { return strings.Contains(c.Status().Problem, "broker") })
	start() // with nothing retained: it kept nothing on disk
	lab.Until(t, "all is up again", func() bool { return whole(l, c) })
	if now := l.Host("n1").Docker("inspect", "--format", "{{.State.StartedAt}}", "db"); now != started {
		t.Error("redis was restarted")
	}
	topics := subscribe(t, "10.77.0.1", "otto/nodes/+/metrics/node", 4, "-p", "1884")
	for _, id := range []string{"n1", "n2"} {
		if !strings.Contains(topics, "otto/nodes/"+id+"/") {
			t.Errorf("no metrics of %s: %s", id, topics)
		}
	}
}
