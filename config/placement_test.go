package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

func TestPlacementForms(t *testing.T) {
	zone := otto.Expression{Label: "zone", Op: otto.OpEqual, Values: []string{"kitchen"}}
	for keys, want := range map[string]otto.Service{
		`placement: {require: zone == kitchen}`:                                                      {Placement: otto.PlacementRules{Require: []otto.Expression{zone}}},
		`deploy: {placement: {constraints: ["node.labels.zone==kitchen"]}}`:                          {Placement: otto.PlacementRules{Require: []otto.Expression{zone}}},
		`placement: {prefer: [gpu, "!gpu"], avoid: "disk not in (sd, \"hdd\")"}`:                     {Placement: otto.PlacementRules{Prefer: []otto.Expression{{Label: "gpu", Op: otto.OpExists}, {Label: "gpu", Op: otto.OpAbsent}}, Avoid: []otto.Expression{{Label: "disk", Op: otto.OpNotIn, Values: []string{"sd", "hdd"}}}}},
		`deploy: {placement: {constraints: ["node.platform.arch != arm"]}}`:                          {Placement: otto.PlacementRules{Require: []otto.Expression{{Label: "node.arch", Op: otto.OpNotEqual, Values: []string{"arm"}}}}},
		`placement: {spread: zone, near: db, apart_from: [web], max_per_node: 2}`:                    {Placement: otto.PlacementRules{Spread: "zone", Near: []string{"db"}, ApartFrom: []string{"web"}, MaxPerNode: 2}},
		`deploy: {placement: {preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2}}`: {Placement: otto.PlacementRules{Spread: "zone", MaxPerNode: 2}},
		`resources: {reserve: {cpu: 0.5, memory: 64m}}`:                                              {Reserve: otto.Resources{CPU: 0.5, MemoryBytes: 64 << 20}},
		`deploy: {resources: {reservations: {cpus: "0.5", memory: 64M}}}`:                            {Reserve: otto.Resources{CPU: 0.5, MemoryBytes: 64 << 20}},
		`platform: linux/arm/v7`: {Platform: "linux/arm/v7"},
		`mode: global`:           {Mode: otto.ModeGlobal},
		`deploy: {mode: global}`: {Mode: otto.ModeGlobal},
		`mode: replicated`:       {},
	} {
		t.Run(keys, func(t *testing.T) {
			f := parse(t, "nodes: [{id: a, host: a, labels: {zone: kitchen}}]\nservices:\n  web:\n    image: nginx\n    "+keys+"\n  db: {image: redis}\n")
			want.Name, want.Replicas, want.Spec.Image = "web", 1, "nginx"
			if diff := cmp.Diff(want, f.Wanted.Services[0]); diff != "" {
				t.Error(diff)
			}
			if bare := (otto.ContainerSpec{Image: "nginx"}); f.Wanted.Services[0].Spec.Hash() != bare.Hash() {
				t.Error("it changes what the container is made from")
			}
		})
	}
	got := parse(t, "scheduler: {weights: {cpu: 0, spread: 1.5}}\n").Wanted.Scheduler.Weights
	if diff := cmp.Diff(map[string]float64{otto.ScoreCPU: 0, otto.ScoreSpread: 1.5}, got); diff != "" {
		t.Error(diff)
	}
}

// TestServicesAreDocumented keeps the tables of docs/services.md those of the code.
func TestServicesAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/services.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	_, rest, _ := strings.Cut(doc, "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	if f := parse(t, example); len(f.Wanted.Services) != 3 || len(f.Warnings) > 0 {
		t.Errorf("its example has %d services and the warnings %v", len(f.Wanted.Services), f.Warnings)
	}
	rows := map[string]bool{}
	for part, weight := range otto.DefaultWeights() {
		rows[fmt.Sprintf("| `%s` | %g |", part, weight)] = true
	}
	for _, of := range []string{"placement", "update"} {
		for name := range serviceObject(true).keys[of].schema["properties"].(schema) {
			rows["| `"+of+"."+name+"` |"] = true
		}
	}
	for row := range rows {
		if !strings.Contains(doc, row) {
			t.Errorf("it has no row %s", row)
		}
	}
}
