package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// loadFiles loads an otto.yaml among other files, whose names are paths.
func loadFiles(t *testing.T, files map[string]string, env ...string) (*File, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "otto.yaml"), func(name string) (string, bool) {
		for i := 0; i+1 < len(env); i += 2 {
			if env[i] == name {
				return env[i+1], true
			}
		}
		return "", false
	})
}

const shop = `
services:
  db:
    image: postgres:${PG:-16}
    restart: unless-stopped
    env_file: db.env
    volumes: [data:/var/lib/postgresql/data, ./conf:/conf:ro]
    networks: {back: {aliases: [sql]}}
    healthcheck: {test: [CMD, pg_isready], interval: 5s}
  migrate:
    image: shop:1
    command: migrate
    depends_on: {db: {condition: service_healthy}}
    networks: [back]
  web:
    extends: {file: common.yaml, service: base}
    image: shop:1
    ports: ["8080:80", "[::]:8443:443/tcp"]
    environment: {FROM: "${OUTSIDE}", UMASK: 002, DEBUG: True}
    depends_on: {migrate: {condition: service_completed_successfully}}
    networks: [back, default]
  debug: {image: busybox, profiles: [debug]}
networks: {back: {internal: true}}
volumes: {data: }
`

func TestStackMeansWhatComposeMeans(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":                  "name: home\nstacks:\n  - {name: shop, compose: shop}\n",
		"shop/compose.yaml":          shop,
		"shop/compose.override.yaml": "services: {web: {labels: {a: b}}}\n",
		"shop/common.yaml":           "services: {base: {image: x, restart: always, init: true}}\n",
		"shop/db.env":                "POSTGRES_PASSWORD='$ecret'\n",
		"shop/.env":                  "PG=17\nOUTSIDE=file\n",
		"shop/conf/shop.conf":        "",
	}, "OUTSIDE", "shell")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(f.Path)
	label := func(kind, name string) map[string]string {
		return map[string]string{"com.docker.compose." + kind: name, "com.docker.compose.project": "shop"}
	}
	back := otto.Network{Name: "shop_back", Internal: true, Labels: label("network", "back")}
	named := back
	named.Aliases = []string{"sql"}
	want := []otto.Service{
		{Name: "shop/db", Unit: "shop", Node: "local", Replicas: 1, Spec: otto.ContainerSpec{
			Image: "postgres:17", Restart: "unless-stopped", Environment: map[string]string{"POSTGRES_PASSWORD": "$ecret"}, Networks: []otto.Network{named},
			Mounts: []otto.Mount{
				{Type: "volume", Source: "shop_data", Target: "/var/lib/postgresql/data", Labels: label("volume", "data")},
				{Type: "bind", Source: filepath.Join(dir, "shop/conf"), Target: "/conf", ReadOnly: true},
			},
			Healthcheck: &otto.Healthcheck{Test: []string{"CMD", "pg_isready"}, Interval: 5e9},
		}, Implied: map[string]otto.ImpliedVolume{"shop_data": {Key: "data", At: filepath.Join(dir, "shop/compose.yaml") + ":7:15"}}},
		{Name: "shop/migrate", Unit: "shop", Node: "local", Replicas: 1, DependsOn: []otto.Dependency{{Service: "shop/db", Condition: otto.ServiceHealthy}}, Spec: otto.ContainerSpec{
			Image: "shop:1", Command: []string{"migrate"}, Restart: "no", Networks: []otto.Network{back},
		}},
		{Name: "shop/web", Unit: "shop", Node: "local", Replicas: 1, DependsOn: []otto.Dependency{{Service: "shop/migrate", Condition: otto.ServiceCompleted}}, Spec: otto.ContainerSpec{
			Image: "shop:1", Restart: "always", Labels: map[string]string{"a": "b"}, Engine: &otto.Options{Init: new(true)},
			Environment: map[string]string{"FROM": "shell", "UMASK": "2", "DEBUG": "true"},
			Ports:       []otto.Port{{Host: 8080, Container: 80, Protocol: "tcp"}, {HostIP: "::", Host: 8443, Container: 443, Protocol: "tcp"}},
			Networks:    []otto.Network{back, {Name: "shop_default", Labels: label("network", "default")}},
		}},
	}
	if diff := cmp.Diff(want, f.Wanted.Services); diff != "" {
		t.Error(diff)
	}
	if f.Warnings != nil {
		t.Errorf("warned: %v", f.Warnings)
	}
}

