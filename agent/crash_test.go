package agent_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/ottotest"
)

// dying is an engine whose agent is killed at its nth change: just before it, or
// just after it and before the agent learns of it. Nothing answers from then on.
type dying struct {
	agent.Runtime
	nth   int
	after bool

	mu   sync.Mutex
	seen int
	dead chan struct{}
}

func (d *dying) change(ctx context.Context, do func() error) error {
	d.mu.Lock()
	d.seen++
	hit := d.seen == d.nth
	over := d.seen > d.nth
	d.mu.Unlock()
	if over || hit && !d.after {
		return d.die(ctx)
	}
	err := do()
	if hit {
		return d.die(ctx)
	}
	return err
}

func (d *dying) die(ctx context.Context) error {
	d.mu.Lock()
	select {
	case <-d.dead:
	default:
		close(d.dead)
	}
	d.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// Create and the others implement agent.Runtime.
func (d *dying) Create(ctx context.Context, i otto.Instance, name string) (id string, err error) {
	err = d.change(ctx, func() error { id, err = d.Runtime.Create(ctx, i, name); return err })
	return id, err
}

func (d *dying) Start(ctx context.Context, id string) error {
	return d.change(ctx, func() error { return d.Runtime.Start(ctx, id) })
}

func (d *dying) Attach(ctx context.Context, i otto.Instance, id string) error {
	return d.change(ctx, func() error { return d.Runtime.Attach(ctx, i, id) })
}

func (d *dying) Stop(ctx context.Context, id string) error {
	return d.change(ctx, func() error { return d.Runtime.Stop(ctx, id) })
}

func (d *dying) Rename(ctx context.Context, id, name string) error {
	return d.change(ctx, func() error { return d.Runtime.Rename(ctx, id, name) })
}

func (d *dying) Remove(ctx context.Context, id string) error {
	return d.change(ctx, func() error { return d.Runtime.Remove(ctx, id) })
}

func wanted(services ...otto.Service) otto.Wanted {
	return otto.Wanted{
		Nodes:    []otto.Node{{ID: "a", Host: "a", DockerURL: "unix:///var/run/docker.sock"}},
		Services: services,
	}
}

func web(user string) otto.Service {
	return otto.Service{Name: "web", Node: "a", Replicas: 1, Spec: otto.ContainerSpec{Image: "web", User: user}}
}

// TestAgentKilledAtAnyChangeFinishesTheJob kills the agent at every single change
// that a job makes to the engine, and looks at what the next agent makes of it.
func TestAgentKilledAtAnyChangeFinishesTheJob(t *testing.T) {
	tests := []struct {
		name     string
		from, to otto.Wanted
		want     []string // names and states at the end
		user     string   // of what runs
		changes  int      // at least so many kills must have happened
	}{
		{name: "first start", from: wanted(), to: wanted(web("")), want: []string{"web running"}, changes: 2},
		{
			name:    "update",
			from:    wanted(web("")),
			to:      wanted(web("www")),
			want:    []string{"web running"},
			user:    "www",
			changes: 4,
		},
		{
			name:    "update that fails",
			from:    wanted(web("")),
			to:      wanted(web("nobody")),
			want:    []string{"web running", "web.kept created"},
			changes: 5,
		},
		{name: "removal", from: wanted(web("")), to: wanted(), want: []string{}, changes: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kills := 0
			for nth := 1; ; nth++ {
				killed := false
				for _, after := range []bool{false, true} {
					killed = killAt(t, tt.from, tt.to, nth, after, tt.want, tt.user) || killed
				}
				if !killed {
					break
				}
				kills++
			}
			if kills < tt.changes {
				t.Errorf("the job has %d changes: nothing much was killed", kills)
			}
		})
	}
}

