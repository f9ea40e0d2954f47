package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// imagesOf are the ids of the images that containers of a service run on a host.
func imagesOf(c *ottotest.Cluster, host, service string) (ids []string) {
	for _, ctr := range c.Hosts[host].Runtime.List() {
		if ctr.Service == service && ctr.State == otto.ContainerRunning {
			ids = append(ids, ctr.ImageID)
		}
	}
	return ids
}

func noted(t *testing.T, c *ottotest.Cluster, w otto.Wanted) []string {
	t.Helper()
	p, err := c.Plane.Plan(t.Context(), w)
	if err != nil || len(p.Changes) > 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	return p.Notes
}

// TestSameNameOtherContent has an image's name mean another image on a node: it is said,
// nothing is done for it unasked, and no registry is asked before a person wants that.
func TestSameNameOtherContent(t *testing.T) {
	web, other := service("web", "b"), service("other", "b")
	other.Spec.Image = "other"
	inThree(t, nil, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		r.Registry = true
		file := three(web, other)
		apply(t, c, file)
		c.WaitUp(20 * time.Second)
		image := web.Spec.Image
		asked := r.Asked()
		if notes := noted(t, c, file); len(notes) > 0 {
			t.Errorf("notes without a reason: %v", notes)
		}
		r.Retag(image, "second")
		c.Wait(10*time.Second, "it is said", func(now *otto.Cluster) bool {
			i := now.Services[0].Instances[0]
			return i.Up() && i.ImageNow == "second" &&
				strings.Contains(i.Warning, "image "+image+" is another one on this node now")
		})
		if notes := noted(t, c, file); len(notes) != 1 ||
			!strings.HasPrefix(notes[0],
				"web runs another image than "+image+" is on b now: `otto service update --pull web`") {
			t.Errorf("notes: %v", notes)
		}
		apply(t, c, file)
		c.KillAgent("b")
		quiet(t, c, 10*time.Minute)
		if got := imagesOf(c, "b", "web"); !slices.Equal(got, []string{"id-of-" + image}) || r.Asked() != asked {
			t.Errorf("it runs %v, and a registry was asked %d times", got, r.Asked()-asked)
		}
		r.Publish(image, "third")
		if err := c.Plane.Refresh(me(t), "web"); err != nil {
			t.Fatal(err)
		}
		runsImage(t, c, "third")
		if r.Asked() != asked+1 {
			t.Errorf("a registry was asked %d times", r.Asked()-asked)
		}
		if k := kinds(c.Plane, "service-refresh"); len(k) != 1 {
			t.Errorf("events: %v", k)
		}
		if notes := noted(t, c, file); len(notes) > 0 {
			t.Errorf("notes: %v", notes)
		}
		starts := r.Starts("web")
		r.Publish(image, "fourth")
		apply(t, c, file) // which knows nothing of that
		web.Spec.Command = []string{"changed"}
		apply(t, c, three(web, other))
		c.WaitUp(20 * time.Second)
		c.KillAgent("b")
		quiet(t, c, 10*time.Minute)
		if got := imagesOf(c, "b", "web"); !slices.Equal(got, []string{"third"}) || r.Asked() != asked+1 ||
			r.Starts("web") != starts+1 {
			t.Errorf("it runs %v, %d starts, and a registry was asked %d times", got, r.Starts("web")-starts,
				r.Asked()-asked)
		}
		if n := r.Starts("other"); n != 1 {
			t.Errorf("another service was started %d times", n)
		}
	})
}

func runsImage(t *testing.T, c *ottotest.Cluster, id string) {
	t.Helper()
	c.Wait(30*time.Second, "web runs "+id, func(now *otto.Cluster) bool {
		s := now.Services[0]
		return s.Rollout == nil && s.Instances[0].Up() && s.Instances[0].ImageID == id && s.Instances[0].ImageNow == ""
	})
	if got := imagesOf(c, "b", "web"); !slices.Equal(got, []string{id}) {
		t.Errorf("it runs %v", got)
	}
}

// TestContentWithoutARegistry takes what the node has, and has the former container come
// back if that does not work.
func TestContentWithoutARegistry(t *testing.T) {
	web := service("web", "b")
	inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
		r := c.Hosts["b"].Runtime
		image := web.Spec.Image
		r.Retag(image, "second")
		if err := c.Plane.Refresh(me(t), "web"); err != nil {
			t.Fatal(err)
		}
		runsImage(t, c, "second")
		r.Retag(image, "broken")
		r.FailStart = func(inst otto.Instance) error {
			if inst.Spec.Refresh > 1 {
				return errors.New("it does not start")
			}
			return nil
		}
		if err := c.Plane.Refresh(me(t), "web"); err != nil {
			t.Fatal(err)
		}
		c.Wait(time.Minute, "it has failed", func(now *otto.Cluster) bool {
			s := now.Services[0]
			return s.Rollout != nil && s.Rollout.State == otto.UpdateReverted
		})
		if got := imagesOf(c, "b", "web"); !slices.Equal(got, []string{"second"}) {
			t.Errorf("it runs %v", got)
		}
		if err := c.Plane.Refresh(me(t), "none"); err == nil {
			t.Error("a service that is not wanted is refreshed")
		}
	})
}

// TestRefreshThatFailsGoesBackToTheFormerImage, also where an instance has been replaced
// before another one failed, and its image's name means the new content by then.
func TestRefreshThatFailsGoesBackToTheFormerImage(t *testing.T) {
	for name, pruned := range map[string]bool{"the node has it": false, "the node has removed it": true} {
		t.Run(name, func(t *testing.T) {
			web := service("web", "b")
			web.Replicas = 3
			inThree(t, []otto.Service{web}, func(t *testing.T, c *ottotest.Cluster) {
				r := c.Hosts["b"].Runtime
				former := "id-of-" + web.Spec.Image
				r.Retag(web.Spec.Image, "second")
				replaced := map[string]bool{}
				r.FailStart = func(inst otto.Instance) error {
					switch {
					case inst.Spec.Refresh == 0:
						return nil
					case inst.Name != "web-3":
						replaced[inst.Name] = true
						return nil
					case pruned:
						go r.PruneImages()
					}
					return errors.New("it does not start")
				}
				if err := c.Plane.Refresh(me(t), "web"); err != nil {
					t.Fatal(err)
				}
				c.Wait(2*time.Minute, "all have gone back", func(now *otto.Cluster) bool {
					s := now.Services[0]
					old := func(i otto.PlacedInstance) bool { return i.ImageID == former && i.ImageNow == "second" }
					return s.Rollout != nil && s.Rollout.State == otto.UpdateReverted &&
						(pruned || !slices.ContainsFunc(s.Instances, func(i otto.PlacedInstance) bool { return !old(i) }))
				})
				quiet(t, c, time.Minute)
				want := []string{former, former, former}
				if pruned {
					want = []string{former, "second", "second"}
				}
				got := imagesOf(c, "b", "web")
				slices.Sort(got)
				if !slices.Equal(got, want) || len(replaced) != 2 {
					t.Errorf("they run %v; new were %v", got, replaced)
				}
			})
		})
	}
}
