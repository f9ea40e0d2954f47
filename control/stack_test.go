package control_test

import (
	"slices"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
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
