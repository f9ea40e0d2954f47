package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// tryReference is the advice where nothing better is known.
const tryReference = "see https://docs.docker.com/reference/compose-file/ for how to write it"

// What Compose's loader says about a file or a value.
var (
	unparsed  = regexp.MustCompile(`^failed to parse (.+?): yaml: `)
	undecoded = regexp.MustCompile(`(?m)^'(.+?)' (.+)$`)

	uninterpolated = regexp.MustCompile(`(?m)^invalid interpolation format for (.+)\.$`)
	topKeys        = regexp.MustCompile(`^validating .*?:  additional properties (.+) not allowed`)
	unknownKey     = regexp.MustCompile(`^(\S+)(?: additional properties '([^']+)' not allowed| false schema$)`)
	quoted         = regexp.MustCompile(`'([^']+)'`)
	undefined      = regexp.MustCompile(
		`^service "(.+?)" (?:refers to undefined (\w+)|depends on undefined (service)) "?(.+?)"?: invalid`)
	withoutImage = regexp.MustCompile(`^service "(.+?)" has neither an image`)
	remote       = regexp.MustCompile(`(?:^|/)(?:(?:https?|ssh|git|oci):/|git@)`)
	badPort      = regexp.MustCompile(`^invalid (?:hostPort|containerPort|proto|IP address|spec)|^No port specified`)
)

// rejectLoad reports an error of Compose's loader, one line for each mistake, with its
// place as far as that can be found in source.
func (r *reader) rejectLoad(err error, source value) {
	if crash := (crashError{}); errors.As(err, &crash) {
		r.reject(emptyKey(source), "give every key of a service a value, or take it out", "%s", err)
		return
	}
	var path *fs.PathError
	if errors.As(err, &path) && remote.MatchString(path.Path) {
		r.reject(fileNamed(source, path.Path), "clone it, and write the path of its Compose file here",
			"what is named here is on another machine, and Otto reads files of this one only")
		return
	}
	if errors.As(err, &path) {
		r.reject(fileNamed(source, path.Path), "write a path relative to the Compose file", "%s: %s", path.Path, path.Err)
		return
	}
	text := err.Error()
	if m := unparsed.FindStringSubmatch(text); m != nil && r.rejectYAML(m[1]) {
		return
	}
	if list, ok := strings.CutPrefix(text, "decoding failed due to the following error(s):"); ok {
		if all := undecoded.FindAllStringSubmatch(list, -1); len(all) > 0 {
			for _, m := range all {
				r.rejectValue(source, m[1], m[2])
			}
			return
		}
	}
	if all := uninterpolated.FindAllStringSubmatch(text, -1); len(all) > 0 {
		for _, m := range all { // the rest of the text may hold a secret
			r.reject(valueAt(source, m[1]).at, "write ${NAME} with both braces, or $$ for a dollar sign",
				"a variable cannot be read in %s", valueAt(source, m[1]).name(m[1]))
		}
		return
	}
	if r.rejectUndefined(text, source) || r.rejectFilling(text, source) || r.rejectCircle(text, source) {
		return
	}
	r.rejectLine(text, source)
}

// rejectUndefined reports what a file refers to and does not have, and other mistakes that
// the loader finds without a place. It returns false if the error is another one.
func (r *reader) rejectUndefined(text string, source value) bool {
	if m := topKeys.FindStringSubmatch(text); m != nil {
		known := []string{"services", "networks", "volumes", "secrets", "configs", "include", "name", "version"}
		for _, key := range quoted.FindAllStringSubmatch(m[1], -1) {
			try := "known are " + strings.Join(known, ", ")
			if n := nearest(key[1], known); n != "" {
				try = "did you mean " + n + "?"
			}
			r.reject(valueAt(source, key[1]).at, try, "Compose has no key %.60q at the top of a file", key[1])
		}
		return true
	}
	if m := undefined.FindStringSubmatch(text); m != nil {
		kind, name := m[2]+m[3], m[4]
		at := useOf(valueAt(source, "services."+m[1]), kind, name)
		r.reject(at, toDefine(source, kind, name), "service %s refers to %s %.60s, which is not defined", m[1], kind, name)
		return true
	}
	if m := withoutImage.FindStringSubmatch(text); m != nil {
		r.reject(valueAt(source, "services."+m[1]).at, "write image: and what it is to run, such as image: nginx:alpine",
			"service %s has no image", m[1])
		return true
	}
	if !badPort.MatchString(text) {
		return false
	}
	found := false
	for _, service := range valueAt(source, "services").value.fields {
		for _, key := range []string{"ports", "volumes"} {
			if service.has(key) {
				found = r.rejectRead(valueAt(source, "services."+service.name+"."+key)) || found
			}
		}
	}
	return found
}

