package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStacksAreAddedAndRemovedLineByLine(t *testing.T) {
	shop := Stack{Name: "shop", Compose: []string{"shop/compose.yaml"}}
	two := Stack{Name: "two", Compose: []string{"a.yaml", "b.yaml"}, Node: "nas"}
	const before = "name: home # ours\nservices:\n  - {name: web, image: nginx}"
	one, err := AddStack([]byte(before), shop)
	if diff := cmp.Diff(before+"\nstacks:\n  - name: shop\n    compose: shop/compose.yaml\n",
		string(one)); diff != "" ||
		err != nil {
		t.Fatal(err, diff)
	}
	both, err := AddStack(one, two)
	if diff := cmp.Diff(string(one)+"  - name: two\n    compose:\n    - a.yaml\n    - b.yaml\n    node: nas\n",
		string(both)); diff != "" ||
		err != nil {
		t.Fatal(err, diff)
	}
	for _, s := range []Stack{shop, two} { // once more
		if same, err := AddStack(both, s); string(same) != string(both) || err != nil {
			t.Errorf("%v: %s", err, same)
		}
	}
	if out, err := AddStack(both, Stack{Name: "shop", Compose: []string{"other.yaml"}}); err == nil ||
		!strings.Contains(err.Error(), "stack shop is here already, in line 5, from shop/compose.yaml") {
		t.Errorf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"shop": "stack shop is here already, in line 5, with no node: to move it, write `node: pi` there; else leave --node out",
		"two":  "stack two is here already, in line 7, with node: nas: to move it, write `node: pi` there; else leave --node out",
	} {
		s := map[string]Stack{"shop": shop, "two": two}[name]
		s.Node = "pi"
		if out, err := AddStack(both, s); err == nil || err.Error() != want {
			t.Errorf("%v: %s", err, out)
		}
	}
	back, err := RemoveStack(both, "two")
	if diff := cmp.Diff(string(one), string(back)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	none, err := RemoveStack(back, "shop")
	if diff := cmp.Diff(before+"\n", string(none)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, f := range []string{"stacks: [{name: shop, compose: x}]\n", "stacks:\n", "stacks:\n  shop: {}\n"} {
		if out, err := AddStack([]byte(f), two); err == nil {
			t.Errorf("%q: %s", f, out)
		}
		if out, err := RemoveStack([]byte(f), "shop"); err == nil {
			t.Errorf("%q: %s", f, out)
		}
	}
}

func TestStackHasComposesName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My Shop.2")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := func(string) (string, bool) { return "", false }
	file := write("compose.yaml", "services: {}\n")
	if got := StackName([]string{file}, none); got != "myshop2" {
		t.Errorf("of the folder: %q", got)
	}
	if got := StackName([]string{dir}, none); got != "myshop2" {
		t.Errorf("of the folder that is named: %q", got)
	}
	write("compose.override.yaml", "name: Named\n")
	if got := StackName([]string{file}, none); got != "named" {
		t.Errorf("in the file: %q", got)
	}
	if got := StackName([]string{file},
		func(name string) (string, bool) { return "env", name == "COMPOSE_PROJECT_NAME" }); got != "env" {
		t.Errorf("of the environment: %q", got)
	}
}
