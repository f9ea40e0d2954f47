package config

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"

	"github.com/otto-edge/otto"
)

// Build is an image that is built on this machine for services of one project.
type Build struct {
	// Services are those that run it, by their names in otto.Wanted.
	Services []string
	Image    string // the name it is built under
	Place    string // of its build key, as file:line:column

	config  types.BuildConfig
	context string // an absolute path, or an address
	dir     string // in which relative paths begin
	secrets []buildSecret
}

type buildSecret struct{ id, file, variable, value string }

// building is a service's key build.
type building struct {
	at     pos
	value  value
	always pos // of pull_policy: build
	config *types.BuildConfig
	of     *Build
}

// buildKey notes what is to be built. It is read when all of the project is known.
func buildKey() key[service] {
	s := oneOf(schema{"type": "string"}, schema{"type": "object"})
	return key[service]{
		"What its image is built from: a folder, or Compose's context, dockerfile, args, target and so on.", s,
		func(_ *reader, v value, s *service) { s.build.at, s.build.value = v.pos, v },
	}
}

// resolveBuilds finds out what is built for which services.
func (p *project) resolveBuilds(r *reader) {
	built := map[string]*Build{}
	for i := range p.services {
		s := &p.services[i]
		b := &s.build
		if b.at == (pos{}) {
			if b.always != (pos{}) {
				r.reject(b.always, "write build, or pull_policy: missing, always or never",
					"service %s has nothing to build", s.Name)
			}
			continue
		}
		if s.Spec.PullPolicy == otto.PullAlways && s.Spec.Image != "" {
			r.warn(b.at, "take pull_policy out to have it built",
				"service %s is not built: its pull_policy is always, by which its image is pulled", s.Name)
			continue
		}
		if b.config == nil {
			b.config = r.composeBuild(b.at, b.value)
		}
		if b.config == nil {
			continue
		}
		if b.of = p.build(r, s); b.of != nil {
			r.onlyFromHere(b.at, "push the image to a registry, and take build out",
				"the image of service %s is built where the control plane is, and that is another machine", s.Name)
			built[b.of.Image] = b.of
		}
	}
	for i := range p.services { // as with Compose, what another service builds is there by its name
		s := &p.services[i]
		if s.build.at == (pos{}) && s.Spec.PullPolicy != otto.PullAlways {
			s.build.of = built[s.Spec.Image]
		}
		if b := s.build.of; b != nil {
			s.Spec.Image, s.Spec.PullPolicy = b.Image, otto.PullNever
		}
	}
}

// build is what is built for a service.
func (p *project) build(r *reader, s *service) *Build {
	c, at := *s.build.config, s.build.at
	b := &Build{Image: s.Spec.Image, Place: r.place(at), config: c, context: cmp.Or(c.Context, "."), dir: r.dir}
	if b.Image == "" {
		b.Image = strings.ToLower(p.prefix + "-" + s.Name)
		if _, err := reference.ParseNormalizedNamed(b.Image); err != nil {
			r.reject(at, "write image: NAME beside build", "%.60q, after stack and service, is no name of an image", b.Image)
			return nil
		}
	}
	switch {
	case c.Privileged:
		r.reject(at, "take privileged out of build", "docker build has no privileged steps")
	case c.Isolation != "" && c.Isolation != "default":
		r.reject(at, "take isolation out of build", "isolation of a build is of Windows")
	}
	for name, from := range c.AdditionalContexts {
		if strings.HasPrefix(from, types.ServicePrefix) {
			r.reject(at, "name its image as docker-image://NAME, or its folder",
				"additional context %.60q of service %s is what another service builds, which Otto does not take yet", name, s.Name)
		}
	}
	if !remoteContext(b.context) {
		b.context = r.path(b.context)
		p.checkContext(r, s, b)
	}
	for _, use := range c.Secrets {
		from, known := p.secrets[use.Source]
		id := cmp.Or(use.Target, use.Source)
		switch {
		case known && from.environment != "":
			val, ok := r.lookup(from.environment)
			if !ok {
				r.reject(at, "set it", "variable %s, which secret %.60q of the build is, is not set", from.environment, use.Source)
			}
			b.secrets = append(b.secrets, buildSecret{id: id, variable: from.environment, value: val})
		case known && from.path != "":
			b.secrets = append(b.secrets, buildSecret{id: id, file: from.path})
		default:
			r.reject(at, "write it under secrets at the top, with file or environment", "there is no secret %.60q for the build", use.Source)
		}
	}
	return b
}

