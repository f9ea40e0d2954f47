package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/config"
)

// TestOnlyNamesOfVariablesAreRemembered, of those that come from the shell.
func TestOnlyNamesOfVariablesAreRemembered(t *testing.T) {
	d := stateDir(t.TempDir())
	dir := t.TempDir()
	for name, text := range map[string]string{
		"otto.yaml": "services: {web: {image: \"web:${TAG}\", environment: [TOKEN]}}\nstacks: [{name: shop, compose: shop.yaml}]\n",
		"shop.yaml": "services: {db: {image: \"db:${TAG}${FILE}${DEFAULT:-1}\"}}\n",
		".env":      "FILE=1\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TAG", "3-value")
	t.Setenv("TOKEN", "4-value")
	load := func() *config.File {
		t.Helper()
		f, err := config.Load(dir+"/otto.yaml", os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if lost := d.lostVariables(load()); lost != nil { // nothing was applied yet
		t.Error(lost)
	}
	if err := d.rememberVariables(load()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(d.path(fileVariables))
	if err != nil || strings.Contains(string(b), "value") {
		t.Errorf("%v: %s", err, b)
	}
	var got fromShell
	if err := d.read(fileVariables, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromShell{"": {"TAG", "TOKEN"}, "shop": {"TAG"}}, got); diff != "" {
		t.Error(diff)
	}
	if err := os.Unsetenv("TOKEN"); err != nil {
		t.Fatal(err)
	}
	want := []string{"otto.yaml took TOKEN from the shell at the last apply, where it is not set any more: set it, or write it into .env"}
	if diff := cmp.Diff(want, d.lostVariables(load())); diff != "" {
		t.Error(diff)
	}
	if err := d.rememberVariables(load()); err != nil {
		t.Fatal(err)
	}
	if lost := d.lostVariables(load()); lost != nil { // it is known, and was applied so
		t.Error(lost)
	}
}
