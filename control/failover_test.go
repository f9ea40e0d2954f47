package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/ottotest"
)

// inThree runs a test with three hosts, a control plane and services that are
// all up, in virtual time.
func inThree(t *testing.T, services []otto.Service, f func(*testing.T, *ottotest.Cluster)) {
	t.Helper()
	inThreeWith(t, services, func(*testing.T, *ottotest.Cluster) {}, f)
}

// inThreeWith is inThree with something done to the cluster before it starts.
func inThreeWith(t *testing.T, services []otto.Service, prepare, f func(*testing.T, *ottotest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b", "c"}, "web", "db")
		defer c.Close()
		prepare(t, c)
		c.StartPlane()
		apply(t, c, three(services...))
		c.WaitUp(20 * time.Second)
		for _, s := range services {
			if s.Stateful() {
				c.NeverTwice(s.Name)
			}
		}
		time.Sleep(20 * time.Second) // links are learned
		f(t, c)
	})
}

func three(services ...otto.Service) otto.Wanted {
	w := wanted(services...)
	w.Nodes = append(w.Nodes, otto.Node{ID: "c", Host: "c", DockerURL: "unix:///var/run/docker.sock"})
	return w
}

// movable is a service that has a home and may leave it.
func movable(name, node string) otto.Service {
	s := service(name, node)
	s.Failover = otto.FailoverMove
	return s
}

// disposable is one with data that it can do without.
func disposable(name, node string) otto.Service {
	s := movable(name, node)
	s.Data = otto.DataDisposable
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: name, Target: "/data"}}
	return s
}

// runsOn waits until an instance runs on a host and nowhere else, and what is said of that
// has arrived.
func runsOn(t *testing.T, c *ottotest.Cluster, instance, host string, limit time.Duration) (took time.Duration) {
	t.Helper()
	began := time.Now()
	for !slices.Equal(c.Running(instance), []string{host}) {
		if time.Since(began) > limit {
			t.Fatalf("%s runs on %v after %s, want %s", instance, c.Running(instance), limit, host)
		}
		time.Sleep(10 * time.Millisecond)
	}
	synctest.Wait() // which takes no time
	return time.Since(began)
}

// quiet fails the test if anything moves within d.
func quiet(t *testing.T, c *ottotest.Cluster, d time.Duration) {
	t.Helper()
	before := map[string][]string{}
	for _, s := range c.Plane.Cluster().Services {
		before[s.Name] = c.Running(s.Name)
	}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for name, hosts := range before {
			if now := c.Running(name); !slices.Equal(hosts, now) {
				t.Fatalf("%s has moved from %v to %v", name, hosts, now)
			}
		}
	}
}

func TestPowerCutMovesWhatMayMove(t *testing.T) {
	for _, offset := range []time.Duration{0, 100, 230, 410} {
		inThree(t, []otto.Service{movable("web", "a"), service("home", "a")}, func(t *testing.T, c *ottotest.Cluster) {
			time.Sleep(offset * time.Millisecond)
			c.PowerOff("a")
			if took := runsOn(t, c, "web", "b", 3*time.Second); took > 2*time.Second {
				t.Errorf("elsewhere after %s", took)
			}
			v := c.Wait(time.Second, "home waits", func(v *otto.Cluster) bool {
				return v.Nodes[0].State == otto.NodeLost && v.Services[1].Instances[0].State == otto.InstanceUnknown
			})
			if n := v.Nodes[0]; !strings.Contains(n.Reason, "b and c cannot reach it either") {
				t.Errorf("node is %s: %s", n.State, n.Reason)
			}
			if err := c.PowerOn("a", true); err != nil {
				t.Fatal(err)
			}
			c.WaitUp(20 * time.Second)
			runsOn(t, c, "web", "b", 0) // it stays
			runsOn(t, c, "home", "a", 0)
		})
	}
}

func TestShortCutMovesNothing(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "a")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		c.Cut("a")
		time.AfterFunc(700*time.Millisecond, func() { c.Heal("a") })
		quiet(t, c, time.Minute)
	})
}

