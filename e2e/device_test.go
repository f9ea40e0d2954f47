package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/e2e/lab"
)

// TestServiceFollowsItsDevice starts a service where its device is, and has the device
// be carried to the other host.
func TestServiceFollowsItsDevice(t *testing.T) {
	if _, long := soak(t); !long {
		t.Skip("takes a minute: with OTTO_SOAK")
	}
	l := lab.Up(t, 2)
	l.Images()
	from, to := l.Host("n2"), l.Host("n1")
	from.Load("otto-echo:1")
	to.Load("otto-echo:1")
	from.Plug("stick")
	c := lab.NewCluster(t, fmt.Sprintf(`
metrics: {interval: 1s}
nodes:
  - {id: n1, host: %s, user: otto, identity_file: %s}
  - {id: n2, host: %s, user: otto, identity_file: %s}
services:
  reader: {image: 'otto-echo:1', devices: ['/dev/shm/stick:/dev/stick']}
`, to.IP, l.Key, from.IP, l.Key))
	c.Know(l)
	c.Start()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", c.Run("events"), c.Run("explain", "reader"))
		}
	})
	at := func(host *lab.Host) bool {
		s := c.Status().Services[0].Instances[0]
		return s.Node == host.Name && s.Up() && strings.Contains(host.Docker("inspect", "-f", "{{range .HostConfig.Devices}}{{.PathInContainer}}{{end}}", "reader"), "/dev/stick")
	}
	lab.Until(t, "it runs where the device is", func() bool { return at(from) })
	from.Unplug("stick")
	to.Plug("stick")
	time.Sleep(30 * time.Second) // as long as it must be missing: one that is reset comes back
	lab.Until(t, "it has followed", func() bool { return at(to) })
	t.Log(c.Run("events"))
}
