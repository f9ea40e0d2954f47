package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

// TestScheduling draws clusters and histories. At each step Pick and Explain agree,
// no filter is violated, every node is either a choice or refused for a reason, which
// Refusal gives as well, and the order in which nodes are given means nothing. For more:
//
//	go test ./control/scheduler -run TestScheduling -rapid.checks=100000
func TestScheduling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, services := drawNodes(t), drawServices(t)
		weights := rapid.SampledFrom([]map[string]float64{nil, {otto.ScoreSpread: 0, otto.ScoreCPU: 9}, {otto.ScoreFewest: 0, otto.ScoreImage: 7}}).Draw(t, "weights")
		shuffled := rapid.Permutation(nodes).Draw(t, "shuffled")
		s, same := New(nodes, weights), New(slices.Clone(shuffled), weights)
		var placed []put
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if len(placed) > 0 && rapid.IntRange(0, 4).Draw(t, "take") == 0 {
				k := rapid.IntRange(0, len(placed)-1).Draw(t, "which")
				s.Take(placed[k].service, placed[k].node)
				same.Take(placed[k].service, placed[k].node)
				placed = slices.Delete(placed, k, k+1)
				continue
			}
			if rapid.IntRange(0, 4).Draw(t, "renew") == 0 {
				nodes = slices.Clone(nodes)
				copy(nodes, drawNodes(t))
				s.Renew(slices.Clone(nodes))
				same.Renew(rapid.Permutation(nodes).Draw(t, "shuffled anew"))
			}
			ask := drawAsk(t, services, nodes)
			node := judge(t, s, same, ask, nodes, placed)
			if len(nodes) > 0 && rapid.IntRange(0, 3).Draw(t, "elsewhere") == 0 { // as a home does, whatever is refused
				node = rapid.SampledFrom(nodes).Draw(t, "home").ID
			}
			if node != "" {
				s.Put(ask.Service, node)
				same.Put(ask.Service, node)
				placed = append(placed, put{node, ask.Service})
			}
		}
	})
}

func judge(t *rapid.T, s, same *State, ask Ask, nodes []Candidate, placed []put) string {
	node, ok := s.Pick(ask)
	scores, refusals := s.Explain(ask)
	if ok != (len(scores) > 0) || ok && scores[0].Node != node {
		t.Fatalf("picks %q, and explains %v", node, scores)
	}
	if again, _ := s.Pick(ask); again != node {
		t.Fatalf("picks %s, then %s", node, again)
	}
	if !ok {
		checkWhyNot(t, s.WhyNot(ask, ""), refusals, nodes, ask.Service, placed)
	}
	other, _ := same.Pick(ask)
	otherScores, otherRefusals := same.Explain(ask)
	if other != node || !cmp.Equal(scores, otherScores) || !cmp.Equal(refusals, otherRefusals) {
		t.Fatalf("with the nodes in another order it picks %s, not %s", other, node)
	}
	for _, n := range nodes {
		var filters, reasons []string
		for _, r := range refusals {
			if r.Node == n.ID {
				filters, reasons = append(filters, r.Filter), append(reasons, r.Reason)
				if r.Reason == "" {
					t.Fatalf("%s refuses %s without a reason", r.Filter, n.ID)
				}
			}
		}
		k := slices.IndexFunc(scores, func(s otto.Score) bool { return s.Node == n.ID })
		if (k < 0) == (len(filters) == 0) {
			t.Fatalf("%s is a choice and refused, or neither: %v", n.ID, filters)
		}
		if want := forbidden(ask, n, nodes, placed); !slices.Equal(filters, want) {
			t.Fatalf("%s is refused for %v, and should be for %v", n.ID, filters, want)
		}
		if why, refused := s.Refusal(ask, n.ID); refused != (k < 0) || refused && why != reasons[0] {
			t.Fatalf("%s alone is refused for %q, and among all for %q", n.ID, why, reasons)
		}
		if k >= 0 {
			checkScore(t, scores[k])
		}
	}
	return node
}

