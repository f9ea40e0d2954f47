package cli

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/otto-edge/otto"
)

// TestAdoptWaitsUntilFormerContainersAreGone and for nothing else: neither for what the takeover
// leaves alone, nor for ever.
func TestAdoptWaitsUntilFormerContainersAreGone(t *testing.T) {
	of := otto.Adoption{Taken: otto.Taken{Containers: []otto.TakenContainer{{ID: "1"}, {ID: "2"}}}}
	project := func(ids ...string) []otto.Project {
		p := otto.Project{Name: "shop"}
		for _, id := range ids {
			p.Containers = append(p.Containers, otto.ProjectContainer{ID: id, Name: "shop-" + id})
		}
		return []otto.Project{{Name: "other"}, p}
	}
	broken := errors.New("the node does not answer")
	for _, tt := range []struct {
		name  string
		found [][]otto.Project // one after the other, the last one for ever; nil if it cannot be told
		looks int              // 0: as many as there is time for
		left  []string
	}{
		{name: "gone at once", found: [][]otto.Project{project("left alone")}, looks: 1},
		{name: "gone a moment later", found: [][]otto.Project{project("1", "2"), project("2", "left alone"), project("left alone")}, looks: 3},
		{name: "not known for a moment", found: [][]otto.Project{nil, project("1"), nil, project()}, looks: 4},
		{name: "never gone", found: [][]otto.Project{project("1", "2"), project("2")}, left: []string{"shop-2"}},
		{name: "not known any more", found: [][]otto.Project{project("1", "2"), nil}, left: []string{"shop-1", "shop-2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks, began := 0, time.Now()
				look := func(context.Context) ([]otto.Project, error) {
					found := tt.found[min(looks, len(tt.found)-1)]
					if looks++; found == nil {
						return nil, broken
					}
					return found, nil
				}
				left := untilGone(t.Context(), look, of)
				if !slices.Equal(left, tt.left) || tt.looks != 0 && looks != tt.looks {
					t.Errorf("after %d looks there are left: %v", looks, left)
				}
				if took := time.Since(began); took > goneWithin+goneLook {
					t.Errorf("it has waited for %s", took)
				}
			})
		})
	}
}
