package config

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"pgregory.net/rapid"
)

// TestPlainServicesAreAsComposeHasThem: whatever a project is made of, it means the same and
// has the same mistakes if Compose's types are filled from all of its services.
func TestPlainServicesAreAsComposeHasThem(t *testing.T) {
	fragments := []string{
		"environment: {A: b, N: 1, F: 1.5, BOOL: \"true\", FROM_SHELL: , UNSET: }", "environment: [A=b, FROM_SHELL, UNSET, \"B=\"]",
		"environment: {x-a: b}", "environment: [\"A =b\"]", "environment: {}", "environment:",
		"labels: {a: b, n: 1, none: }", "labels: [a=b, c]", "labels: {x-a: b}", "labels:",
		"env_file: [{path: none.env, required: false}]", "label_file: none.labels",
		"depends_on: [a]", "depends_on: {b: {condition: service_healthy, restart: true}}", "depends_on: {b: {condition: service_started, required: false}}",
		"depends_on: [nobody]", "depends_on: [c]", "depends_on: {}", "links: [a]", "links: [\"b:other\"]",
		"network_mode: \"service:a\"", "network_mode: \"service:nobody\"", "network_mode: host", "volumes_from: [b]",
		"networks: [back]", "networks: {back: {aliases: [x, y]}}", "networks: {back: {ipv4_address: 10.1.0.2}}", "networks: [nowhere]", "networks: {}",
		"volumes: [\"data:/data\"]", "volumes: [\"./x:/x:ro\", \"/y\"]", "volumes: [\"data:/data\", \"data:/data/\"]", "volumes: [\"nothing:/data\"]",
		"volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]", "volumes: [\"data:/data:nocopy\"]", "tmpfs: /run", "tmpfs: [/data]",
		"container_name: one", "scale: 2", "deploy: {replicas: 3}", "deploy: {resources: {limits: {cpus: \"1\"}}}", "cpus: 2",
		"profiles: [p]", "profiles: [q]", "secrets: [s]", "secrets: [none]", "configs: [none]",
		"healthcheck: {test: [CMD, x]}", "build: .", "image: \"\"", "x-mine: {environment: {a: b}}", "pid: \"service:d\"",
	}
	for _, text := range []string{ // what would be found too rarely
		"{a: {image: x, depends_on: [b]}, b: {image: x, profiles: [q]}}", "{a: {image: x, depends_on: [b]}, b: {image: x, profiles: [p]}}",
		"{a: {image: x, environment: {x-a: b}}, b: {image: x, labels: {x-a: b}}}", "{a: {image: x, environment: [\"A =b\"]}}",
		"{a: {image: x, networks: [nowhere]}}", "{a: {image: x, volumes: [\"nothing:/data\"]}}", "{a: {environment: {A: b}}}",
		"{a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x, depends_on: [a]}}", "{a: {image: x, links: [a]}}",
		"{a: {image: x}, b: {image: x, network_mode: \"service:a\", depends_on: [c]}, c: {image: x}}",
		"{a: {image: x, depends_on: {b: {condition: service_started, required: false}}}}",
	} {
		sameWithAllTypes(t, t.TempDir(), "services: "+text+"\n")
	}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		text.WriteString("services:\n  d: {image: x}\n")
		for _, name := range []string{"a", "b", "c"} {
			seen := map[string]bool{"image": rapid.IntRange(0, 20).Draw(t, "has no image") == 0}
			fmt.Fprintf(&text, "  %s:\n    x-name: %s\n", name, name)
			if !seen["image"] {
				seen["image"] = true
				text.WriteString("    image: x\n")
			}
			for _, f := range rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 3).Draw(t, name) {
				if key, _, _ := strings.Cut(f, ":"); !seen[key] {
					seen[key] = true
					fmt.Fprintf(&text, "    %s\n", f)
				}
			}
		}
		text.WriteString("networks: {back: {}}\nvolumes: {data: {}}\nsecrets: {s: {file: s.txt}}\n")
		sameWithAllTypes(t, dir, text.String())
	})
}

// sameWithAllTypes loads a project with Compose's types filled from all services, and from those
// alone that are not plain.
func sameWithAllTypes(t rapid.TB, dir, text string) {
	t.Helper()
	details := types.ConfigDetails{
		WorkingDir: dir, Environment: types.Mapping{"FROM_SHELL": "shell"},
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml"), Content: []byte(text)}},
	}
	set := func(o *loader.Options) {
		o.SetProjectName("shop", true)
		o.Profiles = []string{"p"}
		o.ResolvePaths, o.SkipDefaultValues = false, true
	}
	silenceLibrary()
	model, err := loader.LoadModelWithContext(context.Background(), details, set)
	if err != nil {
		return
	}
	got, gotErr := asTypes(model, plainServices(model, details.Environment), details, set)
	want, wantErr := asTypes(model, nil, details, set)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("of\n%s\ngot  %v\nwant %v", text, gotErr, wantErr)
	}
	if wantErr != nil {
		return
	}
	if g, w := meaning(got), meaning(want); g != w {
		t.Fatalf("of\n%s\ngot\n%s\nwant\n%s", text, g, w)
	}
}

// meaning is all that is taken of the services of a project.
func meaning(p *types.Project) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		s := p.Services[name]
		fmt.Fprintln(&text, name, s.Name)
		for _, key := range slices.Sorted(maps.Keys(s.Environment)) {
			val := "nothing"
			if v := s.Environment[key]; v != nil {
				val = "is " + *v
			}
			fmt.Fprintln(&text, " environment", key, val)
		}
		for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
			fmt.Fprintln(&text, " label", key, s.Labels[key])
		}
	}
	return text.String()
}

// TestPlainServicesArePlain: the usual keys of a service keep it plain.
func TestPlainServicesArePlain(t *testing.T) {
	details := types.ConfigDetails{ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(`
services:
  db: {image: db, volumes: ["data:/data"], networks: [back], restart: always}
  app:
    image: app
    ports: ["80:80"]
    environment: {DB: db}
    labels: [a=b]
    depends_on: {db: {condition: service_healthy}}
    networks: {back: {aliases: [web]}}
    volumes: ["./conf:/conf:ro"]
    healthcheck: {test: [CMD, "true"]}
  job: {image: job, env_file: job.env}
networks: {back: {}}
volumes: {data: {}}
`)}}}
	model, err := loader.LoadModelWithContext(t.Context(), details, func(o *loader.Options) {
		o.SetProjectName("shop", true)
		o.ResolvePaths, o.SkipDefaultValues = false, true
	})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(plainServices(model, nil)))
	if want := []string{"app", "db"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
