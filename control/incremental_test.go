package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/plan"
	"github.com/otto-edge/otto/wire"
)

// TestPassesMakeAnewWhatHasChanged runs random histories and compares, after each
// pass, what was told and what is judged with what would be if all of it were made
// from nothing.
func TestPassesMakeAnewWhatHasChanged(t *testing.T) {
	t.Parallel() // it takes long
	rapid.Check(t, func(t *rapid.T) {
		f, end := startFleet(t, fleetWanted(4, 12, 1))
		defer end()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			f.happens(t)
			f.due()
			f.pass()
			f.p.require() // what was decided and placed last
			f.p.assign(f.now)
			f.p.summarize(f.now)
			f.isAsFromNothing(t)
		}
	})
}

// happens is one thing that happens to a cluster.
func (f *fleet) happens(t *rapid.T) {
	w := f.p.desired.Wanted
	w.Services, w.Nodes = slices.Clone(w.Services), slices.Clone(w.Nodes)
	k := rapid.IntRange(0, len(w.Services)-1).Draw(t, "service")
	s := &w.Services[k]
	id := rapid.SampledFrom(f.p.ids()).Draw(t, "node")
	n := slices.IndexFunc(w.Nodes, func(n otto.Node) bool { return n.ID == id })
	f.seq++
	switch what := rapid.SampledFrom([]string{
		"image", "replicas", "home", "requirement", "limit of all", "depends", "global", "rule", "add", "remove", "swap", "label",
		"drain", "stop", "volume", "volumes of a node", "report", "failed report", "sample", "reconnect",
	}).Draw(t, "what"); what {
	case "report":
		f.reported()
		return
	case "failed report":
		f.failing = !f.failing
		f.report(id)
		return
	case "sample":
		f.busy = rapid.Bool().Draw(t, "busy")
		for range rapid.IntRange(1, 40).Draw(t, "seconds") {
			f.sampled()
			f.pass()
		}
		return
	case "reconnect":
		f.p.Connected(2)
		f.drain()
		f.p.watching = f.now
		return
	case "drain":
		next := f.p.desired
		next.Intents = maps.Clone(next.Intents)
		if next.Intents == nil {
			next.Intents = map[string]otto.Intent{}
		}
		next.Intents[id] = otto.Intent{Draining: !next.Intents[id].Draining}
		f.p.desired, f.p.dirty = next, true
		return
	case "volumes of a node":
		f.p.nodes[id].volumes = rapid.SampledFrom([]map[string]bool{nil, {"v0": true}, {"v1": true}}).Draw(t, "volumes")
		f.p.dirty = true
		return
	case "volume":
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: rapid.SampledFrom([]string{"v0", "v1"}).Draw(t, "volume"), Target: "/v"}}
	case "image":
		s.Spec.Image = fmt.Sprintf("registry/app:%d", f.seq)
	case "replicas":
		s.Replicas = rapid.IntRange(0, 3).Draw(t, "replicas")
	case "home":
		s.Node, s.Failover = id, otto.FailoverMove
	case "requirement":
		s.Requirements = slices.Clone(s.Requirements)
		s.Requirements = append(s.Requirements, otto.Requirement{Metric: "memory", Aggregate: "last", Operator: "<", Limit: float64(10 + f.seq), Clear: 5, Unit: "%"})
	case "limit of all":
		w.Requirements = slices.Clone(w.Requirements)
		w.Requirements[0].Limit++
	case "depends":
		s.DependsOn = nil
		if other := w.Services[(k+1)%len(w.Services)].Name; rapid.Bool().Draw(t, "on") {
			s.DependsOn = []otto.Dependency{{Service: other, Condition: otto.ServiceHealthy}}
		}
	case "global":
		s.Mode = otto.ModeGlobal
	case "rule":
		s.Placement.MaxPerNode = rapid.IntRange(0, 1).Draw(t, "most")
	case "add":
		added := *s
		added.Name = fmt.Sprintf("new%d", f.seq)
		w.Services = append(w.Services, added)
	case "remove":
		if len(w.Services) > 1 {
			w.Services = slices.Delete(w.Services, k, k+1)
		}
	case "swap":
		w.Services[0], *s = *s, w.Services[0]
	case "label":
		w.Nodes[n].Labels = map[string]string{"zone": rapid.SampledFrom([]string{"z1", "z4"}).Draw(t, "zone")}
		f.p.nodes[id].Node, f.p.nodes[id].labels = w.Nodes[n], nil
	case "stop":
		w.Stopped = !w.Stopped
	}
	f.want(w)
}

