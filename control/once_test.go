package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestRunIsWhereItsServiceIsOrWouldBe asks where one run of a service goes.
func TestRunIsWhereItsServiceIsOrWouldBe(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		db, tool, off, web := service("shop/db", "b"), service("shop/tool", ""), service("off", ""), service("web", "a")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "shop_data", Target: "/data"}}
		tool.Spec.Mounts = db.Spec.Mounts
		db.Unit, tool.Unit, tool.Node = "shop", "shop", "b"
		tool.Replicas, off.Replicas, web.Replicas = 0, 0, 2
		off.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "old", Target: "/data"}}
		former := off
		former.Node, former.Replicas = "a", 1
		apply(t, c, wanted(db, tool, former, web))
		c.WaitUp(20 * time.Second)
		apply(t, c, wanted(db, tool, off, web)) // its volume stays on a
		time.Sleep(10 * time.Second)
		for name, want := range map[string]string{"shop/db": "b", "shop/tool": "b", "off": "a", "web": "a", "web-2": "a"} {
			inst, at, err := c.Plane.Once(t.Context(), name, "")
			if err != nil || at.ID != want || inst.Spec.Image != "web" || !strings.HasPrefix(name, inst.Service) {
				t.Errorf("%s: %+v on %s, %v", name, inst, at.ID, err)
			}
		}
		for _, tt := range [][3]string{
			{"nowhere", "", `no service or node "nowhere": there are shop/db, shop/tool, off, web, web-2, a, b, shop`},
			{"web", "b", "web is not on b: leave --node out"},
		} {
			if _, _, err := c.Plane.Once(t.Context(), tt[0], tt[1]); err == nil || err.Error() != tt[2] {
				t.Errorf("%s on %q: got %v, want %s", tt[0], tt[1], err, tt[2])
			}
		}
		c.PowerOff("b")
		time.Sleep(time.Minute)
		for _, name := range []string{"shop/db", "shop/tool"} {
			if inst, at, err := c.Plane.Once(t.Context(), name, ""); err == nil || !strings.Contains(err.Error(), "b") {
				t.Errorf("%s without its data: %+v on %s, %v", name, inst, at.ID, err)
			}
		}
	})
}
