package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
)

// seedsIn are the data that a service has of its project, and its mounts of it.
func seedsIn(t *testing.T, f *File, name string) (lines []string) {
	t.Helper()
	dir := filepath.Dir(f.Path)
	for _, s := range f.Wanted.Services {
		if s.Name != name {
			continue
		}
		for _, of := range s.Seeds {
			line := fmt.Sprintf("%s of %s is %s", of, strings.ReplaceAll(of.Project, dir, "DIR"), of.Path)
			if of.Empty {
				line += ", empty"
			}
			lines = append(lines, line)
		}
		slices.Sort(lines)
		for _, m := range s.Spec.Seeded() {
			if s.Seeds[m.Source].Name != m.Seed || m.Type != otto.MountVolume || !m.External {
				t.Errorf("%+v is of %v", m, s.Seeds)
			}
			line := fmt.Sprintf("%s/%s at %s", m.Seed, m.Subpath, m.Target)
			if m.ReadOnly {
				line += " ro"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

const dataProject = `
services:
  db:
    image: postgres
    volumes: ["./data/db:/data", "./acme.json:/acme.json", "./conf:/conf:ro"]
  web:
    image: nginx
    volumes: ["./data:/all:ro", "./data/www/:/www:ro", "./conf:/conf:ro", "/srv:/srv:ro"]
`

func TestDataOfAProjectIsCopied(t *testing.T) {
	files := map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop, node: pi}]\n",
		"shop/compose.yaml": dataProject, "shop/conf/a": "a",
	}
	f, err := loadFiles(t, files)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"shop/db": {
			"./acme.json of DIR/shop is acme.json", "./data of DIR/shop is data", "./data/db at /data", "./acme.json/ at /acme.json",
		},
		"shop/web": {"./data of DIR/shop is data", "./data/ at /all ro", "./data/www at /www ro"},
	} {
		if diff := cmp.Diff(want, seedsIn(t, f, name)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
	for _, s := range f.Wanted.Services {
		if want := s.Name == "shop/db"; s.Stateful() != want {
			t.Errorf("%s is stateful: %v", s.Name, s.Stateful())
		}
	}
	if diff := cmp.Diff([]string{"files ./conf at /conf ro . a"}, mountsIn(t, f, "shop/db")[2:]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	// Where it lies it is used in place, in a spec that says nothing of it, and known all the same.
	files["otto.yaml"] = twoMachines + "stacks: [{name: shop, compose: shop, node: here}]\n"
	if f, err = loadFiles(t, files); err != nil {
		t.Fatal(err)
	}
	want := []string{"bind DIR/shop/data/db at /data", "bind DIR/shop/acme.json at /acme.json", "bind DIR/shop/conf at /conf ro"}
	if diff := cmp.Diff(want, mountsIn(t, f, "shop/db")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want = []string{"./acme.json of DIR/shop is acme.json", "./data of DIR/shop is data"}
	if diff := cmp.Diff(want, seedsIn(t, f, "shop/db")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestVolumesOfDataAreCalledByStackAndPath(t *testing.T) {
	volumes := func(stack, path string) string {
		f, err := loadFiles(t, map[string]string{
			"otto.yaml":         twoMachines + "stacks: [{name: " + stack + ", compose: shop, node: pi}]\n",
			"shop/compose.yaml": "services: {db: {image: x, volumes: ['" + path + ":/data']}}\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(f.Wanted.Services[0].Spec.Volumes(), " ")
	}
	seen := map[string]string{}
	for _, stack := range []string{"shop", "other"} {
		for _, path := range []string{"./data", "./da/ta", "./da_ta", "./d\u00e4ta", "./" + strings.Repeat("long/", 50), "."} {
			name := volumes(stack, path)
			if was, twice := seen[name]; twice || !isVolumeName(name) || len(name) > 100 || !strings.HasPrefix(name, stack+".") {
				t.Errorf("%s of %s is %q, which is %s too", path, stack, name, was)
			}
			seen[name] = stack + " " + path
		}
	}
	if volumes("shop", "./data") != volumes("shop", "./x/../data/") {
		t.Error("one path has two volumes")
	}
}

// TestTheFileSaysWhatPathsAre has every kind in the Compose file, and in otto.yaml, which
// counts more.
func TestTheFileSaysWhatPathsAre(t *testing.T) {
	const project = `
x-otto: {paths: {./conf: config, ./conf/cache: data, ./media: node, ../lib: data, ./films: data}}
services:
  web:
    image: nginx
    volumes: ["./conf:/conf", "./conf/cache:/cache", "./media:/media:ro", "../lib/a:/lib:ro", "./films/new:/new:ro"]
`
	files := map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop, node: pi}]\n",
		"shop/compose.yaml": project, "shop/conf/a": "a",
	}
	f, err := loadFiles(t, files)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"../lib of DIR is lib", "./conf/cache of DIR/shop is conf/cache", "./films of DIR/shop is films",
		"./media of DIR/shop is media, empty",
		"./conf/cache/ at /cache", "./media/ at /media ro", "../lib/a at /lib ro", "./films/new at /new ro",
	}
	if diff := cmp.Diff(want, seedsIn(t, f, "shop/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := mountsIn(t, f, "shop/web")[0]; got != "files ./conf at /conf ro . a" {
		t.Error(got)
	}

	files["otto.yaml"] = twoMachines + "stacks: [{name: shop, compose: shop, paths: {./conf: config, ./media: config, ../lib: config, ./films: config}}]\n"
	files["shop/media/b"], files["lib/a/c"], files["shop/films/new/d"] = "b", "c", "d"
	files["shop/conf/cache/e"] = "e"
	if f, err = loadFiles(t, files); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"files ./conf at /conf ro . a cache cache/e", "files ./conf/cache at /cache ro . e", "files ./media at /media ro . b",
		"files ../lib/a at /lib ro . c", "files ./films/new at /new ro . d",
	}
	if diff := cmp.Diff(want, mountsIn(t, f, "shop/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s := f.Wanted.Services[0]; s.Stateful() || s.Node != "" || len(s.Seeds) > 0 {
		t.Errorf("what only reads is kept on %q, with %v", s.Node, s.Seeds)
	}

	files["otto.yaml"] = twoMachines + "stacks: [{name: shop, compose: shop, paths: {./nobody: data}, node: here}]\n"
	if f, err = loadFiles(t, files); err != nil || !slices.ContainsFunc(f.Warnings, func(w Problem) bool {
		return strings.Contains(w.Error(), `no service of stack shop mounts "./nobody"`)
	}) {
		t.Errorf("%v %v", f, err)
	}
}

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

func TestWhatAllNodesShareKeepsNothingOnOne(t *testing.T) {
	load := func(t *testing.T, paths, volumes, more string) (otto.Service, error) {
		f, err := loadFiles(t, map[string]string{
			"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop}]\n",
			"shop/c/a":          "a",
			"shop/compose.yaml": "x-otto: {paths: {" + paths + "}}\nservices:\n  app:\n    image: x\n    volumes: [" + volumes + "]\n" + more,
		})
		if err != nil {
			return otto.Service{}, err
		}
		if len(f.Warnings) > 0 {
			t.Errorf("%v", f.Warnings)
		}
		return f.Wanted.Services[0], nil
	}
	const shared = "/mnt/nas: shared"
	for name, c := range map[string]struct {
		paths, volumes, more string
		moves, stateful      bool
	}{
		"itself":                   {shared, "'/mnt/nas:/m'", "", true, true},
		"below it":                 {"/mnt/nas/: shared", "'/mnt/nas/media/:/m'", "", true, true},
		"only read":                {shared, "'/mnt/nas:/m:ro'", "", true, false},
		"with configuration":       {shared + ", ./c: config", "'/mnt/nas:/m', './c:/c'", "", true, true},
		"with a volume":            {shared, "'/mnt/nas:/m', 'vol:/v'", "volumes: {vol: {}}\n", false, true},
		"with an anonymous one":    {shared, "'/mnt/nas:/m', '/v'", "", false, true},
		"with another path":        {shared, "'/mnt/nas:/m', '/mnt/nas2:/v'", "", false, true},
		"above it as well":         {shared, "'/mnt/nas:/m', '/mnt:/v'", "", false, true},
		"a service that runs once": {shared, "'/mnt/nas:/m'", "    x-otto: {stateful: true}\n", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := load(t, c.paths, c.volumes, c.more)
			if err != nil {
				t.Fatal(err)
			}
			if moves := s.Stays() == ""; moves != c.moves || s.Stateful() != c.stateful {
				t.Errorf("moves %v, stateful %v, %q", moves, s.Stateful(), s.Stays())
			}
			for _, m := range s.Spec.Mounts {
				if want := m.Target == "/m"; m.Type == otto.MountBind && m.MustExist != want {
					t.Errorf("%+v", m)
				}
			}
		})
	}

	for name, c := range map[string][3]string{
		"a relative path": {"./m: shared", "'./m:/m'", `1:18: "./m" cannot be the same on all nodes: write the absolute path`},
		"everything":      {"/: shared", "'/mnt:/m'", `1:18: "/" cannot be the same on all nodes`},
		"a label":         {shared, "'/mnt/nas:/m:z'", `5:15: "/mnt/nas" is shared by all nodes, and none may label it for itself: take z out`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c[0], c[1], ""); err == nil || !strings.Contains(err.Error(), c[2]) {
				t.Errorf("%v\nwant %s", err, c[2])
			}
		})
	}

	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoMachines + "stacks: [{name: shop, compose: shop}]\n",
		"shop/compose.yaml": "x-otto: {paths: {/mnt/nas: shared}}\nservices:\n  app: {image: x, volumes: ['/mnt/nas:/m']}\n" +
			"  web: {image: x}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Wanted.Services { // they go together, and the one without data waits for the other's lease
		if s.Stays() != "" || !s.Stateful() {
			t.Errorf("%s: %q, stateful %v", s.Name, s.Stays(), s.Stateful())
		}
	}

	f, err = loadFiles(t, map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop}]\n",
		"shop/compose.yaml": "x-otto: {paths: {/mnt/nas: shared}}\nservices: {app: {image: x, volumes: ['/mnt/nas2:/m']}}\n",
	})
	if err != nil || len(f.Warnings) != 1 || !strings.Contains(fmt.Sprint(f.Warnings[0]), `mounts "/mnt/nas"`) {
		t.Errorf("%v, %v", f, err)
	}
}
