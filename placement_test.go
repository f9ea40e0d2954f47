package otto

import (
	"slices"
	"testing"
)

func TestExpressions(t *testing.T) {
	here := map[string]string{"zone": "kitchen", "gpu": ""}
	for text, want := range map[string]bool{
		"zone == kitchen": true, "zone==attic": false, "zone != attic": true, "zone in (attic, kitchen)": true, "zone not in (kitchen)": false,
		"gpu": true, "gpu exists": true, "!gpu": false, "ssd absent": true, "!ssd": true, "ssd == 1": false, "ssd != 1": true, "ssd not  in (1)": true,
		`zone == "kitchen"`: true,
	} {
		e, err := ParseExpression(text)
		if err != nil || e.Matches(here) != want {
			t.Errorf("%s: %+v matches %t, %v", text, e, e.Matches(here), err)
		}
	}
	for _, text := range []string{"", "==", "zone =", "zone = kitchen", "zone ==", "zone in kitchen", "zone in ()", "zone in (a,)", "!zone == a", "zone > 1", "zone == a b == c", "zone within (a)"} {
		if e, err := ParseExpression(text); err == nil {
			t.Errorf("%q is %+v", text, e)
		}
	}
	if (Expression{Label: "zone", Op: "~"}).Matches(here) {
		t.Error("an operator that nobody knows is met")
	}
}

// FuzzParseExpression: what is read is written so that it is read again as the same.
func FuzzParseExpression(f *testing.F) {
	for _, s := range []string{"zone == kitchen", "disk != sd", "arch in (arm64, amd64)", "a not in ('x')", "!gpu", "gpu exists", "in in (in)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseExpression(text)
		if err != nil {
			return
		}
		again, err := ParseExpression(e.String())
		if err != nil || again.Label != e.Label || again.Op != e.Op || !slices.Equal(again.Values, e.Values) {
			t.Errorf("%q is %+v, written %q is %+v, %v", text, e, e, again, err)
		}
	})
}

func TestNamesOfGlobalInstancesSayTheirNode(t *testing.T) {
	w := Wanted{Nodes: []Node{{ID: "a"}, {ID: "b"}}}
	if got := w.InstanceNames(Service{Name: "x", Mode: ModeGlobal, Replicas: 1}); !slices.Equal(got, []string{"x-a", "x-b"}) {
		t.Error(got)
	}
	if got := w.InstanceNames(Service{Name: "x", Replicas: 3}); !slices.Equal(got, []string{"x", "x-2", "x-3"}) {
		t.Error(got)
	}
}