// checkWhyNot sees to it that a short reason stands for all nodes.
func checkWhyNot(t *rapid.T, why string, refusals []otto.Refusal, nodes []Candidate, svc *otto.Service, placed []put) {
	var lines []string
	for k, r := range refusals {
		if k == 0 || refusals[k-1].Node != r.Node {
			lines = append(lines, r.Node+": "+r.Reason)
		}
	}
	if len(nodes) <= few {
		if want := strings.Join(lines, "; "); why != want {
			t.Fatalf("it says %q, not %q", why, want)
		}
		return
	}
	if strings.HasPrefix(why, svc.Name+" reserves") {
		for _, n := range nodes {
			if filters := forbidden(Ask{Service: svc}, n, nodes, placed); n.Refuse == "" && !slices.Contains(filters, "memory") && !slices.Contains(filters, "cpu") {
				t.Fatalf("it says %q, and %s is refused for %v", why, n.ID, filters)
			}
		}
		return
	}
	stands := 0
	for line := range strings.SplitSeq(why, "; ") {
		stands++
		others, found := strings.CutSuffix(line[strings.LastIndex(line, " and ")+1:], " more likewise")
		if !found {
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(others, "and "))
		if err != nil {
			t.Fatal(err)
		}
		stands += n
	}
	if stands != len(nodes) {
		t.Fatalf("it says %q of %d nodes", why, len(nodes))
	}
}

func checkScore(t *rapid.T, s otto.Score) {
	sum, weights := 0.0, 0.0
	for _, p := range s.Parts {
		if p.Value < 0 || p.Value > 1 || p.Reason == "" {
			t.Fatalf("%s of %s is %v: %q", p.Name, s.Node, p.Value, p.Reason)
		}
		sum, weights = sum+p.Weight*p.Value, weights+p.Weight
	}
	if d := s.Total - sum/weights; d > 1e-9 || d < -1e-9 {
		t.Fatalf("%s has %v in total, and its parts %v", s.Node, s.Total, sum/weights)
	}
}

// forbidden is what the filters mean, without their data structures.
func forbidden(ask Ask, n Candidate, nodes []Candidate, placed []put) (filters []string) {
	s := ask.Service
	add := func(name string, refuses bool) {
		if refuses {
			filters = append(filters, name)
		}
	}
	var cpu float64
	var memory int64
	own, apart, clash := 0, false, false
	for _, p := range placed {
		if p.node != n.ID {
			continue
		}
		cpu, memory = cpu+p.service.Reserve.CPU, memory+p.service.Reserve.MemoryBytes
		if p.service.Name == s.Name {
			own++
		}
		apart = apart || slices.Contains(s.Placement.ApartFrom, p.service.Name) || slices.Contains(p.service.Placement.ApartFrom, s.Name)
		for _, a := range s.Spec.Ports {
			clash = clash || slices.ContainsFunc(p.service.Spec.Ports, func(b otto.Port) bool { return Clash(a, b) })
		}
	}
	total := float64(n.Memory)
	add("node", n.Refuse != "")
	add("stays", ask.Only != "" && ask.Only != n.ID)
	add("platform", s.Platform != "" && n.Arch != "" && !strings.HasSuffix(s.Platform, "/"+n.Arch))
	add("image", n.Unbuilt[s.Spec.Image] != "")
	add("require", slices.ContainsFunc(s.Placement.Require, func(e otto.Expression) bool { return !e.Matches(n.Labels) }))
	tooSmall := n.Memory > 0 && uint64(s.Spec.Resources.MemoryBytes) > n.Memory
	full := n.Memory > 0 && s.Reserve.MemoryBytes > 0 && float64(s.Reserve.MemoryBytes) > total-max(float64(memory), n.MemoryUse.Mean*total)
	add("memory", tooSmall || full)
	var busy float64
	if n.CPU.Span >= 2*time.Minute { // not only for a moment
		busy = n.CPU.Mean * n.Cores
	}
	add("cpu", n.Cores > 0 && s.Reserve.CPU > 0 && s.Reserve.CPU > n.Cores-max(cpu, busy))
	add("ports", clash)
	add("devices", n.Devices != nil && slices.ContainsFunc(s.Spec.Devices, func(d otto.Device) bool { return !n.Devices[d.Host] }))
	add("volumes", astray(s, n, nodes, placed))
	add("apart_from", apart)
	add("max_per_node", s.Placement.MaxPerNode > 0 && own >= s.Placement.MaxPerNode)
	add("ban", n.Bans[s.Name] != "" && !ask.Banned)
	add("requirements", ask.Also != nil && ask.Also(n.ID) != "")
	return filters
}

