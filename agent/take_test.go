package agent_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

// shop is a stack of a database, what uses it, and a job.
func shop(user string) otto.Wanted {
	db := otto.Service{Name: "shop/db", Node: "a", Replicas: 1, Unit: "shop", Spec: otto.ContainerSpec{
		Image: "web", User: user, Restart: "always",
		Mounts: []otto.Mount{{Type: otto.MountVolume, Source: "shop_data", Target: "/data"}},
	}}
	app := otto.Service{
		Name: "shop/app", Node: "a", Replicas: 1, Unit: "shop", Spec: otto.ContainerSpec{Image: "web", Restart: "always"},
		DependsOn: []otto.Dependency{{Service: "shop/db", Condition: otto.ServiceStarted}},
	}
	return wanted(db, app)
}

// bare is a cluster of one host, of which nothing is wanted yet.
func bare(t *testing.T) (*ottotest.Cluster, *ottotest.Runtime) {
	t.Helper()
	c := ottotest.NewCluster(t, []string{"a"}, "web")
	c.StartPlane()
	if _, err := c.Apply(wanted()); err != nil {
		t.Fatal(err)
	}
	c.WaitUp(time.Minute)
	return c, c.Hosts["a"].Runtime
}

// composed has Compose's containers of a stack run on the host a, and says what is to be
// taken over.
func composed(c *ottotest.Cluster, w otto.Wanted) otto.Adoption {
	of := otto.Adoption{Stack: "shop", Node: "a", Volumes: []otto.DataRecord{{Name: "shop_data"}}}
	for _, s := range w.Services {
		inst := otto.Instance{Name: s.Name, Service: s.Name, Spec: s.Spec}
		id := c.Hosts["a"].Runtime.AddCompose(inst, inst.ContainerName())
		of.Containers = append(of.Containers, otto.TakenContainer{
			ID: id, Service: s.Name, Instance: s.Name, Restart: s.Spec.Restart,
		})
	}
	return of
}

// twice fails a test when two containers run with the volume of the shop, and notes in
// which order containers begin to run.
func twice(t *testing.T, r *ottotest.Runtime) (began *[]string) {
	began = &[]string{}
	running := map[string]bool{}
	r.Observe = func(o ottotest.Observed) {
		runs := o.State == otto.ContainerRunning
		if runs && o.Instance != "" {
			*began = append(*began, o.Instance)
		}
		if len(o.Volumes) == 0 {
			return
		}
		if running[o.ID] = runs; !runs {
			delete(running, o.ID)
		}
		if len(running) > 1 {
			t.Errorf("two run with the volume")
		}
		for name, label := range o.Volumes {
			if label != "" {
				t.Errorf("volume %s is another one than that of Compose: %s", name, label)
			}
		}
	}
	r.Trespass = func(what string) {
		if !strings.HasPrefix(what, "volume shop_data ") { // which has no label of the cluster's, and is its own
			t.Errorf("somebody touches what is not the cluster's: %s", what)
		}
	}
	return began
}

// TestComposeProjectIsTakenOver makes each container anew once, what others need first, and
// starts from the data that was there.
func TestComposeProjectIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := bare(t)
		defer c.Close()
		began := twice(t, r)
		r.AddForeign("somebody's")
		of := composed(c, shop(""))
		r.StartTime, r.StopTime = 2*time.Second, time.Second
		if err := c.Plane.Adopt(context.Background(), of); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if list := r.List(); len(list) != 3 || slices.ContainsFunc(list, func(o otto.Container) bool { return o.State != otto.ContainerRunning }) {
			t.Errorf("the record alone has changed something: %+v", list)
		}
		if _, err := c.Apply(shop("")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		c.WaitUp(time.Minute)
		if diff := cmp.Diff([]string{"shop/db", "shop/app"}, *began); diff != "" {
			t.Errorf("containers that began (-want +got):\n%s", diff)
		}
		c.KillPlane()
		c.StartPlane()
		c.KillAgent("a")
		time.Sleep(2 * time.Minute)
		c.WaitUp(time.Minute)
		if diff := cmp.Diff([]string{"shop-app-1", "shop-db-1", "somebody's"}, containerNames(r)); diff != "" {
			t.Errorf("containers (-want +got):\n%s", diff)
		}
		if len(*began) != 2 {
			t.Errorf("containers began: %v", *began)
		}
	})
}

