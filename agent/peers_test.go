package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestRoundTripsAreForgotten(t *testing.T) {
	var p peers
	start := time.Unix(1_700_000_000, 0)
	list := []otto.Peer{{Node: "nas", Address: "nas:22"}, {Node: "pi", Address: "pi:22"}}
	if !p.set(list) || p.set(list) {
		t.Fatal("the same ones are new, or new ones are not")
	}
	p.note("nas", roundTrip{time.Millisecond, start})
	p.note("pi", roundTrip{2 * time.Millisecond, start.Add(15 * time.Second)})
	p.note("other", roundTrip{time.Millisecond, start.Add(15 * time.Second)}) // not asked for any more
	if diff := cmp.Diff(map[string]float64{"nas": 0.001, "pi": 0.002}, p.seconds(start.Add(20*time.Second))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]float64{"pi": 0.002}, p.seconds(start.Add(21*time.Second))); diff != "" {
		t.Errorf("after two that failed:\n%s", diff)
	}
	p.set(nil)
	if got := p.seconds(start.Add(21 * time.Second)); got != nil {
		t.Errorf("nothing is asked for: %v", got)
	}
}

func TestOurMachineIsWhereTheBrokerIs(t *testing.T) {
	for want, brokers := range map[string][]string{
		"192.0.2.7:1883":      {"127.0.0.1:40001", "[::1]:40001", "localhost:1883", "192.0.2.7:1883", "192.0.2.8:1883"},
		"laptop.local:1883":   {"laptop.local:1883"},
		"":                    {"127.0.0.1:40001"},
		"[2001:db8::1]:18830": {"[2001:db8::1]:18830"},
	} {
		if got := direct(brokers); got != want {
			t.Errorf("of %v it is %q", brokers, got)
		}
	}
}
