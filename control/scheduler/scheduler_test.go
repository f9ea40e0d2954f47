package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestPick(t *testing.T) {
	port := func(n uint16) []otto.Port { return []otto.Port{{Host: n, Container: 80, Protocol: "tcp"}} }
	tests := []struct {
		name    string
		want    Placed
		nodes   []Candidate
		node    string
		refused []string
	}{
		{name: "no node", want: Placed{Service: "web"}},
		{
			name: "the first by name of equals", want: Placed{Service: "web"},
			nodes: []Candidate{{ID: "b"}, {ID: "a"}}, node: "a",
		},
		{
			name: "away from its own kind, even to a busier node", want: Placed{Service: "web"},
			nodes: []Candidate{
				{ID: "a", Placed: []Placed{{Service: "web"}}},
				{ID: "b", Placed: []Placed{{Service: "db"}, {Service: "mail"}}},
			},
			node: "b",
		},
		{
			name: "to the one with the fewest", want: Placed{Service: "web"},
			nodes: []Candidate{
				{ID: "a", Placed: []Placed{{Service: "db"}}},
				{ID: "b"},
			},
			node: "b",
		},
		{
			name: "not where the port is taken, and not where nobody is", want: Placed{Service: "web", Ports: port(8080)},
			nodes: []Candidate{
				{ID: "a", Placed: []Placed{{Service: "db", Ports: port(8080)}}},
				{ID: "b", Refuse: "not ready"},
			},
			refused: []string{"a: port 8080/tcp is taken by db", "b: not ready"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node, refused := Pick(tt.want, tt.nodes)
			if node != tt.node {
				t.Errorf("picks %q, want %q", node, tt.node)
			}
			if diff := cmp.Diff(tt.refused, refused); tt.refused != nil && diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
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