func containerNames(r *ottotest.Runtime) (names []string) {
	for _, ctr := range r.List() {
		names = append(names, ctr.Name)
	}
	slices.Sort(names)
	return names
}

// blow is what befalls a cluster of one host in the middle of a job, and how it gets over it.
type blow func(t *testing.T, c *ottotest.Cluster)

// blows are those of which a takeover has to know nothing.
func blows() map[string]blow {
	return map[string]blow{
		"agent killed": func(_ *testing.T, c *ottotest.Cluster) { c.KillAgent("a") }, // the control plane brings the next one
		"control plane killed": func(_ *testing.T, c *ottotest.Cluster) {
			c.KillPlane()
			c.KillAgent("a")
			c.StartPlane()
		},
		"power cut": func(t *testing.T, c *ottotest.Cluster) {
			c.PowerOff("a")
			time.Sleep(3 * time.Second)
			if err := c.PowerOn("a", false); err != nil { // the engine is there long before the agent
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if err := c.StartAgent("a"); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// eachChange interrupts a job before and after each change that it makes to the engine, and says
// how many there are.
func eachChange(t *testing.T, job func(t *testing.T, nth int, after bool) (killed bool)) (changes int) {
	t.Helper()
	for nth, killed := 1, true; killed; nth++ {
		killed = false
		for _, after := range []bool{false, true} {
			killed = job(t, nth, after) || killed
		}
		if killed {
			changes++
		}
	}
	return changes
}

// TestTakeoverIsInterrupted at every change that is made to the engine, by all that can. It
// finishes, or Compose's container runs on where the new one does not start.
func TestTakeoverIsInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name, user string
		want       []string
		changes    int
	}{
		{name: "all is well", want: []string{"shop-app-1 running", "shop-db-1 running"}, changes: 8},
		{
			name: "the new one does not start", user: "nobody",
			want: []string{"shop-app-1 running", "shop-db-1 running", "shop-db-1.failed created"}, changes: 4,
		},
	} {
		for what, strike := range blows() {
			t.Run(tt.name+", "+what, func(t *testing.T) {
				t.Parallel()
				changes := eachChange(t, func(t *testing.T, nth int, after bool) bool {
					return takeAndStrike(t, tt.user, nth, after, strike, tt.want)
				})
				if changes < tt.changes {
					t.Errorf("it has %d changes: nothing much was interrupted", changes)
				}
			})
		}
	}
}

func takeAndStrike(t *testing.T, user string, nth int, after bool, strike blow, want []string) (killed bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		h := c.Hosts["a"]
		h.Runtime.FailStart = func(i otto.Instance) error {
			if i.Spec.User == "nobody" {
				return errors.New("no such user")
			}
			return nil
		}
		c.StartPlane()
		defer c.Close()
		if _, err := c.Apply(wanted()); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		twice(t, h.Runtime)
		of := composed(c, shop(""))
		if user == "" {
			neverBack(t, h.Runtime)
		}
		killed = interrupted(t, c, nth, after, strike, func() {
			if err := c.Plane.Adopt(context.Background(), of); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Apply(shop(user)); err != nil {
				t.Fatal(err)
			}
		})
		got := []string{}
		for _, ctr := range h.Runtime.List() {
			got = append(got, ctr.Name+" "+string(ctr.State))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("interrupted at change %d (after: %t), containers (-want +got):\n%s", nth, after, diff)
		}
	})
	return killed
}

// neverBack fails a test when a container of Compose's with data runs after the one that follows it
// has.
func neverBack(t *testing.T, r *ottotest.Runtime) {
	followed := map[string]bool{}
	next := r.Observe
	r.Observe = func(o ottotest.Observed) {
		name := strings.TrimSuffix(o.Name, ".next")
		runs := o.State == otto.ContainerRunning && len(o.Volumes) > 0
		if runs && o.Instance == "" && followed[name] {
			t.Errorf("Compose's %s runs after the one that follows it", o.Name)
		}
		if runs && o.Instance != "" {
			followed[name] = true
		}
		next(o)
	}
}

