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
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

func wanted(services ...otto.Service) otto.Wanted {
	w := otto.Wanted{Interval: time.Second, Services: services}
	for _, id := range []string{"a", "b"} {
		w.Nodes = append(w.Nodes, otto.Node{ID: id, Host: id, DockerURL: "unix:///var/run/docker.sock"})
	}
	return w
}

func service(name, node string) otto.Service {
	return otto.Service{Name: name, Node: node, Replicas: 1, Spec: otto.ContainerSpec{Image: "web"}}
}

// inCluster runs a test with two hosts and a control plane in virtual time.
func inCluster(t *testing.T, f func(*testing.T, *ottotest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web", "db")
		c.StartPlane()
		defer c.Close()
		f(t, c)
	})
}

func apply(t *testing.T, c *ottotest.Cluster, w otto.Wanted) []otto.Change {
	t.Helper()
	changes, err := c.Apply(w)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func names(list []otto.Container) (names []string) {
	for _, c := range list {
		names = append(names, c.Name+" "+string(c.State))
	}
	slices.Sort(names)
	return names
}

func TestServicesRunWhereTheFileSays(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a"), service("db", "b")))
		view := c.WaitUp(10 * time.Second)
		if diff := cmp.Diff([]string{"web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"db running"}, names(c.Hosts["b"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
		if got := view.Nodes[0].Facts.Arch; got != "amd64" {
			t.Errorf("facts of the node: arch %q", got)
		}
		c.Wait(5*time.Second, "samples", func(v *otto.Cluster) bool {
			return v.Nodes[0].Sample != nil && v.Services[0].Instances[0].Sample != nil
		})
	})
}

func TestReplicasWithoutHomeAreSpread(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		s := service("web", "")
		s.Replicas = 2
		apply(t, c, wanted(s))
		c.WaitUp(20 * time.Second)
		for id, h := range c.Hosts {
			if n := len(h.Runtime.List()); n != 1 {
				t.Errorf("host %s runs %d instances, want 1", id, n)
			}
		}
	})
}

func TestRemovedServiceIsRemovedAndForeignContainerIsNot(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Runtime.AddForeign("their-db")
		apply(t, c, wanted(service("web", "a"), service("old", "a")))
		c.WaitUp(10 * time.Second)
		changes := apply(t, c, wanted(service("web", "a")))
		if diff := cmp.Diff([]otto.Change{{Kind: "remove", Noun: "service", Name: "old"}}, changes); diff != "" {
			t.Error(diff)
		}
		time.Sleep(5 * time.Second)
		if diff := cmp.Diff([]string{"their-db running", "web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForeignNameIsAnErrorOfThatServiceAlone(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["a"].Runtime.AddForeign("web")
		apply(t, c, wanted(service("web", "a"), service("db", "a")))
		v := c.Wait(10*time.Second, "db up and web failed", func(v *otto.Cluster) bool {
			return len(v.Services) == 2 && v.Services[1].Instances[0].Up() && v.Services[0].Instances[0].State == otto.InstanceFailed
		})
		if got := v.Services[0].Instances[0].Error; !strings.Contains(got, "not this cluster's") {
			t.Errorf("error does not say why: %q", got)
		}
	})
}

func TestChangedServiceIsRecreated(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		before := c.Hosts["a"].Runtime.List()[0].ID
		s := service("web", "a")
		s.Spec.Environment = map[string]string{"TOKEN": "secret"}
		changes := apply(t, c, wanted(s))
		if diff := cmp.Diff([]otto.Change{{Kind: "change", Noun: "service", Name: "web", Detail: "environment"}}, changes); diff != "" {
			t.Error(diff)
		}
		c.WaitUp(10 * time.Second)
		time.Sleep(5 * time.Second)
		list := c.Hosts["a"].Runtime.List()
		if diff := cmp.Diff([]string{"web running"}, names(list)); diff != "" {
			t.Error(diff)
		}
		if list[0].ID == before {
			t.Error("the container is the former one")
		}
	})
}

