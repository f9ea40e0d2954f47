package ottotest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// TestOccupancyMissesNothing has containers begin and end in every way, with no time between.
func TestOccupancyMissesNothing(t *testing.T) {
	c := NewCluster(t, []string{"a", "b"}, "web")
	var seen [][]string
	stop := c.occupied.watch("web", func(hosts []string) { seen = append(seen, hosts) })
	on := func(host string) *Runtime { return c.Hosts[host].Runtime }
	begin := func(host string) (id string) {
		t.Helper()
		id, err := on(host).Create(t.Context(), otto.Instance{Name: "web", Service: "web"}, "web")
		if err == nil {
			err = on(host).Start(t.Context(), id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := begin("a")
	second := begin("b")
	on("a").Pause("web", true) // which goes on at any time
	on("a").Pause("web", false)
	if err := on("a").Stop(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	on("b").Exit("web", 1)
	on("a").AddOthers("theirs", "web", otto.OtherOwner)
	if err := on("a").Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	on("a").PowerOff()
	stop()
	if err := on("b").Start(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	want := [][]string{nil, {"a"}, {"a", "b"}, {"b"}, nil, {"a"}, nil}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
