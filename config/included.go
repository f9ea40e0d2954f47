package config

import (
	"path/filepath"
	"strings"
)

// included are the files that a Compose file includes, and those that they include, one
// over the other, for the places of what is in them. One whose path has variables, or is
// not on this machine, has no places.
func (r *reader) included(file value, seen map[string]bool) (places value) {
	for _, f := range file.fields {
		if f.name != "include" {
			continue
		}
		for _, item := range f.items {
			for _, path := range includePaths(item) {
				if !filepath.IsAbs(path) {
					path = filepath.Join(filepath.Dir(file.file), path)
				}
				if seen[path] || strings.Contains(path, "$") {
					continue
				}
				seen[path] = true
				inner := r.source(path)
				for _, own := range inner.fields {
					if own.name == xOtto {
						r.reject(own.pos, "write it at the top of the file that includes this one",
							"x-otto says nothing of the stack in a file that is included")
					}
				}
				places = overlay(places, overlay(r.included(inner, seen), inner))
			}
		}
	}
	return places
}

// includePaths are the paths of one item of include, in its short or its long form.
func includePaths(item value) (paths []string) {
	if item.kind != mapping {
		return []string{item.text}
	}
	for _, f := range item.fields {
		switch {
		case f.name != "path":
		case len(f.items) > 0:
			for _, p := range f.items {
				paths = append(paths, p.text)
			}
		default:
			paths = append(paths, f.text)
		}
	}
	return paths
}
