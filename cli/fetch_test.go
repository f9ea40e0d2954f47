package cli

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

// diskOf is the disk of a node, below a folder of this machine.
type diskOf string

func (d diskOf) Get(_ context.Context, path string, _ int64) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), path))
}

func (d diskOf) List(_ context.Context, path string, _ int) (all []bootstrap.Found, err error) {
	root := filepath.Join(string(d), path)
	err = filepath.WalkDir(root, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, at)
		all = append(all, bootstrap.Found{Path: rel, Mode: info.Mode(), Size: info.Size()})
		return err
	})
	return all, err
}

// put writes files with their modes; "dir/" is a folder.
func (d diskOf) put(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(string(d), name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const remoteShop = `
include: [more.yaml]
services:
  db:
    extends: {file: base.yaml, service: db}
    env_file: [db.env, {path: maybe.env, required: false}]
    volumes: ["./data:/data", "./conf:/conf:ro", "${MEDIA}:/media", "/srv/nas:/nas", "./private.key:/key:ro", "./run.sh:/run.sh:ro"]
    secrets: [password]
secrets: {password: {file: password.txt}}
`

// remoteProject is a project on a node, as it runs there.
func remoteProject() otto.Project {
	bind := func(source, target string, readOnly bool) otto.ProjectMount {
		return otto.ProjectMount{Type: otto.MountBind, Source: source, Target: target, ReadOnly: readOnly}
	}
	return otto.Project{
		Name: "shop", Dir: "/srv/shop", Files: []string{"/srv/shop/compose.yaml"},
		Containers: []otto.ProjectContainer{{
			ID: "1", Name: "shop-db-1", Service: "db", Number: 1, State: otto.ContainerRunning, Mounts: []otto.ProjectMount{
				bind("/srv/shop/data", "/data", false), bind("/srv/shop/conf", "/conf", true), bind("/mnt/media", "/media", false),
				bind("/srv/nas", "/nas", false), bind("/srv/shop/private.key", "/key", true), bind("/srv/shop/run.sh", "/run.sh", true),
				bind("/srv/shop/password.txt", "/run/secrets/password", true),
			},
		}},
	}
}

func remoteDisk(t *testing.T) diskOf {
	t.Helper()
	d := diskOf(t.TempDir())
	d.put(t, map[string]string{
		"srv/shop/compose.yaml": remoteShop, "srv/shop/.env": "MEDIA=/mnt/media\n", "srv/shop/db.env": "A=b\n", "srv/shop/password.txt": "secret",
		"srv/shop/base.yaml": "services: {db: {image: db}}\n", "srv/shop/more.yaml": "services: {more: {image: more, env_file: more.env}}\n",
		"srv/shop/more.env": "B=c\n", "srv/shop/data/base": "data", "srv/shop/conf/a.conf": "a", "srv/shop/conf/d/b.conf": "b",
		"srv/shop/private.key": "key", "srv/shop/run.sh": "#!/bin/sh\n",
	})
	for name, mode := range map[string]fs.FileMode{"private.key": 0o600, "run.sh": 0o755} {
		if err := os.Chmod(filepath.Join(string(d), "srv/shop", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// TestFilesOfAProjectAreBrought with all that they refer to; what is written, or is for one user
// there, stays where it is.
func TestFilesOfAProjectAreBrought(t *testing.T) {
	d := remoteDisk(t)
	to := filepath.Join(t.TempDir(), "shop")
	got, err := fetchProject(t.Context(), d, "nas", remoteProject(), to)
	if err != nil {
		t.Fatal(err)
	}
	want := fetched{
		Node: "nas", Dir: "/srv/shop", Compose: []string{"compose.yaml", "otto-kept.yaml"},
		Files: []string{
			".env", "compose.yaml", "more.yaml", "more.env", "base.yaml", "db.env", "password.txt", "conf/a.conf", "conf/d/b.conf",
			"run.sh", "otto-kept.yaml",
		},
		Notes: []string{"/srv/shop/private.key stays on nas: not everybody may read it", "/srv/shop/data stays on nas", "/mnt/media stays on nas"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	modes := map[string]fs.FileMode{}
	_ = filepath.WalkDir(to, func(at string, e fs.DirEntry, err error) error {
		if info, infoErr := e.Info(); err == nil && infoErr == nil && !e.IsDir() {
			modes[strings.TrimPrefix(at, to+"/")] = info.Mode()
		}
		return err
	})
	for name, mode := range modes {
		want := fs.FileMode(0o600)
		switch name {
		case "conf/a.conf", "conf/d/b.conf":
			want = 0o644
		case "run.sh":
			want = 0o755
		}
		if mode != want {
			t.Errorf("%s has mode %o, want %o", name, mode, want)
		}
	}
	otto := filepath.Join(filepath.Dir(to), "otto.yaml")
	f, err := config.LoadAs(otto, []byte("name: home\nnodes: [{id: nas, host: nas}]\nstacks:\n"+
		"  - {name: shop, node: nas, compose: [shop/compose.yaml, shop/otto-kept.yaml]}\n"), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]string{}
	for _, s := range f.Wanted.Services {
		for _, m := range s.Spec.Mounts {
			has[s.Name+" "+m.Target] = m.Type + " " + m.Source
		}
	}
	wantMounts := map[string]string{
		"shop/db /conf": "files ./conf", "shop/db /data": "bind /srv/shop/data", "shop/db /key": "bind /srv/shop/private.key",
		"shop/db /media": "bind /mnt/media", "shop/db /nas": "bind /srv/nas", "shop/db /run.sh": "files ./run.sh",
	}
	if diff := cmp.Diff(wantMounts, has); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if again, there, err := fetchedBefore(to, "nas", remoteProject()); err != nil || !there || !cmp.Equal(again, got) {
		t.Errorf("after that it is there: %t, %v", there, err)
	}
	other := remoteProject()
	other.Dir = "/srv/other"
	if _, _, err := fetchedBefore(to, "nas", other); err == nil || !strings.Contains(err.Error(), "name its Compose file with -f") {
		t.Errorf("of another project: %v", err)
	}
}

// TestWhatCannotBeBroughtIsNamed in one line, with what to do.
func TestWhatCannotBeBroughtIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, d diskOf, p *otto.Project)
		want   string
	}{
		"gone": {func(_ *testing.T, _ diskOf, p *otto.Project) { p.Files[0] = "/srv/shop/gone.yaml" }, "no such file"},
		"not noted": {
			func(_ *testing.T, _ diskOf, p *otto.Project) { p.Files = nil }, "it is not noted where it is",
		},
		"outside": {
			func(t *testing.T, d diskOf, _ *otto.Project) {
				d.put(t, map[string]string{"srv/shop/compose.yaml": "services: {db: {image: db, env_file: ../../etc/passwd}}\n"})
			}, "/etc/passwd is not in the folder of the project, /srv/shop",
		},
		"outside by a variable": {
			func(t *testing.T, d diskOf, _ *otto.Project) {
				d.put(t, map[string]string{"srv/shop/compose.yaml": "services: {db: {image: db, env_file: \"${MEDIA}/x\"}}\n"})
			}, "/mnt/media/x is not in the folder of the project",
		},
		"built": {
			func(t *testing.T, d diskOf, _ *otto.Project) {
				d.put(t, map[string]string{"srv/shop/compose.yaml": "services: {db: {build: .}}\n"})
			}, "service db is built from a folder",
		},
		"what it says of paths of this machine": {
			func(t *testing.T, d diskOf, _ *otto.Project) {
				d.put(t, map[string]string{"srv/shop/compose.yaml": "x-otto: {paths: {../secret: config}}\nservices: {db: {image: db}}\n"})
			}, "it has x-otto",
		},
		"no YAML": {
			func(t *testing.T, d diskOf, _ *otto.Project) {
				d.put(t, map[string]string{"srv/shop/compose.yaml": "a: [\n"})
			}, "it is not YAML",
		},
		"run with another folder": {func(_ *testing.T, _ diskOf, p *otto.Project) { p.Dir = "/srv" }, "the project was run with /srv as its folder"},
		"run with another env_file": {func(_ *testing.T, _ diskOf, p *otto.Project) {
			p.Containers[0].Labels = map[string]string{otto.ComposeLabels + "project.environment_file": "/srv/shop/prod.env"}
		}, "it was run with --env-file /srv/shop/prod.env"},
		"a name of Otto's in its files": {func(_ *testing.T, _ diskOf, p *otto.Project) { p.Files = append(p.Files, "/srv/shop/otto-kept.yaml") }, "which is a name of Otto's"},
	} {
		t.Run(name, func(t *testing.T) {
			d, p := remoteDisk(t), remoteProject()
			tt.change(t, d, &p)
			_, err := fetchProject(t.Context(), d, "nas", p, filepath.Join(t.TempDir(), "shop"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "its Compose file is on nas") ||
				!strings.Contains(err.Error(), "name it with -f") || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says: %v", err)
			}
		})
	}
}
