package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/scheduler"
)

// member is a service of the stack shop, as a file without a home has it.
func member(name string, change ...func(*otto.Service)) otto.Service {
	s := service("shop/"+name, "", 1)
	s.Unit = "shop"
	for _, c := range change {
		c(&s)
	}
	return s
}

func reserves(mib int64) func(*otto.Service) {
	return func(s *otto.Service) { s.Reserve.MemoryBytes = mib << 20 }
}

func publishes(port uint16) func(*otto.Service) {
	return func(s *otto.Service) {
		s.Spec.Ports = []otto.Port{{Host: port, Container: 80, Protocol: "tcp"}}
	}
}

func keeps(volume string) func(*otto.Service) {
	return func(s *otto.Service) {
		s.Spec.Mounts = []otto.Mount{{Type: otto.MountVolume, Source: volume, Target: "/v"}}
	}
}

func stays(s *otto.Service) { s.Tied = "it is where shop/db is: its data is there" }

// TestStackIsPlacedAsOne asks one question for all of a stack: where one part of it can
// be and another cannot, none of it is.
func TestStackIsPlacedAsOne(t *testing.T) {
	a, b := Node{ID: "a", Memory: 1 << 30}, Node{ID: "b", Memory: 4 << 30}
	with := func(n Node, change func(*Node)) Node {
		change(&n)
		return n
	}
	lost := func(n *Node) { n.Refuse, n.Gone = "it is lost", "is lost" }
	all := func(at string) Placement { return Placement{"shop/db": at, "shop/web": at} }
	for _, tt := range []struct {
		name     string
		services []otto.Service
		was      Placement
		nodes    []Node
		troubled map[string]string
		now      Placement
		waits    string // what the last member waits for
	}{
		{name: "their reserves are one", services: []otto.Service{member("db", reserves(700)), member("web", reserves(700))}, nodes: []Node{a, b}, now: all("b")},
		{
			name: "too large for every node", services: []otto.Service{member("db", reserves(3000)), member("web", reserves(3000))}, nodes: []Node{a, b}, now: Placement{},
			waits: "a: 1024 of its 1024 MiB of memory are free, and stack shop reserves 6000; b: 4096 of its 4096 MiB of memory are free, and stack shop reserves 6000",
		},
		{
			name: "a port of one of them", services: []otto.Service{service("proxy", "b", 1), member("db"), member("web", publishes(80))}, nodes: []Node{a, b},
			was: Placement{"proxy": "b"}, now: Placement{"proxy": "b", "shop/db": "a", "shop/web": "a"},
		},
		{
			name: "a device of one of them", services: []otto.Service{member("db", func(s *otto.Service) { s.Spec.Devices = []otto.Device{{Host: "/dev/x"}} }), member("web")},
			nodes: []Node{with(a, func(n *Node) { n.Devices = map[string]bool{"/dev/x": false} }), with(b, func(n *Node) { n.Devices = map[string]bool{"/dev/x": true} })}, now: all("b"),
		},
		{
			name: "a platform of one of them", services: []otto.Service{member("db"), member("web", func(s *otto.Service) { s.Platform = "linux/arm64" })},
			nodes: []Node{with(a, func(n *Node) { n.Arch = "arm64" }), with(b, func(n *Node) { n.Arch = "amd64" })}, now: all("a"),
		},
		{
			name: "an image that is not made for a node", services: []otto.Service{member("db"), member("web")},
			nodes: []Node{a, with(b, func(n *Node) { n.Unbuilt = map[string]string{"shop/web": "not for amd64"} })}, now: all("a"),
		},
		{
			name: "where its data is", services: []otto.Service{member("db", keeps("shop_d")), member("web", stays)},
			nodes: []Node{with(a, func(n *Node) { n.Volumes = map[string]bool{"shop_d": true} }), b}, now: all("a"),
		},
		{name: "a lost node, nothing to lose", services: []otto.Service{member("db"), member("web")}, was: all("a"), nodes: []Node{with(a, lost), b}, now: all("b")},
		{name: "a lost node with its data", services: []otto.Service{member("db", keeps("shop_d")), member("web", stays)}, was: all("a"), nodes: []Node{with(a, lost), b}, now: all("a")},
		{
			name: "drained", services: []otto.Service{member("db"), member("web")}, was: all("a"),
			nodes: []Node{with(a, func(n *Node) { n.Refuse, n.Gone, n.Drained = "draining", "is being drained", true }), b}, now: all("b"),
		},
		{
			name: "leaving, and too large for the others", services: []otto.Service{member("db", reserves(700)), member("web", reserves(700))}, was: all("b"),
			nodes: []Node{a, with(b, lost)}, now: all("b"), waits: "node b is lost, but no other node can take it",
		},
		{name: "a new member goes to the others", services: []otto.Service{member("db"), member("web")}, was: Placement{"shop/db": "a"}, nodes: []Node{a, b}, now: all("a")},
		{name: "one that fails takes nobody along", services: []otto.Service{member("db"), member("web")}, was: all("a"), nodes: []Node{a, b}, troubled: map[string]string{"shop/web": "failed"}, now: all("a")},
		{
			name: "all of them fail", services: []otto.Service{member("db"), member("web")}, was: all("a"), nodes: []Node{a, b},
			troubled: map[string]string{"shop/web": "failed", "shop/db": "failed"}, now: all("b"),
		},
		{
			name: "one whose image is not made for its node", services: []otto.Service{member("db"), member("web")}, was: all("a"), troubled: map[string]string{"shop/web": "exec format error"},
			nodes: []Node{with(a, func(n *Node) { n.Unbuilt = map[string]string{"shop/web": "not for arm64"} }), b}, now: all("b"),
		},
		{
			name: "data on two nodes goes nowhere", services: []otto.Service{member("web", keeps("shop_w")), member("db", keeps("shop_d"))}, was: Placement{"shop/web": "a", "shop/db": "b"}, nodes: []Node{a, b},
			now: Placement{"shop/web": "a", "shop/db": "b"}, waits: "its data is on b, and the rest of stack shop on a",
		},
		{
			name: "another service is apart from one of them", services: []otto.Service{member("db"), member("web"), func() otto.Service {
				s := service("mail", "b", 1)
				s.Placement.ApartFrom = []string{"shop/web"}
				return s
			}()}, was: Placement{"mail": "b"}, nodes: []Node{a, b}, now: Placement{"shop/db": "a", "shop/web": "a", "mail": "b"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := otto.Wanted{Services: tt.services}
			got := Place(w, tt.was, tt.nodes, tt.troubled)
			if diff := cmp.Diff(tt.now, got.Placement); diff != "" {
				t.Error(diff)
			}
			last := tt.services[len(tt.services)-1].Name
			if why := got.Waiting[last]; tt.waits == "" && why != "" || !strings.Contains(why, tt.waits) {
				t.Errorf("%s waits: %q, want %q", last, why, tt.waits)
			}
			for _, m := range got.Moves {
				if got.Placement[m.Instance] != m.To || m.From != "" && m.Reason == "" {
					t.Errorf("a move that is none, or has no reason: %+v", m)
				}
			}
			var d Settled
			x := NewIndex(w, nil)
			first, _ := d.Place(x, got.Placement, tt.nodes, nil)
			if again, same := d.Place(x, first.Placement, tt.nodes, nil); !cmp.Equal(again.Placement, got.Placement) ||
				!same {
				t.Errorf("it is not settled: %v, then %v", again.Placement, first.Placement)
			}
		})
	}
}

