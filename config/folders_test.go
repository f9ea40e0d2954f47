package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/folder"
)

const twoMachines = "nodes: [{id: here, host: localhost}, {id: pi, host: 192.168.1.2}]\n"

// mountsIn are the mounts of a service, with what is brought for them.
func mountsIn(t *testing.T, f *File, name string) (lines []string) {
	t.Helper()
	dir := filepath.Dir(f.Path)
	for _, s := range f.Wanted.Services {
		if s.Name != name {
			continue
		}
		for _, m := range s.Spec.Mounts {
			line := fmt.Sprintf("%s %s at %s", m.Type, strings.ReplaceAll(m.Source, dir, "DIR"), m.Target)
			if m.ReadOnly {
				line += " ro"
			}
			if m.Content != "" {
				manifest, err := folder.Parse(f.Wanted.Folders[m.Content])
				if err != nil || manifest.Key() != m.Content {
					t.Errorf("%s: its list is of %s (%v)", m.Source, manifest.Key(), err)
				}
				for _, e := range manifest.Entries {
					line += " " + e.Path
				}
				var pack bytes.Buffer
				if err := f.Folders[m.Content].Pack(&pack); err != nil || pack.Len() == 0 {
					t.Errorf("%s is not packed: %v", m.Source, err)
				}
			}
			lines = append(lines, line)
		}
	}
	return lines
}

const filesProject = `
services:
  web:
    image: nginx
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./sites:/etc/nginx/sites:ro
      - {type: bind, source: ./sites, target: /again, read_only: true, bind: {selinux: Z, propagation: rslave}}
      - cache:/cache
  other:
    image: nginx
    volumes: [./sites:/sites:ro]
volumes: {cache: {}}
`

func TestConfigurationOfAProjectIsBrought(t *testing.T) {
	files := map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop, node: pi}]\n",
		"shop/compose.yaml": filesProject,
		"shop/nginx.conf":   "worker_processes 1;\n", "shop/sites/a.conf": "a", "shop/sites/b/c.conf": "c",
	}
	f, err := loadFiles(t, files)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"files ./nginx.conf at /etc/nginx/nginx.conf ro .",
		"files ./sites at /etc/nginx/sites ro . a.conf b b/c.conf",
		"files ./sites at /again ro . a.conf b b/c.conf",
		"volume shop_cache at /cache",
	}
	if diff := cmp.Diff(want, mountsIn(t, f, "shop/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"files ./sites at /sites ro . a.conf b b/c.conf"}, mountsIn(t, f, "shop/other")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(f.Wanted.Folders) != 2 || len(f.Folders) != 2 {
		t.Errorf("%d and %d folders, want each once", len(f.Wanted.Folders), len(f.Folders))
	}
	for _, s := range f.Wanted.Services {
		if s.Name == "shop/other" && s.Stateful() {
			t.Error("what only reads is stateful")
		}
	}
	hash := func(f *File) (hashes []string) {
		for _, s := range f.Wanted.Services {
			hashes = append(hashes, s.Spec.Hash())
		}
		return hashes
	}
	files["shop/nginx.conf"] = "worker_processes 2;\n"
	edited, err := loadFiles(t, files)
	if err != nil {
		t.Fatal(err)
	}
	was, now := hash(f), hash(edited)
	if was[0] == now[0] && was[1] == now[1] || was[0] != now[0] && was[1] != now[1] {
		t.Errorf("an edited file makes another spec of what uses it alone: %v %v", was, now)
	}
}

func TestConfigurationOfSingleServicesIsBrought(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoMachines + "services: [{name: web, image: nginx, volumes: ['./web:/web:ro']}, " +
			"{name: local, image: nginx, node: here, volumes: ['./web:/web:ro', './data:/data']}]\n",
		"web/index.html": "hello",
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"files ./web at /web ro . index.html"}, mountsIn(t, f, "web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	local := []string{"bind DIR/web at /web ro", "bind DIR/data at /data"}
	if diff := cmp.Diff(local, mountsIn(t, f, "local")); diff != "" {
		t.Errorf("on this machine (-want +got)\n%s", diff)
	}
}

