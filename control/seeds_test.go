package control_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// dataOf writes the data of a project.
func dataOf(t *testing.T, project, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(project, "data"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const seededVolume = "shop.data.12345678"

// onData is a service that has the data of a project on a node, or on any.
func onData(project, name, node string) otto.Service {
	s := service(name, node)
	s.Spec.Mounts = []otto.Mount{
		{Type: otto.MountVolume, Source: seededVolume, Target: "/data", External: true, Seed: "./data"},
	}
	s.Seeds = otto.Seeds{seededVolume: {Project: project, Path: "data", Name: "./data"}}
	return s
}

// inPlace is the same where the data lies.
func inPlace(project, name, node string) otto.Service {
	s := onData(project, name, node)
	s.Spec.Mounts = []otto.Mount{{Type: otto.MountBind, Source: filepath.Join(project, "data"), Target: "/data"}}
	return s
}

// dataRead is what a container that runs finds in its data.
func dataRead(t *testing.T, c *ottotest.Cluster, instance string) string {
	t.Helper()
	for _, h := range c.Hosts {
		for _, ctr := range h.Runtime.List() {
			if ctr.Instance == instance && ctr.State == otto.ContainerRunning {
				b, err := os.ReadFile(ctr.Mounts[0].Source)
				if err != nil {
					t.Error(err)
				}
				return string(b)
			}
		}
	}
	return ""
}

func inSeeded(t *testing.T, f func(t *testing.T, c *ottotest.Cluster, project string)) {
	t.Helper()
	project := t.TempDir()
	dataOf(t, project, "one")
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) { f(t, c, project) })
}

// TestDataIsCopiedOnceAndIsTheNodes after that: neither an apply nor a restart of anything
// brings it again.
func TestDataIsCopiedOnceAndIsTheNodes(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		p, err := c.Plane.Plan(t.Context(), wanted(onData(project, "db", "a")))
		want := []otto.PlannedSeed{{Volume: seededVolume, Node: "a", Seed: otto.Seed{Project: project, Path: "data", Name: "./data"}}}
		if err != nil || !slices.Equal(p.Seeds, want) {
			t.Errorf("the plan says %+v, %v", p.Seeds, err)
		}
		apply(t, c, wanted(onData(project, "db", "a")))
		c.WaitUp(time.Minute)
		if got := dataRead(t, c, "db"); got != "one" {
			t.Fatalf("it reads %q", got)
		}
		dataOf(t, project, "two")
		again := onData(project, "db", "a")
		again.Spec.Environment = map[string]string{"A": "b"}
		p, err = c.Plane.Plan(t.Context(), wanted(again))
		if err != nil || len(p.Seeds) > 0 || !slices.Contains(p.Notes, "data ./data of service db is on node a") {
			t.Errorf("the plan says %+v and %q, %v", p.Seeds, p.Notes, err)
		}
		for name, do := range map[string]func(){
			"an apply":             func() { apply(t, c, wanted(again)) },
			"another agent":        func() { c.KillAgent("a") },
			"a reboot":             func() { reboot(t, c, "a") },
			"another controlplane": func() { c.KillPlane(); c.StartPlane() },
		} {
			do()
			time.Sleep(30 * time.Second)
			c.WaitUp(2 * time.Minute)
			if got := dataRead(t, c, "db"); got != "one" {
				t.Errorf("after %s it reads %q", name, got)
			}
		}
		if events := kinds(c.Plane, "data-brought"); len(events) > 1 {
			t.Errorf("it was brought %d times", len(events))
		}
	})
}

