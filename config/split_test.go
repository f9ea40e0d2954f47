package config

import (
	"strings"
	"testing"
)

func TestServiceThatLooksForAnotherIsWarnedOf(t *testing.T) {
	const two = "nodes: [{id: local, host: localhost}, {id: nas, host: 192.0.2.3}]\n"
	for _, test := range []struct {
		nodes, app string
		warned     bool
	}{
		{two, "{image: y, environment: {DB_HOST: db}}", true},
		{two, "{image: y, environment: {DSN: \"postgres://me@db:5432/x\"}}", true},
		{two, "{image: y, environment: {REDIS: \"db:6379\"}}", true},
		{two, "{image: y, environment: {MODE: db}}", false},
		{two, "{image: y, environment: {DB_HOST: db.example.com}}", false},
		{two, "{image: y, environment: {DB_HOST: db}, placement: {near: [db]}}", false},
		{two, "{image: y, environment: {DB_HOST: db}, node: nas}", false},
		{"", "{image: y, environment: {DB_HOST: db}}", false},
	} {
		db := "{image: y}"
		if test.nodes != "" {
			db = "{image: y, node: nas}"
		}
		f, err := Parse("otto.yaml", []byte(test.nodes+"services:\n  app: "+test.app+"\n  db: "+db+"\n"), "/", noEnv)
		if err != nil {
			t.Error(test.app, err)
			continue
		}
		if got := len(f.Warnings) == 1 && strings.Contains(f.Warnings[0].Try, "placement: {near: [db]}"); got != test.warned || !got && len(f.Warnings) > 0 {
			t.Errorf("%s: %v", test.app, f.Warnings)
		}
	}
}

func TestDollarsInFilesOfVariablesAreWarnedOf(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"top":   {"otto.yaml": "services:\n  web: {image: y, env_file: x.env}\n", "x.env": "A=1\nHASH=$2y$10$abcdef\nB=${C:-}$A\nD='$e'\n"},
		"stack": {"otto.yaml": "stacks: [{name: a, compose: c.yaml}]", "c.yaml": "services:\n  w: {image: y, env_file: [x.env]}\n  web: {image: y, env_file: [x.env]}", "x.env": "A=1\nHASH=$2y$10$abcdef\nB=${C:-}$A\nD='$e'\n"},
	} {
		f, err := loadFiles(t, files)
		if err != nil || len(f.Warnings) != 1 || !strings.HasSuffix(f.Warnings[0].File, "x.env") || f.Warnings[0].Line != 2 || strings.Contains(f.Warnings[0].Error(), "2y") {
			t.Errorf("%s: %v %v", name, err, f)
		}
	}
}

func TestComposeFileOfDotEnv(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: a, compose: shop}]", "shop/.env": "COMPOSE_FILE=one.yaml:two.yaml\nCOMPOSE_PROFILES=x",
		"shop/one.yaml": "services: {p: {image: y}}", "shop/two.yaml": "services: {q: {image: y, profiles: [x]}, r: {image: y, profiles: [z]}}",
	})
	if err != nil || len(f.Wanted.Services) != 2 || f.Wanted.Services[1].Name != "a/q" {
		t.Error(err, f)
	}
}

// TestToolThatManagesContainersIsWarnedOf: it sees one node of several.
func TestToolThatManagesContainersIsWarnedOf(t *testing.T) {
	const one = "nodes: [{id: a, host: localhost}]\n"
	for _, tt := range []struct {
		otto, options string
		warned        bool
	}{{twoMachines, "", true}, {twoMachines, ":ro", false}, {one, "", false}} {
		f, err := loadFiles(t, map[string]string{
			"otto.yaml": tt.otto + "stacks: [{name: w, compose: c.yaml}]\n",
			"c.yaml":    "services:\n  w: {image: x, volumes: [\"/var/run/docker.sock:/var/run/docker.sock" + tt.options + "\"]}\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		said := f.Warnings.Error()
		if strings.Contains(said, "c.yaml:2:3: service w/w has the socket of a container engine") != tt.warned {
			t.Errorf("%s%s: warned %q", tt.otto, tt.options, said)
		}
	}
}