func drawAsk(t *rapid.T, services []*otto.Service, nodes []Candidate) Ask {
	ask := Ask{Service: rapid.SampledFrom(services).Draw(t, "ask"), Banned: rapid.IntRange(0, 3).Draw(t, "banned") == 0}
	ids := []string{"gone"}
	for _, n := range nodes {
		ids = append(ids, n.ID)
	}
	if rapid.IntRange(0, 3).Draw(t, "stays") == 0 {
		ask.Only, ask.Why = rapid.SampledFrom(ids).Draw(t, "only"), "its data is there"
	}
	if rapid.IntRange(0, 2).Draw(t, "required") == 0 {
		hot := rapid.SliceOfDistinct(rapid.SampledFrom(ids), rapid.ID).Draw(t, "hot")
		ask.Also = func(node string) string {
			if slices.Contains(hot, node) {
				return "it is too hot"
			}
			return ""
		}
	}
	return ask
}

// astray reports whether a service would be away from its data, or may be, on a node.
func astray(s *otto.Service, n Candidate, nodes []Candidate, placed []put) bool {
	if s.Node != "" || s.Mode == otto.ModeGlobal || s.Data == otto.DataDisposable {
		return false
	}
	for _, m := range s.Spec.Mounts {
		here, elsewhere, perhaps := false, false, false
		for _, o := range nodes {
			there := o.Volumes[m.Source] || slices.ContainsFunc(placed, func(p put) bool {
				return p.node == o.ID && slices.ContainsFunc(p.service.Spec.Mounts, func(x otto.Mount) bool { return x.Source == m.Source })
			})
			here, elsewhere = here || there && o.ID == n.ID, elsewhere || there && o.ID != n.ID
			perhaps = perhaps || o.Untold && o.ID != n.ID
		}
		if !here && (elsewhere || perhaps) {
			return true
		}
	}
	return false
}

func drawNodes(t *rapid.T) (nodes []Candidate) {
	for i := range rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, few + 2}).Draw(t, "nodes") {
		id := fmt.Sprint("n", i)
		one := func(name string, values ...string) string {
			return rapid.SampledFrom(append(values, "")).Draw(t, id+" "+name)
		}
		load := func(name string) Load {
			if rapid.Bool().Draw(t, id+" "+name+" known") {
				l := used(rapid.Float64Range(0, 1.2).Draw(t, id+" "+name), rapid.Float64Range(0, 1).Draw(t, id+" "+name+" deviation"))
				l.Span = rapid.SampledFrom([]time.Duration{0, 2*time.Minute - 1, 2 * time.Minute, 2 * time.Minute}).Draw(t, id+" "+name+" span")
				return l
			}
			return Load{}
		}
		c := Candidate{ID: id, Machine: Machine{
			Arch: one("arch", "amd64", "arm64"), Cores: float64(rapid.SampledFrom([]int{0, 1, 4}).Draw(t, "cores")), CPU: load("cpu"), MemoryUse: load("memory"),
			Labels: otto.Node{ID: id, Labels: map[string]string{"zone": one("zone", "z1", "z2")}}.PlacementLabels(otto.NodeFacts{}),
		}}
		c.Refuse = one("refuse", "", "", "cordoned")
		c.Memory = rapid.SampledFrom([]uint64{0, 1 << 30, 4 << 30}).Draw(t, "total")
		if w := rapid.SampledFrom([]float64{0, 0, 0.5, 2}).Draw(t, "failures"); w > 0 {
			c.Failures = map[string]float64{"s1": w}
		}
		if one("ban", "", "", "yes") != "" {
			c.Bans = map[string]string{"s0": "it did not help"}
		}
		if one("unbuilt", "", "yes") != "" {
			c.Unbuilt = map[string]string{"s0": "there is none"}
		}
		c.Untold = rapid.IntRange(0, 9).Draw(t, id+" untold") == 0
		for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"v0", "v1"}), 0, 2, rapid.ID).Draw(t, id+" volumes") {
			if c.Volumes == nil {
				c.Volumes = map[string]bool{}
			}
			c.Volumes[v] = true
		}
		if one("facts", "yes") != "" {
			c.Images, c.Devices = map[string]int64{"s0:latest": 0}, map[string]bool{}
			if device := rapid.SampledFrom([]string{"there", "missing", "not known"}).Draw(t, "device"); device != "not known" {
				c.Devices["/dev/a"] = device == "there"
			}
			warm := rapid.Float64Range(20, 100).Draw(t, "temperature")
			c.Temperature = &warm
		}
		nodes = append(nodes, c)
	}
	return nodes
}

