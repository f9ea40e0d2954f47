package control_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/ottotest"
)

// TestPlanSaysWhatApplyDoes and changes nothing itself; its ID is another one as
// soon as something else would be done.
func TestPlanSaysWhatApplyDoes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		plan := func(w otto.Wanted) otto.Plan {
			t.Helper()
			p, err := c.Plane.Plan(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		says := func(p otto.Plan) (lines []string) {
			for _, i := range p.Instances {
				lines = append(lines,
					strings.TrimSpace(fmt.Sprintf("%s %s %s<%s %s", i.Name, i.Action, i.Node, i.From, i.Order)))
			}
			return lines
		}
		db := service("db", "b")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "d", Target: "/d"}}
		was := wanted(service("web", "a"), db, service("old", "a"))
		apply(t, c, was)
		c.WaitUp(30 * time.Second)
		if p := plan(was); len(p.Changes)+len(p.Refused) > 0 || says(p)[0] != "web keep a<" {
			t.Errorf("nothing changes: %+v", p)
		}
		web := service("web", "b")
		web.Spec.Environment = map[string]string{"TOKEN": "secret"}
		other := service("new", "a")
		db.Spec.User = "www"
		now := wanted(web, db, other)
		first := plan(now)
		if diff := cmp.Diff(
			[]string{"web move b<a stop-first", "db update b< stop-first", "new add a<", "old remove <a"},
			says(first),
		); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(fmt.Sprint(first), "secret") {
			t.Error("the plan tells a value of the environment")
		}
		if again := plan(now); again.ID != first.ID || c.Plane.Cluster().Revision != 1 {
			t.Errorf("it is not the same the second time: %s and %s", first.ID, again.ID)
		}
		web.Spec.Environment = map[string]string{"TOKEN": "another"}
		if p := plan(wanted(web, db, other)); p.ID == first.ID {
			t.Error("another file has the same ID")
		}
		moved := db
		moved.Node = "a"
		if p := plan(wanted(web, moved)); len(p.Refused) != 1 ||
			!strings.Contains(p.Refused[0], "keeps its data on node b") {
			t.Errorf("what cannot be: %q", p.Refused)
		}
		apply(t, c, now)
		c.Wait(time.Minute, "as planned", ottotest.AllUp)
		for _, i := range first.Instances {
			for _, s := range c.Plane.Cluster().Services {
				for _, is := range s.Instances {
					if is.Name == i.Name && is.Node != i.Node {
						t.Errorf("%s is on %s, not on %s", i.Name, is.Node, i.Node)
					}
				}
			}
		}
		if p := plan(now); p.ID == first.ID || len(p.Changes) > 0 {
			t.Errorf("after it was applied: %+v", p)
		}
	})
}

// TestRenamedStackTouchesNothing is of a plan and its application by which a service
// would begin with an empty volume.
func TestRenamedStackTouchesNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *ottotest.Cluster) {
		db := service("shop/db", "b")
		db.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: "shop_d", Target: "/d"}}
		was := wanted(db)
		apply(t, c, was)
		c.WaitUp(30 * time.Second)
		db.Name, db.Spec.Mounts = "store/db", []otto.Mount{{Type: otto.MountVolume, Source: "store_d", Target: "/d"}}
		db.Implied = map[string]otto.ImpliedVolume{"store_d": {Key: "d", At: "compose.yaml:4:7"}}
		const want = "compose.yaml:4:7: service store/db would begin with an empty volume store_d"
		p, err := c.Plane.Plan(t.Context(), wanted(db))
		if err != nil || len(p.Refused) != 1 || !strings.HasPrefix(p.Refused[0], want) {
			t.Errorf("plan: %v, %q", err, p.Refused)
		}
		if _, err := c.Plane.Apply(t.Context(), wanted(db), 1, false); err == nil ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("apply: %v", err)
		}
		if now := c.Plane.Cluster(); now.Revision != 1 {
			t.Errorf("at revision %d", now.Revision)
		}
		db.Spec.Mounts, db.Implied = []otto.Mount{{Type: otto.MountVolume, Source: "shop_d", Target: "/d"}}, nil
		apply(t, c, wanted(db))
		c.WaitUp(30 * time.Second)
	})
}
