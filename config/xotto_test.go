package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/otto-edge/otto"
)

const twoNodes = "nodes: [{id: nas, host: 192.0.2.1, labels: {zone: a}}, {id: pi, host: 192.0.2.2}]\n"

func expressions(t *testing.T, list ...string) (out []otto.Expression) {
	t.Helper()
	for _, text := range list {
		e, err := otto.ParseExpression(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestComposeFileSaysWhereItsServicesAre(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoNodes + "stacks: [{name: shop, compose: c.yaml}]\nservices: {mail: {image: m}}\n",
		"c.yaml": `
x-otto:
  node: nas
  failover: stay
  rejoin: home
  data: disposable
  placement: {require: zone == a, near: mail}
  requirements: ["node.cpu < 90%"]
services:
  db: {image: d}
  web:
    image: w
    x-otto:
      probe: {tcp: 80}
      requirements: ["latency p95 < 150ms over 1m"]
      placement: {near: db, prefer: disk == ssd}
      stateful: true
  worker:
    image: x
    x-otto: {apart: true, node: pi, failover: move, placement: {apart_from: [db], spread: zone}}
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []otto.Service{
		{Name: "mail", Replicas: 1},
		{
			Name: "shop/db", Unit: "shop", Node: "nas", Replicas: 1, Failover: "stay", Rejoin: "home", Data: "disposable",
			Placement: otto.PlacementRules{Require: expressions(t, "zone == a"), Near: []string{"mail"}},
		},
		{
			Name: "shop/web", Unit: "shop", Node: "nas", Replicas: 1, Failover: "stay", Rejoin: "home", Data: "disposable",
			Placement: otto.PlacementRules{Require: expressions(t, "zone == a"), Prefer: expressions(t, "disk == ssd"), Near: []string{"shop/db", "mail"}},
		},
		{
			Name: "shop/worker", Node: "pi", Replicas: 1, Failover: "move",
			Placement: otto.PlacementRules{ApartFrom: []string{"shop/db"}, Spread: "zone"},
		},
	}
	but := cmpopts.IgnoreFields(otto.Service{}, "Spec", "Requirements", "Probe", "Tied")
	if diff := cmp.Diff(want, f.Wanted.Services, but); diff != "" {
		t.Error(diff)
	}
	for i, want := range []int{0, 1, 2, 1} {
		if s := f.Wanted.Services[i]; len(s.Requirements) != want || (s.Probe != nil) != (i == 2) || s.Spec.Exclusive != (i == 2) {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
}

// TestFileOfTheClusterCountsMore compares what the Compose file says with what stands
// beside its name in otto.yaml.
func TestFileOfTheClusterCountsMore(t *testing.T) {
	for x, want := range map[string]string{
		"{rejoin: home, data: disposable}": "c.yaml:1:12: line 2 of otto.yaml says another rejoin of stack a, and that counts: take one of them out",
		"{node: nas}":                      "",
		"{failover: move}":                 "",
	} {
		f, err := loadFiles(t, map[string]string{
			"otto.yaml": twoNodes + "stacks: [{name: a, compose: c.yaml, node: nas, rejoin: keep}]\n",
			"c.yaml":    "{x-otto: " + strings.Replace(x, "{", "{ ", 1) + ", services: {w: {image: w}}}\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		s := f.Wanted.Services[0]
		if s.Node != "nas" || (s.Data != "") != strings.Contains(x, "data") || (s.Failover != "") != strings.Contains(x, "failover") {
			t.Errorf("%s: %+v", x, s)
		}
		var got []string
		for _, w := range f.Warnings {
			line := w.Error()
			got = append(got, line[strings.LastIndex(line[:strings.Index(line, ": ")], "/")+1:])
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s warned of %q, want %q", x, got, want)
		}
	}
}

// TestTwoHomesAreAMistake: the data of the stack may be on either.
func TestTwoHomesAreAMistake(t *testing.T) {
	_, err := loadFiles(t, map[string]string{
		"otto.yaml": twoNodes + "stacks: [{name: a, compose: c.yaml, node: nas}]\n",
		"c.yaml":    "{x-otto: {node: pi}, services: {w: {image: w}}}\n",
	})
	if want := "/c.yaml:1:11: stack a has another node at line 2 of otto.yaml: take one of them out"; err == nil ||
		!strings.HasSuffix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestBadXOttoIsExplained(t *testing.T) {
	for _, tt := range []struct{ name, compose, want string }{
		{"a key that is none", "x-otto: {nod: nas}\nservices: {w: {image: w}}", `c.yaml:1:10: x-otto has no key "nod": did you mean node?`},
		{"of a service", "services:\n  w:\n    image: w\n    x-otto: {aparts: true}", `c.yaml:4:14: x-otto has no key "aparts": did you mean apart?`},
		{"in placement", "x-otto:\n  placement: {requires: a}\nservices: {w: {image: w}}", `c.yaml:2:15: placement has no key "requires": did you mean require?`},
		{"no node", "x-otto: {node: nsa}\nservices: {w: {image: w}}", `c.yaml:1:16: there is no node "nsa": did you mean nas?`},
		{"not a mapping", "x-otto: nas\nservices: {w: {image: w}}", "c.yaml:1:9: x-otto is a mapping, not a single value: write it as `key: value` lines"},
		{
			"a home of its own", "services: {w: {image: w, x-otto: {node: nas}}}",
			"c.yaml:1:35: service w goes where its stack goes, and has no node of its own: write it under x-otto at the top, or apart: true beside it",
		},
		{
			"apart from one of its stack", "services: {v: {image: v}, w: {image: w, x-otto: {placement: {apart_from: v}}}}",
			"c.yaml:1:74: service a/w cannot be apart from a/v: the services of a stack are on one node: write apart: true under x-otto of one of them",
		},
		{
			"spread", "services: {w: {image: w, x-otto: {placement: {spread: zone}}}}",
			"c.yaml:1:35: all containers of service w are on the node of its stack: write apart: true beside it, or take spread and max_per_node out",
		},
		{
			"a volume of two nodes", "services: {v: {image: v, volumes: [dat:/d]}, w: {image: w, volumes: [dat:/d], x-otto: {apart: true}}}\nvolumes: {dat: }",
			"c.yaml:1:88: services a/v and a/w share volume a_dat, and may be on two nodes with one each: take apart out, or write the same node for both",
		},
		{
			"a network of another", "services: {v: {image: v}, w: {image: w, network_mode: service:v, x-otto: {apart: true}}}",
			"c.yaml:1:55: network_mode ties service w to the container of service v, and one of them is placed by itself: take apart out of x-otto",
		},
		{"in a volume", "services: {w: {image: w}}\nvolumes: {d: {x-otto: {a: 1}}}", `c.yaml:2:24: x-otto has no key "a": known are move`},
		{
			"in a network", "services: {w: {image: w}}\nnetworks: {d: {x-otto: {a: 1}}}",
			"c.yaml:2:16: x-otto is for the top, the services and the volumes of a Compose file: in otto.yaml, write its keys themselves",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadFiles(t, map[string]string{"otto.yaml": twoNodes + "stacks: [{name: a, compose: c.yaml}]\n", "c.yaml": tt.compose})
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, "/"+tt.want) }) || len(lines) != 1 {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestPlacesAreOfTheLastFile looks for what an override says in the override.
func TestPlacesAreOfTheLastFile(t *testing.T) {
	_, err := loadFiles(t, map[string]string{
		"otto.yaml": twoNodes + "stacks: [{name: a, compose: [c.yaml, over.yaml]}]\n",
		"c.yaml":    "services:\n  w: {image: w}\n",
		"over.yaml": "# of this machine\nx-otto: {nod: x}\nservices:\n  w:\n    image: A:b:c\n",
	})
	for _, want := range []string{`over.yaml:2:10: x-otto has no key`, `over.yaml:5:12: "A:b:c" is not an image`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// TestPlacesAreOfIncludedFiles looks for what an included file says there, and takes
// nothing of the stack from it.
func TestPlacesAreOfIncludedFiles(t *testing.T) {
	_, err := loadFiles(t, map[string]string{
		"otto.yaml":  twoNodes + "stacks: [{name: a, compose: c.yaml}]\n",
		"c.yaml":     "include: [one.yaml, {path: [two.yaml]}]\nservices:\n  w: {image: w}\n",
		"one.yaml":   "include: [three.yaml]\nx-otto: {node: pi}\nservices:\n  one: {image: one, x-otto: {aparts: true}}\n",
		"two.yaml":   "services:\n\n  two:\n    image: A:b:c\n",
		"three.yaml": "# of one\nservices: {three: {image: '3', x-otto: {node: pi}}}\n",
	})
	for _, want := range []string{
		"one.yaml:2:1: x-otto says nothing of the stack in a file that is included: write it at the top",
		`one.yaml:4:30: x-otto has no key "aparts"`, `two.yaml:4:12: "A:b:c" is not an image`,
		"three.yaml:2:41: service three goes where its stack goes",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestServiceApartThatLooksForItsStackIsWarnedOf(t *testing.T) {
	for x, want := range map[string]int{"{apart: true}": 1, "{apart: true, node: nas}": 0, "{stateful: true}": 0} {
		f, err := loadFiles(t, map[string]string{
			"otto.yaml": twoNodes + "stacks: [{name: a, compose: c.yaml, node: nas}]\n",
			"c.yaml":    "services: {db: {image: d}, w: {image: w, environment: {DB_HOST: db}, x-otto: " + x + "}}\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Warnings) != want || want > 0 && !strings.Contains(f.Warnings[0].Error(), "take apart out") {
			t.Errorf("%s: %v", x, f.Warnings)
		}
	}
}