func TestVolumeWithoutANameSaysWhereItIs(t *testing.T) {
	for volumes, want := range map[string]map[string]otto.ImpliedVolume{
		"{data: }":                  {"a_data": {Key: "data", At: "a.yaml:1:56"}},
		"{data: {driver: local}}":   {"a_data": {Key: "data", At: "a.yaml:1:56"}},
		"{data: {name: a_data}}":    nil, // it is to be called so
		"{data: {name: home_data}}": nil,
	} {
		f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: a.yaml}]", "a.yaml": "services: {db: {image: redis:8, restart: no, volumes: [\"data:/d\"]}}\nvolumes: " + volumes})
		if err != nil {
			t.Fatal(err)
		}
		got := f.Wanted.Services[0].Implied
		for name, v := range got {
			v.At = filepath.Base(v.At)
			got[name] = v
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", volumes, diff)
		}
	}
}

// TestTmpfsHasThePermissionsThatComposeAsksFor compares with what Compose sends the
// engine, which is its loader's number.
func TestTmpfsHasThePermissionsThatComposeAsksFor(t *testing.T) {
	for _, mode := range []string{"01777", "0o700", "0700", "448", "1777", "0x1ff", "0"} {
		text := "services: {web: {image: nginx, volumes: [{type: tmpfs, target: /x, tmpfs: {mode: " + mode + "}}]}}"
		details := types.ConfigDetails{ConfigFiles: []types.ConfigFile{{Filename: "a.yaml", Content: []byte(text)}}}
		project, err := loader.LoadWithContext(t.Context(), details, func(o *loader.Options) { o.SetProjectName("a", true) })
		if err != nil {
			t.Fatal(err)
		}
		f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: a.yaml}]", "a.yaml": text})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.Wanted.Services[0].Spec.Mounts[0].Mode, project.Services["web"].Volumes[0].Tmpfs.Mode; got != want {
			t.Errorf("mode %s: got %o, want %o", mode, got, want)
		}
	}
}