// interrupted does a job on the host a, strikes at its nth change and waits until that is over.
func interrupted(t *testing.T, c *ottotest.Cluster, nth int, after bool, strike blow, job func()) (killed bool) {
	t.Helper()
	h := c.Hosts["a"]
	engine := &dying{nth: nth, after: after, dead: make(chan struct{})}
	h.Wrap(func(r agent.Runtime) agent.Runtime { engine.Runtime = r; return engine })
	c.KillAgent("a")
	if err := c.StartAgent("a"); err != nil {
		t.Fatal(err)
	}
	c.WaitUp(time.Minute)
	job()
	select {
	case <-engine.dead:
		killed = true
	case <-time.After(time.Minute):
	}
	h.Wrap(nil)
	strike(t, c)
	time.Sleep(2 * time.Minute)
	return killed
}

// TestControlPlaneKilledBetweenItsRecords loses its power before each document that it writes of a
// takeover. Before the command is run again all is Compose's or on its way; then it finishes, and
// each container has begun once.
func TestControlPlaneKilledBetweenItsRecords(t *testing.T) {
	failures := 0
	for n, failed := 0, true; failed; n++ {
		failed = false
		synctest.Test(t, func(t *testing.T) {
			c, r := bare(t)
			defer c.Close()
			began := twice(t, r)
			of := composed(c, shop(""))
			adopt := func() error {
				left := of
				left.Containers = slices.DeleteFunc(slices.Clone(of.Containers), func(o otto.TakenContainer) bool {
					return !slices.ContainsFunc(r.List(), func(ctr otto.Container) bool { return ctr.ID == o.ID })
				})
				err := c.Plane.Adopt(context.Background(), left)
				if err == nil {
					_, err = c.Apply(shop(""))
				}
				return err
			}
			c.Store.FailAfter(n, errors.New("the power is off"))
			if adopt() != nil {
				failed = true
				failures++
			}
			c.KillPlane()
			c.Store.SetFail(nil)
			time.Sleep(10 * time.Second)
			c.StartPlane()
			time.Sleep(time.Minute)
			if list := r.List(); len(list) != 2 || slices.ContainsFunc(list, func(o otto.Container) bool { return o.State != otto.ContainerRunning }) {
				t.Errorf("killed at record %d, there are %+v", n, list)
			}
			if err := adopt(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			c.WaitUp(time.Minute)
			if diff := cmp.Diff([]string{"shop/db", "shop/app"}, *began); diff != "" {
				t.Errorf("killed at record %d, containers that began (-want +got):\n%s", n, diff)
			}
		})
	}
	if failures < 3 {
		t.Errorf("it writes %d records: nothing much was interrupted", failures)
	}
}

// TestTakeoverNeverBeginsWithAnEmptyVolume although Compose's is gone before it begins.
func TestTakeoverNeverBeginsWithAnEmptyVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := bare(t)
		defer c.Close()
		of := composed(c, shop(""))
		if err := c.Plane.Adopt(context.Background(), of); err != nil {
			t.Fatal(err)
		}
		r.RemoveVolume("shop_data")
		if _, err := c.Apply(shop("")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, made := r.VolumeLabel("shop_data"); made {
			t.Error("a volume was made")
		}
		i := slices.IndexFunc(c.Plane.Cluster().Services, func(s otto.ServiceStatus) bool { return s.Name == "shop/db" })
		if got := c.Plane.Cluster().Services[i].Instances[0]; !strings.Contains(got.Reason+got.Error, "volume shop_data is missing") {
			t.Errorf("it says: %s %s", got.Reason, got.Error)
		}
	})
}

// TestJobThatHasEndedIsTakenOver runs it once more, as docker compose up does, and not again.
func TestJobThatHasEndedIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := bare(t)
		defer c.Close()
		job := otto.Service{Name: "shop/db", Node: "a", Replicas: 1, Spec: otto.ContainerSpec{Image: "web", Restart: "no"}}
		of := composed(c, wanted(job))
		if err := r.Stop(context.Background(), of.Containers[0].ID); err != nil {
			t.Fatal(err)
		}
		of.Volumes = nil
		r.Observe = func(o ottotest.Observed) {
			if o.Instance != "" && o.State == otto.ContainerRunning {
				time.AfterFunc(100*time.Millisecond, func() { r.Exit("shop/db", 0) })
			}
		}
		if err := c.Plane.Adopt(context.Background(), of); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Apply(wanted(job)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := r.Starts("shop/db"); n != 1 {
			t.Errorf("it was started %d times", n)
		}
		if diff := cmp.Diff([]string{"shop-db-1"}, containerNames(r)); diff != "" {
			t.Errorf("containers (-want +got):\n%s", diff)
		}
	})
}

