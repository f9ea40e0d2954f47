package config

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Variable is one that otto.yaml or a stack asks for. Its value is nowhere in it.
type Variable struct {
	Stack string // empty for otto.yaml itself
	Name  string
	From  Source
}

// Source is where the value of a variable comes from.
type Source int

// The sources of variables.
const (
	Nowhere   Source = iota // it has no value, or a default in the file
	FromShell               // the environment of who runs otto
	FromFile                // .env, or a file of COMPOSE_ENV_FILES
)

// ask notes that the file asks for a variable.
func (r *reader) ask(name string) {
	if r.asked == nil {
		r.asked = map[string]bool{}
	}
	r.asked[name] = true
}

// lookup is the value of a variable that the file asks for.
func (r *reader) lookup(name string) (string, bool) {
	r.ask(name)
	return r.env(name)
}

// askedFor are the variables that were asked for so far.
func (r *reader) askedFor(stack string) []Variable {
	var all []Variable
	for name := range r.asked {
		v := Variable{Stack: stack, Name: name}
		if _, ok := r.shell(name); ok {
			v.From = FromShell
		} else if _, ok := r.env(name); ok {
			v.From = FromFile
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// askBare notes the variables that the services of a Compose file, and of those that they extend,
// have in their environment by name alone: their values are from where otto runs.
func (r *reader) askBare(file value, path string, seen map[string]bool) {
	for _, service := range valueAt(file, "services").value.fields {
		environment := valueAt(service.value, "environment")
		if len(environment.names) == 0 {
			environment.value = value{}
		}
		for _, f := range environment.value.fields {
			if f.kind == null {
				r.ask(f.name)
			}
		}
		for _, item := range environment.value.items {
			if item.kind == scalar && !strings.Contains(item.text, "=") {
				r.ask(item.text)
			}
		}
		extended := valueAt(service.value, "extends.file")
		other := filepath.Join(filepath.Dir(path), extended.value.text)
		if len(extended.names) < 2 || seen[other] {
			continue
		}
		seen[other] = true
		if data, err := readFile(other); err == nil {
			aside := &reader{file: other, env: literally}
			root, _ := aside.parse(data)
			r.askBare(root, other, seen)
		}
	}
}

// addEnvFiles adds the variables of the files that Compose would read for a stack: .env of its
// folder, or instead of it those of COMPOSE_ENV_FILES, which are relative to where otto runs.
// They count less than the shell, and more than what stands beside otto.yaml.
func (r *reader) addEnvFiles() bool {
	paths, named := []string{filepath.Join(r.dir, ".env")}, false
	if list, ok := r.shell("COMPOSE_ENV_FILES"); ok && list != "" {
		r.ask("COMPOSE_ENV_FILES")
		paths, named = strings.Split(list, ","), true
	}
	outer, vars := r.env, map[string]string{}
	r.env = func(name string) (string, bool) {
		if val, ok := r.shell(name); ok {
			return val, true
		}
		if val, ok := vars[name]; ok {
			return val, true
		}
		return outer(name)
	}
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			r.problems = append(r.problems, Problem{File: path, What: reason(err), Try: "go to a directory that exists"})
			return false
		}
		data, err := readFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !named:
			return true
		case err != nil && named:
			r.problems = append(r.problems, Problem{File: path, What: reason(err), Try: "COMPOSE_ENV_FILES names it: " +
				"write paths that are relative to where you run otto, with commas between them, or take it out of the environment"})
			return false
		case err != nil:
			r.problems = append(r.problems, Problem{File: path, What: reason(err), Try: "mend it or take it away"})
			return false
		}
		r.warnOfDollars(path, r.env)
		own, problem := parseEnv(path, data, r.unlessOwn(path, data))
		if problem != nil {
			r.problems = append(r.problems, *problem)
			return false
		}
		maps.Copy(vars, own)
		if list, ok := own["COMPOSE_ENV_FILES"]; ok {
			r.warn(pos{file: path}, "set it in the environment, or put the variables of "+list+" here",
				"COMPOSE_ENV_FILES is not read from a file, as in Compose")
		}
	}
	r.files = vars
	return true
}

// variablesBeside has the variables of a project in a folder. What cannot be read is said when
// the project is read.
func variablesBeside(dir string, shell func(string) (string, bool)) *reader {
	r := &reader{dir: dir, env: shell, shell: shell}
	r.addEnvFiles()
	return r
}

// unlessOwn is what a file of variables is filled in with. What it defines itself, it means
// itself, unless the shell has it.
func (r *reader) unlessOwn(path string, data []byte) func(string) (string, bool) {
	own, _ := parseEnv(path, data, func(string) (string, bool) { return "", false })
	return func(name string) (string, bool) {
		if _, ok := own[name]; ok {
			return r.shell(name)
		}
		return r.env(name)
	}
}