func TestFailedUpdateBringsTheFormerOneBack(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		c.Hosts["a"].Runtime.FailStart = func(i otto.Instance) error {
			if i.Spec.User == "nobody" {
				return errors.New("no such user")
			}
			return nil
		}
		s := service("web", "a")
		s.Spec.User = "nobody"
		apply(t, c, wanted(s))
		v := c.Wait(10*time.Second, "the update's error", func(v *otto.Cluster) bool {
			i := v.Services[0].Instances[0]
			return i.State == otto.InstanceRunning && strings.Contains(i.Error, "no such user")
		})
		if v.Services[0].Instances[0].Up() {
			t.Error("counts as up although it is not what is wanted")
		}
		time.Sleep(5 * time.Minute)
		if diff := cmp.Diff([]string{"web running", "web.kept created"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
		apply(t, c, wanted(service("web", "a"))) // back to what it was
		c.WaitUp(10 * time.Second)
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

// TestUpdateInASilentEngine has the engine not answer at some moment of an update,
// for some time: that is no fault of the new version, which is there in the end.
func TestUpdateInASilentEngine(t *testing.T) {
	for _, order := range []string{otto.StopFirst, otto.StartFirst} {
		for _, lasts := range []time.Duration{3 * time.Second, ottotest.HangFor, 25 * time.Second} {
			for at := time.Duration(0); at < 4*time.Second; at += 500 * time.Millisecond {
				inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
					engine := c.Hosts["a"].Runtime
					engine.StartTime, engine.StopTime = time.Second, time.Second
					apply(t, c, wanted(service("web", "a")))
					c.WaitUp(10 * time.Second)
					s := service("web", "a")
					s.Update.Order, s.Spec.Environment = order, map[string]string{"VERSION": "2"}
					apply(t, c, wanted(s))
					time.Sleep(at)
					engine.SetHung(true)
					time.Sleep(lasts)
					engine.SetHung(false)
					c.Wait(2*time.Minute, fmt.Sprintf("%s: the update, silent for %s after %s", order, lasts, at), func(v *otto.Cluster) bool {
						return v.Services[0].Instances[0].Up() && len(c.Running("web")) == 1
					})
				})
			}
		}
	}
}

// TestUpdateWhoseStartIsNeverAnswered goes back, as the engine answers everything else.
func TestUpdateWhoseStartIsNeverAnswered(t *testing.T) {
	for _, silent := range []int{1, 100} {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			apply(t, c, wanted(service("web", "a")))
			c.WaitUp(10 * time.Second)
			left := silent
			c.Hosts["a"].Runtime.FailStart = func(i otto.Instance) error {
				if left--; i.Spec.User != "nobody" || left < 0 {
					return nil
				}
				return fmt.Errorf("start web: %w", otto.ErrNoAnswer)
			}
			s := service("web", "a")
			s.Spec.User = "nobody"
			apply(t, c, wanted(s))
			if silent == 1 {
				c.WaitUp(30 * time.Second)
				return
			}
			c.Wait(time.Minute, "the former one", func(v *otto.Cluster) bool {
				i := v.Services[0].Instances[0]
				return i.State == otto.InstanceRunning && strings.Contains(i.Error, otto.ErrNoAnswer.Error())
			})
		})
	}
}

func TestControlPlaneKilledKnowsEverythingAndRestartsNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a"), service("db", "")))
		c.WaitUp(20 * time.Second)
		before := append(c.Hosts["a"].Runtime.List(), c.Hosts["b"].Runtime.List()...)
		epoch := c.Plane.Epoch()
		c.KillPlane()
		time.Sleep(time.Hour)
		c.StartPlane()
		view := c.WaitUp(20 * time.Second)
		if c.Plane.Epoch() <= epoch {
			t.Errorf("epoch %d after %d", c.Plane.Epoch(), epoch)
		}
		if len(view.Services) != 2 {
			t.Errorf("%d services known, want 2", len(view.Services))
		}
		after := append(c.Hosts["a"].Runtime.List(), c.Hosts["b"].Runtime.List()...)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error("containers have changed:", diff)
		}
	})
}

func TestKilledAgentComesBackAndTouchesNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		before := c.Hosts["a"].Runtime.List()
		c.KillAgent("a")
		time.Sleep(2 * time.Second)
		c.WaitUp(10 * time.Second)
		if n := c.Hosts["a"].Boots(); n != 2 {
			t.Errorf("the agent was started %d times, want 2", n)
		}
		if diff := cmp.Diff(before, c.Hosts["a"].Runtime.List()); diff != "" {
			t.Error("containers have changed:", diff)
		}
	})
}

func TestNodeWithoutControlPlaneComesUpAlone(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		db := service("db", "a")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}
		apply(t, c, wanted(service("web", "a"), db))
		c.WaitUp(10 * time.Second)
		c.KillPlane()
		c.PowerOff("a")
		if err := c.PowerOn("a", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		// The database waits: nobody can say that it does not run elsewhere by now.
		if diff := cmp.Diff([]string{"db exited", "web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeadNodeIsLostWhenSSHFailsToo(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		c.Hosts["b"].SetUnreachable(errors.New("no route to host"))
		c.KillAgent("b")
		v := c.Wait(time.Minute, "b lost", func(v *otto.Cluster) bool { return v.Nodes[1].State == otto.NodeLost })
		if !strings.Contains(v.Nodes[1].Reason, "no route to host") {
			t.Errorf("reason: %q", v.Nodes[1].Reason)
		}
		c.Hosts["b"].SetUnreachable(nil)
		c.WaitUp(2 * time.Minute)
	})
}

func TestStopStopsEverythingAndStartGoesOn(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		job := service("job", "b")
		job.Spec.Restart = "no"
		apply(t, c, wanted(service("web", "a"), job))
		c.WaitUp(10 * time.Second)
		if err := c.Plane.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"web exited"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
		c.Wait(5*time.Second, "nodes left", func(v *otto.Cluster) bool {
			return v.Stopped && v.Nodes[0].State == otto.NodeLeft && v.Nodes[1].State == otto.NodeLeft
		})
		apply(t, c, wanted(service("web", "a"), job))
		c.WaitUp(10 * time.Second)
		if n := c.Hosts["b"].Runtime.Starts("job"); n != 2 {
			t.Errorf("the job was started %d times, want again after the stop", n)
		}
	})
}

func TestStopWithADeadNodeSaysSoAndStopsTheRest(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a"), service("db", "b")))
		c.WaitUp(10 * time.Second)
		c.Hosts["b"].SetUnreachable(errors.New("no route to host"))
		c.KillAgent("b")
		err := c.Plane.Stop(t.Context())
		if err == nil || err.Error() != "b: no route to host" {
			t.Errorf("stop says %v", err)
		}
		if diff := cmp.Diff([]string{"web exited"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNodeTakenOutIsCleanedAndForgotten(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a"), service("db", "b")))
		c.WaitUp(10 * time.Second)
		w := wanted(service("web", "a"))
		w.Nodes = w.Nodes[:1]
		apply(t, c, w)
		c.Wait(time.Minute, "b gone", func(v *otto.Cluster) bool { return len(v.Nodes) == 1 })
		if list := c.Hosts["b"].Runtime.List(); len(list) != 0 {
			t.Errorf("left behind: %v", names(list))
		}
		if c.Bus.Retained(wire.NodeTopic("b", wire.KindAssignment)) != nil {
			t.Error("its assignment is still retained")
		}
	})
}

func TestDependencyOnAnotherNodeIsWaitedFor(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		c.Hosts["b"].Runtime.StartTime = 3 * time.Second
		web := service("web", "a")
		web.DependsOn = []otto.Dependency{{Service: "db", Condition: otto.ServiceHealthy}}
		apply(t, c, wanted(web, service("db", "b")))
		c.Wait(2*time.Second, "web waiting", func(v *otto.Cluster) bool {
			return len(v.Services) > 0 && strings.Contains(v.Services[0].Instances[0].Reason, "waiting: db is")
		})
		c.WaitUp(20 * time.Second)
		web0, db := c.Hosts["a"].Runtime.List()[0], c.Hosts["b"].Runtime.List()[0]
		if web0.Started.Before(db.Started) {
			t.Error("web was started before db")
		}
	})
}

func TestDependencyCycleAcrossARestartStopsNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		web := service("web", "a")
		web.DependsOn = []otto.Dependency{{Service: "db", Condition: otto.ServiceHealthy}}
		apply(t, c, wanted(web, service("db", "b")))
		c.WaitUp(20 * time.Second)
		c.Hosts["b"].Runtime.Exit("db", 1)
		c.Hosts["b"].Runtime.SetDown("engine is gone")
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEngineDownIsReportedAndServicesComeBack(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		c.Hosts["a"].Runtime.SetDown("the engine does not answer")
		c.Wait(10*time.Second, "problem", func(v *otto.Cluster) bool { return v.Nodes[0].Problem == "the engine does not answer" })
		c.Hosts["a"].Runtime.Exit("web", 137)
		c.Hosts["a"].Runtime.SetDown("")
		c.Wait(20*time.Second, "back", func(v *otto.Cluster) bool { return v.Nodes[0].Problem == "" && ottotest.AllUp(v) })
	})
}

func TestServiceWithDataDoesNotMoveAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		db := service("db", "a")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "data", Target: "/data"}}
		apply(t, c, wanted(db))
		c.WaitUp(10 * time.Second)
		db.Node = "b"
		if _, err := c.Apply(wanted(db)); err == nil || !strings.Contains(err.Error(), "keeps its data on node a") {
			t.Errorf("moved away from its data: %v", err)
		}
	})
}

func TestEditOnAnOldStateIsRefused(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		_, err := c.Plane.Apply(t.Context(), wanted(), 0, false)
		if !errors.Is(err, otto.ErrConflict) {
			t.Errorf("got %v, want a conflict", err)
		}
	})
}

func TestUnwritableStoreChangesNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		c.Store.SetFail(errors.New("disk full"))
		if _, err := c.Apply(wanted()); err == nil {
			t.Error("a change that is not stored was acknowledged")
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRefusedAssignments(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		topic := wire.NodeTopic("a", wire.KindAssignment)
		good := c.Bus.Retained(topic)
		apply(t, c, wanted(service("web", "a"), service("db", "a")))
		c.WaitUp(10 * time.Second)
		forB := c.Bus.Retained(wire.NodeTopic("b", wire.KindAssignment))
		for name, forged := range map[string][]byte{
			"replayed":       good,
			"of a neighbour": forB,
			"unsigned":       []byte(`{"assignment":{"node":"a","instances":[]}}`),
			"garbage":        []byte("\xff\x00"),
			"empty":          {},
		} {
			c.Bus.Inject(topic, false, forged)
			time.Sleep(5 * time.Second)
			if diff := cmp.Diff([]string{"db running", "web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
				t.Errorf("%s assignment was obeyed: %s", name, diff)
			}
		}
	})
}

func TestTwoAgentsOfOneNodeAreNoticed(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		apply(t, c, wanted(service("web", "a")))
		c.WaitUp(10 * time.Second)
		for range 3 {
			c.Say("a", wire.KindHeartbeat, false, []byte(`{"boot_id":"other","seq":1}`))
			time.Sleep(2 * time.Second)
		}
		if p := c.Plane.Cluster().Nodes[0].Problem; !strings.Contains(p, "two agents") {
			t.Errorf("problem is %q", p)
		}
	})
}

// TestLostDocumentStopsNothing loses each document of the store in turn: the
// control plane does not start, and what runs runs on.
func TestLostDocumentStopsNothing(t *testing.T) {
	for _, key := range []string{"identity", "epoch", "desired", "enrolled"} {
		inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
			apply(t, c, wanted(service("web", "a")))
			c.WaitUp(10 * time.Second)
			c.KillPlane()
			c.Store.Lose(key)
			_, err := control.New(t.Context(), control.Options{Name: "test", Store: c.Store, Log: c.Log})
			if !errors.Is(err, otto.ErrStateLost) {
				t.Errorf("without its %s the store gives %v", key, err)
			}
			time.Sleep(time.Minute)
			if diff := cmp.Diff([]string{"web running"}, names(c.Hosts["a"].Runtime.List())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
