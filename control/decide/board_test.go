package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
)

// TestBoardDecidesAsWithout runs random histories and compares decisions with a board
// that has followed them with those on an empty one.
func TestBoardDecidesAsWithout(t *testing.T) {
	decided := 0
	rapid.Check(t, func(t *rapid.T) {
		k := drawCluster(t)
		var board Board
		now := epoch
		for range rapid.IntRange(2, 10).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			measure(t, &k, now)
			changeCluster(t, &k)
			k.Board, k.Index = nil, nil
			followed := k
			followed.Index, followed.Board = plan.NewIndex(k.Wanted, board.index), &board
			if diff := cmp.Diff(Better(k, now), Better(followed, now)); diff != "" {
				t.Fatal(diff)
			}
			for _, name := range slices.Sorted(maps.Keys(k.Placement)) { // what is asked for is not done here
				to := rapid.SampledFrom([]string{"", k.Nodes[0].ID}).Draw(t, "asked for")
				want, refused := Move(k, name, to, now)
				got, err := Move(followed, name, to, now)
				if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(refused) != fmt.Sprint(err) {
					t.Fatal(diff, refused, err)
				}
			}
			want, got := Next(k, now), Next(followed, now)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			decided += len(got)
			followed.Wonders = func(otto.Decision) bool { return false }
			if diff := cmp.Diff(withoutRefusals(want), Next(followed, now)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
	if decided == 0 {
		t.Error("nothing was ever decided")
	}
}

// withoutRefusals are decisions of which nobody wants to know why no node will do.
func withoutRefusals(list []otto.Decision) []otto.Decision {
	for i := range list {
		d := &list[i]
		if d.Outcome != otto.OutcomeStuck && d.Outcome != otto.OutcomeWait {
			continue
		}
		for _, text := range []*string{&d.Reason, &d.Waits} {
			for _, end := range []string{"it would be no better anywhere", "nowhere to go now"} {
				if before, _, found := strings.Cut(*text, end+": "); found {
					*text, d.Refusals = before+end, nil
				}
			}
		}
	}
	return list
}

// changeCluster changes what is wanted, or where something is.
func changeCluster(t *rapid.T, k *Known) {
	k.Wanted.Services = slices.Clone(k.Wanted.Services)
	s := &k.Wanted.Services[rapid.IntRange(0, len(k.Wanted.Services)-1).Draw(t, "service")]
	moved := maps.Clone(k.Placement)
	k.Nodes = slices.Clone(k.Nodes)
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0:
		s.Spec.Image += "x"
	case 1:
		s.Requirements = drawRequirements(t, "node.cpu", "node.memory.available", "cpu")
	case 2:
		s.Reserve.CPU = rapid.Float64Range(0, 1).Draw(t, "reserve")
	case 3:
		k.Wanted.Nodes = slices.Clone(k.Wanted.Nodes)
		k.Wanted.Nodes[0].Requirements = drawRequirements(t, "node.cpu", "node.memory")
	case 4:
		added := *s
		added.Name = fmt.Sprint("new", len(k.Wanted.Services))
		k.Wanted.Services = append(k.Wanted.Services, added)
		moved[added.Name] = k.Nodes[0].ID
	case 5:
		k.Wanted.Requirements = []otto.Requirement{required("node.disk", 90, otto.ActionEvent)}
	case 6:
		delete(moved, s.Name)
	case 7:
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: rapid.SampledFrom([]string{"v0", "v1"}).Draw(t, "volume"), Target: "/v"}}
	case 8:
		n := &k.Nodes[rapid.IntRange(0, len(k.Nodes)-1).Draw(t, "node")]
		n.Volumes, n.Untold = map[string]bool{rapid.SampledFrom([]string{"v0", "v1"}).Draw(t, "there"): true}, rapid.Bool().Draw(t, "untold")
	default:
		moved[s.Name] = rapid.SampledFrom(k.Nodes).Draw(t, "to").ID
	}
	k.Placement = moved
}
