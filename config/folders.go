package config

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

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
// this machine they are made absolute, and used in place. Elsewhere configuration is brought
// with each change, and data is copied once. What has no home and writes to a path of this
// machine has its home here, where its data is.
func (d *document) checkMounts(r *reader, p *project) {
	p.note()
	p.warnOfRules(r)
	for i := range p.services {
		s := &p.services[i]
		if p.stack == "" && s.Node == "" && !s.Global() && p.staysHere(s) {
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
				r.onlyFromHere(s.mountsAt[k], "copy it to its node and write the absolute path there",
					"%.60q is used in place, and the control plane is on another machine", m.Source)
				if data, _ := p.isData(m); data && p.mayBring(filepath.Clean(m.Source)) {
					s.seed(r, p, p.dataOf(filepath.Clean(m.Source)))
				}
				m.Source = r.path(m.Source)
			}
		}
		s.mountsAt = nil
	}
	d.checkShared(r, p)
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
	return slices.ContainsFunc(p.services, func(s service) bool { return !s.apart && !s.Global() && p.staysHere(&s) })
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
	name, why := filepath.Clean(m.Source), ""
	data, writer := p.isData(m)
	switch {
	case !p.mayBring(name):
		if p.stack != "" {
			try = fmt.Sprintf("write `x-otto: {paths: {%s: data}}` at the top of the Compose file to have it copied once, "+
				"`node` there if it is to begin empty, or `config` if it is only read; or ", name) + try
		}
		if name[0] != '~' {
			why = ": it is outside of the folder of the project, of which alone Otto brings files by itself"
		}
	case data && s.Global():
		why = ": it is data, and a service on every node would have one on each"
		if m.ReadOnly && writer != "" {
			why = fmt.Sprintf(": service %s writes to it, and a service on every node would have one on each", writer)
		}
		try = "write an absolute path, at which each node has its own"
	case data:
		d.bringData(r, p, s, m, at)
		return
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

// bringData makes a relative path that is data a volume of the node, which begins with what is
// here.
func (d *document) bringData(r *reader, p *project, s *service, m *otto.Mount, at pos) {
	name := filepath.Clean(m.Source)
	if err := r.leadsOut(name); err != nil {
		r.reject(at, "write the path that it leads to, or the node that is this machine as node",
			"%.60q cannot be copied: %s", m.Source, reason(err))
	}
	if p.rule(p.dataOf(name)).is != pathNode {
		r.onlyFromHere(at, "copy it to its node and write the absolute path there",
			"%.60q is data, which is copied from the machine of the control plane alone, and that is another one", m.Source)
	}
	root := p.dataOf(name)
	below, err := filepath.Rel(root, name)
	if err != nil || below == "." {
		below = ""
	}
	*m = otto.Mount{
		Type: otto.MountVolume, Source: s.seed(r, p, root), Target: m.Target, ReadOnly: m.ReadOnly, External: true,
		SELinux: m.SELinux, Propagation: m.Propagation, Recursive: m.Recursive, Subpath: below, Seed: asWritten(root),
	}
}

// leadsOut is an error about a path that a symlink takes out of its folder.
func (r *reader) leadsOut(name string) error {
	folder, below := r.placeOf(name)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil // that is said when it is to be copied
	}
	defer root.Close()
	_, err = root.Stat(below)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// seed notes that a service has data of its project, and names the volume that it is elsewhere.
// The name follows from the stack and the path, and from no other path's.
func (s *service) seed(r *reader, p *project, path string) (volume string) {
	sum := sha256.Sum256([]byte(p.stack + "\x00" + path))
	plain := regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(path, "_")
	volume = fmt.Sprintf("%s.%.60s.%x", cmp.Or(p.stack, "services"), strings.Trim(plain, "_"), sum[:4])
	if s.Seeds == nil {
		s.Seeds = otto.Seeds{}
	}
	folder, below := r.placeOf(path)
	s.Seeds[volume] = otto.Seed{Project: folder, Path: below, Name: asWritten(path), Empty: p.rule(path).is == pathNode}
	return volume
}

// checkShared finds data that two services would each have one of, as they may be on two
// nodes.
func (d *document) checkShared(r *reader, p *project) {
	for i := range p.services {
		s := &p.services[i]
		for _, o := range p.services[:i] {
			if len(d.nodes) < 2 || s.Unit != "" && s.Unit == o.Unit || s.Node != "" && s.Node == o.Node {
				continue
			}
			for _, volume := range slices.Sorted(maps.Keys(s.Seeds)) {
				_, both := o.Seeds[volume]
				copied := slices.Contains(s.Spec.Volumes(), volume) || slices.Contains(o.Spec.Volumes(), volume)
				if both && copied {
					r.reject(s.pos, "write the same node for both", "services %s and %s share the data %s, and may be on two "+
						"nodes with one each", o.Name, s.Name, s.Seeds[volume])
				}
			}
		}
	}
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
		try := why.Try
		if why.TooMuch() && p.stack != "" {
			try = fmt.Sprintf("write `x-otto: {paths: {%s: data}}` at the top of the Compose file to have it copied once, or `node` there "+
				"if it is to begin empty; or ", asWritten(name)) + why.Try
		}
		r.reject(at, try, "%s", why.What)
	} else {
		r.reject(at, "mount something else", "%.60q: %s", name, reason(err))
	}
	b.keys[name] = key
	return key
}
