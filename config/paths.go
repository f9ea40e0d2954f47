package config

import (
	"path/filepath"
	"strings"

	"github.com/otto-edge/otto"
)

// What a path of this machine is, where the file says it.
const (
	pathConfig = "config" // it is brought with each change, and can only be read on nodes
	pathData   = "data"   // it is copied to its node once
	pathNode   = "node"   // it begins empty on its node
	pathShared = "shared" // every node has the same at this absolute path
)

// pathRule is what a file says of a path.
type pathRule struct {
	pos
	path, is string
}

// pathsKey says what paths are, where that does not follow from how they are mounted.
func pathsKey() key[stack] {
	kinds := choice(pathConfig, pathData, pathNode, pathShared)
	return key[stack]{
		"What paths are: config, data, or node for data that begins empty on its node, beside the Compose file; " +
			"shared for absolute ones at which all nodes have the same.",
		schema{"type": "object", "additionalProperties": kinds.schema},
		func(r *reader, v value, s *stack) {
			if !r.wants(v, mapping, "a path and what it is, such as ./media: data") {
				return
			}
			for _, f := range v.fields {
				is, ok := kinds.read(r, f.value)
				switch {
				case !ok:
				case is == pathShared && (!isAbs(f.name) || filepath.Clean(f.name) == "/"):
					r.reject(f.pos, "write the absolute path at which each node has it, such as /mnt/nas",
						"%.60q cannot be the same on all nodes", f.name)
				case isAbs(f.name) && is != pathShared:
					r.reject(f.pos, "take it out: whatever the node has there is used, and never copied; "+
						"or write shared if all nodes have the same there",
						"%.60q is an absolute path, and so the node's", f.name)
				case is == pathShared:
					s.paths = append(s.paths, pathRule{f.pos, filepath.Clean(f.name), is})
				case !strings.HasPrefix(f.name, ".") && f.name != "~" && !strings.HasPrefix(f.name, "~/"):
					r.reject(f.pos, "write it as it is mounted, such as ./media", "%.60q is not a path", f.name)
				default:
					s.paths = append(s.paths, pathRule{f.pos, filepath.Clean(f.name), is})
				}
			}
		},
	}
}

// rule is what the file says of a path: the closest to it of those that it is in.
func (p *project) rule(name string) (found pathRule) {
	for _, rule := range p.paths {
		if inPath(name, rule.path) && (found.is == "" || inPath(rule.path, found.path)) {
			found = rule
		}
	}
	return found
}

// share takes in which absolute paths all nodes share. The engine must not make them, as what is
// not there has not been mounted. A service that writes to nothing else may go where it likes,
// although never to two nodes at once: what it writes is on none of them.
func (p *project) share(r *reader, s *service) {
	shares, keeps := false, s.Spec.Exclusive
	for i := range s.Spec.Mounts {
		m := &s.Spec.Mounts[i]
		is := ""
		if m.Type == otto.MountBind {
			is = p.rule(filepath.Clean(m.Source)).is
		}
		switch {
		case is == pathShared:
			if m.SELinux != "" { // in the only form that has it, the engine makes what is missing
				r.reject(s.mountsAt[i], "take "+m.SELinux+" out, and let containers use it on each node, such as by "+
					"`setsebool -P virt_use_nfs 1`", "%.60q is shared by all nodes, and none may label it for itself", m.Source)
			}
			m.MustExist = true
			shares = shares || !m.ReadOnly
		case is != pathConfig:
			keeps = keeps || otto.ContainerSpec{Mounts: []otto.Mount{*m}}.Stateful()
		}
	}
	if shares && !keeps && !s.Global() {
		s.Data = otto.DataDisposable
	}
}