// killAt reports whether the job got as far as its nth change.
func killAt(t *testing.T, from, to otto.Wanted, nth int, after bool, want []string, user string) (killed bool) {
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
		if _, err := c.Apply(from); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		engine := &dying{nth: nth, after: after, dead: make(chan struct{})}
		h.Wrap(func(r agent.Runtime) agent.Runtime { engine.Runtime = r; return engine })
		c.KillAgent("a")
		if err := c.StartAgent("a"); err != nil {
			t.Fatal(err)
		}
		c.WaitUp(time.Minute)
		if _, err := c.Apply(to); err != nil {
			t.Fatal(err)
		}
		select {
		case <-engine.dead:
			killed = true
		case <-time.After(time.Minute):
		}
		h.Wrap(nil)
		c.KillAgent("a") // the control plane brings the next one
		time.Sleep(2 * time.Minute)
		got := []string{}
		for _, ctr := range h.Runtime.List() {
			got = append(got, ctr.Name+" "+string(ctr.State))
			if spec := web(user).Spec; ctr.State == otto.ContainerRunning && ctr.SpecHash != spec.Hash() {
				t.Errorf("killed at change %d (after: %t): another version runs", nth, after)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("killed at change %d (after: %t), containers (-want +got):\n%s", nth, after, diff)
		}
	})
	return killed
}

// TestAgentKilledWhileItMendsDriftFinishesTheJob: another container for a limit that is
// gone, and a network that is.
func TestAgentKilledWhileItMendsDriftFinishesTheJob(t *testing.T) {
	for name, alter := range map[string]func(*ottotest.Runtime){
		"limit":   func(r *ottotest.Runtime) { r.Alter("web", "memory limit", "none") },
		"network": func(r *ottotest.Runtime) { r.Disconnect("web") },
	} {
		for nth, killed := 1, true; killed; nth++ {
			for _, after := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					c := ottotest.NewCluster(t, []string{"a"}, "web")
					h := c.Hosts["a"]
					c.StartPlane()
					defer c.Close()
					s := web("")
					s.Spec.Resources.MemoryBytes = 1 << 26
					if _, err := c.Apply(wanted(s)); err != nil {
						t.Fatal(err)
					}
					c.WaitUp(time.Minute)
					engine := &dying{nth: nth, after: after, dead: make(chan struct{})}
					h.Wrap(func(r agent.Runtime) agent.Runtime { engine.Runtime = r; return engine })
					c.KillAgent("a")
					c.WaitUp(time.Minute)
					before := h.Runtime.List()[0].Setup
					alter(h.Runtime)
					select {
					case <-engine.dead:
						killed = true
					case <-time.After(time.Minute):
						killed = false
					}
					h.Wrap(nil)
					c.KillAgent("a")
					time.Sleep(2 * time.Minute)
					c.WaitUp(time.Minute)
					list := h.Runtime.List()
					if len(list) != 1 || list[0].Name != "web" || !maps.Equal(before, list[0].Setup) {
						t.Errorf("%s, killed at change %d (after: %t): %+v", name, nth, after, list)
					}
				})
			}
		}
	}
}

// TestUpdateOvertakenByAnother has one update follow another at any moment of it.
func TestUpdateOvertakenByAnother(t *testing.T) {
	for after := time.Duration(0); after < 2*time.Second; after += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			c := ottotest.NewCluster(t, []string{"a"}, "web")
			defer c.Close()
			h := c.Hosts["a"]
			h.Runtime.StartTime, h.Runtime.StopTime = 300*time.Millisecond, 200*time.Millisecond
			c.StartPlane()
			for _, version := range []string{"1", "2", "3"} {
				if _, err := c.Apply(wanted(web(version))); err != nil {
					t.Fatal(err)
				}
				if version == "1" {
					c.WaitUp(time.Minute)
				}
				time.Sleep(after)
			}
			c.WaitUp(time.Minute)
			time.Sleep(time.Minute)
			spec := web("3").Spec
			if list := h.Runtime.List(); len(list) != 1 || list[0].Name != "web" || list[0].SpecHash != spec.Hash() {
				t.Errorf("after %s: %+v", after, list)
			}
		})
	}
}