// toDefine is what to write for a part of a project that is referred to.
func toDefine(source value, kind, name string) string {
	var there []string
	for _, f := range valueAt(source, kind+"s").value.fields {
		there = append(there, f.name)
	}
	switch n := nearest(name, there); {
	case source.has(kind+"s", name): // of no profile that is asked for
		return "ask for one of its profiles, with profiles: at the stack in otto.yaml"
	case n != "":
		return "did you mean " + n + "?"
	}
	meaning := map[string]string{
		"volume": "{}", "network": "{}", "secret": "{file: ./" + name + ".txt}", "config": "{file: ./" + name + "}",
	}[kind]
	switch {
	case kind == "service":
		return "write one of " + strings.Join(there, ", ")
	case meaning == "":
		return tryReference
	case !source.has(kind + "s"):
		return fmt.Sprintf("write `%ss: {%s: %s}` at the top of the file", kind, name, meaning)
	}
	return fmt.Sprintf("add `%s: %s` to %ss at the top of the file", name, meaning, kind)
}

// useOf is where a service refers to a part of the project.
func useOf(service place, kind, name string) pos {
	keys := []string{kind + "s"}
	if kind == "service" {
		keys = []string{"depends_on", "links", "network_mode", "volumes_from", "pid", "ipc"}
	}
	for _, f := range service.value.fields {
		if !slices.Contains(keys, f.name) {
			continue
		}
		for _, key := range f.fields {
			if key.name == name {
				return key.pos
			}
		}
		for _, item := range f.items {
			if i := slices.IndexFunc(item.fields, func(f field) bool { return f.name == "source" && f.text == name }); i >= 0 {
				return item.fields[i].value.pos
			}
			if before, _, _ := strings.Cut(item.text, ":"); before == name {
				return item.pos
			}
		}
		if f.text == "service:"+name {
			return f.value.pos
		}
	}
	return service.at
}

// fileNamed is where a Compose file names the path of another file.
func fileNamed(v value, path string) pos {
	if v.kind == scalar && v.text != "" && v.file != "" &&
		(v.text == path || filepath.Join(filepath.Dir(v.file), v.text) == path) {
		return v.pos
	}
	for _, item := range v.items {
		if at := fileNamed(item, path); at.line > 0 {
			return at
		}
	}
	for _, f := range v.fields {
		if at := fileNamed(f.value, path); at.line > 0 {
			return at
		}
	}
	return pos{}
}

// wrongKind is what Compose's schema says of a value that is, say, a mapping where a list
// belongs.
var wrongKind = regexp.MustCompile(`^(\S+) must be an? (array|object|string|number|integer|boolean)$`)

// rejectLine reports the first line of an error.
func (r *reader) rejectLine(text string, source value) {
	what, _, _ := strings.Cut(text, "\n")
	what = regexp.MustCompile(`^validating [^:]*: |^failed to parse [^:]*: `).ReplaceAllString(what, "")
	at, try := pos{}, tryReference
	if m := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(what); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		at.col = 1
	}
	if m := regexp.MustCompile(`^([a-z]+(?:\.[A-Za-z0-9_.-]+)?)`).FindStringSubmatch(what); m != nil && at.line == 0 {
		at = valueAt(source, m[1]).at
	}
	if m := wrongKind.FindStringSubmatch(what); m != nil {
		found := valueAt(source, m[1])
		kind := map[string]string{"array": "a list", "object": "a mapping"}[m[2]]
		at, what = found.at, fmt.Sprintf("%s must be %s", found.name(m[1]), cmp.Or(kind, "a "+m[2]))
		if found.value.kind == null {
			try = "it is blank, which Compose refuses here: take the key out, or write what belongs there"
		}
	}
	if m := unknownKey.FindStringSubmatch(what); m != nil {
		path := m[1]
		if m[2] != "" {
			path += "." + m[2]
		}
		found := valueAt(source, path)
		key := path[strings.LastIndex(path, ".")+1:]
		at = found.at
		what = fmt.Sprintf("Compose has no key %.60q there", key)
		if n := nearest(key, composeKeys[types.ServiceConfig]()); n != "" {
			try = "did you mean " + n + "?"
		}
	}
	r.reject(at, try, "%.300s", what)
}