func (f *fleet) isAsFromNothing(t *rapid.T) {
	p, w := f.p, f.p.desired.Wanted
	x := plan.NewIndex(w, nil)
	is := p.basis(f.now)
	reports := map[string][]otto.InstanceStatus{}
	for id, n := range p.nodes {
		reports[id] = n.report.Instances
	}
	all := plan.Assignments(x, x.Services, is.placement, is.kept, is.held, is.unsure, p.ids(), reports)
	for id, n := range p.nodes {
		a := all[id]
		p.version(id, a.Instances)
		a.Peers, a.Watches = p.required.peers, p.required.watches[id]
		content, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if hashOf(content) != n.published {
			t.Fatalf("%s was not told %s", id, content)
		}
	}
	for _, s := range x.Services {
		b, err := wire.Encode(summaryOf(p.serviceStatus(s)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(b), p.summaries[s.Name]); diff != "" {
			t.Fatalf("summary of %s: %s", s.Name, diff)
		}
	}
	fresh := &Plane{Options: p.Options, documents: p.documents, nodes: p.nodes, lookout: p.lookout, ctx: p.ctx, indexed: x}
	fresh.require()
	if diff := cmp.Diff(demandsOf(&fresh.required), demandsOf(&p.required)); diff != "" {
		t.Fatalf("requirements: %s", diff)
	}
	on := whereabouts{}
	on.follow(p.desired.Placement)
	for _, id := range p.ids() {
		if !maps.Equal(on.on[id], p.where.on[id]) {
			t.Fatalf("on %s: %v, not %v", id, p.where.on[id], on.on[id])
		}
	}
}

// demandsOf is all that is judged, by owner and by node, and what is measured.
func demandsOf(q *requirements) map[string]int {
	all := map[string]int{}
	for of, g := range q.groups {
		for _, j := range g.judged {
			all[fmt.Sprint("of ", of, j.label(), j.feed.key, j.At)]++
		}
	}
	for id, w := range q.nodes {
		for _, j := range w.judged {
			all[fmt.Sprint("on ", id, j.label(), j.feed.key)]++
		}
	}
	for of, list := range q.feedsOf {
		all[fmt.Sprint("feeds of ", of)] = len(list)
		for _, f := range list {
			all[fmt.Sprint("feed ", f.key, len(f.users), f.share)]++
		}
	}
	return all
}

// TestWhatIsQuietIsJudgedInTime sees to it that a node whose requirements are left
// alone is looked at again when its data are missing.
func TestWhatIsQuietIsJudgedInTime(t *testing.T) {
	f := newFleet(t, fleetWanted(2, 4, 1))
	f.now = f.now.Add(2 * time.Second)
	f.p.evaluate(f.now)
	for _, w := range f.p.required.nodes {
		for _, j := range w.judged {
			if j.verdict.State != otto.RequirementOK {
				t.Fatalf("%s: %s", j.Requirement, j.verdict.Reason)
			}
		}
	}
	f.now = f.now.Add(2 * time.Second)
	f.p.evaluate(f.now)
	for _, w := range f.p.required.nodes {
		for _, j := range w.judged {
			if j.verdict.State != otto.RequirementUnknown {
				t.Errorf("%s is %s without data", j.Requirement, j.verdict.State)
			}
		}
	}
}

// TestWaitingIsToldOnce is about reasons with numbers in them, which change all the time.
func TestWaitingIsToldOnce(t *testing.T) {
	f := newFleet(t, fleetWanted(2, 4, 1))
	w := f.p.desired.Wanted
	w.Services = append(slices.Clone(w.Services), otto.Service{Name: "large", Replicas: 1, Reserve: otto.Resources{MemoryBytes: 1 << 40}})
	f.want(w)
	reasons := map[string]bool{}
	for i := range 20 {
		for _, n := range f.p.nodes {
			n.mem = n.mem.Add(float64(i)/20, time.Second)
		}
		f.due()
		f.pass()
		reasons[f.p.waiting["large"]] = true
	}
	if len(reasons) < 2 {
		t.Errorf("it waits for %v", reasons)
	}
	told := 0
	for _, e := range happenedTo(f.p, "large") {
		if e.Kind == "service-waiting" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it was told %d times", told)
	}
}

func happenedTo(p *Plane, service string) (list []otto.Event) {
	all, _ := p.Events(0)
	return slices.DeleteFunc(slices.Clone(all), func(e otto.Event) bool { return e.Service != service })
}
