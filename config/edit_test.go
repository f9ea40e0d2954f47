package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

const edited = `cluster: {name: home} # ours

nodes: # the machines
  # under the desk
  - id: n1
    host: localhost

    labels: {zone: home}
  # in the attic
  - {id: n2, host: 192.0.2.2}

services:
  - {name: web, image: nginx}
`

func TestNodesAreAddedAndRemovedLineByLine(t *testing.T) {
	pi := otto.Node{ID: "n3", Host: "192.0.2.3", User: "pi", Labels: map[string]string{"arm": "yes"}}
	after := "  - {id: n2, host: 192.0.2.2}\n"
	added := after + "  - id: n3\n    host: 192.0.2.3\n    user: pi\n    labels:\n      arm: \"yes\"\n"
	want := strings.Replace(edited, after, added, 1)
	got, err := AddNode([]byte(edited), pi)
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	back, err := RemoveNode(got, "n3")
	if diff := cmp.Diff(edited, string(back)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	first, err := RemoveNode([]byte(edited), "n1")
	if diff := cmp.Diff(strings.Replace(edited, "  - id: n1\n    host: localhost\n\n    labels: {zone: home}\n", "", 1), string(first)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	end, err := AddNode([]byte("nodes:\n- {id: n1, host: a}"), otto.Node{ID: "n2", Host: "b"})
	if diff := cmp.Diff("nodes:\n- {id: n1, host: a}\n- id: n2\n  host: b\n", string(end)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for name, f := range map[string]string{"flow": "nodes: [{id: n1, host: a}]\n", "none": "services: []\n", "empty": "nodes:\n", "map": "nodes:\n  n1: {}\n"} {
		if out, err := AddNode([]byte(f), pi); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	if out, err := RemoveNode([]byte(edited), "n9"); err == nil {
		t.Error(string(out))
	}
}