func drawServices(t *rapid.T) (services []*otto.Service) {
	names := []string{"s0", "s1", "s2", "s3"}
	expressions := expr(t, "zone == z1", "zone != z2", "zone in (z1, z2)", "!zone", "node.arch", "node.id not in (n0)")
	for _, name := range names {
		some := func(what string, from []string) []string {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID).Draw(t, name+" "+what)
		}
		rule := func(what string) []otto.Expression {
			if rapid.IntRange(0, 2).Draw(t, name+" "+what) > 0 {
				return nil
			}
			return []otto.Expression{rapid.SampledFrom(expressions).Draw(t, name+" "+what)}
		}
		s := svc(name, rules(otto.PlacementRules{
			Require: rule("require"), Prefer: rule("prefer"), Avoid: rule("avoid"), Near: some("near", names), ApartFrom: some("apart", names),
			Spread: rapid.SampledFrom([]string{"", "", "zone"}).Draw(t, name+" spread"), MaxPerNode: rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, name+" max"),
		}))
		s.Platform = rapid.SampledFrom([]string{"", "", "linux/arm64"}).Draw(t, name+" platform")
		s.Reserve = otto.Resources{CPU: rapid.SampledFrom([]float64{0, 0, 0.25, 1}).Draw(t, name+" cpu"), MemoryBytes: rapid.SampledFrom([]int64{0, 0, 1 << 28, 1 << 30}).Draw(t, name+" memory")}
		s.Spec.Resources.MemoryBytes = rapid.SampledFrom([]int64{0, 0, 2 << 30}).Draw(t, name+" limit")
		if rapid.IntRange(0, 2).Draw(t, name+" port") == 0 {
			on(80)(s)
		}
		if rapid.IntRange(0, 3).Draw(t, name+" device") == 0 {
			s.Spec.Devices = []otto.Device{{Host: "/dev/a"}}
		}
		for _, v := range some("volumes", []string{"v0", "v1", "v2"}) {
			mounts(v)(s)
		}
		s.Data = rapid.SampledFrom([]string{"", "", otto.DataDisposable}).Draw(t, name+" data")
		s.Mode = rapid.SampledFrom([]string{"", "", "", otto.ModeGlobal}).Draw(t, name+" mode")
		s.Node = rapid.SampledFrom([]string{"", "", "", "n0"}).Draw(t, name+" home")
		services = append(services, s)
	}
	return services
}

func TestLoadFollowsAndForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 50).Draw(t, "samples")
		var l Load
		for _, x := range xs {
			l = l.Add(x, rapidSeconds)
			if l.Mean < slices.Min(xs)-1e-9 || l.Mean > slices.Max(xs)+1e-9 || l.Dev() > 1 {
				t.Fatalf("of %v it makes %+v", xs, l)
			}
		}
		for range 1000 {
			l = l.Add(0.5, rapidSeconds)
		}
		if l.Mean < 0.499 || l.Mean > 0.501 || l.Dev() > 0.01 {
			t.Fatalf("after long rest it is %+v", l)
		}
	})
}

const rapidSeconds = 5e9

func TestLoadBeginsAnewAfterAGap(t *testing.T) {
	idle := Load{}
	for range 100 {
		idle = idle.Add(0.1, 5e9)
	}
	busy := idle.Add(1, 3600e9)
	if !idle.steady() || busy.steady() || busy.Mean != 1 {
		t.Errorf("%+v becomes %+v", idle, busy)
	}
}

func TestLoadOfAlternation(t *testing.T) {
	var l Load
	for i := range 10_000 {
		l = l.Add(float64(i%2), 1e9)
	}
	if l.Mean < 0.49 || l.Mean > 0.51 || l.Dev() < 0.49 || l.Dev() > 0.51 {
		t.Errorf("of 0 and 1 in turns it makes %+v with a deviation of %v", l, l.Dev())
	}
}
