package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVariablesAreKnownByWhereTheirValuesComeFrom: the shell, a file, or nowhere.
func TestVariablesAreKnownByWhereTheirValuesComeFrom(t *testing.T) {
	t.Setenv("IN_EXTENDS", "") // the library knows names of the real environment
	t.Setenv("ALSO", "")
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "mqtt: {password: \"${MQTT}\", username: u}\nservices: {web: {image: \"x:${WEB:-1}${BESIDE}\", environment: [BARE]}}\n" +
			"stacks: [{name: shop, compose: shop}]\n",
		".env": "WEB=2\nBESIDE=x\n",
		"shop/compose.yaml": "services:\n  a: {image: \"a:${TAG}-${OWN}-${WITH:-default}\", env_file: a.env, environment: {BARE: , OTHER: $$$$NOT}, " +
			"secrets: [s]}\n  b: {extends: {file: b.yaml, service: b}}\nsecrets: {s: {environment: SECRET}}\n",
		"shop/b.yaml": "services: {b: {image: \"b:${IN_EXTENDS}\", environment: [ALSO]}}\n",
		"shop/.env":   "OWN=1\nFROM=${BASE}\n",
		"shop/a.env":  "A=${IN_ENV_FILE}\nKEY_ALONE\n",
	}, "MQTT", "m", "WEB", "3", "BARE", "b", "TAG", "1", "SECRET", "s", "BASE", "b", "IN_ENV_FILE", "i", "KEY_ALONE", "k",
		"IN_EXTENDS", "e", "ALSO", "a", "UNUSED", "u", "NOT", "n", "OTHER", "o")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[Source]string{"": {}, "shop": {}}
	for _, v := range f.Variables {
		got[v.Stack][v.From] += v.Name + " "
	}
	want := map[string]map[Source]string{
		"":     {FromShell: "BARE MQTT WEB ", FromFile: "BESIDE "},
		"shop": {FromShell: "ALSO BARE BASE IN_ENV_FILE IN_EXTENDS KEY_ALONE SECRET TAG ", FromFile: "OWN ", Nowhere: "COMPOSE_PROFILES WITH "},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEnvFilesOfComposeStandForDotEnv, the last one first, relative to where otto runs.
func TestEnvFilesOfComposeStandForDotEnv(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{"one.env": "TAG=one\nA=${TAG}1\n", "two.env": "TAG=two\nB=$TAG-$A\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{
		"otto.yaml": "stacks: [{name: a, compose: shop}]", "shop/.env": "TAG=dot\nC=dot\n",
		"shop/compose.yaml": "services: {p: {image: \"y:$TAG\", environment: {A: $A, B: $B, C: \"${C-none}\"}}}",
	}
	f, err := loadFiles(t, files, "COMPOSE_ENV_FILES", "one.env,two.env")
	if err != nil {
		t.Fatal(err)
	}
	spec := f.Wanted.Services[0].Spec // as docker compose config says
	if diff := cmp.Diff(map[string]string{"A": "one1", "B": "two-one1", "C": "none"}, spec.Environment); diff != "" || spec.Image != "y:two" {
		t.Error(spec.Image, diff)
	}
	_, err = loadFiles(t, files, "COMPOSE_ENV_FILES", "one.env,there.env")
	if err == nil || !strings.Contains(err.Error(), "there.env: no such file or directory: COMPOSE_ENV_FILES names it") {
		t.Error(err)
	}
	files["shop/.env"] += "COMPOSE_ENV_FILES=prod.env\n" // where Compose does not look for it
	f, err = loadFiles(t, files, "A", "", "B", "")
	if err != nil || len(f.Warnings) != 1 || !strings.Contains(f.Warnings.Error(), "COMPOSE_ENV_FILES is not read from a file") {
		t.Error(err, f.Warnings)
	}
}

// TestDotEnvOfAStackWinsOverThatBesideOttoYAML, which Compose would know nothing of.
func TestDotEnvOfAStackWinsOverThatBesideOttoYAML(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": "stacks: [{name: a, compose: shop}]", ".env": "TAG=outer\nMORE=outer\nBOTH=outer\n",
		"shop/.env": "TAG=inner\nOF=${TAG}\nBOTH=inner\n", "shop/compose.yaml": "services: {p: {image: \"y:$TAG-$OF-$MORE-$BOTH\"}}",
	}, "BOTH", "shell")
	if err != nil || f.Wanted.Services[0].Spec.Image != "y:inner-inner-outer-shell" {
		t.Error(err, f)
	}
}

// TestFolderOfFoldersIsSoManyStacks, each called as Compose calls it there.
func TestFolderOfFoldersIsSoManyStacks(t *testing.T) {
	files := map[string]string{
		"all/shop/compose.yaml": "services: {db: {image: a}}", "all/Photo Book/docker-compose.yml": "services: {db: {image: b}}",
		"all/named/compose.yaml": "name: other\nservices: {db: {image: c}}", "all/named/.env": "COMPOSE_PROFILES=x\n",
		"all/by-env/compose.yaml": "services: {db: {image: d}}", "all/by-env/.env": "COMPOSE_PROJECT_NAME=env\n",
		"all/.git/compose.yaml": "services: {no: {image: x}}", "all/data/notes.txt": "", "all/README.md": "", "single/compose.yaml": "services: {s: {image: s}}",
	}
	for _, text := range []string{"stacks: all\n", "stacks: [all, {name: single, compose: single}]\n", "stacks:\n  - ./all/\n"} {
		files["otto.yaml"] = text
		f, err := loadFiles(t, files, "COMPOSE_PROJECT_NAME", "mine")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range f.Wanted.Services {
			if s.Name != "single/s" {
				got = append(got, s.Name+" "+s.Spec.Image)
			}
		}
		if diff := cmp.Diff([]string{"photobook/db b", "env/db d", "other/db c", "shop/db a"}, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"stacks: all/data":   "otto.yaml:1:9: no folder in ",
		"stacks: single":     "is a Compose project itself, and no folder of several: write {name: single, compose: single}",
		"stacks: none":       "none: no such file or directory: write a folder in which each folder has a compose.yaml",
		"stacks: [all, all]": "stack photobook is here already, in line 1",
	} {
		files["otto.yaml"] = text
		if _, err := loadFiles(t, files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