// adopted is a cluster that has taken over the shop from Compose.
func adopted(t *testing.T, c *ottotest.Cluster) {
	t.Helper()
	c.StartPlane()
	if _, err := c.Apply(wanted()); err != nil {
		t.Fatal(err)
	}
	c.WaitUp(time.Minute)
	of := composed(c, shop(""))
	of.Composed = map[string]otto.Composed{}
	for _, s := range shop("").Services {
		of.Composed[s.Name] = otto.Composed{Spec: s.Spec.Hash(), Labels: map[string]string{
			otto.ComposeLabels + "project.working_dir": "/srv/shop", otto.ComposeLabels + "project.config_files": "/srv/shop/compose.yaml",
		}}
	}
	if err := c.Plane.Adopt(context.Background(), of); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(shop("")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Minute)
	c.WaitUp(time.Minute)
}

// releaseOf asks for the shop to be given back.
func releaseOf(w otto.Wanted) otto.ReleaseRequest {
	ask := otto.ReleaseRequest{Stack: "shop", Specs: map[string]string{}}
	for _, s := range w.Services {
		ask.Specs[s.Name] = s.Spec.Hash()
	}
	return ask
}

// given reports whether all of the shop is Compose's, as far as the nodes have said.
func given(c *ottotest.Cluster) bool {
	for _, s := range c.Plane.Cluster().Services {
		for _, i := range s.Instances {
			if i.SpecHash != otto.ReleasedHash+s.Spec.Hash() || i.State != otto.InstanceRunning {
				return false
			}
		}
	}
	return true
}

// TestStackIsGivenBack makes each container anew once, and leaves them alone from then on.
func TestStackIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		defer c.Close()
		adopted(t, c)
		r := c.Hosts["a"].Runtime
		began := twice(t, r)
		r.StartTime, r.StopTime = 2*time.Second, time.Second
		if err := c.Plane.Release(context.Background(), releaseOf(shop(""))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if !given(c) {
			t.Fatalf("it is not given back: %+v", c.Plane.Cluster().Services)
		}
		if diff := cmp.Diff([]string{"shop/db", "shop/app"}, *began); diff != "" {
			t.Errorf("containers that began (-want +got):\n%s", diff)
		}
		c.KillPlane()
		c.StartPlane()
		c.KillAgent("a")
		time.Sleep(2 * time.Minute)
		if !given(c) {
			t.Errorf("it is not given back any more: %+v", c.Plane.Cluster().Services)
		}
		if _, err := c.Apply(wanted()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		c.KillAgent("a")
		time.Sleep(2 * time.Minute)
		running := []string{}
		for _, ctr := range r.List() {
			running = append(running, ctr.Name+" "+string(ctr.State))
		}
		slices.Sort(running)
		if diff := cmp.Diff([]string{"shop-app-1 running", "shop-db-1 running"}, running); diff != "" {
			t.Errorf("containers (-want +got):\n%s", diff)
		}
		if len(*began) != 2 {
			t.Errorf("containers began: %v", *began)
		}
	})
}

// TestGivingBackIsInterrupted at every change that is made to the engine, by all that can.
func TestGivingBackIsInterrupted(t *testing.T) {
	for what, strike := range blows() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			changes := eachChange(t, func(t *testing.T, nth int, after bool) (killed bool) {
				synctest.Test(t, func(t *testing.T) {
					c := ottotest.NewCluster(t, []string{"a"}, "web")
					defer c.Close()
					adopted(t, c)
					h := c.Hosts["a"]
					twice(t, h.Runtime)
					killed = interrupted(t, c, nth, after, strike, func() {
						if err := c.Plane.Release(context.Background(), releaseOf(shop(""))); err != nil {
							t.Fatal(err)
						}
					})
					if !given(c) {
						t.Errorf("interrupted at change %d (after: %t), it is not given back", nth, after)
					}
					if diff := cmp.Diff([]string{"shop-app-1", "shop-db-1"}, containerNames(h.Runtime)); diff != "" {
						t.Errorf("interrupted at change %d (after: %t), containers (-want +got):\n%s", nth, after, diff)
					}
				})
				return killed
			})
			if changes < 8 {
				t.Errorf("it has %d changes: nothing much was interrupted", changes)
			}
		})
	}
}

