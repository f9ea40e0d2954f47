package control_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

func builtImage(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

// onBuilt is what is wanted with a stack of two, one of which runs an image that was built.
func onBuilt(image string) otto.Wanted {
	w := wanted()
	web, plain := service("web", ""), service("plain", "")
	web.Spec.Image, web.Spec.PullPolicy = image, otto.PullNever
	web.Unit, plain.Unit = "shop", "shop"
	w.Services = []otto.Service{web, plain}
	return w
}

func inThreeForBuilt(t *testing.T, f func(*testing.T, *ottotest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web", "db")
		c.StartPlane()
		defer c.Close()
		f(t, c)
	})
}

// TestFailoverFindsTheCopyOfABuiltImage has the other node without it chosen first at times.
func TestFailoverFindsTheCopyOfABuiltImage(t *testing.T) {
	for _, copyOn := range []string{"first", "last"} {
		t.Run(copyOn, func(t *testing.T) {
			inThreeForBuilt(t, func(t *testing.T, c *ottotest.Cluster) {
				image := builtImage("1")
				w := onBuilt(image)
				w.Nodes = append(w.Nodes, otto.Node{ID: "c", Host: "c"})
				for _, h := range c.Hosts {
					h.Runtime.Registry = true
				}
				apply(t, c, w)
				c.Wait(2*time.Minute, "web waits", func(*otto.Cluster) bool {
					i := instance(c, "web")
					return i.State == otto.InstanceWaiting && strings.HasPrefix(i.Reason, otto.WaitsForImage+image+" of service web is not on this node")
				})
				time.Sleep(5 * time.Minute)
				on := instance(c, "web").Node
				if i := instance(c, "web"); len(c.Running("web")) > 0 || i.State != otto.InstanceWaiting {
					t.Fatalf("without an image anywhere it is %s on %s: %s", i.State, i.Node, i.Reason)
				}
				others := []string{}
				for _, id := range []string{"a", "b", "c"} {
					if id != on {
						others = append(others, id)
					}
				}
				has := others[0]
				if copyOn == "last" {
					has = others[1]
				}
				c.Hosts[on].Runtime.Load(image)
				c.WaitUp(time.Minute)
				c.Hosts[has].Runtime.Load(image)
				time.Sleep(time.Minute)
				if got := c.Running("web"); len(got) != 1 || got[0] != on {
					t.Fatalf("a copy elsewhere has moved it to %v", got)
				}
				c.PowerOff(on)
				c.Wait(10*time.Minute, "web runs where its copy is", func(*otto.Cluster) bool {
					got := c.Running("web")
					return len(got) == 1 && got[0] == has
				})
				if n := c.Hosts[has].Runtime.Asked(); n > 1 {
					t.Errorf("a registry was asked %d times", n)
				}
			})
		})
	}
}

// TestFormerContainerServesUntilTheImageHasCome changes the image before it is there.
func TestFormerContainerServesUntilTheImageHasCome(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		w := onBuilt(builtImage("1"))
		for _, h := range c.Hosts {
			h.Runtime.Registry = true
			h.Runtime.Load(builtImage("1"))
		}
		apply(t, c, w)
		c.WaitUp(time.Minute)
		on, former := instance(c, "web").Node, instance(c, "web").ContainerID
		plain := instance(c, "plain").ContainerID
		apply(t, c, onBuilt(builtImage("2")))
		time.Sleep(3 * time.Minute)
		if i := instance(c, "web"); i.ContainerID != former || i.State != otto.InstanceRunning || len(c.Running("web")) != 1 {
			t.Errorf("while its image is missing it is %s: %+v", i.State, i.InstanceStatus)
		}
		c.Hosts[on].Runtime.Load(builtImage("2"))
		c.WaitUp(time.Minute)
		if i := instance(c, "web"); i.ContainerID == former || i.Image != builtImage("2") {
			t.Errorf("it runs %s", i.Image)
		}
		if instance(c, "plain").ContainerID != plain {
			t.Error("what does not use it was recreated, too")
		}
	})
}