// TestServicesWaitForTheirData cuts the power of the node in the middle.
func TestServicesWaitForTheirData(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted())
		c.WaitUp(time.Minute)
		c.Hosts["a"].SSHTime = time.Minute
		apply(t, c, wanted(onData(project, "db", "a"), service("plain", "a")))
		time.Sleep(30 * time.Second)
		if i := instance(c, "db"); i.State != otto.InstanceWaiting || len(c.Running("db")) > 0 ||
			i.Reason != "waiting for its data: ./data has not come from the control plane's machine yet" {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		if len(c.Running("plain")) != 1 {
			t.Error("others wait, too")
		}
		reboot(t, c, "a")
		c.WaitUp(5 * time.Minute)
		if got := dataRead(t, c, "db"); got != "one" {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestControlPlaneThatIsKilledCopiesAgain: nothing of what it was copying is used.
func TestControlPlaneThatIsKilledCopiesAgain(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted())
		c.WaitUp(time.Minute)
		c.Hosts["a"].SSHTime = time.Minute
		apply(t, c, wanted(onData(project, "db", "a")))
		time.Sleep(30 * time.Second)
		c.KillPlane()
		dataOf(t, project, "two")
		c.StartPlane()
		time.Sleep(10 * time.Second)
		if len(c.Running("db")) > 0 {
			t.Error("it runs with nothing")
		}
		c.WaitUp(5 * time.Minute)
		if got := dataRead(t, c, "db"); got != "two" {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestOldBackupDoesNotCopyAgain restores a control plane that knows nothing of the data: the
// node has it, and remembers that a service has run with it.
func TestOldBackupDoesNotCopyAgain(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted())
		c.WaitUp(time.Minute)
		old := c.Backup()
		apply(t, c, wanted(onData(project, "db", "")))
		c.WaitUp(time.Minute)
		had := c.Running("db")
		c.KillPlane()
		dataOf(t, project, "two")
		c.Restore(old)
		c.StartPlane()
		apply(t, c, wanted(onData(project, "db", "")))
		c.WaitUp(5 * time.Minute)
		if at := c.Running("db"); len(had) != 1 || !slices.Equal(at, had) {
			t.Errorf("it runs on %v, and ran on %v", at, had)
		}
		if got := dataRead(t, c, "db"); got != "one" {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestDataThatIsLostIsNotCopiedAgain: the copy beside the Compose file is older than what the
// node has lost. It is copied only once a person has accepted the loss.
func TestDataThatIsLostIsNotCopiedAgain(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted(onData(project, "db", "a")))
		c.WaitUp(time.Minute)
		reboot(t, c, "a", func() {
			if err := os.RemoveAll(c.Hosts["a"].SeedsDir()); err != nil {
				t.Fatal(err)
			}
		})
		waitsForData(t, c, "db", "a", "its volume "+seededVolume+" is missing")
		dataOf(t, project, "two")
		if err := c.Plane.AcceptData(t.Context(), "db"); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(2 * time.Minute)
		if got := dataRead(t, c, "db"); got != "two" {
			t.Errorf("it reads %q", got)
		}
	})
}

// TestDataHasOneNode: once services have run with it, no other one gets what is here.
func TestDataHasOneNode(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		refused := func(s otto.Service, want string) {
			t.Helper()
			if _, err := c.Apply(wanted(s)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		apply(t, c, wanted(onData(project, "db", "a")))
		c.WaitUp(time.Minute)
		refused(onData(project, "db", "b"), "keeps its data on node a and cannot move to b yet: leave it on a, or move it by hand: `otto service rm db`, "+
			"copy what is in ./data on a to a folder of another name beside the Compose file, mount that, and apply it with node: b")
		apply(t, c, wanted())
		c.WaitUp(time.Minute)
		const stays = "service db would begin with the data ./data of this machine: what services have run with is on node a"
		refused(onData(project, "db", "b"), stays)
		refused(inPlace(project, "db", "b"), stays)
		apply(t, c, wanted(onData(project, "db", ""))) // it goes to its data
		c.WaitUp(time.Minute)
		if at := c.Running("db"); !slices.Equal(at, []string{"a"}) {
			t.Errorf("it runs on %v", at)
		}
	})
}

// TestStackWithDataIsNotGivenBack: Compose would look for it beside the file.
func TestStackWithDataIsNotGivenBack(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted(onData(project, "shop/db", "a")))
		c.WaitUp(time.Minute)
		err := c.Plane.Release(t.Context(), otto.ReleaseRequest{Stack: "shop", Dir: "/srv/shop", Files: []string{"/srv/shop/compose.yaml"}})
		if err == nil || !strings.HasPrefix(err.Error(), "shop/db has its data ./data in Otto's directory on the node") {
			t.Errorf("got %v", err)
		}
	})
}

