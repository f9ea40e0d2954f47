package scheduler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func svc(name string, change ...func(*otto.Service)) *otto.Service {
	s := &otto.Service{Name: name, Replicas: 1, Spec: otto.ContainerSpec{Image: name}}
	for _, c := range change {
		c(s)
	}
	return s
}

func on(n uint16) func(*otto.Service) {
	return func(s *otto.Service) {
		s.Spec.Ports = append(s.Spec.Ports, otto.Port{Host: n, Container: 80, Protocol: "tcp"})
	}
}

func mounts(volume string) func(*otto.Service) {
	return func(s *otto.Service) {
		s.Spec.Mounts = append(s.Spec.Mounts, otto.Mount{Type: otto.MountVolume, Source: volume, Target: "/" + volume})
	}
}

// has is a node with volumes.
func has(id string, volumes ...string) Candidate {
	c := Candidate{ID: id, Machine: Machine{Volumes: map[string]bool{}}}
	for _, v := range volumes {
		c.Volumes[v] = true
	}
	return c
}

func rules(r otto.PlacementRules) func(*otto.Service) {
	return func(s *otto.Service) { s.Placement = r }
}

func expr(t interface{ Fatal(...any) }, texts ...string) (list []otto.Expression) {
	for _, text := range texts {
		e, err := otto.ParseExpression(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func labelled(id string, pairs ...string) Candidate {
	c := Candidate{ID: id, Machine: Machine{Labels: map[string]string{}}}
	for i := 0; i < len(pairs); i += 2 {
		c.Labels[pairs[i]] = pairs[i+1]
	}
	return c
}

func used(mean, dev float64) Load {
	return Load{Mean: mean, Variance: dev * dev, Samples: 9, Span: loadMemory}
}

// machine is a node with memory in MiB, four cores, and its measured use.
func machine(id string, memory uint64, cpu, mem Load) Candidate {
	return Candidate{ID: id, Memory: memory << 20, Machine: Machine{Cores: 4, CPU: cpu, MemoryUse: mem}}
}

// put is an instance that has its place.
type put struct {
	node    string
	service *otto.Service
}

const claimedByB = "b says that it has or had its volume data, which it was never given: `otto volume adopt b data` if its data counts, else give the volume another name"

func TestPick(t *testing.T) {
	web := svc("web")
	reserves := func(cpu float64, mib int64) func(*otto.Service) {
		return func(s *otto.Service) { s.Reserve = otto.Resources{CPU: cpu, MemoryBytes: mib << 20} }
	}
	hot := 84.0
	near, apart := rules(
		otto.PlacementRules{Near: []string{"db"}},
	), rules(otto.PlacementRules{ApartFrom: []string{"db"}})
	a, b := Candidate{ID: "a"}, Candidate{ID: "b"}
	for _, tt := range []struct {
		name    string
		ask     *otto.Service
		nodes   []Candidate
		placed  []put
		node    string
		refused string // a part of the reasons
	}{
		{name: "no node", ask: web},
		{name: "the first by name of equals", ask: web, nodes: []Candidate{b, a}, node: "a"},
		{
			name: "away from its own kind, even to a busier node", ask: web, nodes: []Candidate{a, b},
			placed: []put{{"a", web}, {"b", svc("db")}, {"b", svc("mail")}}, node: "b",
		},
		{name: "to the one with the fewest", ask: web, nodes: []Candidate{a, b}, placed: []put{{"a", svc("db")}}, node: "b"},
		{
			name: "not where the port is taken, and not where nobody is", ask: svc("web", on(8080)),
			nodes: []Candidate{a, {ID: "b", Refuse: "not ready"}}, placed: []put{{"a", svc("db", on(8080))}},
			refused: "a ports: port 8080/tcp is taken by db; b node: not ready",
		},
		{
			name: "of two with the same load the steadier one", ask: web,
			nodes: []Candidate{machine("a", 1, used(.4, .3), used(.5, 0)), machine("b", 1, used(.4, .1), used(.5, 0))}, node: "b",
		},
		{name: "to the cooler one", ask: web, nodes: []Candidate{{ID: "a", Machine: Machine{Temperature: &hot}}, b}, node: "b"},
		{
			name: "where the image is", ask: web,
			nodes: []Candidate{{ID: "a", Machine: Machine{Images: map[string]int64{}}}, {ID: "b", Machine: Machine{Images: map[string]int64{"web:latest": 0}}}}, node: "b",
		},
		{name: "where it has not failed", ask: web, nodes: []Candidate{{ID: "a", Failures: map[string]float64{"web": 1}}, b}, node: "b"},
		{
			name: "where it is required to be", ask: svc("web", rules(otto.PlacementRules{Require: expr(t, "zone == attic")})),
			nodes: []Candidate{labelled("a", "zone", "kitchen"), labelled("b", "zone", "attic"), labelled("c")}, node: "b",
			refused: "a require: it does not meet zone == attic: zone is kitchen; c require: it does not meet zone == attic: it has no label zone",
		},
		{
			name: "where the agent has not said it yet", ask: svc("web", rules(otto.PlacementRules{Require: expr(t, "node.arch == arm64")})),
			nodes: []Candidate{labelled("a")}, refused: "node.arch is not known yet",
		},
		{
			name: "where it prefers to be", ask: svc("web", rules(otto.PlacementRules{Prefer: expr(t, "ssd"), Avoid: expr(t, "zone == attic")})),
			nodes: []Candidate{labelled("a", "zone", "attic"), labelled("b"), labelled("c", "ssd", "1")}, node: "c",
		},
		{name: "near another one", ask: svc("web", near), nodes: []Candidate{a, b}, placed: []put{{"b", svc("db")}}, node: "b"},
		{
			name: "near one that wants to be near", ask: web, nodes: []Candidate{a, b},
			placed: []put{{"b", svc("db", rules(otto.PlacementRules{Near: []string{"web"}}))}}, node: "b",
		},
		{
			name: "apart from another one", ask: svc("web", apart), nodes: []Candidate{a}, placed: []put{{"a", svc("db")}},
			refused: "a apart_from: db is on a, from which it is to be apart",
		},
		{
			name: "apart from one that wants to be apart", ask: web, nodes: []Candidate{a},
			placed: []put{{"a", svc("db", rules(otto.PlacementRules{ApartFrom: []string{"web"}}))}}, refused: "a apart_from: db is on a",
		},
		{
			name: "at most one a node", ask: svc("web", rules(otto.PlacementRules{MaxPerNode: 1})), nodes: []Candidate{a}, placed: []put{{"a", web}},
			refused: "a max_per_node: it has 1 of web already, and max_per_node is 1",
		},
		{
			name: "over zones before nodes", ask: svc("web", rules(otto.PlacementRules{Spread: "zone"})),
			nodes: []Candidate{labelled("a", "zone", "1"), labelled("b", "zone", "1"), labelled("c", "zone", "2")}, placed: []put{{"a", web}}, node: "c",
		},
		{
			name: "over nodes within zones", ask: svc("web", rules(otto.PlacementRules{Spread: "zone"})),
			nodes: []Candidate{labelled("a", "zone", "1"), labelled("b", "zone", "1"), labelled("c", "zone", "2")}, placed: []put{{"a", web}, {"c", web}}, node: "b",
		},
		{
			name: "its limit is above the machine's memory", ask: svc("web", func(s *otto.Service) { s.Spec.Resources.MemoryBytes = 4 << 30 }),
			nodes: []Candidate{machine("a", 1024, Load{}, Load{})}, refused: "a memory: it has 1024 MiB of memory, and web may take 4096",
		},
		{
			name: "memory that is reserved", ask: svc("web", reserves(0, 600)), nodes: []Candidate{machine("a", 1024, Load{}, Load{})},
			placed: []put{{"a", svc("db", reserves(0, 500))}}, refused: "a memory: 524 of its 1024 MiB of memory are free, and web reserves 600",
		},
		{
			name: "memory that is in use", ask: svc("web", reserves(0, 600)), nodes: []Candidate{machine("a", 1000, Load{}, used(.5, 0))},
			refused: "a memory: 500 of its 1000 MiB",
		},
		{
			name: "cores that are reserved", ask: svc("web", reserves(1, 0)), nodes: []Candidate{machine("a", 1, Load{}, Load{})},
			placed: []put{{"a", svc("db", reserves(3.5, 0))}}, refused: "a cpu: 0.5 of its 4 cores are free, and web reserves 1",
		},
		{
			name: "cores that have been in use for long", ask: svc("web", reserves(1, 0)), nodes: []Candidate{machine("a", 1, used(.9, 0), Load{})},
			refused: "a cpu: 0.4 of its 4 cores are free, and web reserves 1",
		},
		{
			name: "almost enough cores", ask: svc("web", reserves(0.1, 0)), nodes: []Candidate{machine("a", 1, used(.976, 0), Load{})},
			refused: "a cpu: 0.09 of its 4 cores are free, and web reserves 0.1",
		},
		{name: "cores that are in use for a moment", ask: svc("web", reserves(1, 0)), nodes: []Candidate{machine("a", 1, Load{}.Add(1, 0), Load{})}, node: "a"},
		{
			name: "of two idle ones the larger, for what it reserves", ask: svc("web", reserves(0, 400)),
			nodes: []Candidate{machine("a", 1000, used(0, 0), used(.1, 0)), machine("b", 4000, used(0, 0), used(.1, 0))}, node: "b",
		},
		{
			name: "the platform", ask: svc("web", func(s *otto.Service) { s.Platform = "linux/arm64/v8" }),
			nodes: []Candidate{{ID: "a", Machine: Machine{Arch: "amd64"}}, {ID: "b", Machine: Machine{Arch: "arm64"}}}, node: "b",
			refused: "a platform: it is amd64, and the platform asked for is linux/arm64/v8",
		},
		{
			name: "an image for other architectures", ask: svc("web", func(s *otto.Service) { s.Spec.Image = "nginx" }),
			nodes: []Candidate{{ID: "a", Machine: Machine{Unbuilt: map[string]string{"nginx": "there is none"}}}, b}, node: "b", refused: "a image: there is none",
		},
		{
			name: "a device", ask: svc("web", func(s *otto.Service) { s.Spec.Devices = []otto.Device{{Host: "/dev/ttyUSB0"}} }),
			nodes: []Candidate{{ID: "a", Machine: Machine{Devices: map[string]bool{"/dev/ttyUSB0": false}}}, b}, node: "b", refused: "a devices: it has no /dev/ttyUSB0",
		},
		{
			name: "a device that a node has not told of", ask: svc("web", func(s *otto.Service) { s.Spec.Devices = []otto.Device{{Host: "/dev/ttyUSB0"}} }),
			nodes: []Candidate{{ID: "a", Machine: Machine{Devices: map[string]bool{}}}, b}, node: "b", refused: "a devices: it has not said yet whether it has /dev/ttyUSB0",
		},
		{
			name: "where its data is, though it is busier", ask: svc("db", mounts("data")),
			nodes: []Candidate{a, has("b", "data"), {ID: "c"}}, placed: []put{{"b", web}}, node: "b",
			refused: "a volumes: its volume data is on b; c volumes: its volume data is on b",
		},
		{name: "any of those that have its data", ask: svc("db", mounts("data")), nodes: []Candidate{a, has("b", "data"), has("c", "data")}, placed: []put{{"b", web}}, node: "c"},
		{
			name: "data on a node that takes nothing is waited for", ask: svc("db", mounts("data")),
			nodes: []Candidate{a, {ID: "b", Refuse: "it is lost", Machine: has("b", "data").Machine}}, refused: "a volumes: its volume data is on b; b node: it is lost",
		},
		{
			name: "data in two places is not taken apart", ask: svc("db", mounts("data"), mounts("wal")), nodes: []Candidate{has("a", "data"), has("b", "wal")},
			refused: "a volumes: its volume wal is on b; b volumes: its volume data is on a",
		},
		{name: "data that there is not yet", ask: svc("db", mounts("data")), nodes: []Candidate{a, has("b", "other")}, placed: []put{{"b", web}}, node: "a"},
		{
			name: "data that a node may have that has not said", ask: svc("db", mounts("data")),
			nodes: []Candidate{a, {ID: "b", Refuse: "its engine is not ready", Machine: Machine{Untold: true}}}, refused: "a volumes: its volume data may be on b, which has not said yet what it has",
		},
		{
			name: "data that is known, whatever others have not said", ask: svc("db", mounts("data")),
			nodes: []Candidate{has("a", "data"), {ID: "b", Machine: Machine{Untold: true}}}, node: "a",
		},
		{
			name: "data that a node claims alone", ask: svc("db", mounts("data")), nodes: []Candidate{a, {ID: "b", Machine: Machine{Claimed: map[string]bool{"data": true}}}},
			refused: "a volumes: " + claimedByB + "; b volumes: " + claimedByB,
		},
		{
			name: "data that is known, whatever others claim", ask: svc("db", mounts("data")),
			nodes: []Candidate{has("a", "data"), {ID: "b", Machine: Machine{Claimed: map[string]bool{"data": true}}}}, node: "a", refused: "b volumes: its volume data is on a",
		},
		{name: "the only one that has not said", ask: svc("db", mounts("data")), nodes: []Candidate{{ID: "a", Machine: Machine{Untold: true}}}, node: "a"},
		{
			name: "with what shares its data, before that has made it", ask: svc("db", mounts("data")), nodes: []Candidate{a, b},
			placed: []put{{"b", svc("backup", mounts("data"))}}, node: "b", refused: "a volumes: its volume data is on b",
		},
		{
			name: "data that it can do without", ask: svc("db", mounts("data"), func(s *otto.Service) { s.Data = otto.DataDisposable }),
			nodes: []Candidate{a, has("b", "data")}, placed: []put{{"b", web}}, node: "a",
		},
		{
			name: "data where the file says otherwise", ask: svc("db", mounts("data"), func(s *otto.Service) { s.Node = "a" }),
			nodes: []Candidate{a, has("b", "data")}, placed: []put{{"b", web}}, node: "a",
		},
		{
			name: "data of each node", ask: svc("db", mounts("data"), func(s *otto.Service) { s.Mode = otto.ModeGlobal }),
			nodes: []Candidate{a, has("b", "data")}, placed: []put{{"b", web}}, node: "a",
		},
		{
			name: "a path and a volume without a name", nodes: []Candidate{a, has("b", "/srv", "")}, placed: []put{{"b", web}}, node: "a",
			ask: svc("db", mounts(""), func(s *otto.Service) {
				s.Spec.Mounts = append(s.Spec.Mounts, otto.Mount{Type: otto.MountBind, Source: "/srv", Target: "/srv"})
			}),
		},
		{
			name: "a ban", ask: web, nodes: []Candidate{{ID: "a", Machine: Machine{Bans: map[string]string{"web": "moving it there did not help"}}}},
			refused: "a ban: moving it there did not help",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(tt.nodes, nil)
			for _, p := range tt.placed {
				s.Put(p.service, p.node)
			}
			node, _ := s.Pick(Ask{Service: tt.ask})
			_, refused := s.Explain(Ask{Service: tt.ask})
			if node != tt.node {
				t.Errorf("picks %q, want %q", node, tt.node)
			}
			if got := say(refused); !strings.Contains(got, tt.refused) {
				t.Errorf("refused for %q, want %q", got, tt.refused)
			}
		})
	}
}

func say(refused []otto.Refusal) string {
	var lines []string
	for _, r := range refused {
		lines = append(lines, fmt.Sprintf("%s %s: %s", r.Node, r.Filter, r.Reason))
	}
	return strings.Join(lines, "; ")
}

// TestCallerMayRefuse: what is decided about moves is not the scheduler's to know.
func TestCallerMayRefuse(t *testing.T) {
	s := New([]Candidate{{ID: "a"}, {ID: "b"}, {ID: "c"}}, nil)
	ask := Ask{Service: svc("web"), Also: func(node string) string {
		if node == "a" {
			return "node.cpu would be 91 %"
		}
		return ""
	}}
	if got, _ := s.Pick(ask); got != "b" {
		t.Errorf("picks %s", got)
	}
	ask.Only, ask.Why = "c", "its data is there"
	if got, _ := s.Pick(ask); got != "c" {
		t.Errorf("picks %s", got)
	}
	_, refused := s.Explain(ask)
	want := "a stays: it stays on c: its data is there; a requirements: node.cpu would be 91 %; b stays: it stays on c: its data is there"
	if got := say(refused); got != want {
		t.Errorf("says %s", got)
	}
}

func TestWeightsAreTheUsers(t *testing.T) {
	nodes := []Candidate{machine("a", 1, used(.9, 0), used(0, 0)), machine("b", 1, used(0, 0), used(.8, 0))}
	for _, tt := range []struct {
		weights map[string]float64
		node    string
	}{{nil, "b"}, {map[string]float64{otto.ScoreCPU: 0}, "a"}} {
		if got, _ := New(nodes, tt.weights).Pick(Ask{Service: svc("web")}); got != tt.node {
			t.Errorf("with %v it picks %s", tt.weights, got)
		}
	}
}

func TestScoreSaysWhatItIsMadeOf(t *testing.T) {
	warm := 65.0
	a := machine("a", 1000, used(.2, .1), used(.5, 0))
	a.Temperature = &warm
	s := New([]Candidate{a}, nil)
	s.Put(svc("db"), "a")
	scores, _ := s.Explain(Ask{Service: svc("web", func(s *otto.Service) { s.Reserve.MemoryBytes = 100 << 20 })})
	want := []otto.Score{{Node: "a", Total: (2*.85 + 2*.7 + .5 + .5 + 4) / 10, Parts: []otto.ScorePart{
		{Name: "cpu", Weight: 2, Value: .85, Reason: "20% ± 10% in use"},
		{Name: "memory", Weight: 2, Value: .7, Reason: "50% ± 0% in use, and this adds 10%"},
		{Name: "heat", Weight: 1, Value: .5, Reason: "it has 65°C"},
		{Name: "fewest", Weight: 1, Value: .5, Reason: "one other instance is there"},
		{Name: "spread", Weight: 4, Value: 1, Reason: "0 others of web are there"},
	}}}
	if diff := cmp.Diff(want, scores,
		cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); diff != "" {
		t.Error(diff)
	}
}

func TestBreaksIsOnlyWhatLasts(t *testing.T) {
	s := New([]Candidate{{ID: "a", Refuse: "cordoned", Machine: Machine{Labels: map[string]string{"zone": "attic"}}}},
		nil)
	for _, tt := range []struct{ require, want string }{
		{"zone == attic", ""},
		{"zone == kitchen", "it does not meet zone == kitchen: zone is attic"},
		{"node.arch == arm64", ""}, // nobody knows yet
		{"gpu", "it does not meet gpu: it has no label gpu"},
	} {
		if got := s.Breaks(svc("web", rules(otto.PlacementRules{Require: expr(t, tt.require)})), "a"); got != tt.want {
			t.Errorf("%s: says %q, want %q", tt.require, got, tt.want)
		}
	}
}

func TestImagesAreFoundByAnyOfTheirNames(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "nginx:latest", "nginx:1": "nginx:1", "docker.io/library/nginx": "nginx:latest", "library/nginx:1": "nginx:1",
		"registry:5000/a/b": "registry:5000/a/b:latest", "docker.io/me/x:2": "me/x:2", "x@sha256:00": "x@sha256:00",
	} {
		if got := (&State{images: true}).listed(image); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

func TestClash(t *testing.T) {
	p := func(ip string, host uint16, protocol string) otto.Port {
		return otto.Port{HostIP: ip, Host: host, Protocol: protocol}
	}
	tests := []struct {
		a, b otto.Port
		want bool
	}{
		{p("", 80, "tcp"), p("", 80, "tcp"), true},
		{p("", 80, "tcp"), p("", 81, "tcp"), false},
		{p("", 53, "tcp"), p("", 53, "udp"), false},
		{p("", 80, "tcp"), p("127.0.0.1", 80, "tcp"), true},
		{p("0.0.0.0", 80, "tcp"), p("10.0.0.1", 80, "tcp"), true},
		{p("127.0.0.1", 80, "tcp"), p("10.0.0.1", 80, "tcp"), false},
		{p("", 0, "tcp"), p("", 0, "tcp"), false}, // any free one
	}
	for _, tt := range tests {
		if Clash(tt.a, tt.b) != tt.want || Clash(tt.b, tt.a) != tt.want {
			t.Errorf("%v and %v clash: %t, want %t", tt.a, tt.b, !tt.want, tt.want)
		}
	}
}
