package plan

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// TestFailover has one service, web, on node a, to which something has happened.
func TestFailover(t *testing.T) {
	lost := Node{ID: "a", Refuse: "lost", Gone: "is lost"}
	leased := Node{ID: "a", Refuse: "lost", Gone: "is lost", Unfenced: "may still run there"}
	back := Node{ID: "a", Stable: true}
	b, c := Node{ID: "b"}, Node{ID: "c"}
	with := func(change func(*otto.Service)) otto.Service {
		s := service("web", "a", 1)
		change(&s)
		return s
	}
	moves := with(func(s *otto.Service) { s.Failover = otto.FailoverMove })
	homing := with(func(s *otto.Service) { s.Failover, s.Rejoin = otto.FailoverMove, otto.RejoinHome })
	volume := []otto.Mount{{Type: otto.MountVolume, Source: "v", Target: "/v"}}
	data := with(func(s *otto.Service) { s.Node = ""; s.Spec.Mounts = volume })
	disposable := with(func(s *otto.Service) { s.Node, s.Data = "", otto.DataDisposable; s.Spec.Mounts = volume })
	big := with(func(s *otto.Service) { s.Node = ""; s.Spec.Resources.MemoryBytes = 4 << 30 })
	small := Node{ID: "b", Memory: 1 << 30}
	banned := Node{ID: "b", Machine: scheduler.Machine{Bans: map[string]string{"web": "going there did not help"}}}
	for name, tt := range map[string]struct {
		service otto.Service
		at      string
		nodes   []Node
		trouble string
		to      string // where it is then
		says    string // the reason of its move, or of its waiting
	}{
		"one with a home stays":                   {service("web", "a", 1), "a", []Node{lost, b}, "", "a", ""},
		"one without a home moves":                {service("web", "", 1), "a", []Node{lost, b}, "", "b", "node a is lost"},
		"one with a home moves if it may":         {moves, "a", []Node{lost, b}, "", "b", "node a is lost"},
		"one that shall stay stays":               {with(func(s *otto.Service) { s.Node, s.Failover = "", otto.FailoverStay }), "a", []Node{lost, b}, "", "a", ""},
		"at its first start, home is lost":        {moves, "", []Node{lost, b}, "", "b", "node a is lost"},
		"data stays":                              {data, "a", []Node{lost, b}, "", "a", ""},
		"disposable data waits for its lease":     {disposable, "a", []Node{leased, b}, "", "a", "may still run there"},
		"disposable data moves after its lease":   {disposable, "a", []Node{lost, b}, "", "b", "node a is lost"},
		"without data no lease is waited for":     {moves, "a", []Node{leased, b}, "", "b", "node a is lost"},
		"nobody can take it":                      {moves, "a", []Node{lost, {ID: "b", Refuse: "cordoned"}}, "", "a", "no other node can take it: b: cordoned"},
		"too little memory":                       {big, "a", []Node{lost, small, c}, "", "c", "node a is lost"},
		"too little memory everywhere":            {big, "a", []Node{lost, small}, "", "a", "b: it has 1024 MiB of memory"},
		"home is back, it stays":                  {moves, "b", []Node{back, b}, "", "b", ""},
		"home is back, it goes home":              {homing, "b", []Node{back, b}, "", "a", "its home a is back"},
		"home is back, but it failed there":       {homing, "b", []Node{{ID: "a", Stable: true, Failures: map[string]float64{"web": 0.1}}, b}, "", "b", ""},
		"it has to leave, and goes home at once":  {homing, "b", []Node{back, {ID: "b", Refuse: "lost", Gone: "is lost"}, c}, "", "a", "node b is lost"},
		"home is back, but not stable":            {homing, "b", []Node{{ID: "a"}, b}, "", "b", ""},
		"it fails":                                {moves, "a", []Node{back, b}, "unhealthy", "b", "does not work on node a: unhealthy"},
		"it fails, and has failed there":          {moves, "a", []Node{back, {ID: "b", Failures: map[string]float64{"web": 0.5}}}, "unhealthy", "a", "failed on every other node"},
		"lost, and has failed on the only other":  {moves, "a", []Node{lost, {ID: "b", Failures: map[string]float64{"web": 1}}}, "", "b", "node a is lost"},
		"it prefers where it is not banned":       {moves, "a", []Node{lost, banned, c}, "", "c", "node a is lost"},
		"lost, and banned from the only other":    {moves, "a", []Node{lost, banned}, "", "b", "node a is lost"},
		"banned, but nowhere else in any case":    {big, "", []Node{{ID: "a", Memory: 1 << 30}, banned}, "", "b", ""},
		"it prefers where it has not failed":      {moves, "a", []Node{lost, {ID: "b", Failures: map[string]float64{"web": 1}}, c}, "", "c", "node a is lost"},
		"one with a home stays though it fails":   {service("web", "a", 1), "a", []Node{back, b}, "unhealthy", "a", ""},
		"drained, but stateful data has to stay":  {data, "a", []Node{{ID: "a", Refuse: "draining", Gone: "is being drained"}, b}, "", "a", ""},
		"drained, with data that is not needed":   {disposable, "a", []Node{{ID: "a", Refuse: "draining", Gone: "is being drained"}, b}, "", "b", "being drained"},
		"where it was is no more, and home is ok": {moves, "gone", []Node{back, b}, "", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			was := Placement{}
			if tt.at != "" {
				was["web"] = tt.at
			}
			got := Place(otto.Wanted{Services: []otto.Service{tt.service}}, was, tt.nodes, map[string]string{"web": tt.trouble})
			if got.Placement["web"] != tt.to {
				t.Errorf("on %s, want %s: %+v", got.Placement["web"], tt.to, got)
			}
			said := got.Waiting["web"]
			for _, m := range got.Moves {
				said += m.Reason
			}
			if (said == "") != (tt.says == "") || !strings.Contains(said, tt.says) {
				t.Errorf("it says %q, want %q", said, tt.says)
			}
		})
	}
}