// TestDataInUseInPlaceDoesNotMove with the file alone: it has to be taken out first.
func TestDataInUseInPlaceDoesNotMove(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		apply(t, c, wanted(inPlace(project, "db", "a")))
		c.WaitUp(time.Minute)
		if _, err := c.Apply(wanted(onData(project, "db", "b"))); err == nil ||
			!strings.Contains(err.Error(), "move it by hand: `otto service rm db`, and apply it with node: b") {
			t.Errorf("got %v", err)
		}
		apply(t, c, wanted())
		c.WaitUp(time.Minute)
		apply(t, c, wanted(onData(project, "db", "b")))
		c.WaitUp(time.Minute)
		if got := dataRead(t, c, "db"); got != "one" {
			t.Errorf("it reads %q", got)
		}
	})
}

func TestDataThatCannotBeCopiedIsTold(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		if err := os.Remove(filepath.Join(project, "data")); err != nil {
			t.Fatal(err)
		}
		apply(t, c, wanted(onData(project, "db", "a")))
		time.Sleep(2 * time.Minute)
		if events := kinds(c.Plane, "data-not-brought"); len(events) != 1 || len(c.Running("db")) > 0 {
			t.Errorf("events %v", events)
		}
		warned := func(n otto.NodeStatus) bool {
			return strings.Contains(strings.Join(n.Warnings, " "), "the data ./data could not be brought there: ")
		}
		if !slices.ContainsFunc(c.Plane.Cluster().Nodes, warned) {
			t.Error("no node warns of it")
		}
		dataOf(t, project, "back")
		c.WaitUp(2 * time.Minute)
		if slices.ContainsFunc(c.Plane.Cluster().Nodes, warned) {
			t.Error("it is warned of for ever")
		}
	})
}

// TestDataThatCannotBeCopiedKeepsNoOtherBack of the same node.
func TestDataThatCannotBeCopiedKeepsNoOtherBack(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		bad := onData(project, "bad", "a")
		bad.Spec.Mounts[0].Source, bad.Spec.Mounts[0].Seed = "a.first.12345678", "./gone"
		bad.Seeds = otto.Seeds{"a.first.12345678": {Project: project, Path: "gone", Name: "./gone"}}
		apply(t, c, wanted(bad, onData(project, "db", "a")))
		time.Sleep(time.Minute)
		if got := dataRead(t, c, "db"); got != "one" {
			t.Errorf("it reads %q", got)
		}
		if events := kinds(c.Plane, "data-not-brought"); len(events) != 1 {
			t.Errorf("events %v", events)
		}
	})
}

// TestDisposableDataBeginsAnewElsewhere, with what is here, when its node is lost.
func TestDisposableDataBeginsAnewElsewhere(t *testing.T) {
	inSeeded(t, func(t *testing.T, c *ottotest.Cluster, project string) {
		s := onData(project, "db", "")
		s.Data, s.Failover = otto.DataDisposable, otto.FailoverMove
		apply(t, c, wanted(s))
		c.WaitUp(time.Minute)
		from := c.Running("db")[0]
		dataOf(t, project, "two")
		c.PowerOff(from)
		time.Sleep(3 * time.Minute)
		if at := c.Running("db"); len(at) != 1 || at[0] == from {
			t.Fatalf("it runs on %v", at)
		}
		if got := dataRead(t, c, "db"); got != "two" {
			t.Errorf("it reads %q", got)
		}
	})
}

func TestFormerAgentGetsNoData(t *testing.T) {
	project := t.TempDir()
	dataOf(t, project, "one")
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a", "b"}, "web")
		c.Hosts["a"].Former = true
		c.OwnBroker = true
		c.StartPlane()
		defer c.Close()
		apply(t, c, wanted(onData(project, "db", "a")))
		time.Sleep(time.Minute)
		if i := instance(c, "db"); len(c.Running("db")) > 0 || !strings.Contains(i.Reason, "takes in no data of a project") {
			t.Errorf("it is %s: %s", i.State, i.Reason)
		}
		if _, err := os.Stat(c.Hosts["a"].SeedsDir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it was given some: %v", err)
		}
		c.Hosts["a"].Former = false
		c.KillAgent("a")
		c.WaitUp(2 * time.Minute)
	})
}