// What can only run on this machine is as it was: in place, in the same spec, and nothing
// is read.
func TestFilesOfThisMachineAreUsedInPlace(t *testing.T) {
	for name, text := range map[string]string{
		"one node":  "stacks: [{name: shop, compose: shop}]\n",
		"its home":  twoMachines + "stacks: [{name: shop, compose: shop, node: here}]\n",
		"loopback":  "nodes: [{id: here, host: 127.0.0.1}]\nstacks: [{name: shop, compose: shop}]\n",
		"x-otto":    twoMachines + "stacks: [{name: shop, compose: [shop/compose.yaml, shop/home.yaml]}]\n",
		"localhost": "nodes: [{id: here, host: localhost}]\nstacks: [{name: shop, compose: shop}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := loadFiles(t, map[string]string{
				"otto.yaml": text, "shop/compose.yaml": filesProject, "shop/home.yaml": "x-otto: {node: here}\n",
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"bind DIR/shop/sites at /sites ro"}, mountsIn(t, f, "shop/other")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if f.Wanted.Folders != nil || f.Folders != nil {
				t.Error("something is brought")
			}
			for _, s := range f.Wanted.Services {
				if s.Name != "shop/other" {
					continue
				}
				s.Spec.Mounts[0].Source = "/shop/sites"
				got, err := json.Marshal(s.Spec.Mounts)
				// As builds wrote it that brought no files: the hash of the spec is of this.
				const was = `[{"type":"bind","source":"/shop/sites","target":"/sites","read_only":true}]`
				if err != nil || string(got) != was {
					t.Errorf("it is %s (%v), and was %s: it would be made anew", got, err, was)
				}
			}
		})
	}
}