// isData reports whether a relative mount is data, and which service writes to it, if another
// one does.
func (p *project) isData(m *otto.Mount) (data bool, writer string) {
	name := filepath.Clean(m.Source)
	switch p.rule(name).is {
	case pathConfig:
		return false, ""
	case pathData, pathNode:
		return true, ""
	}
	if !m.ReadOnly {
		return true, ""
	}
	// What is mounted above it would show another file under the same path.
	for i := range p.services {
		for _, above := range p.services[i].relative {
			if writer == "" && inPath(name, above) && p.rule(above).is != pathConfig {
				writer = p.writes(above)
			}
		}
	}
	return writer != "", writer
}

// mayBring reports whether Otto brings a path to nodes: it is below the project, or the file
// says what it is.
func (p *project) mayBring(name string) bool {
	return inProject(name) || p.rule(name).is != ""
}

// staysHere reports whether a service has its home on this machine, if the file gives it
// none: it writes to a path of it.
func (p *project) staysHere(s *service) bool {
	for _, m := range s.Spec.Mounts {
		if m.Type != otto.MountBind || isAbs(m.Source) {
			continue
		}
		switch is := p.rule(filepath.Clean(m.Source)).is; {
		case is == pathConfig:
		case is == pathData, is == pathNode, !m.ReadOnly && m.Source[0] != '~':
			return true
		}
	}
	return false
}

// note takes in which relative paths services mount, before any mount is replaced.
func (p *project) note() {
	for i := range p.services {
		s := &p.services[i]
		for _, m := range s.Spec.Mounts {
			if m.Type != otto.MountBind || isAbs(m.Source) {
				continue
			}
			name := filepath.Clean(m.Source)
			s.relative = append(s.relative, name)
			if !m.ReadOnly && p.rule(name).is != pathConfig {
				s.written = append(s.written, name)
			}
		}
	}
}

// warnOfRules finds rules for what no service mounts.
func (p *project) warnOfRules(r *reader) {
	for _, rule := range p.paths {
		used := false
		for i := range p.services {
			for _, name := range p.services[i].relative {
				used = used || inPath(name, rule.path) || inPath(rule.path, name)
			}
			for _, m := range p.services[i].Spec.Mounts {
				used = used || m.Type == otto.MountBind && isAbs(m.Source) && inPath(filepath.Clean(m.Source), rule.path)
			}
		}
		if !used {
			r.warn(rule.pos, "take it out", "no service of stack %s mounts %.60q", p.stack, asWritten(rule.path))
		}
	}
}

// dataOf is what a path that is data is a part of: the outermost that is mounted as data, or
// that the file says is data.
func (p *project) dataOf(name string) string {
	root := name
	take := func(m string) {
		if inPath(name, m) && inPath(root, m) && p.rule(m).is != pathConfig {
			root = m
		}
	}
	for i := range p.services {
		for _, m := range p.services[i].relative {
			take(m)
		}
	}
	for _, rule := range p.paths {
		take(rule.path)
	}
	return root
}

// writes is a service that mounts a path of the project, or one above or below it, in
// order to write to it; empty for none.
func (p *project) writes(name string) string {
	for i := range p.services {
		for _, to := range p.services[i].written {
			if inPath(name, to) || inPath(to, name) {
				return p.services[i].Name
			}
		}
	}
	return ""
}

// inPath reports whether a path is another one, or below it.
func inPath(a, b string) bool {
	return a == b || b == "." && inProject(a) || strings.HasPrefix(a, b+"/")
}

// inProject reports whether a relative path is the folder of the project, or below it.
func inProject(name string) bool { return name[0] != '~' && filepath.IsLocal(name) }

// placeOf is where a relative path of the project is on this machine: a folder, and a path in it
// that does not lead out of that.
func (r *reader) placeOf(name string) (folder, below string) {
	if inProject(name) {
		return r.dir, name
	}
	at := r.path(name)
	return filepath.Dir(at), filepath.Base(at)
}

// asWritten is a relative path as people write it.
func asWritten(name string) string {
	if !inProject(name) || name == "." {
		return name
	}
	return "./" + name
}