// TestStackThatCannotBeGivenBackIsRefused before anything is touched.
func TestStackThatCannotBeGivenBackIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *otto.Wanted, ask *otto.ReleaseRequest)
		want   string
	}{
		"unknown":                      {func(_ *otto.Wanted, ask *otto.ReleaseRequest) { ask.Stack = "none" }, `no stack "none"`},
		"not of Compose, and not here": {func(*otto.Wanted, *otto.ReleaseRequest) {}, "its file is not on its node: run `otto stack rm shop`"},
		"it may move": {
			func(w *otto.Wanted, _ *otto.ReleaseRequest) { w.Services[1].Failover = otto.FailoverMove },
			"shop/app may be started on other nodes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := ottotest.NewCluster(t, []string{"a"}, "web")
				c.StartPlane()
				defer c.Close()
				w := shop("")
				ask := releaseOf(w)
				tt.change(&w, &ask)
				if _, err := c.Apply(w); err != nil {
					t.Fatal(err)
				}
				c.WaitUp(time.Minute)
				if err := c.Plane.Release(context.Background(), ask); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("it says: %v", err)
				}
			})
		})
	}
}

// TestTakeoverIsGivenUp has the stack taken out of what is wanted in the middle of its takeover,
// interrupted at every change that is made to the engine. What was Compose's then is Compose's
// again and runs, with the restart policy that it had; nothing runs beside it.
func TestTakeoverIsGivenUp(t *testing.T) {
	for what, strike := range blows() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			changes := eachChange(t, func(t *testing.T, nth int, after bool) bool { return takeAndGiveUp(t, nth, after, strike) })
			if changes < 8 {
				t.Errorf("it has %d changes: nothing much was interrupted", changes)
			}
		})
	}
}

func takeAndGiveUp(t *testing.T, nth int, after bool, strike blow) (killed bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, r := bare(t)
		defer c.Close()
		twice(t, r)
		of := composed(c, shop(""))
		var want []string
		give := func(t *testing.T, c *ottotest.Cluster) {
			if _, err := c.Apply(wanted()); err != nil {
				t.Fatal(err)
			}
			for _, ctr := range r.List() {
				if slices.ContainsFunc(of.Containers, func(o otto.TakenContainer) bool { return o.ID == ctr.ID }) {
					want = append(want, ctr.Name+" running")
				}
			}
			strike(t, c)
		}
		killed = interrupted(t, c, nth, after, give, func() {
			if err := c.Plane.Adopt(context.Background(), of); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Apply(shop("")); err != nil {
				t.Fatal(err)
			}
		})
		slices.Sort(want)
		is := func(when string) {
			t.Helper()
			got := []string{}
			for _, ctr := range r.List() {
				got = append(got, ctr.Name+" "+string(ctr.State))
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("given up at change %d (after: %t), %s, containers (-want +got):\n%s", nth, after, when, diff)
			}
		}
		is("in the end")
		trespass := r.Trespass
		r.Trespass = func(string) {}
		for _, ctr := range of.Containers { // which somebody stops: it is nobody's but Compose's
			if slices.ContainsFunc(r.List(), func(o otto.Container) bool { return o.ID == ctr.ID }) {
				if err := r.Stop(context.Background(), ctr.ID); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if i := slices.IndexFunc(r.List(), func(o otto.Container) bool { return o.ID == ctr.ID }); r.List()[i].State == otto.ContainerRunning {
					t.Errorf("given up at change %d (after: %t), what somebody stops is started", nth, after)
				}
				if err := r.Start(context.Background(), ctr.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.Trespass = trespass
		blows()["power cut"](t, c)
		time.Sleep(time.Minute)
		is("after a power cut")
	})
	return killed
}
