package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

func TestServicesOfAStackRunUnderComposesNames(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		db, web, named := service("shop/db", "a"), service("shop/web", "a"), service("shop/proxy", "a")
		web.Replicas = 2
		web.DependsOn = []otto.Dependency{{Service: "shop/db", Condition: otto.ServiceHealthy}}
		named.Spec.ContainerName = "edge"
		apply(t, c, wanted(db, web, named, service("db", "a")))
		c.WaitUp(20 * time.Second)
		a := c.Hosts["a"].Runtime
		names := func() (list []string) {
			for _, ctr := range a.List() {
				list = append(list, ctr.Name)
			}
			slices.Sort(list)
			return list
		}
		if got, want := names(), []string{
			"db",
			"edge",
			"shop-db-1",
			"shop-web-1",
			"shop-web-2",
		}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		named.Spec.ContainerName = "front"
		apply(t, c, wanted(db, web, named, service("db", "a")))
		time.Sleep(20 * time.Second)
		c.WaitUp(20 * time.Second)
		if got, want := names(), []string{
			"db",
			"front",
			"shop-db-1",
			"shop-web-1",
			"shop-web-2",
		}; !slices.Equal(got, want) {
			t.Errorf("after another container_name: got %v, want %v", got, want)
		}
		if n := a.Starts("shop/db"); n != 1 {
			t.Errorf("shop/db was started %d times", n)
		}
		apply(t, c, wanted(service("db", "a"))) // the stack goes, and nothing else
		time.Sleep(20 * time.Second)
		if got := names(); !slices.Equal(got, []string{"db"}) || a.Starts("db") != 1 {
			t.Errorf("after the stack has gone: %v", got)
		}
	})
}

// TestEventsOfNodesNameServicesOfStacks: a name with a slash is one, and what is none is
// left out.
func TestEventsOfNodesNameServicesOfStacks(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("shop/My.Web", "a")))
		c.WaitUp(20 * time.Second)
		for i, name := range []string{"shop/My.Web", "shop/a b", "shop/a/b", "My.Web"} {
			c.Say("a", wire.KindEvents, false, fmt.Appendf(nil,
				`{"node_id":"a","boot_id":%q,"events":[{"seq":%d,"up_ms":1,"kind":"instance-died","service":%q,"message":"told %[2]d"}]}`,
				"a-boot-1", 1000+i, name))
			time.Sleep(time.Second)
		}
		var got []string
		all, _ := c.Plane.Events(0)
		for _, e := range all {
			if strings.HasPrefix(e.Message, "told ") {
				got = append(got, e.Service)
			}
		}
		if want := []string{"shop/My.Web", "", "", ""}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