// TestStandInGoesWhenTheCableIsBack has a cable out for so long that a power cut
// would be answered by then.
func TestStandInGoesWhenTheCableIsBack(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "a")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		before := c.Hosts["a"].Runtime.List()
		c.Cut("a")
		runsElsewhere := func() bool { return slices.Equal(c.Running("web"), []string{"a", "b"}) }
		for !runsElsewhere() {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		c.Heal("a")
		runsOn(t, c, "web", "a", 5*time.Second)
		quiet(t, c, 5*time.Minute)
		if diff := cmp.Diff(before, c.Hosts["a"].Runtime.List()); diff != "" {
			t.Errorf("the containers of a (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"service-stand-in b", "service-kept a"}, kinds(c.Plane, "service-stand-in", "service-moved", "service-kept")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLongCutMovesOnceAndHealsToOneCopy(t *testing.T) {
	services := []otto.Service{movable("web", "a"), disposable("db", "a")}
	inThree(t, services, func(t *testing.T, c *ottotest.Cluster) {
		c.Cut("a")
		time.Sleep(5 * time.Second)
		if diff := cmp.Diff([]string{"a", "b"}, c.Running("web")); diff != "" {
			t.Errorf("a stateless copy runs on while it is cut off: %s", diff)
		}
		if diff := cmp.Diff([]string{"a"}, c.Running("db")); diff != "" {
			t.Errorf("moved before its lease has ended: %s", diff)
		}
		took := runsOn(t, c, "db", "c", 15*time.Second) + 5*time.Second
		if took > 12*time.Second {
			t.Errorf("db elsewhere after %s, which is more than its lease and 2 s", took)
		}
		time.Sleep(60*time.Second - took)
		if diff := cmp.Diff([]string{"service-moved c", "service-moved b"}, kinds(c.Plane, "service-moved", "service-kept")); diff != "" {
			t.Error(diff)
		}
		c.Heal("a")
		c.WaitUp(10 * time.Second)
		runsOn(t, c, "web", "b", 5*time.Second)
		runsOn(t, c, "db", "c", 0)
		quiet(t, c, 10*time.Minute)
	})
}

func TestDataIsWaitedFor(t *testing.T) {
	db := service("db", "")
	db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "db", Target: "/data"}}
	inThree(t, []otto.Service{db}, func(t *testing.T, c *ottotest.Cluster) {
		c.Cut("a")
		quiet(t, c, 5*time.Minute) // it is cut off and runs on: nobody else may start it
		c.Heal("a")
		c.WaitUp(10 * time.Second)
		c.PowerOff("a")
		time.Sleep(5 * time.Minute)
		if hosts := c.Running("db"); len(hosts) > 0 {
			t.Errorf("db runs on %v without its data", hosts)
		}
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(10 * time.Second)
		runsOn(t, c, "db", "a", 0)
	})
}

func TestMostNodesSilentAtOnceIsOurOwnFault(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), disposable("db", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Cut("a")
		c.Cut("b")
		time.Sleep(30 * time.Second)
		v := c.Plane.Cluster()
		if !strings.Contains(v.Problem, "2 of 3 nodes fell silent") || v.Nodes[0].State != otto.NodeSuspect {
			t.Errorf("problem %q, node a is %s", v.Problem, v.Nodes[0].State)
		}
		if diff := cmp.Diff([]string{"a"}, c.Running("web")); diff != "" {
			t.Error(diff)
		}
		c.Heal("a")
		c.Heal("b")
		v = c.WaitUp(20 * time.Second)
		if v.Problem != "" {
			t.Errorf("still in doubt: %s", v.Problem)
		}
		runsOn(t, c, "db", "b", 0)
	})
}

// TestLastOfManyHasTimeToComeBack heals the links one after the other.
func TestLastOfManyHasTimeToComeBack(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Cut("a")
		c.Cut("b")
		time.Sleep(30 * time.Second)
		c.Heal("b")
		time.AfterFunc(5*time.Second, func() { c.Heal("a") })
		quiet(t, c, time.Minute)
	})
}

func TestControlPlaneCutOffMovesNothing(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), service("home", "b")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Bus.Cut("control")
		quiet(t, c, 5*time.Minute)
		c.Bus.Heal("control")
		quiet(t, c, time.Minute)
		c.WaitUp(time.Second)
	})
}

func TestHostThatAPeerReachesIsNotLost(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Bus.Cut("a") // its link to the broker alone
		quiet(t, c, time.Minute)
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeSuspect || !strings.Contains(n.Reason, "answers") {
			t.Errorf("node is %s: %s", n.State, n.Reason)
		}
	})
}

func TestSickEngineIsNotADeadNode(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a"), disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Runtime.SetDown("the engine does not answer")
		quiet(t, c, 5*time.Second)
		if n := c.Plane.Cluster().Nodes[0]; n.State != otto.NodeReady || n.Problem == "" {
			t.Errorf("node is %s, problem %q", n.State, n.Problem)
		}
		time.Sleep(time.Minute)
		runsOn(t, c, "db", "c", 0) // fenced by the agent without the engine, then moved
		c.Hosts["a"].Runtime.SetDown("")
		c.WaitUp(time.Minute)
		runsOn(t, c, "web", "b", 10*time.Second)
	})
}

