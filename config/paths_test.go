package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheFileSaysWhatIsConfiguration, in the Compose file or in otto.yaml, which counts more:
// it is brought although it is mounted without :ro, or is outside of the project.
func TestTheFileSaysWhatIsConfiguration(t *testing.T) {
	const services = `
services:
  web:
    image: nginx
    volumes: ["./conf:/conf", "./conf/b:/b:ro", "../lib/a:/lib", "~/c:/c", "cache:/cache"]
volumes: {cache: }
`
	const rules = "paths: {./conf/: config, ../lib: config, ~/c: config}"
	files := map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop, node: pi}]\n",
		"shop/compose.yaml": "x-otto: {" + rules + "}\n" + services,
		"shop/conf/b":       "b", "lib/a": "a", "shop/~/c": "not that of the home",
	}
	want := []string{
		"files ./conf at /conf ro . b", "files ./conf/b at /b ro .", "files ../lib/a at /lib ro .", "files ~/c at /c ro .",
		"volume shop_cache at /cache",
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "c"), []byte("c"), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := func() []string {
		t.Helper()
		f, err := loadFiles(t, files, "HOME", home)
		if err != nil {
			t.Fatal(err)
		}
		return mountsIn(t, f, "shop/web")
	}
	if diff := cmp.Diff(want, mounts()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	files["otto.yaml"] = twoMachines + "stacks: [{name: shop, compose: shop, node: pi, " + rules + "}]\n"
	files["shop/compose.yaml"] = "x-otto: {paths: {./other: config}}\n" + services
	if diff := cmp.Diff(want, mounts()); diff != "" {
		t.Errorf("of otto.yaml (-want +got)\n%s", diff)
	}

	// Where it is, it is used in place, as ever.
	files["otto.yaml"] = twoMachines + "stacks: [{name: shop, compose: shop, node: here, " + rules + "}]\n"
	if got := mounts()[0]; got != "bind DIR/shop/conf at /conf" {
		t.Error(got)
	}
}

// TestConfigurationKeepsNothingHere: what only reads may be anywhere.
func TestConfigurationKeepsNothingHere(t *testing.T) {
	files := map[string]string{
		"otto.yaml": twoMachines + "stacks: [{name: shop, compose: shop}]\n", "shop/conf/b": "b",
		"shop/compose.yaml": "services: {web: {image: nginx, volumes: ['./conf:/conf']}, db: {image: x, volumes: ['./conf:/d:ro']}}\n",
	}
	f, err := loadFiles(t, files)
	if err != nil || f.Wanted.Services[0].Node != "here" {
		t.Fatalf("%v %v", f, err)
	}
	files["shop/compose.yaml"] = "x-otto: {paths: {./conf: config, ./nobody: config}}\n" + files["shop/compose.yaml"]
	if f, err = loadFiles(t, files); err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Wanted.Services {
		if s.Node != "" || s.Stateful() {
			t.Errorf("%s is kept on %q", s.Name, s.Node)
		}
	}
	if !slices.ContainsFunc(f.Warnings, func(w Problem) bool {
		return strings.Contains(w.Error(), `1:34: no service of stack shop mounts "./nobody"`)
	}) {
		t.Errorf("warnings: %v", f.Warnings)
	}
}