// rejectYAML reports what is wrong with a file that is not valid YAML or has a key twice,
// in the words that are used for otto.yaml. It returns false if it finds nothing.
func (r *reader) rejectYAML(path string) bool {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	data, err := readFile(path)
	if err != nil {
		return false
	}
	if docs, err := documents(data); err == nil && len(docs) > 1 { // Compose reads all of them
		return false
	}
	aside := &reader{file: path, env: literally, stack: true}
	aside.parse(data)
	r.problems = append(r.problems, aside.problems...)
	return len(aside.problems) > 0
}

// literally has each variable stand for itself.
func literally(name string) (string, bool) { return "${" + name + "}", true }

// rejectValue reports that the value at a path is wrong: in Otto's words if Otto would
// refuse it too, otherwise in those of the loader.
func (r *reader) rejectValue(source value, path, why string) {
	found := valueAt(source, path)
	if r.rejectRead(found) {
		return
	}
	r.reject(found.at, tryReference, "%s: %.300s", found.name(path), why)
}

// rejectRead reports what Otto's own table says against a key of a service as it stands in
// its file. It returns false if that is nothing.
func (r *reader) rejectRead(found place) bool {
	if found.key.kind == null || found.key.hasVariables() {
		return false
	}
	k, known := serviceObject(false).keys[found.names[2]]
	if !known {
		return false
	}
	aside := &reader{file: r.file, dir: r.dir, env: r.env, stack: true}
	k.read(aside, found.key, &service{})
	r.problems = append(r.problems, aside.problems...)
	return len(aside.problems) > 0
}

// hasVariables reports whether variables are filled in anywhere in a value.
func (v value) hasVariables() bool {
	return v.filled || slices.ContainsFunc(v.items, value.hasVariables) ||
		slices.ContainsFunc(v.fields, func(f field) bool { return f.hasVariables() })
}

// place is what a file has at a path.
type place struct {
	at    pos
	names []string // as far as the file has them
	value value
	key   value // of the key of a service that the path leads through
}

// name is a place in words.
func (p place) name(path string) string {
	if len(p.names) > 2 && p.names[0] == "services" {
		return strings.Join(p.names[2:], ".") + " of service " + p.names[1]
	}
	return path
}

// valueAt follows a path as Compose's loader writes it, such as services.db.ports.[] or
// services[db].mem_limit, as far as the file has it. Names may have dots in them.
func valueAt(source value, path string) place {
	rest := strings.Trim(strings.NewReplacer("[", ".", "]", "", "..", ".").Replace(path), ".")
	p := place{at: source.pos, value: source}
	for rest != "" {
		if p.value.kind == list {
			index, after, _ := strings.Cut(rest, ".")
			i, err := strconv.Atoi(index)
			if err != nil || i >= len(p.value.items) {
				break
			}
			p.value, rest = p.value.items[i], after
			p.at = p.value.pos
			continue
		}
		longest := -1
		for i, f := range p.value.fields {
			if (rest == f.name || strings.HasPrefix(rest, f.name+".")) &&
				(longest < 0 || len(f.name) > len(p.value.fields[longest].name)) {
				longest = i
			}
		}
		if longest < 0 {
			break
		}
		f := p.value.fields[longest]
		p.names, p.at, p.value = append(p.names, f.name), f.pos, f.value
		if len(p.names) == 3 && p.names[0] == "services" {
			p.key = f.value
		}
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, f.name), ".")
	}
	return p
}
