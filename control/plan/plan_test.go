package plan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

func service(name, node string, replicas int) otto.Service {
	return otto.Service{Name: name, Node: node, Replicas: replicas, Spec: otto.ContainerSpec{Image: name}}
}

func TestPlace(t *testing.T) {
	ready := []Node{{ID: "a"}, {ID: "b"}}
	tests := []struct {
		name     string
		services []otto.Service
		was      Placement
		nodes    []Node
		now      Placement
		unplaced map[string]string
	}{
		{name: "home, ready or not", services: []otto.Service{service("web", "b", 1)}, nodes: []Node{{ID: "a"}, {ID: "b", Refuse: "not ready"}}, now: Placement{"web": "b"}},
		{name: "spread", services: []otto.Service{service("web", "", 3)}, nodes: ready, now: Placement{"web": "a", "web-2": "b", "web-3": "a"}},
		{name: "stays where it is", services: []otto.Service{service("web", "", 1), service("db", "", 1)}, was: Placement{"web": "b", "db": "b"}, nodes: ready, now: Placement{"web": "b", "db": "b"}},
		{name: "stays on a node that is away", services: []otto.Service{service("web", "", 1)}, was: Placement{"web": "b"}, nodes: []Node{{ID: "a"}, {ID: "b", Refuse: "not ready"}}, now: Placement{"web": "b"}},
		{name: "leaves a node that is no more", services: []otto.Service{service("web", "", 1)}, was: Placement{"web": "gone"}, nodes: ready, now: Placement{"web": "a"}},
		{name: "forgets what is no longer wanted", was: Placement{"web": "a"}, nodes: ready, now: Placement{}},
		{name: "a new replica goes where its service is not", services: []otto.Service{service("db", "b", 1), service("mail", "b", 1), service("web", "", 2)}, was: Placement{"web": "a"}, nodes: ready, now: Placement{"db": "b", "mail": "b", "web": "a", "web-2": "b"}},
		{name: "nobody is ready", services: []otto.Service{service("web", "", 1)}, nodes: []Node{{ID: "a", Refuse: "not ready"}, {ID: "b", Refuse: "not ready"}}, now: Placement{}, unplaced: map[string]string{"web": "no node can take it: a: not ready; b: not ready"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Place(otto.Wanted{Services: tt.services}, tt.was, tt.nodes, nil)
			if diff := cmp.Diff(tt.now, got.Placement); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.unplaced == nil {
				tt.unplaced = map[string]string{}
			}
			if diff := cmp.Diff(tt.unplaced, got.Waiting); diff != "" {
				t.Errorf("unplaced (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlacementIsStable places again what is placed, for any services and nodes.
func TestPlacementIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w otto.Wanted
		for _, name := range rapid.SliceOfDistinct(rapid.StringMatching("[a-d]"), rapid.ID[string]).Draw(t, "services") {
			w.Services = append(w.Services, service(name, rapid.SampledFrom([]string{"", "", "n1"}).Draw(t, "home"), rapid.IntRange(1, 3).Draw(t, "replicas")))
		}
		nodes := []Node{{ID: "n1"}}
		for _, id := range []string{"n2", "n3"} {
			nodes = append(nodes, Node{ID: id, Refuse: rapid.SampledFrom([]string{"", "no"}).Draw(t, id)})
		}
		first := Place(w, nil, nodes, nil)
		if len(first.Waiting) > 0 {
			t.Fatalf("not placed although n1 is ready: %v", first.Waiting)
		}
		for i := range nodes { // whatever happens to the nodes afterwards
			nodes[i].Refuse = rapid.SampledFrom([]string{"", "no"}).Draw(t, "later")
		}
		if again := Place(w, first.Placement, nodes, nil); !cmp.Equal(first.Placement, again.Placement) {
			t.Fatalf("moved for no reason: %s", cmp.Diff(first.Placement, again.Placement))
		}
	})
}

func TestAssignments(t *testing.T) {
	db := service("db", "a", 1)
	near, far := service("near", "a", 1), service("far", "b", 1)
	for _, s := range []*otto.Service{&near, &far} {
		s.DependsOn = []otto.Dependency{{Service: "db", Condition: otto.ServiceStarted}}
	}
	w := otto.Wanted{Services: []otto.Service{db, near, far}}
	placed := Placement{"db": "a", "near": "a", "far": "b"}
	all := assignments(w, placed, nil, nil, nil, []string{"a", "b", "c"}, nil)
	if len(all) != 3 || all["c"].Instances == nil || len(all["c"].Instances) != 0 {
		t.Fatalf("a node with nothing to run needs an empty assignment: %+v", all["c"])
	}
	if i := all["a"].Instances[1]; i.Name != "near" || len(i.DependsOn) != 1 || i.Hold != "" {
		t.Errorf("a dependency on the same node is the agent's business: %+v", i)
	}
	if i := all["b"].Instances[0]; i.Hold == "" || len(i.DependsOn) != 0 {
		t.Errorf("a dependency on another node is not waited for: %+v", i)
	}
	all = assignments(w, placed, nil, nil, nil, []string{"a", "b"}, map[string][]otto.InstanceStatus{"a": {{Name: "db", Service: "db", State: otto.InstanceRunning, Started: time.Unix(1, 0)}}})
	if i := all["b"].Instances[0]; i.Hold != "" {
		t.Errorf("it is held although db runs: %s", i.Hold)
	}
}

func TestDiffNeverShowsTheEnvironment(t *testing.T) {
	a, b := service("web", "", 1), service("web", "n1", 1)
	a.Spec.Environment = map[string]string{"PASSWORD": "old secret"}
	b.Spec.Environment = map[string]string{"PASSWORD": "new secret"}
	b.Spec.Image = "web:2"
	got := Diff(otto.Wanted{Services: []otto.Service{a, service("gone", "", 1)}}, otto.Wanted{Services: []otto.Service{b, service("new", "", 1)}, Nodes: []otto.Node{{ID: "n1"}}})
	want := []otto.Change{
		{Kind: "add", Noun: "node", Name: "n1"},
		{Kind: "change", Noun: "service", Name: "web", Detail: "node: none -> n1, image: web -> web:2, environment"},
		{Kind: "add", Noun: "service", Name: "new"},
		{Kind: "remove", Noun: "service", Name: "gone"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDiffShowsNothingThatPeoplePutSecretsInto says only that it is another one.
func TestDiffShowsNothingThatPeoplePutSecretsInto(t *testing.T) {
	with := func(text string) otto.Service {
		s := service("web", "", 1)
		s.Spec.Environment = map[string]string{"PASSWORD": text}
		s.Spec.Labels = map[string]string{"basicauth": text}
		s.Spec.Command, s.Spec.Entrypoint = []string{"--password=" + text}, []string{"login", text}
		s.Spec.Healthcheck = &otto.Healthcheck{Test: []string{"CMD", "curl", "-u", text}}
		return s
	}
	got := Diff(otto.Wanted{Services: []otto.Service{with("hunter1")}}, otto.Wanted{Services: []otto.Service{with("hunter2")}})
	if len(got) != 1 || strings.Contains(got[0].Detail, "hunter") {
		t.Fatalf("%+v", got)
	}
	for _, name := range []string{"environment", "labels", "command", "entrypoint", "healthcheck"} {
		if !strings.Contains(got[0].Detail, name) {
			t.Errorf("it does not say that %s is another one: %s", name, got[0].Detail)
		}
	}
}

func TestDiffSaysWhichSecretHasChanged(t *testing.T) {
	file := func(name, content string) otto.File {
		return otto.File{Kind: otto.FileSecret, Name: name, Target: "/run/secrets/" + name, Content: content}
	}
	a, b := service("web", "", 1), service("web", "", 1)
	a.Spec.Files = []otto.File{file("gone", "c1"), file("key", "c2"), file("mode", "c3"), file("same", "c4")}
	b.Spec.Files = []otto.File{file("key", "c5"), file("mode", "c3"), file("new", "c6"), file("same", "c4")}
	b.Spec.Files[1].Mode = 0o400
	got := Diff(otto.Wanted{Services: []otto.Service{a}}, otto.Wanted{Services: []otto.Service{b}})
	want := []otto.Change{{
		Kind: "change", Noun: "service", Name: "web",
		Detail: "secret key has changed, secret mode is mounted otherwise, secret new added, secret gone removed",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefuseToLeaveDataBehind(t *testing.T) {
	db := func(node string, replicas int, data string) otto.Service {
		s := service("db", node, replicas)
		s.Spec.Mounts, s.Data = []otto.Mount{{Type: "volume", Source: "data", Target: "/data"}}, data
		return s
	}
	wanted := func(s otto.Service, nodes ...string) (w otto.Wanted) {
		w.Services = []otto.Service{s}
		for _, id := range nodes {
			w.Nodes = append(w.Nodes, otto.Node{ID: id})
		}
		return w
	}
	at := Placement{"db": "a", "db-2": "b"}
	for _, test := range []struct {
		name     string
		was, now otto.Wanted
		placed   Placement
		want     []string // parts of the refusal, none if it is none
	}{
		{name: "nothing changes", was: wanted(db("a", 1, ""), "a", "b"), now: wanted(db("a", 1, ""), "a", "b"), placed: at},
		{name: "another home", was: wanted(db("a", 1, ""), "a", "b"), now: wanted(db("b", 1, ""), "a", "b"), placed: at, want: []string{"service db keeps its data on node a and cannot move to b"}},
		{name: "it has never had a place", was: wanted(db("a", 1, ""), "a", "b"), now: wanted(db("b", 1, ""), "a", "b")},
		{name: "its node is taken out", was: wanted(db("", 1, ""), "a", "b"), now: wanted(db("", 1, ""), "b"), placed: at, want: []string{"service db keeps its data on node a and would start without it", "leave a in the file"}},
		{name: "of two the second's node is taken out", was: wanted(db("", 2, ""), "a", "b"), now: wanted(db("", 2, ""), "a"), placed: at, want: []string{"service db-2 keeps its data on node b"}},
		{name: "another node is taken out", was: wanted(db("", 1, ""), "a", "b"), now: wanted(db("", 1, ""), "a"), placed: at},
		{name: "its data are given up with the node", was: wanted(db("", 1, ""), "a", "b"), now: wanted(db("", 1, otto.DataDisposable), "b"), placed: at},
		{name: "it has none", was: wanted(service("db", "", 1), "a", "b"), now: wanted(service("db", "", 1), "b"), placed: at},
		{name: "it goes, too", was: wanted(db("", 1, ""), "a", "b"), now: otto.Wanted{Nodes: []otto.Node{{ID: "b"}}}, placed: at},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Refuse(NewIndex(test.was, nil), NewIndex(test.now, nil), test.placed, nil)
			if (err != nil) != (test.want != nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// FuzzWanted takes what a client of the API may send, twice, as one after the other.
func FuzzWanted(f *testing.F) {
	f.Add([]byte(`{"nodes":[{"id":"a"}],"services":[{"name":"web","replicas":2,"spec":{"image":"x"}}]}`), []byte(`{}`))
	f.Add([]byte(`{"services":[{"name":"web","depends_on":[{"service":"web"}]}]}`), []byte(`{"services":[{},{}],"nodes":[{},{}]}`))
	f.Add([]byte(`{"scheduler":{"weights":{"cpu":-1}},"nodes":[{"id":"a","labels":{"z":"1"}}]}`),
		[]byte(`{"nodes":[{"id":"a"},{"id":"a"}],"services":[{"name":"w","mode":"global","placement":{"require":[{"label":"z","op":"?"}],"near":["w","w"],"apart_from":["w"],"spread":"z","max_per_node":-1},"reserve":{"cpu":-2,"memory_bytes":-1},"platform":"/"},{"name":"w","replicas":2,"platform":"linux"}]}`))
	f.Fuzz(func(_ *testing.T, first, second []byte) {
		var was, now otto.Wanted
		if json.Unmarshal(first, &was) != nil || json.Unmarshal(second, &now) != nil {
			return
		}
		for _, w := range []otto.Wanted{was, now} {
			for _, s := range w.Services {
				if s.Replicas > 100 {
					return
				}
			}
		}
		var nodes []Node
		var ids []string
		for _, n := range now.Nodes {
			nodes, ids = append(nodes, Node{ID: n.ID, Machine: scheduler.Machine{Labels: n.PlacementLabels(otto.NodeFacts{})}}), append(ids, n.ID)
		}
		placed := Place(now, nil, nodes, nil).Placement
		for _, s := range now.Services {
			_ = Explain(now, placed, nodes, nil, s)
		}
		_ = assignments(now, placed, nil, nil, nil, ids, nil)
		_ = Diff(was, now)
		_ = Refuse(NewIndex(was, nil), NewIndex(now, nil), placed, nil)
	})
}

// TestAnotherProbeIsNoOtherContainer: the agent gets the new probe, for the
// container that is there.
func TestAnotherProbeIsNoOtherContainer(t *testing.T) {
	web := service("web", "a", 1)
	assigned := func() otto.Instance {
		w := otto.Wanted{Services: []otto.Service{web}}
		return assignments(w, Placement{"web": "a"}, nil, nil, nil, []string{"a"}, nil)["a"].Instances[0]
	}
	bare := assigned()
	web.Probe = &otto.Probe{TCP: 80}
	probed := assigned()
	if diff := cmp.Diff(web.Probe, probed.Probe); diff != "" || bare.Probe != nil {
		t.Errorf("without one %v, with one %s", bare.Probe, diff)
	}
	if bare.Spec.Hash() != probed.Spec.Hash() {
		t.Error("the container would be made anew")
	}
}

func assignments(w otto.Wanted, placed Placement, kept, waiting, unsure map[string]string, nodes []string, reports map[string][]otto.InstanceStatus) map[string]otto.Assignment {
	x := NewIndex(w, nil)
	return Assignments(x, x.Services, placed, kept, waiting, unsure, nodes, reports)
}
