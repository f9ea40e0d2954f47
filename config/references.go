package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Reference is a file that a Compose file needs beside itself.
type Reference struct {
	Path     string // as it stands there, with its variables filled in
	Compose  bool   // it is read as a Compose file, and may have references of its own
	Optional bool   // it may be missing
}

// NotAloneError says why a Compose file cannot be read without more of its folder, or of its machine.
type NotAloneError struct{ Why string }

// Error implements error.
func (e NotAloneError) Error() string { return e.Why }

// References are the files that the Compose file at a path refers to, but for what it mounts.
func References(path string, shell func(string) (string, bool)) (all []Reference, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var top map[string]any
	if err := yaml.Unmarshal(data, &top); err != nil {
		return nil, NotAloneError{"it is not YAML: " + firstLine(err.Error())}
	}
	f := finder{vars: variablesBeside(filepath.Dir(path), shell)}
	f.included(top["include"])
	services := mappingOf(top["services"])
	for _, name := range slices.Sorted(maps.Keys(services)) {
		f.service(name, mappingOf(services[name]))
	}
	for _, kind := range []string{"configs", "secrets"} {
		all := mappingOf(top[kind])
		for _, name := range slices.Sorted(maps.Keys(all)) {
			f.add(mappingOf(all[name])["file"], Reference{})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(top)) {
		if strings.HasPrefix(name, "x-otto") {
			f.refuse("it has %s", name)
		}
	}
	if f.why != "" {
		return nil, NotAloneError{f.why}
	}
	return f.all, nil
}

// finder finds references.
type finder struct {
	vars *reader
	all  []Reference
	why  string // the file cannot be read by itself
}

func (f *finder) refuse(format string, args ...any) {
	if f.why == "" {
		f.why = fmt.Sprintf(format, args...)
	}
}

// add notes a path, if there is one.
func (f *finder) add(path any, as Reference) {
	text, ok := path.(string)
	if !ok || text == "" {
		return
	}
	if as.Path, ok = f.vars.substitute(pos{}, text); !ok {
		f.refuse("%.60q is no path", text)
	}
	f.all = append(f.all, as)
}

// each calls do for each item of a list, or for what is one itself.
func each(v any, do func(item any)) {
	if list, ok := v.([]any); ok {
		for _, item := range list {
			do(item)
		}
	} else if v != nil {
		do(v)
	}
}

func (f *finder) included(v any) {
	each(v, func(item any) {
		m, long := item.(map[string]any)
		if !long {
			f.add(item, Reference{Compose: true})
			return
		}
		if m["project_directory"] != nil {
			f.refuse("it includes files with a project_directory")
		}
		each(m["path"], func(path any) { f.add(path, Reference{Compose: true}) })
		each(m["env_file"], func(path any) { f.add(path, Reference{}) })
	})
}

func (f *finder) service(name string, s map[string]any) {
	if s["build"] != nil {
		f.refuse("service %s is built from a folder", name)
	}
	if s["x-otto"] != nil {
		f.refuse("service %s has x-otto", name)
	}
	f.add(mappingOf(s["extends"])["file"], Reference{Compose: true})
	each(s["env_file"], func(item any) {
		m, long := item.(map[string]any)
		if !long {
			f.add(item, Reference{})
			return
		}
		required, set := m["required"].(bool)
		f.add(m["path"], Reference{Optional: set && !required})
	})
	each(s["label_file"], func(item any) { f.add(item, Reference{}) })
}

// mappingOf is v as a mapping; empty if it is none.
func mappingOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// Kept is a path of a node that a container keeps, whatever the Compose file has there.
type Kept struct {
	Service, Source, Target string
	ReadOnly                bool
}

// KeptFile is the content of a Compose file that, after those of a project, has its services keep
// paths of their node.
func KeptFile(comment string, kept []Kept) (string, error) {
	type mount struct {
		Type     string         `yaml:"type"`
		Source   string         `yaml:"source"`
		Target   string         `yaml:"target"`
		ReadOnly bool           `yaml:"read_only,omitempty"`
		Bind     map[string]any `yaml:"bind"`
	}
	type service struct {
		Volumes []mount `yaml:"volumes"`
	}
	services := map[string]service{}
	dollars := strings.NewReplacer("$", "$$") // they are no variables
	for _, k := range kept {
		of := services[k.Service]
		of.Volumes = append(of.Volumes, mount{
			Type: "bind", Source: dollars.Replace(k.Source), Target: dollars.Replace(k.Target), ReadOnly: k.ReadOnly,
			Bind: map[string]any{"create_host_path": false}, // it is there
		})
		services[k.Service] = of
	}
	text, err := asLines(map[string]any{"services": services})
	return comment + text, err
}
