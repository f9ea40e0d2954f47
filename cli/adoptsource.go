package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/wire"
)

// authority is who asks a node of a cluster.
func authority(v *otto.Cluster) wire.Authority {
	return wire.Authority{Cluster: v.Name, Warrant: wire.Warrant{ClusterID: v.ID}}
}

// projectSource is where the Compose files of a project are, or will be.
type projectSource struct {
	stack config.Stack
	fetched
	temp, final string // folders of files that were brought and are not in their place yet
}

// sourceOf finds the Compose files of a project: those that were named, or those of the stack that
// otto.yaml has, or on this machine those that Compose has noted. Those of another node are
// brought into temp. The caller closes it.
func (a *app) sourceOf(ctx context.Context, v *otto.Cluster, n otto.Node, p otto.Project, files []string, temp string) (*projectSource, error) {
	src := &projectSource{stack: config.Stack{Name: p.Name, Node: n.ID}}
	if !wire.ValidID(p.Name) {
		return nil, fmt.Errorf("%q cannot be the name of a stack: use a-z, 0-9, _ and -", p.Name)
	}
	if len(files) == 0 && n.IsLocal() {
		var err error
		if files, err = filesHere(p); err != nil {
			return nil, err
		}
	}
	if len(files) > 0 {
		var err error
		src.stack.Compose, err = a.besideAll(files)
		return src, err
	}
	data, err := os.ReadFile(a.config)
	if err != nil {
		return nil, err
	}
	if of, there := config.FindStack(data, p.Name); there && of.Node == n.ID {
		src.stack = of
		return src, nil
	}
	src.final = filepath.Join(filepath.Dir(a.config), p.Name)
	before, there, err := fetchedBefore(src.final, n.ID, p)
	if err != nil {
		return nil, err
	}
	if there { // and was killed after that
		src.fetched = before
		src.stack.Compose, err = a.besideAll(inFolder(src.final, before.Compose))
		return src, err
	}
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	from, err := fleet.Files(ctx, n, authority(v))
	if err != nil {
		return nil, err
	}
	defer from.Close()
	if err := os.RemoveAll(temp); err != nil { // of a command that was killed
		return nil, err
	}
	src.temp = temp
	if src.fetched, err = fetchProject(ctx, from, n.ID, p, temp); err == nil {
		src.stack.Compose, err = a.besideAll(inFolder(temp, src.Compose))
	}
	if err != nil {
		src.close()
		return nil, err
	}
	return src, nil
}

// settle puts files that were brought into their place, all at once.
func (src *projectSource) settle(a *app) (err error) {
	if src.temp == "" {
		return nil
	}
	if err := os.Rename(src.temp, src.final); err != nil {
		return err
	}
	src.temp = ""
	if err := durable.SyncDir(filepath.Dir(src.final)); err != nil {
		return err
	}
	src.stack.Compose, err = a.besideAll(inFolder(src.final, src.Compose))
	return err
}

// close removes what was brought and is not in its place.
func (src *projectSource) close() {
	if src.temp != "" {
		_ = os.RemoveAll(src.temp) // a command after this one does it as well
	}
}

func inFolder(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return paths
}

// filesHere are the files of a project of this machine.
func filesHere(p otto.Project) ([]string, error) {
	if len(p.Files) == 0 {
		return nil, errors.New("it is not noted where the project's file is: name it with -f")
	}
	for _, f := range p.Files {
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("its Compose file %s is gone: bring it back, or name another one with -f", f)
		}
	}
	if at := filepath.Dir(p.Files[0]); p.Dir != "" && p.Dir != at {
		return nil, fmt.Errorf("the project was run with %s as its folder, and not with that of its file, %s: relative paths would "+
			"mean something else", p.Dir, at)
	}
	return p.Files, nil
}
