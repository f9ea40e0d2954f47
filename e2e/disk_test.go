package e2e_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestHungDisk has the disk of an engine answer nothing any more, as a card does that is
// about to die: whoever writes there waits in the kernel, and no signal ends it. What may
// be twice is started elsewhere; what may not waits for its process to end.
func TestHungDisk(t *testing.T) {
	l := lab.Up(t, 3)
	l.Images()
	n1 := l.Host("n1")
	disk := newEngineDisk(t, n1)
	for _, n := range hosts {
		l.Host(n).Load("redis:alpine", "otto-echo:1")
	}
	c := lab.NewCluster(t, nodesYAML(l, "root", hosts...)+`
  - {name: web, image: "otto-echo:1", node: n1, failover: move, ports: ["8080:8080"]}
  - name: db
    image: redis:alpine
    command: [redis-server, --protected-mode, "no", --dir, /data, --appendonly, "yes", --appendfsync, always]
    node: n1
    failover: move
    data: disposable
    volumes: ["data:/data"]
    ports: ["6379:6379"]
  - {name: pet, image: "redis:alpine", node: n1, volumes: ["pet:/data"]}
`)
	tellIfFailed(t, c)
	c.Start()
	time.Sleep(5 * time.Second) // links are learned
	pid := func(name string) string { return n1.Docker("inspect", "--format", "{{.State.Pid}}", name) }
	db, web, pet := pid("db"), pid("web"), pid("pet")
	runs := func(process string) bool { _, err := n1.TryExec("test", "-d", "/proc/"+process); return err == nil }
	elsewhere := func(name string) bool {
		for _, n := range hosts[1:] {
			if l.Host(n).Docker("ps", "-q", "--filter", "name=^"+name+"$") != "" {
				return true
			}
		}
		return false
	}

	disk.freeze()
	lab.Until(t, "db waits in the kernel", func() bool {
		_ = set(net.JoinHostPort(n1.IP, "6379"))
		return strings.Contains(n1.Exec("cat", "/proc/"+db+"/stat"), ") D ")
	})
	n1.Exec("kill", "-9", web) // which the engine writes down, and waits
	frozen := time.Now()
	within(t, 90*time.Second, "web runs elsewhere", func() bool { return elsewhere("web") })
	t.Logf("web runs elsewhere %s after the disk began to hang", time.Since(frozen).Round(100*time.Millisecond))
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if was := runs(db); elsewhere("db") && was {
			t.Fatal("db runs elsewhere, and its process still stands in n1's kernel")
		}
		if elsewhere("pet") || !runs(pet) {
			t.Fatal("pet has left its data")
		}
	}
	if n := c.Status().Nodes[0]; n.Problem == "" && n.Reason == "" {
		t.Errorf("n1 is %s, and nothing is said of its engine", n.State)
	}

	disk.thaw()
	lab.Until(t, "all is up again", func() bool {
		v := c.Status()
		return allUp(c) && v.Nodes[0].State == otto.NodeReady && v.Nodes[0].Problem == ""
	})
	if runs(db) {
		t.Error("db still stands on n1")
	}
	if now := pid("pet"); now != pet {
		t.Errorf("pet was process %s and is %s", pet, now)
	}
}

// engineDisk is a disk of its own for the data of a host's engine.
type engineDisk struct {
	freeze, thaw func()
}

func newEngineDisk(t *testing.T, h *lab.Host) engineDisk {
	t.Helper()
	const at = "/var/lib/docker"
	h.StopEngine()
	h.Exec("truncate", "-s", "1G", "/root/engine.img")
	h.Exec("mkfs.ext4", "-q", "/root/engine.img")
	h.Exec("mount", "-o", "loop", "/root/engine.img", at)
	h.StartEngine()
	t.Cleanup(func() { _, _ = h.TryExec("fsfreeze", "-u", at) }) // or nothing there would ever end
	return engineDisk{
		freeze: func() { h.Exec("fsfreeze", "-f", at) },
		thaw:   func() { h.Exec("fsfreeze", "-u", at) },
	}
}
