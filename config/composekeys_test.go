package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	composespec "github.com/compose-spec/compose-go/v2/schema"
	"github.com/google/go-cmp/cmp"
)

func TestEveryKeyOfTheSpecificationIsInTheTable(t *testing.T) {
	table, known := composeTable(), map[string]bool{}
	for _, p := range composespec.AttributePaths() {
		path := string(p)
		known[path] = true
		parts := strings.Split(path, ".")
		// Keys of these are in the table by name; those below have the fate of theirs.
		top := len(parts) == 1 || len(parts) == 3 && slices.Contains([]string{"services", "networks", "volumes"}, parts[0])
		if top && parts[len(parts)-1] != "*" && table[path] == "" {
			t.Errorf("%s: what does Otto do with it?", path)
		}
	}
	for path := range table {
		if !known[path] {
			t.Errorf("%s is not in the specification", path)
		}
	}
}

func TestTheTableSaysWhatTheReaderDoes(t *testing.T) {
	service, volumes, networks := serviceObject(false), map[string]bool{"name": true, "external": true, "driver": true, "driver_opts": true, "labels": true}, networkObject()
	for _, k := range ComposeKeys() {
		parts := strings.Split(k.Path, ".")
		if len(parts) != 3 {
			continue
		}
		name := parts[2]
		var reads, ignored bool
		switch parts[0] {
		case "services":
			_, reads = service.keys[name]
			reads = reads || name == "extends" // the loader's
		case "networks":
			_, reads = networks.keys[name]
		case "volumes":
			reads = volumes[name]
		case "secrets", "configs":
			o := fileSourceObject(strings.TrimSuffix(parts[0], "s"))
			_, reads = o.keys[name]
			reads = reads && name != "external" // which is read to be refused
			ignored = slices.Contains(o.idle, name)
		}
		idle := ignored || slices.Contains(service.idle, name)
		switch k.Does {
		case KeyRefuses:
			if reads || idle || k.Why == "" {
				t.Errorf("%s is refused because %q, says the table, and is read: %v, ignored: %v", k.Path, k.Why, reads, idle)
			}
		case KeyNothing:
			if !idle {
				t.Errorf("%s needs nothing, says the table, and is not ignored", k.Path)
			}
		default:
			if !reads {
				t.Errorf("%s is not read", k.Path)
			}
		}
	}
}

func TestTableOfTheDocsIsCurrent(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Keys of Compose, and what Otto does with them\n\n`otto compose keys` prints this table. A key that is not listed has the fate of the one above it.\n" +
		"What it is all about: [From Compose to Otto](compose.md).\n\n| key | Otto | why |\n|---|---|---|\n")
	for _, k := range ComposeKeys() {
		b.WriteString("| `" + k.Path + "` | " + k.Does + " | " + k.Why + " |\n")
	}
	const path = "../docs/compose-keys.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("run go test ./config -update: %s", diff)
	}
}
