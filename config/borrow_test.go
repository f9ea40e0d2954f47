package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

const vpn = `
services:
  vpn: {image: y, ports: ["8080:80"], ipc: shareable}
  web: {image: z, network_mode: "service:vpn"}
  tail: {image: z, pid: "service:vpn", ipc: "service:vpn", depends_on: {vpn: {condition: service_healthy}}}
  copy: {image: z, volumes_from: [vpn, "web:ro", "container:other:ro"]}
  page: {image: z, depends_on: {vpn: {condition: service_started, restart: true}}}
`

func TestServicesOfAStackBorrowFromEachOther(t *testing.T) {
	f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": vpn})
	if err != nil || len(f.Warnings) > 0 {
		t.Fatal(err, f.Warnings)
	}
	type part struct {
		Mode    string
		Lenders []string
		From    []string
		On      []otto.Dependency
	}
	got := map[string]part{}
	for _, s := range f.Wanted.Services {
		got[s.Name] = part{s.Spec.NetworkMode, s.Spec.Lenders(), s.Spec.VolumesFrom, s.DependsOn}
	}
	on := func(service, condition string, restart bool) otto.Dependency {
		return otto.Dependency{Service: service, Condition: condition, Restart: restart}
	}
	want := map[string]part{
		"a/vpn":  {},
		"a/web":  {"service:a/vpn", []string{"a/vpn"}, nil, []otto.Dependency{on("a/vpn", otto.ServiceStarted, true)}},
		"a/tail": {"", []string{"a/vpn"}, nil, []otto.Dependency{on("a/vpn", otto.ServiceHealthy, false)}},
		"a/copy": {
			"",
			[]string{"a/vpn", "a/web"},
			[]string{"service:a/vpn", "service:a/web:ro", "container:other:ro"},
			[]otto.Dependency{on("a/vpn", otto.ServiceStarted, false), on("a/web", otto.ServiceStarted, false)},
		},
		"a/page": {"", nil, nil, []otto.Dependency{on("a/vpn", otto.ServiceStarted, true)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeBorrowed(t *testing.T) {
	const lender = "services:\n  vpn: {image: y}\n"
	for _, test := range []struct{ compose, want string }{
		{lender + "  web: {image: y, network_mode: \"service:vpm\"}", "vpm"},
		{lender + "  web: {image: y, pid: \"service:vpm\"}", "vpm"},
		{lender + "  web: {image: y, network_mode: \"service:web\"}", "web"},
		{lender + "  web:\n    image: y\n    network_mode: service:vpn\n    ports: [\"80:80\"]\n    hostname: w", "c.yaml:6:13: service web has no network of its own for ports, hostname: write it at service vpn, whose network it is"},
		{lender + "  web:\n    image: y\n    network_mode: service:vpn\n    deploy: {mode: global}", "c.yaml:5:19: network_mode ties service web to the container of service vpn, and only one of them is on every node"},
		{lender + "  web: {image: y, volumes_from: [off]}\n  off: {image: y, scale: 0}", "service off has no container from which service web could borrow"},
		{lender + "  web: {image: y, volumes_from: [\"vpn:rx\"]}", "\"vpn:rx\" is neither a service nor a container"},
	} {
		_, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": test.compose})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\ngot  %v\nwant %s", test.compose, err, test.want)
		}
	}
	f, err := loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": "services:\n" +
		"  vpn: {image: y, deploy: {mode: global}}\n  web: {image: y, depends_on: {vpn: {condition: service_started, restart: true}}}"})
	if err != nil || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0].What, "is not restarted after it") {
		t.Error(err, f)
	}
	f, err = loadFiles(t, map[string]string{"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": lender + "  web: {image: y, ipc: \"service:vpn\"}"})
	if err != nil || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0].Try, "ipc: shareable") {
		t.Error(err, f)
	}
}
