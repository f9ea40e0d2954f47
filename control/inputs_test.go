package control_test

import (
	"fmt"
	"math"
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
		c.WaitUp(20 * time.Second)
		runsOn(t, c, "zigbee", "b", 0)
		time.Sleep(2 * time.Minute)
		c.Hosts["b"].Plug(stick, false)
		time.Sleep(20 * time.Second)
		c.Hosts["b"].Plug(stick, true)
		time.Sleep(3 * time.Minute)
		runsOn(t, c, "zigbee", "b", 0)
		c.Hosts["b"].Plug(stick, false)
		c.Hosts["c"].Plug(stick, true)
		runsOn(t, c, "zigbee", "c", time.Minute)
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

// TestServiceStaysNearANode has the way from a to the NAS become slow, and that from
// b be slow as well.
func TestServiceStaysNearANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c", "nas"}, "web")
		defer c.Close()
		c.Hosts["b"].SetRoundTrip(30 * time.Millisecond)
		c.Hosts["c"].SetRoundTrip(2 * time.Millisecond)
		c.StartPlane()
		web := movable("web", "a")
		near := required("rtt.nas", 0.02, otto.ActionMigrate)
		web.Requirements = []otto.Requirement{near}
		w := three(web)
		w.Nodes = append(w.Nodes, otto.Node{ID: "nas", Host: "nas", DockerURL: "unix:///var/run/docker.sock"})
		apply(t, c, w)
		c.WaitUp(20 * time.Second)
		time.Sleep(time.Minute)
		v := verdict(c.Wait(time.Second, "kept", inState(otto.RequirementOK)))
		if v.Node != "a" || *v.Value != 0 {
			t.Errorf("got %+v", v)
		}
		if n := c.Plane.Cluster().Nodes[3]; n.Sample.RTT["nas"] != 0 || len(n.Sample.RTT) != 1 {
			t.Errorf("to itself: %v", n.Sample.RTT)
		}
		c.Hosts["a"].SetRoundTrip(50 * time.Millisecond)
		if took := runsOn(t, c, "web", "c", 3*time.Minute); took < near.For {
			t.Errorf("it has moved after %s", took)
		}
		time.Sleep(time.Minute)

		c.Cut("nas") // nobody knows how far it is: nothing is done
		c.Hosts["c"].SetRoundTrip(time.Second)
		c.Wait(time.Minute, "unknown", inState(otto.RequirementUnknown))
		time.Sleep(10 * time.Minute)
		runsOn(t, c, "web", "c", 0)
	})
}

func TestRoundTripsAreMeasuredOnlyIfRequired(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		time.Sleep(time.Minute)
		for _, n := range c.Plane.Cluster().Nodes {
			if n.Sample.RTT != nil {
				t.Errorf("%s: %v", n.ID, n.Sample.RTT)
			}
		}
	})
}

// TestUseIsAShareOfLimitOrReserve has both of them required at once.
func TestUseIsAShareOfLimitOrReserve(t *testing.T) {
	web := movable("web", "a")
	web.Spec.Resources = otto.Resources{CPU: 1, MemoryBytes: 400 << 20}
	web.Reserve = otto.Resources{CPU: 0.2, MemoryBytes: 100 << 20}
	for _, metric := range []string{"cpu", "memory"} {
		limit, reserve := required(metric, 90, otto.ActionEvent), required(metric, 90, otto.ActionEvent)
		limit.OfLimit, reserve.OfReserve = true, true
		web.Requirements = append(web.Requirements, limit, reserve)
	}
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Measure(func(_ *otto.NodeSample, list []otto.ContainerSample) {
			for i := range list {
				list[i].CPUPercent, list[i].MemoryUsed, list[i].MemoryLimit = 30, 200<<20, 400<<20
			}
		})
		time.Sleep(12 * time.Second)
		var got []float64
		for _, v := range c.Plane.Cluster().Services[0].Verdicts {
			got = append(got, *v.Value)
		}
		if want := []float64{30, 150, 50, 200}; !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// TestServiceIsProbedFromElsewhere has the way to where it runs become slow, for the
// control plane and for the NAS, while its own agent finds it well.
func TestServiceIsProbedFromElsewhere(t *testing.T) {
	for _, from := range []string{otto.FromControl, "nas"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := ottotest.NewCluster(t, []string{"a", "b", "nas"}, "web")
				defer c.Close()
				c.StartPlane()
				web := movable("web", "a")
				web.Probe = &otto.Probe{TCP: 80, Interval: time.Second}
				web.Spec.Ports = []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}}
				slow, away := required("latency."+from, 0.1, otto.ActionMigrate), required("availability."+from, 90, otto.ActionEvent)
				slow.Aggregate, slow.Over = "p95", 10*time.Second
				away.Aggregate, away.Over, away.Operator = otto.AggregateAvg, 30*time.Second, ">="
				away.Clear = away.DefaultClear()
				web.Requirements = []otto.Requirement{slow, away}
				w := three(web)
				w.Nodes[2] = otto.Node{ID: "nas", Host: "nas", DockerURL: "unix:///var/run/docker.sock"}
				apply(t, c, w)
				time.Sleep(time.Minute)
				values := func() (latency, availability float64) {
					t.Helper()
					list := c.Plane.Cluster().Services[0].Verdicts
					if len(list) != 2 || list[0].Value == nil || list[1].Value == nil {
						t.Fatalf("got %+v", list)
					}
					return *list[0].Value, *list[1].Value
				}
				if l, a := values(); l != 0 || a != 100 {
					t.Errorf("latency %v, availability %v", l, a)
				}
				c.Hosts["a"].SetRoundTrip(200 * time.Millisecond)
				runsOn(t, c, "web", "b", 2*time.Minute)
				time.Sleep(2 * time.Minute)
				if l, a := values(); l != 0 || a != 100 {
					t.Errorf("where it is now: latency %v, availability %v", l, a)
				}
				c.Hosts["b"].SetRoundTrip(10 * time.Second) // too far for any probe
				c.Wait(2*time.Minute, "not available", func(now *otto.Cluster) bool { return now.Services[0].Verdicts[1].Standing() })
				if now := c.Plane.Cluster().Services[0].Instances[0]; now.State != otto.InstanceRunning {
					t.Errorf("its own agent finds it well, and it is %s", now.State)
				}
			})
		})
	}
}