// What writes to files of this machine has its home here if the file gives it none: nothing
// else is where its data is. A service on every node has it on none but this one.
func TestDataHasItsHomeWhereItLies(t *testing.T) {
	const project = `
services:
  db: {image: postgres, volumes: ["./data:/data"]}
  web: {image: nginx, volumes: ["./conf:/conf:ro", "./data/www:/www:ro"]}
  free: {image: nginx, volumes: ["../media:/media"], x-otto: {apart: true}}
  bound: {image: nginx, x-otto: {apart: true, node: pi}}
  reads: {image: nginx, volumes: ["./conf:/conf:ro"], x-otto: {apart: true}}
`
	f, err := loadFiles(t, map[string]string{
		"otto.yaml": twoMachines + "stacks: [{name: shop, compose: shop}, {name: plain, compose: plain}]\n" +
			"services: [{name: one, image: nginx, volumes: ['./one:/one']}, {name: two, image: nginx}]\n",
		"shop/compose.yaml": project, "shop/conf/a": "a",
		"plain/compose.yaml": "services: {web: {image: nginx, volumes: ['./conf:/conf:ro', '/srv:/srv:ro']}}\n", "plain/conf/a": "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	homes := map[string]string{}
	for _, s := range f.Wanted.Services {
		homes[s.Name] = s.Node
	}
	want := map[string]string{
		"shop/db": "here", "shop/web": "here", "shop/free": "here", "shop/bound": "pi", "shop/reads": "", "plain/web": "",
		"one": "here", "two": "",
	}
	if diff := cmp.Diff(want, homes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, mounts := range map[string][]string{
		"shop/db":   {"bind DIR/shop/data at /data"},
		"shop/web":  {"bind DIR/shop/conf at /conf ro", "bind DIR/shop/data/www at /www ro"},
		"shop/free": {"bind DIR/media at /media"},
		"one":       {"bind DIR/one at /one"},
	} {
		if diff := cmp.Diff(mounts, mountsIn(t, f, name)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}

	// One node has all that is shared.
	for _, host := range []string{"localhost", "192.168.1.2"} {
		if _, err := loadFiles(t, map[string]string{
			"otto.yaml": "nodes: [{id: pi, host: " + host + "}]\nservices: [{name: one, image: nginx, volumes: ['./one:/one']}, " +
				"{name: two, image: nginx, volumes: ['./one:/one:ro']}]\n",
		}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}

	// Without a node that is this machine it is copied to the one that Otto chooses.
	f, err = loadFiles(t, map[string]string{
		"otto.yaml":         "nodes: [{id: nas, host: 192.168.1.3}, {id: pi, host: 192.168.1.2}]\nstacks: [{name: shop, compose: shop}]\n",
		"shop/compose.yaml": "services: {db: {image: postgres, volumes: ['./data:/data']}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Wanted.Services[0]; s.Node != "" || len(s.Spec.Seeded()) != 1 {
		t.Errorf("%q %+v", s.Node, s.Spec.Mounts)
	}
}

func TestFilesThatCannotBeBroughtAreExplained(t *testing.T) {
	service := func(volumes string) string {
		return "services:\n  web:\n    image: nginx\n    volumes:\n" + volumes
	}
	tests := []struct{ name, compose, want string }{
		{
			"on every node", service("      - ./data:/data\n") + "    deploy: {mode: global}\n",
			`5:9: "./data" is of this machine and not on every node where shop/web may run: it is data, and a service on ` +
				"every node would have one on each: write an absolute path, at which each node has its own",
		},
		{
			"written by another one", service("      - ./data/conf:/conf:ro\n") + "    deploy: {mode: global}\n" +
				"  db:\n    image: postgres\n    volumes: [/x:/x, './data:/data']\n",
			`5:9: "./data/conf" is of this machine and not on every node where shop/web may run: service shop/db writes to it, ` +
				"and a service on every node would have one on each",
		},
		{
			"data that a link takes out", service("      - ./links/l:/l\n"),
			`5:9: "./links/l" cannot be copied: path escapes from parent: write the path that it leads to`,
		},
		{
			"apart", service("      - ./data:/data\n") + "  db:\n    image: postgres\n    volumes: ['./data:/data']\n" +
				"    x-otto: {apart: true, node: here}\n",
			"2:3: services shop/db and shop/web share the data ./data, and may be on two nodes with one each: write the same " +
				"node for both",
		},
		{
			"outside", service("      - ../media:/media:ro\n"),
			`5:9: "../media" is of this machine and not on node pi: it is outside of the folder of the project, of which ` +
				"alone Otto brings files by itself: write `x-otto: {paths: {../media: data}}` at the top of the Compose file to " +
				"have it copied once, `node` there if it is to begin empty, or `config` if it is only read; or copy it there and",
		},
		{
			"home", service("      - ~/media:/media:ro\n"),
			`5:9: "~/media" is of this machine and not on node pi: write ` + "`x-otto: {paths: {~/media: data}}`",
		},
		{
			"rule for an absolute path", "x-otto: {paths: {/srv: data}}\n" + service("      - /srv:/srv\n"),
			`1:18: "/srv" is an absolute path, and so the node's: take it out: whatever the node has there is used`,
		},
		{
			"rule for no path", "x-otto: {paths: {media: data}}\n" + service("      - ./media:/srv\n"),
			`1:18: "media" is not a path: write it as it is mounted, such as ./media`,
		},
		{
			"unknown rule", "x-otto: {paths: {./media: dat}}\n" + service("      - ./media:/srv\n"),
			`1:27: "dat" is not one of config, data, node, shared: did you mean data?`,
		},
		{
			"missing", service("      - ./gone:/gone:ro\n"),
			`5:9: there is no "./gone": write the path of a file or folder that is there`,
		},
		{
			"link out", service("      - /x:/x\n      - ./links:/links:ro\n"),
			`6:9: "./links/l" is a symlink out of the folder, to "/etc/hosts", and what is there would be missing ` +
				"elsewhere: take it out of the folder, or write the node that is this machine as node",
		},
		{
			"too large", service("      - ./large:/large:ro\n"),
			`5:9: "./large" is too large: Otto brings 64 MiB of a stack to another machine: write ` +
				"`x-otto: {paths: {./large: data}}` at the top of the Compose file to have it copied once, or `node` there if it is to " +
				"begin empty; or mount less of it;",
		},
		{
			"too large together", service("      - ./half1:/half1:ro\n      - ./half2:/half2:ro\n"),
			`6:9: "./half2" is too large: Otto brings 64 MiB of a stack to another machine: write ` + "`x-otto: {paths: {./half2: data}}`",
		},
	}
	dir := t.TempDir()
	for _, name := range []string{"large", "half1", "half2", "links"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		size := int64(folder.MaxBytes/2 + 1)
		if name == "large" {
			size = 5 << 30
		}
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name, "f"), nil, 0o600),
			os.Truncate(filepath.Join(dir, name, "f"), size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "links/f")), os.Symlink("/etc/hosts", filepath.Join(dir, "links/l"))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(tt.compose), 0o600),
				os.WriteFile(filepath.Join(dir, "otto.yaml"), []byte(twoMachines+"stacks: [{name: shop, compose: ., node: pi}]\n"), 0o600)); err != nil {
				t.Fatal(err)
			}
			_, err := Load(filepath.Join(dir, "otto.yaml"), func(string) (string, bool) { return "", false })
			var got Problems
			if !errors.As(err, &got) || len(got) != 1 && tt.name != "written by another one" || !strings.HasPrefix(got[0].Error(), filepath.Join(dir, "compose.yaml:")+tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

// A path of a project is never mounted as one of the node.
func TestNoRelativePathIsLeft(t *testing.T) {
	f, err := loadFiles(t, map[string]string{
		"otto.yaml":         twoMachines + "stacks: [{name: shop, compose: shop}]\n",
		"shop/compose.yaml": "services: {web: {image: nginx, volumes: ['.:/all:ro', './conf/../conf/:/conf:ro']}}\n",
		"shop/conf/a":       "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"files . at /all ro . compose.yaml conf conf/a", "files ./conf at /conf ro . a"}
	if diff := cmp.Diff(want, mountsIn(t, f, "shop/web")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, s := range f.Wanted.Services {
		for _, m := range s.Spec.Mounts {
			if m.Type == otto.MountBind {
				t.Errorf("%+v", m)
			}
		}
	}
}