func TestStackIsExplainedAsOne(t *testing.T) {
	nodes := []Node{
		{ID: "a", Memory: 1 << 30, Machine: scheduler.Machine{Cores: 4}},
		{ID: "b", Memory: 4 << 30, Machine: scheduler.Machine{Cores: 4}},
	}
	w := otto.Wanted{Services: []otto.Service{member("db", reserves(700)), member("web", reserves(700))}}
	list := Explain(w, Placement{"shop/db": "b", "shop/web": "b"}, nodes, nil, w.Services[1])
	if len(list) != 1 || list[0].Name != "shop/web" || list[0].Node != "b" || len(list[0].Scores) != 1 ||
		!strings.Contains(list[0].Refusals[0].Reason, "stack shop reserves 1400") {
		t.Errorf("%+v", list)
	}
}

// TestRuleOfAStackIsOneRule has a rule that is said of each member counted once.
func TestRuleOfAStackIsOneRule(t *testing.T) {
	ssd, err := otto.ParseExpression("disk == ssd")
	if err != nil {
		t.Fatal(err)
	}
	on := func(s *otto.Service) { s.Placement.Prefer = []otto.Expression{ssd} }
	x := NewIndex(otto.Wanted{Services: []otto.Service{member("db", on), member("web", on)}}, nil)
	if got := x.units[0].Service.Placement.Prefer; len(got) != 1 {
		t.Errorf("%v", got)
	}
}