func TestDependencyThatIsNotRequired(t *testing.T) {
	f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": `services:
  db: {image: y}
  debug: {image: y, profiles: [debug]}
  web: {image: y, depends_on: {db: {condition: service_healthy, required: false}, debug: {condition: service_started, required: false}}}
`})
	if err != nil {
		t.Fatal(err)
	}
	want := []otto.Dependency{{Service: "a/db", Condition: otto.ServiceHealthy, Optional: true}}
	if diff := cmp.Diff(want, f.Wanted.Services[1].DependsOn); diff != "" {
		t.Error(diff)
	}
	for state, waits := range map[otto.InstanceState]bool{otto.InstanceStarting: true, otto.InstanceRunning: false, otto.InstanceFailed: false, otto.InstanceUnhealthy: false} {
		at := []otto.InstanceStatus{{Name: "a/db", Service: "a/db", State: state}}
		if why := want[0].Unmet(at); (why != "") != waits {
			t.Errorf("of one that is %s: %q", state, why)
		}
	}
}

// TestStackStaysWhereOneOfItStays is of what the members of a stack without a home have
// in common: they move together, or not at all.
func TestStackStaysWhereOneOfItStays(t *testing.T) {
	const two = "nodes: [{id: local, host: localhost}, {id: nas, host: 192.0.2.3}]\n"
	const compose = "services:\n  db: {image: y, volumes: [\"data:/d\"]}\n  web: {image: y}\n  each: {image: y, deploy: {mode: global}}\nvolumes: {data: }"
	data, free := "its data is there, and it is not data: disposable", ""
	for _, tt := range []struct {
		stack, compose string
		stays          []string // of db and web, why
		leased         bool
	}{
		{"", compose, []string{data, "it is where a/db is: " + data}, false},
		{", data: disposable", compose, []string{free, free}, true},
		{"", "services: {db: {image: y}, web: {image: y}}", []string{free, free}, false},
		{", node: nas", compose, []string{"its home is nas, and it has no failover: move", "its home is nas, and it has no failover: move"}, false},
		{", node: nas, failover: move, data: disposable, rejoin: home", compose, []string{free, free}, true},
		{", failover: stay", "services: {db: {image: y}, web: {image: y}}", []string{"it has failover: stay", "it has failover: stay"}, false},
	} {
		f, err := loadFiles(t, map[string]string{"otto.yaml": two + "stacks: [{name: a, compose: c.yaml" + tt.stack + "}]", "c.yaml": tt.compose})
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for _, s := range f.Wanted.Services {
			if s.Global() {
				if s.Unit != "" || s.Node != "" || s.Spec.Exclusive {
					t.Errorf("%s is free: %+v", s.Name, s)
				}
				continue
			}
			if s.Unit != "a" || s.Stays() != tt.stays[i] || s.Spec.Exclusive && s.Name == "a/db" || s.Stateful() != (tt.leased || s.Name == "a/db" && len(s.Spec.Mounts) > 0) {
				t.Errorf("%s: %s stays %q, want %q; stateful %t", tt.stack, s.Name, s.Stays(), tt.stays[i], s.Stateful())
			}
			i++
		}
	}
}

func TestStacksHaveNameSpacesOfTheirOwn(t *testing.T) {
	files := map[string]string{"otto.yaml": "services: {db: {image: redis, volumes: [\"data:/d\"]}}\nstacks:\n"}
	for _, name := range []string{"a", "b1", "c-d", "e_f"} {
		files["otto.yaml"] += "  - {name: " + name + ", compose: " + name + ".yaml}\n"
		files[name+".yaml"] = "services: {db: {image: redis, volumes: [\"data:/d\"]}}\nvolumes: {data: }\n"
	}
	f, err := loadFiles(t, files)
	if err != nil {
		t.Fatal(err)
	}
	containers, volumes := map[string]bool{}, map[string]bool{}
	for _, s := range f.Wanted.Services {
		containers[otto.Instance{Name: s.Name, Service: s.Name}.ContainerName()] = true
		volumes[s.Spec.Mounts[0].Source] = true
	}
	if len(containers) != 5 || !containers["c-d-db-1"] || len(volumes) != 5 || !volumes["e_f_data"] || !volumes["data"] {
		t.Errorf("got %v and %v", containers, volumes)
	}
}

func TestWhatIsWrongWithStacks(t *testing.T) {
	const two = "nodes: [{id: local, host: localhost}, {id: nas, host: 192.0.2.3}]\n"
	const labelled = "nodes: [{id: local, host: localhost, labels: {zone: x}}, {id: nas, host: 192.0.2.3, labels: {zone: z}}]\n"
	for _, test := range []struct{ otto, compose, want string }{
		{"stacks: [{name: a, compose: c.yaml}, {name: a, compose: c.yaml}]", "services: {x: {image: y}}", "otto.yaml:1:45: stack a is here already, in line 1"},
		{"stacks: [{name: Shop, compose: c.yaml}]", "services: {x: {image: y}}", `otto.yaml:1:17: "Shop" cannot be a name`},
		{"stacks: [{name: a, compose: none.yaml}]", "", "none.yaml: no such file or directory"},
		{"stacks: [{name: a, compose: c.yaml, node: nsa}]\n" + two, "services: {x: {image: y}}", "there is no node \"nsa\": did you mean nas?"},
		{
			two + "stacks: [{name: a, compose: c.yaml}]", "services:\n  db: {image: y, platform: linux/arm64}\n  web: {image: y, platform: linux/amd64}",
			"c.yaml:3:29: stack a is placed on one node, and service a/web is for linux/amd64, service a/db in line 2 for linux/arm64",
		},
		{
			labelled + "stacks: [{name: a, compose: c.yaml}]", "services:\n  db: {image: y, deploy: {placement: {constraints: [node.labels.zone == x]}}}\n  web: {image: y, deploy: {placement: {constraints: [node.labels.zone == z]}}}",
			"c.yaml:3:54: stack a is placed on one node, and none meets \"zone == z\" of service a/web and \"zone == x\" of service a/db in line 2",
		},
		{two + "stacks: [{name: a, compose: c.yaml}]", "services:\n  web: {image: y, ports: [\"80:80\"]}\n  two: {image: y, ports: [\"80:80\"]}", "c.yaml:2:27: port 80/tcp is taken by service a/two in line 3"},
		{two + "stacks: [{name: a, compose: c.yaml, failover: move}]", "services:\n  db: {image: y, volumes: [\"data:/d\"]}\nvolumes: {data: }", "service a/db keeps data on its node and cannot be started on another one"},
		{two + "stacks: [{name: a, compose: c.yaml, node: nas}]", "services:\n  web:\n    image: y\n    volumes:\n    - ../x:/x", "c.yaml:5:7: \"../x\" is of this machine and not on node nas"},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web:\n    imge: y", "c.yaml:3:5: Compose has no key \"imge\" there: did you mean image?"},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web:\n    image: y\n    build: ./web", "c.yaml:4:12: service web is built from "},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web:\n    image: y\n    pid:\n", "c.yaml:4:5: Compose's own loader crashes on this"},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web: {image: y}\n  two: [\n", "c.yaml:3:1"},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web: {image: y, depends_on: [b]}\n  b: {image: y, depends_on: [web]}", "c.yaml:3:30: services wait for each other: b > web > b: take one of them out"},
		{"stacks: [{name: a, compose: c.yaml}]", "services:\n  web: {image: \"y:${TAG:?set TAG}\"}", "set TAG"},
	} {
		_, err := loadFiles(t, map[string]string{"otto.yaml": test.otto, "c.yaml": test.compose})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "invalid project name") {
			t.Errorf("%s\n%s\ngot  %v\nwant %s", test.otto, test.compose, err, test.want)
		}
	}
}

// TestNamesOfServicesAreComposes has what Compose takes for a name, and what names the
// same host twice.
func TestNamesOfServicesAreComposes(t *testing.T) {
	long := strings.Repeat("a", 63)
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: my_shop-1, compose: c.yaml}]",
		"c.yaml":    "services:\n  My.Web: {image: w, depends_on: [_db-]}\n  _db-: {image: d}\n  \"1\": {image: d}\n  .x: {image: d}\n  " + long + ": {image: d}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range f.Wanted.Services {
		names = append(names, otto.Instance{Name: s.Name, Service: s.Name}.ContainerName())
	}
	want := []string{"my_shop-1-.x-1", "my_shop-1-1-1", "my_shop-1-My.Web-1", "my_shop-1-_db--1", "my_shop-1-" + long + "-1"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for compose, want := range map[string]string{
		"services:\n  web: {image: w}\n  Web: {image: w}\n": "c.yaml:2:3: services Web, in line 3, and web differ only in case, which names of hosts have not: rename one of them",
		"services:\n  " + long + "a: {image: d}\n":          "c.yaml:2:3: \"" + long + "a\" is too long for the name of a host: write at most 63 characters",
		"services:\n  we b: {image: w}\n":                   "c.yaml:2:3: Compose has no key \"we b\" there",
	} {
		_, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": compose})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
