package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/folder"
)

// Folders are the files of this machine that go to nodes, by their keys.
type Folders map[string]Folder

// Folder is a file or a folder of a project, as it was when it was read.
type Folder struct {
	manifest      folder.Manifest
	project, name string
}

// Pack writes what is in it. It fails if that has changed since it was read.
func (f Folder) Pack(w io.Writer) error { return folder.Pack(w, f.project, f.name, f.manifest) }

// manifests are the lists of what is in them; nil for none.
func (f Folders) manifests() map[string][]byte {
	if len(f) == 0 {
		return nil
	}
	all := make(map[string][]byte, len(f))
	for key := range f {
		all[key] = f[key].manifest.Encode()
	}
	return all
}

func (f Folders) with(more Folders) Folders {
	if len(more) == 0 {
		return f
	}
	all := maps.Clone(more)
	maps.Copy(all, f)
	return all
}

// brought is what goes to the nodes of the relative paths of one project.
type brought struct {
	folders Folders
	left    *folder.Budget
	keys    map[string]string // by path; empty for one that was refused
}

// checkMounts sees to the relative paths of a project. Where a service can only run on
// this machine they are made absolute, and used in place. Elsewhere what nobody writes to
// is brought, and the rest refused: it would be another directory there. What has no home
// and writes to one has its home here, where its data is.
func (d *document) checkMounts(r *reader, p *project) {
	p.warnOfRules(r)
	for i := range p.services {
		s := &p.services[i]
		if p.stack == "" && s.Node == "" && !s.Global() && p.writesHere(s) {
			s.Node, s.nodeAt = d.here(), s.pos
		}
		targets := map[string]bool{}
		for k, at := range s.mountsAt {
			m := &s.Spec.Mounts[k]
			if target := path.Clean(m.Target); targets[target] {
				r.reject(at, "keep one of them", "two volumes are mounted at %.60q", target)
			} else {
				targets[target] = true
			}
			switch {
			case m.Type != otto.MountBind || isAbs(m.Source):
			case d.onlyLocal(s.Node):
			default:
				d.bring(r, p, s, m, at)
			}
		}
	}
	for i := range p.services { // when it is known who writes to what
		s := &p.services[i]
		for k := range s.mountsAt {
			if m := &s.Spec.Mounts[k]; m.Type == otto.MountBind && !isAbs(m.Source) && d.onlyLocal(s.Node) {
				r.warnOfMissing(s.mountsAt[k], m)
				m.Source = r.path(m.Source)
			}
		}
		s.mountsAt = nil
	}
}

// here is the node that is this machine; empty if none is.
func (d *document) here() string {
	for _, n := range d.nodes {
		if n.IsLocal() {
			return n.ID
		}
	}
	return ""
}

// hasData reports whether a service that is placed with its stack writes to files of this
// machine.
func (p *project) hasData() bool {
	return slices.ContainsFunc(p.services, func(s service) bool { return !s.apart && !s.Global() && p.writesHere(&s) })
}

// writesHere reports whether a service has a relative path in order to write to it.
func (p *project) writesHere(s *service) bool {
	return slices.ContainsFunc(s.Spec.Mounts, func(m otto.Mount) bool {
		return m.Type == otto.MountBind && !m.ReadOnly && !isAbs(m.Source) && m.Source[0] != '~' &&
			!p.isConfig(filepath.Clean(m.Source))
	})
}

// warnOfMissing says that the engine will make a directory of a path of this machine that is
// not there, as it does for Compose, where a file is meant, or something that is to be read.
func (r *reader) warnOfMissing(at pos, m *otto.Mount) {
	if m.MustExist || !m.ReadOnly && path.Ext(m.Source) == "" && path.Ext(m.Target) == "" {
		return
	}
	if _, err := os.Stat(r.path(m.Source)); errors.Is(err, fs.ErrNotExist) {
		r.warn(at, "make it first, if it should be a file or have something in it",
			"%.60q is not there: the engine makes an empty directory of that name", m.Source)
	}
}

// bring makes a relative path one that Otto brings to the node.
func (d *document) bring(r *reader, p *project, s *service, m *otto.Mount, at pos) {
	where := "every node where " + s.Name + " may run"
	if s.Node != "" {
		where = "node " + s.Node
	}
	try := "copy it there and write the absolute path it has there, or write the node that is this machine as node"
	name := filepath.Clean(m.Source)
	why := ""
	said := p.isConfig(name)
	if !said && !inProject(name) && p.stack != "" {
		try = "write `x-otto: {paths: {" + name + ": config}}` at the top of the Compose file if it is only read; " +
			"otherwise " + try
	}
	switch writer := p.writes(name); {
	case !said && name[0] == '~':
	case !said && !inProject(name):
		why = ": it is outside of the folder of the project, of which alone Otto brings files by itself"
	case !said && !m.ReadOnly:
		why = ": what a service writes is data, and stays where it is"
		try = "write :ro behind it if it is only read; otherwise " + try
	case !said && writer != "":
		why = fmt.Sprintf(": service %s writes to it, so that it is data, which stays where it is", writer)
	default:
		key, known := p.brought.keys[name]
		if !known {
			key = p.read(r, name, at)
		}
		*m = otto.Mount{
			Type: otto.MountFiles, Source: asWritten(name), Target: m.Target, ReadOnly: true, SELinux: m.SELinux, Content: key,
		}
		if m.SELinux == types.SELinuxPrivate { // others may have the same
			m.SELinux = types.SELinuxShared
		}
		return
	}
	r.reject(at, try, "%.60q is of this machine and not on %s%s", m.Source, where, why)
}

// writes is a service that mounts a path of the project, or one above or below it, in
// order to write to it; empty for none.
func (p *project) writes(name string) string {
	for i := range p.services {
		s := &p.services[i]
		for _, m := range s.Spec.Mounts {
			if m.Type != otto.MountBind || m.ReadOnly || isAbs(m.Source) {
				continue
			}
			if to := filepath.Clean(m.Source); (inPath(name, to) || inPath(to, name)) && !p.isConfig(to) {
				return s.Name
			}
		}
	}
	return ""
}

// read reads a path of the project, once.
func (p *project) read(r *reader, name string, at pos) (key string) {
	b := &p.brought
	if b.left == nil {
		*b = brought{Folders{}, folder.NewBudget(), map[string]string{}}
	}
	project, below := r.placeOf(name)
	manifest, err := folder.Read(project, below, b.left)
	if err == nil {
		key = manifest.Key()
		b.folders[key] = Folder{manifest, project, below}
	} else if why := (*folder.Refusal)(nil); errors.As(err, &why) {
		r.reject(at, why.Try, "%s", why.What)
	} else {
		r.reject(at, "mount something else", "%.60q: %s", name, reason(err))
	}
	b.keys[name] = key
	return key
}
