package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestServiceGoesWhereItsDeviceIs pulls the device out for a moment, and then plugs
// it in elsewhere.
func TestServiceGoesWhereItsDeviceIs(t *testing.T) {
	const stick = "/dev/ttyUSB0"
	zigbee := movable("zigbee", "")
	zigbee.Spec.Devices = []otto.Device{{Host: stick}}
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web")
		defer c.Close()
		c.StartPlane()
		apply(t, c, three(zigbee))
		waits := func(now *otto.Cluster) bool {
			return strings.Contains(now.Services[0].Instances[0].Reason, "c: it has no "+stick)
		}
		c.Wait(20*time.Second, "waiting for a node that has it", waits)
		c.Hosts["b"].Plug(stick, true)
		c.WaitUp(2 * time.Minute)
		runsOn(t, c, "zigbee", "b", 0)
		time.Sleep(2 * time.Minute)
		c.Hosts["b"].Plug(stick, false)
		restartEngine(c, "b") // so that it is looked for at once
		time.Sleep(5 * time.Second)
		c.Hosts["b"].Plug(stick, true)
		time.Sleep(3 * time.Minute)
		runsOn(t, c, "zigbee", "b", 0)
		c.Hosts["b"].Plug(stick, false)
		c.Hosts["c"].Plug(stick, true)
		runsOn(t, c, "zigbee", "c", 3*time.Minute)
		e, err := c.Plane.ExplainService(t.Context(), "zigbee")
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range []string{"a", "b"} {
			refused := func(r otto.Refusal) bool {
				return r.Node == node && r.Filter == "devices" && r.Reason == "it has no "+stick
			}
			if !slices.ContainsFunc(e.Service.Instances[0].Refusals, refused) {
				t.Errorf("%s is not refused: %+v", node, e.Service.Instances[0].Refusals)
			}
		}
		if want := (otto.RuleHeld{Rule: "device " + stick, Holds: true}); !slices.Contains(e.Service.Instances[0].Rules, want) {
			t.Errorf("rules: %+v", e.Service.Instances[0].Rules)
		}
	})
}

func restartEngine(c *ottotest.Cluster, host string) {
	c.Hosts[host].Runtime.SetDown("it is restarted")
	time.Sleep(time.Second)
	c.Hosts[host].Runtime.SetDown("")
}

// TestImageThatDoesNotRunOnANodeIsNotTriedOnItsLike has three machines of the wrong
// kind and one of the right one.
func TestImageThatDoesNotRunOnANodeIsNotTriedOnItsLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web")
		defer c.Close()
		var tried []string
		for _, id := range []string{"a", "b"} {
			c.Hosts[id].Runtime.FailStart = func(otto.Instance) error {
				tried = append(tried, id)
				return fmt.Errorf("pull web: %w", otto.ErrPlatform)
			}
		}
		c.Hosts["c"].Arch = "arm64"
		c.StartPlane()
		web := movable("web", "")
		web.Placement.Prefer = []otto.Expression{{Label: otto.LabelNodeID, Op: otto.OpEqual, Values: []string{"a"}}}
		apply(t, c, three(web))
		runsOn(t, c, "web", "c", 20*time.Second)
		if !slices.Equal(tried, []string{"a"}) {
			t.Errorf("it was tried on %v", tried)
		}
		time.Sleep(20 * time.Second)
		e, err := c.Plane.ExplainService(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		refused := func(r otto.Refusal) bool {
			return r.Node == "b" && r.Filter == "image" && r.Reason == "there is no web for amd64, as a has found"
		}
		if !slices.ContainsFunc(e.Service.Instances[0].Refusals, refused) {
			t.Errorf("%+v", e.Service.Instances[0].Refusals)
		}
	})
}
