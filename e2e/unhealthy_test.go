package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/e2e/lab"
)

// TestUnhealthyIsRestartedAndMoved makes a service answer badly, which a restart
// does not mend: it is restarted, and with OTTO_SOAK set, after the minute that
// this takes, it runs elsewhere.
func TestUnhealthyIsRestartedAndMoved(t *testing.T) {
	l := lab.Up(t, 2)
	n1, n2 := l.Host("n1"), l.Host("n2")
	l.Images()
	n1.Load("otto-echo:1")
	n2.Load("otto-echo:1")
	c := lab.NewCluster(t, fmt.Sprintf(`
nodes:
  - {id: n1, host: %s, user: otto, identity_file: %s}
  - {id: n2, host: %s, user: otto, identity_file: %s}
services:
  web:
    image: otto-echo:1
    node: n1
    failover: move
    probe: {exec: [sh, -c, "! ls /tmp/sick"], interval: 1s, retries: 2}
`, n1.IP, l.Key, n2.IP, l.Key))
	c.Know(l)
	c.Start()
	web := func() otto.PlacedInstance { return c.Status().Services[0].Instances[0] }
	lab.Until(t, "web is up", func() bool { return web().Up() })
	began := web().Started
	n1.Docker("exec", "web", "touch", "/tmp/sick")
	lab.Until(t, "web was restarted", func() bool { return web().Started.After(began) && web().Node == "n1" })
	if _, long := soak(t); !long {
		n1.Docker("exec", "web", "rm", "/tmp/sick")
		lab.Until(t, "web is well again", func() bool { return web().Up() && web().Node == "n1" })
		return
	}
	within(t, 3*time.Minute, "web has moved", func() bool { return web().Up() && web().Node == "n2" })
	if left := n1.Docker("ps", "-q", "--filter", "label=otto.service=web"); left != "" {
		t.Errorf("it still runs on n1: %s", left)
	}
}
