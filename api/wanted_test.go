package api

import (
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// What is reached with the owner's keys, or read from the owner's machine, is for the owner.
func TestNodesAndDataAreTheOwners(t *testing.T) {
	f := serveFar(t, nil)
	hand := f.client(t, "hand", Operate)
	local, _ := serve(t, f.plane)
	seeded := func(empty bool) otto.Wanted {
		seed := otto.Seed{Project: "/root", Path: ".ssh", Name: "./.ssh", Empty: empty}
		return otto.Wanted{Services: []otto.Service{{Name: "web", Seeds: otto.Seeds{"v": seed}}}}
	}
	nodes := otto.Wanted{Nodes: []otto.Node{{ID: "n1"}}}
	for _, x := range []struct {
		name string
		w    otto.Wanted
		want string
	}{
		{"node", nodes, "node n1: nodes are added, changed and removed on the machine of the control plane alone"},
		{"data", seeded(false), "service web: data of projects (./.ssh) is copied from the machine of the control plane alone"},
		{"empty", seeded(true), ""},
	} {
		for _, dry := range []bool{true, false} {
			f.plane.mu.Lock()
			f.plane.calls = nil
			f.plane.mu.Unlock()
			_, err := hand.Apply(t.Context(), x.w, 3, dry)
			if (err != nil) != (x.want != "") || err != nil && !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s, dry %t: %v", x.name, dry, err)
			}
			f.plane.mu.Lock()
			done := strings.Contains(strings.Join(f.plane.calls, " "), "dry=false")
			f.plane.mu.Unlock()
			if done != (x.want == "" && !dry) {
				t.Errorf("%s, dry %t: applied %t", x.name, dry, done)
			}
			if _, err := local.Apply(t.Context(), x.w, 3, dry); err != nil {
				t.Errorf("%s of the owner: %v", x.name, err)
			}
		}
	}
	if p, err := hand.Plan(t.Context(), otto.Wanted{Nodes: nodes.Nodes, Services: seeded(false).Services}); err != nil ||
		len(p.Refused) == 0 || !strings.Contains(p.Refused[0], "data of projects") {
		t.Errorf("the plan refuses %q: %v", p.Refused, err)
	}
}
