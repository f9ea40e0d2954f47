package config

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/paths"
	composespec "github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/template"
	composetree "github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// silenceLibrary keeps Compose's library from logging past Otto, which warns by itself.
func silenceLibrary() { logrus.SetOutput(io.Discard) }

// loadModel loads a project twice over: as a tree in which relative paths are still
// known as such, and as Compose's own types, of which the services that profiles leave
// in and their variables are taken.
func (r *reader) loadModel(s *stack, files []string, source value) (map[string]any, *types.Project) {
	silenceLibrary()
	readRawFiles()
	defer compileSchema()()
	details := types.ConfigDetails{WorkingDir: r.dir, Environment: r.variables(files)}
	for _, f := range files {
		data, err := readFile(f)
		if err != nil {
			r.problems = append(r.problems, Problem{File: f, What: reason(err), Try: "name a Compose file that you may read"})
			return nil, nil
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f, Content: data})
	}
	unset := map[string]bool{}
	profiles := s.profiles
	if len(profiles) == 0 {
		if asked, ok := r.lookup("COMPOSE_PROFILES"); ok {
			profiles = strings.Split(asked, ",")
		}
	}
	set := func(o *loader.Options) {
		o.SetProjectName(s.name, true)
		o.Profiles = profiles
		o.ResolvePaths = false
		o.SkipDefaultValues = true // Otto has the same where it reads
		o.Interpolate.TypeCastMapping = castsFor(o.Interpolate.TypeCastMapping, details.ConfigFiles)
		o.Interpolate.Substitute = func(text string, lookup template.Mapping) (string, error) {
			return template.SubstituteWithOptions(text, func(name string) (string, bool) {
				val, ok := lookup(name)
				r.ask(name)
				if !ok && bare(text, name) {
					unset[name] = true
					return "", true
				}
				return val, ok
			}, template.WithoutLogging)
		}
	}
	defer func() { // beside mistakes, too: what is blank may be the reason for them
		for _, name := range slices.Sorted(maps.Keys(unset)) {
			r.warnOfUnset(variableAt(source, name), name)
		}
	}()
	var model map[string]any
	err := unlessItCrashes(func() (err error) {
		model, err = loader.LoadModelWithContext(context.Background(), details, set)
		return err
	})
	if err != nil {
		r.rejectLoad(err, source)
		return nil, nil
	}
	loaded, err := asTypes(model, plainServices(model, details.Environment), details, set)
	if err != nil {
		r.rejectLoad(err, source)
		return nil, nil
	}
	return model, loaded
}

// asTypes has Compose's types filled from a model, all but those services that are there
// already.
func asTypes(
	model map[string]any, there types.Services, details types.ConfigDetails, set func(*loader.Options),
) (loaded *types.Project, err error) {
	named := forTypes(model, there)
	if err := resolveFiles(named, details.WorkingDir); err != nil {
		return nil, err
	}
	err = unlessItCrashes(func() (err error) {
		loaded, err = loader.ModelToProject(named, loader.ToOptions(&details, []func(*loader.Options){set}), details)
		return err
	})
	if err != nil {
		return nil, err
	}
	if loaded.Services == nil {
		loaded.Services = types.Services{}
	}
	maps.Copy(loaded.Services, there)
	return loaded, nil
}

// compileSchema has the library compile the specification's schema, which takes a tenth of the
// time of the first load and needs none of the files, beside that load. It returns what waits
// for its end.
func compileSchema() (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = composespec.Validate(map[string]any{}) // compiled once, whatever is validated
	}()
	return func() { <-done }
}

// resolveFiles makes the paths of files absolute that Compose's types are filled from. Other
// paths are left alone: their type is of no use, and each pattern of the library that a path
// is compared with takes its time.
func resolveFiles(model map[string]any, dir string) error {
	services, _ := model["services"].(map[string]any)
	for _, s := range services {
		s, ok := s.(map[string]any)
		if !ok {
			continue
		}
		files := map[string]any{}
		for _, key := range []string{"env_file", "label_file"} {
			if val, ok := s[key]; ok {
				files[key] = val
			}
		}
		if len(files) == 0 {
			continue
		}
		of := map[string]any{"services": map[string]any{"x": files}}
		if err := paths.ResolveRelativePaths(of, dir, nil); err != nil {
			return err
		}
		maps.Copy(s, files)
	}
	return nil
}

// castsFor are the casts of values that these files can need: the library compares each value
// of a project with all of them, which takes a fifth of the time of a load.
func castsFor(all map[composetree.Path]interpolation.Cast, files []types.ConfigFile) map[composetree.Path]interpolation.Cast {
	has := map[string]bool{}
	in := func(word string) bool {
		if _, asked := has[word]; !asked {
			has[word] = slices.ContainsFunc(files, func(f types.ConfigFile) bool { return bytes.Contains(f.Content, []byte(word)) })
		}
		return has[word]
	}
	if in("include") || in("extends") || in(`\x`) || in(`\u`) || in(`\U`) || in("\\\n") || in("\\\r") {
		return all // there are other files, or keys may be written in another way
	}
	casts := map[composetree.Path]interpolation.Cast{}
	for path, cast := range all {
		missing := slices.ContainsFunc(path.Parts(), func(part string) bool {
			return part != composetree.PathMatchAll && part != composetree.PathMatchList && !in(part)
		})
		if !missing {
			casts[path] = cast
		}
	}
	return casts
}

// forTypes is a copy of a project with all that is taken from Compose's types, or that they
// are checked for, without the services that are there already: filling the types with the
// rest takes its time.
func forTypes(model map[string]any, there types.Services) map[string]any {
	named := map[string]any{}
	for key, val := range model {
		if key != "services" {
			named[key] = clone(val)
		}
	}
	services, _ := model["services"].(map[string]any)
	reduced := make(map[string]any, len(services))
	for name, s := range services {
		if _, ok := there[name]; ok {
			continue
		}
		s, ok := s.(map[string]any)
		if !ok {
			return clone(model).(map[string]any)
		}
		few := map[string]any{}
		for _, key := range strings.Fields("environment env_file labels label_file profiles image build provider models container_name scale deploy " +
			"depends_on network_mode networks volumes tmpfs configs secrets cpus mem_limit mem_reservation pids_limit") {
			if val, ok := s[key]; ok {
				few[key] = clone(val)
			}
		}
		if on, ok := few["depends_on"].(map[string]any); ok {
			maps.DeleteFunc(on, func(name string, _ any) bool { _, ok := there[name]; return ok })
		}
		reduced[name] = few
	}
	if len(services) > 0 {
		named["services"] = reduced
	}
	return named
}

// clone copies a tree of mappings and lists.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = clone(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	}
	return v
}

// variableWord is what may be the name of a variable.
var variableWord = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// variables are those that a project may use, as a mapping, which the library needs.
func (r *reader) variables(files []string) types.Mapping {
	all := types.Mapping{}
	take := func(name string) {
		if val, ok := r.env(name); ok {
			all[name] = val
		}
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		take(name)
	}
	for name := range r.files {
		take(name)
	}
	for _, f := range files {
		data, _ := readFile(f)
		for _, name := range variableWord.FindAllString(string(data), -1) {
			take(name)
		}
	}
	return all
}
