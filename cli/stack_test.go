package cli

import (
	"testing"

	"github.com/otto-edge/otto"
)

// TestBrokenStackIsRemovedAlone: with it nothing else may be applied that nobody has seen.
func TestBrokenStackIsRemovedAlone(t *testing.T) {
	gone := otto.Change{Kind: "remove", Noun: "service", Name: "worse/x"}
	if c, other := otherChange([]otto.Change{gone, {Kind: "remove", Noun: "service", Name: "worse/y"}}, "worse"); other {
		t.Errorf("%+v is another change", c)
	}
	for _, also := range []otto.Change{
		{Kind: "add", Noun: "service", Name: "worse/z"},
		{Kind: "remove", Noun: "service", Name: "worse"},
		{Kind: "remove", Noun: "service", Name: "worse-2/x"},
		{Kind: "remove", Noun: "node", Name: "worse/x"},
	} {
		if c, other := otherChange([]otto.Change{gone, also}, "worse"); !other || c != also {
			t.Errorf("%+v is no other change", also)
		}
	}
}
