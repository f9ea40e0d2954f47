package wire_test

import (
	"testing"

	"github.com/otto-edge/otto/wire"
)

func TestMachinesAreToldApartOnlyForCertain(t *testing.T) {
	for _, c := range []struct {
		a, b        string
		same, other bool
	}{
		{"pi/1", "pi/1", true, false},
		{"pi/1", "pi/2", true, false},
		{"pi/1", "nuc/2", false, true},
		{"1", "1", true, false},
		{"1", "pi/1", true, false}, // the agent was replaced by one that says more
		{"1", "2", false, false},
		{"pi/1", "2", false, false},
		{"", "2", false, false},
	} {
		a, b := wire.ParseMachine(c.a), wire.ParseMachine(c.b)
		if a.Same(b) != c.same || b.Same(a) != c.same || a.Other(b) != c.other || b.Other(a) != c.other {
			t.Errorf("%s and %s: same %t, other %t", c.a, c.b, a.Same(b), a.Other(b))
		}
		if a.String() != c.a || b.String() != c.b {
			t.Errorf("%s is written as %s, %s as %s", c.a, a, c.b, b)
		}
	}
}