// TestPlaceNeverMovesWithoutAReason draws clusters and places twice: the second
// time nothing moves, every move has a reason, nothing leaves its data, and
// nothing goes where it is refused.
func TestPlaceNeverMovesWithoutAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []Node
		for _, id := range []string{"n1", "n2", "n3"} {
			n := Node{ID: id, Stable: rapid.Bool().Draw(t, "stable")}
			switch rapid.IntRange(0, 3).Draw(t, id) {
			case 0:
				n.Refuse = "cordoned"
			case 1:
				n.Refuse, n.Gone = "lost", "is lost"
				n.Unfenced = rapid.SampledFrom([]string{"", "leased"}).Draw(t, "lease")
			}
			nodes = append(nodes, n)
		}
		refuses := func(id string) bool {
			for _, n := range nodes {
				if n.ID == id {
					return n.Refuse != ""
				}
			}
			return true
		}
		var w otto.Wanted
		was, troubled := Placement{}, map[string]string{}
		for _, name := range []string{"s1", "s2", "s3", "s4"} {
			s := service(name, rapid.SampledFrom([]string{"", "n1", "n2"}).Draw(t, "home"), 1)
			s.Failover = rapid.SampledFrom([]string{"", otto.FailoverMove, otto.FailoverStay}).Draw(t, "failover")
			s.Data = rapid.SampledFrom([]string{"", otto.DataDisposable}).Draw(t, "data")
			s.Rejoin = rapid.SampledFrom([]string{"", otto.RejoinHome}).Draw(t, "rejoin")
			s.Spec.Exclusive = rapid.Bool().Draw(t, "stateful")
			w.Services = append(w.Services, s)
			if at := rapid.SampledFrom([]string{"", "n1", "n2", "n3"}).Draw(t, "at"); at != "" && (s.Mobile() || s.Node == "") {
				was[name] = at
			} else if s.Node != "" && !s.Mobile() {
				was[name] = s.Node
			}
			if was[name] != "" && rapid.Bool().Draw(t, "troubled") {
				troubled[name] = "unhealthy"
			}
		}
		first := Place(w, was, nodes, troubled)
		for _, m := range first.Moves {
			if refuses(m.To) || m.From != "" && m.Reason == "" {
				t.Errorf("%+v", m)
			}
		}
		for _, s := range w.Services {
			if from, to := was[s.Name], first.Placement[s.Name]; from != "" && to != from && !s.Mobile() {
				t.Errorf("%s left %s for %s", s.Name, from, to)
			}
		}
		for _, m := range first.Moves {
			for i := range nodes {
				if troubled[m.Instance] != "" && nodes[i].ID == m.From {
					failed := map[string]float64{m.Service: 1}
					maps.Copy(failed, nodes[i].Failures)
					nodes[i].Failures = failed
				}
			}
		}
		again := Place(w, first.Placement, nodes, nil)
		if diff := cmp.Diff(first.Placement, again.Placement); diff != "" || len(again.Moves) > 0 {
			t.Errorf("the second time %v: %s", again.Moves, diff)
		}
	})
}