// place is where something stands, as problems have it.
func (r *reader) place(at pos) string {
	return fmt.Sprintf("%s:%d:%d", cmp.Or(at.file, r.file), at.line, at.col)
}

// checkContext looks for the folder and the Dockerfile of a build.
func (p *project) checkContext(r *reader, s *service, b *Build) {
	if info, err := os.Stat(b.context); err != nil || !info.IsDir() {
		r.reject(s.build.at, "write the path of the folder with its Dockerfile",
			"service %s is built from %.80s, and there is no such folder", s.Name, b.context)
		return
	}
	if b.config.DockerfileInline != "" {
		return
	}
	file := b.dockerfile()
	if info, err := os.Stat(file); err != nil || info.IsDir() {
		r.reject(s.build.at, "make it, or write its name as dockerfile", "service %s is built by %.80s, and there is no such file",
			s.Name, file)
	}
}

// dockerfile is its path, or its name in an address.
func (b *Build) dockerfile() string {
	name := cmp.Or(b.config.Dockerfile, "Dockerfile")
	if filepath.IsAbs(name) || remoteContext(b.context) {
		return name
	}
	return filepath.Join(b.context, name)
}

// remoteContext reports whether a builder fetches a context by itself, as BuildKit tells it.
func remoteContext(path string) bool {
	return strings.Contains(path, "://") || strings.HasPrefix(path, "git@") || strings.HasPrefix(path, "github.com/")
}

// composeBuild has Compose's own loader read a build of otto.yaml.
func (r *reader) composeBuild(at pos, v value) *types.BuildConfig {
	silenceLibrary()
	model := map[string]any{"services": map[string]any{"x": map[string]any{"build": plainValue(v)}}}
	env := r.variables(nil)
	for _, name := range unsetArgs(v) {
		if val, ok := r.lookup(name); ok {
			env[name] = val
		}
	}
	var loaded *types.Project
	err := unlessItCrashes(func() (err error) {
		loaded, err = loader.LoadWithContext(context.Background(), types.ConfigDetails{
			WorkingDir:  r.dir,
			Environment: env,
			ConfigFiles: []types.ConfigFile{{Filename: r.file, Config: model}},
		}, func(o *loader.Options) {
			o.SetProjectName("x", true)
			o.ResolvePaths, o.SkipDefaultValues, o.SkipConsistencyCheck = false, true, true
			// Variables are filled in already; what is left of it makes numbers of texts.
			o.Interpolate.Substitute = func(text string, _ template.Mapping) (string, error) { return text, nil }
		})
		return err
	})
	if err != nil {
		r.reject(at, "write it as Compose has it, such as build: ./web", "this cannot be built: %.200s", firstLine(err.Error()))
		return nil
	}
	return loaded.Services["x"].Build
}

// unsetArgs are the arguments of a build whose values are variables of the same name.
func unsetArgs(v value) (names []string) {
	for _, f := range v.fields {
		if f.name != "args" {
			continue
		}
		for _, arg := range f.fields {
			if arg.kind == null {
				names = append(names, arg.name)
			}
		}
		for _, item := range f.items {
			if !strings.Contains(item.text, "=") {
				names = append(names, item.text)
			}
		}
	}
	return names
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// plainValue is a value without its places.
func plainValue(v value) any {
	switch v.kind {
	case null:
		return nil
	case list:
		all := make([]any, len(v.items))
		for i, item := range v.items {
			all[i] = plainValue(item)
		}
		return all
	case mapping:
		all := make(map[string]any, len(v.fields))
		for _, f := range v.fields {
			all[f.name] = plainValue(f.value)
		}
		return all
	}
	if n, err := strconv.Atoi(v.text); err == nil && v.plain && strconv.Itoa(n) == v.text {
		return n
	}
	return v.text
}

// builds are all of a file, with the services that run them.
func (d *document) builds() (all []*Build) {
	seen := map[*Build]bool{}
	for i := range d.services {
		b := d.services[i].build.of
		if b == nil {
			continue
		}
		if !seen[b] {
			seen[b] = true
			all = append(all, b)
		}
		b.Services = append(b.Services, d.services[i].Name)
	}
	return all
}

// SetBuilt says what a service's image is that was built, and for which platform, if nodes
// have several.
func (f *File) SetBuilt(b *Build, id, platform string) {
	for i := range f.Wanted.Services {
		if s := &f.Wanted.Services[i]; slices.Contains(b.Services, s.Name) {
			s.Spec.Image, s.Spec.PullPolicy = id, otto.PullNever
			s.Platform = cmp.Or(s.Platform, platform)
		}
	}
}