func TestKilledAgentKeepsItsLease(t *testing.T) {
	inThree(t, []otto.Service{disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		for range 20 {
			c.KillAgent("a")
			quiet(t, c, 2*time.Second)
			c.WaitUp(5 * time.Second)
		}
		if n := c.Hosts["a"].Runtime.Starts("db"); n != 1 {
			t.Errorf("db was started %d times", n)
		}
	})
}

// TestFencedIsNotFailed: who is stopped because his lease has ended has done nothing
// wrong, and goes on although his restart policy would leave him as he is.
func TestFencedIsNotFailed(t *testing.T) {
	db := disposable("db", "a")
	db.Spec.Restart = "no"
	var events *journal.Journal
	prepare := func(_ *testing.T, c *ottotest.Cluster) {
		events, _ = journal.Open("", journal.Limit)
		c.Journal = events
	}
	inThreeWith(t, []otto.Service{db}, prepare, func(t *testing.T, c *ottotest.Cluster) {
		c.Bus.Cut("control")
		time.Sleep(30 * time.Second)
		if on := c.Running("db"); len(on) > 0 {
			t.Errorf("db runs on %v without a lease", on)
		}
		c.KillPlane() // the next one publishes all assignments anew
		c.Bus.Heal("control")
		c.StartPlane()
		c.WaitUp(20 * time.Second)
		fenced := false
		list, _ := events.After(0)
		for _, e := range list {
			fenced = fenced || e.Kind == "instance-fenced"
			if e.Kind == "instance-died" || e.Kind == "service-failed" || e.Kind == "instance-not-up" {
				t.Errorf("%s: %s", e.Kind, e.Message)
			}
		}
		if !fenced {
			t.Error("nothing was fenced")
		}
	})
}

func TestReturningServiceGoesHomeWhenAskedTo(t *testing.T) {
	web := movable("web", "a")
	web.Rejoin = otto.RejoinHome
	db := disposable("db", "a")
	db.Rejoin = otto.RejoinHome
	inThree(t, []otto.Service{web, db}, func(t *testing.T, c *ottotest.Cluster) {
		c.PowerOff("a")
		runsOn(t, c, "web", "b", 3*time.Second)
		runsOn(t, c, "db", "c", 15*time.Second)
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(20 * time.Second)
		quiet(t, c, 30*time.Second)
		runsOn(t, c, "web", "a", time.Minute)
		runsOn(t, c, "db", "a", 10*time.Second)
	})
}

func TestServiceThatFailsIsTriedElsewhereAndNotForEver(t *testing.T) {
	inThree(t, []otto.Service{movable("web", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		broken := func(otto.Instance) error { return errors.New("no such device") }
		c.Hosts["a"].Runtime.FailStart = broken
		c.Hosts["a"].Runtime.Exit("web", 1)
		runsOn(t, c, "web", "b", 2*time.Minute)
		c.Hosts["b"].Runtime.FailStart = broken
		c.Hosts["b"].Runtime.Exit("web", 1)
		runsOn(t, c, "web", "c", 2*time.Minute)
		c.Hosts["c"].Runtime.FailStart = broken
		c.Hosts["c"].Runtime.Exit("web", 1)
		time.Sleep(5 * time.Minute)
		i := c.Plane.Cluster().Services[0].Instances[0]
		if i.Node != "c" || !strings.Contains(i.Reason, "failed on every other node") {
			t.Errorf("on %s: %s", i.Node, i.Reason)
		}
	})
}

func TestFlappingNodeGetsNothingNew(t *testing.T) {
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		for range 5 {
			c.Cut("a")
			time.Sleep(8 * time.Second)
			c.Heal("a")
			time.Sleep(5 * time.Second)
		}
		if w := c.Plane.Cluster().Nodes[0].Warnings; !slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "comes and goes") }) {
			t.Errorf("warnings %q", w)
		}
		var services []otto.Service
		for i := range 3 {
			services = append(services, service(fmt.Sprintf("web%d", i), ""))
		}
		apply(t, c, three(services...))
		c.WaitUp(20 * time.Second)
		if n := len(c.Hosts["a"].Runtime.List()); n != 0 {
			t.Errorf("the flapping node got %d instances", n)
		}
	})
}

func TestRestartedControlPlaneWaitsForLeasesItDoesNotKnow(t *testing.T) {
	inThree(t, []otto.Service{disposable("db", "a")}, func(t *testing.T, c *ottotest.Cluster) {
		c.KillPlane()
		c.Cut("a")
		c.StartPlane()
		runsOn(t, c, "db", "b", 40*time.Second)
		c.Heal("a")
		c.WaitUp(20 * time.Second)
	})
}