// leftover is a container that a history of crashes has left, or a foreign one.
type leftover struct {
	instance, name, user string
	foreign, running     bool
}

// TestAnyLeftoversConverge starts from whatever a history of crashes may have
// left of Otto's containers, beside foreign ones.
func TestAnyLeftoversConverge(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		instance := rapid.SampledFrom([]string{"web", "db", "gone"})
		name := rapid.SampledFrom(
			[]string{"web", "db", "gone", "web.next", "web.failed", "db.next", "db.failed", "other"},
		)
		user := rapid.SampledFrom([]string{"", "www"})
		left := rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) leftover {
			return leftover{
				instance: instance.Draw(r, "instance"),
				name:     name.Draw(r, "name"),
				user:     user.Draw(r, "user"),
				foreign:  rapid.Bool().Draw(r, "foreign"),
				running:  rapid.Bool().Draw(r, "running"),
			}
		}), 0, 5, func(l leftover) string { return l.name }).Draw(r, "left")
		converges(t, left)
		if t.Failed() {
			r.FailNow()
		}
	})
}

// TestOneFormerContainerRunsBesideAFailedUpdate: of several that the failure has left,
// the one that serves, or the one with the name.
func TestOneFormerContainerRunsBesideAFailedUpdate(t *testing.T) {
	for _, running := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, false}} {
		converges(t, []leftover{
			{instance: "web", name: "web.failed"},
			{instance: "web", name: "other", user: "www", running: running[0]},
			{instance: "web", name: "web", user: "www", running: running[1]},
		})
	}
	converges(
		t,
		[]leftover{{instance: "db", name: "db.failed", user: "www"}, {instance: "db", name: "web"}},
	) // where another one's name is to be free
}

// converges fails t unless two services come up from what is left on their node, once
// each, and nothing foreign is touched.
func converges(t *testing.T, left []leftover) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := ottotest.NewCluster(t, []string{"a"}, "web")
		runtime := c.Hosts["a"].Runtime
		taken := map[string]bool{} // by a foreign container
		for _, l := range left {
			if l.foreign {
				runtime.AddForeign(l.name)
				taken[l.name] = true
				continue
			}
			id, err := runtime.Create(t.Context(),
				otto.Instance{Name: l.instance, Service: l.instance, Spec: web(l.user).Spec}, l.name)
			if err == nil && l.running {
				err = runtime.Start(t.Context(), id)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		c.StartPlane()
		defer c.Close()
		db := web("www")
		db.Name = "db"
		if _, err := c.Apply(wanted(web(""), db)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		running, found := map[string]int{}, map[string]bool{}
		held := map[string]bool{} // by a container of another instance, whose own name is taken
		for _, ctr := range runtime.List() {
			held[ctr.Name] = ctr.Instance != ctr.Name && taken[ctr.Instance]
			if taken[ctr.Name] {
				found[ctr.Name] = true
				if ctr.State != otto.ContainerRunning {
					t.Errorf("the foreign container %s is %s", ctr.Name, ctr.State)
				}
				continue
			}
			if ctr.State == otto.ContainerRunning {
				running[ctr.Instance]++
			}
			if ctr.Instance == "gone" {
				t.Errorf("%s of no service is still there", ctr.Name)
			}
		}
		if diff := cmp.Diff(taken, found); diff != "" {
			t.Errorf("foreign containers (-want +got):\n%s", diff)
		}
		for _, name := range []string{"web", "db"} {
			mayFail := taken[name] || taken[name+".next"] || taken[name+".failed"] || held[name]
			if running[name] != 1 && (!mayFail || running[name] > 1) {
				t.Errorf("%d containers of %s run, from %+v: %v", running[name], name, left, runtime.List())
			}
		}
	})
}
