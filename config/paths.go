package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// pathRule is what a file says of a path of this machine.
type pathRule struct {
	pos
	path string
}

// pathsKey says what paths are, where that does not follow from how they are mounted.
func pathsKey() key[stack] {
	kinds := choice("config")
	return key[stack]{
		"What paths beside the Compose file are: config is only read, however it is mounted.",
		schema{"type": "object", "additionalProperties": kinds.schema},
		func(r *reader, v value, s *stack) {
			if !r.wants(v, mapping, "a path and what it is, such as ./conf: config") {
				return
			}
			for _, f := range v.fields {
				_, ok := kinds.read(r, f.value)
				switch {
				case !ok:
				case isAbs(f.name):
					r.reject(f.pos, "take it out: whatever the node has there is used, and never brought",
						"%.60q is an absolute path, and so the node's", f.name)
				case !strings.HasPrefix(f.name, ".") && f.name != "~" && !strings.HasPrefix(f.name, "~/"):
					r.reject(f.pos, "write it as it is mounted, such as ./conf", "%.60q is not a path", f.name)
				default:
					s.paths = append(s.paths, pathRule{f.pos, filepath.Clean(f.name)})
				}
			}
		},
	}
}

// isConfig reports whether the file says that a path is configuration.
func (p *project) isConfig(name string) bool {
	return slices.ContainsFunc(p.paths, func(rule pathRule) bool { return inPath(name, rule.path) })
}

// warnOfRules finds rules for what no service mounts.
func (p *project) warnOfRules(r *reader) {
	for _, rule := range p.paths {
		mounts := func(m otto.Mount) bool {
			return m.Type == otto.MountBind && !isAbs(m.Source) && inPath(filepath.Clean(m.Source), rule.path)
		}
		if !slices.ContainsFunc(p.services, func(s service) bool { return slices.ContainsFunc(s.Spec.Mounts, mounts) }) {
			r.warn(rule.pos, "take it out", "no service of stack %s mounts %.60q", p.stack, asWritten(rule.path))
		}
	}
}

// inPath reports whether a path is another one, or below it.
func inPath(a, b string) bool {
	return a == b || b == "." && inProject(a) || strings.HasPrefix(a, b+"/")
}

// inProject reports whether a relative path is the folder of the project, or below it.
func inProject(name string) bool { return name[0] != '~' && filepath.IsLocal(name) }

// placeOf is where a relative path of the project is on this machine: a folder, and a path in it.
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
