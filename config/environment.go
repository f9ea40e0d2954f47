package config

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// pairs is a mapping of texts, or a list of key=value.
func pairs() form[map[string]string] {
	return form[map[string]string]{pairsSchema(), func(r *reader, v value) (map[string]string, bool) {
		got, ok := r.pairs(v)
		out := make(map[string]string, len(got))
		for name, val := range got {
			if val == nil {
				val = new(string)
			}
			out[name] = *val
		}
		return out, ok
	}}
}

func pairsSchema() schema {
	return oneOf(schema{"type": "array", "items": schema{"type": "string"}},
		schema{"type": "object", "additionalProperties": oneOfKinds("string", "number", "boolean", "null")})
}

// labels are pairs without those that Otto itself sets.
func labels() form[map[string]string] {
	f := pairs()
	return form[map[string]string]{f.schema, func(r *reader, v value) (map[string]string, bool) {
		out, ok := f.read(r, v)
		for name := range out {
			if strings.HasPrefix(name, "otto.") {
				r.reject(v.pos, "take it out", "labels that begin with otto. are Otto's own")
				return nil, false
			}
		}
		return out, ok
	}}
}

// pairs reads a mapping or a list; a name without a value is nil. Values are
// never shown, they may be secrets.
func (r *reader) pairs(v value) (map[string]*string, bool) {
	out := map[string]*string{}
	switch v.kind {
	case mapping:
		for _, f := range v.fields {
			switch {
			case f.kind == null:
				out[f.name] = nil
			case f.kind != scalar:
				r.reject(f.value.pos, "write one value", "%.60q is %s", f.name, f.kind)
			case f.plain && ambiguous(f.text) != "":
				r.reject(f.value.pos, `write it in quotes, "..."`,
					"some readers of YAML take the value of %.60q for %s", f.name, ambiguous(f.text))
			case validPair(r, f.pos, f.name):
				out[f.name] = &f.text
			}
		}
	case list:
		for _, item := range v.items {
			if !r.wants(item, scalar, "KEY=value") {
				continue
			}
			name, val, found := strings.Cut(item.text, "=")
			if _, twice := out[name]; twice {
				r.reject(item.pos, "keep one of them", "%.60q is here already", name)
			}
			if !validPair(r, item.pos, name) {
				continue
			}
			out[name] = nil
			if found {
				out[name] = &val
			}
		}
	default:
		return nil, r.wants(v, mapping, "one `KEY: value` a line")
	}
	return out, true
}

func validPair(r *reader, at pos, name string) bool {
	ok := name != "" && !strings.ContainsAny(name, "=\x00 \t\n")
	if !ok {
		r.reject(at, "write KEY=value, without blanks in KEY", "this has no valid name")
	}
	return ok
}

// ambiguous says what else than its text an unquoted value is to some readers
// of YAML (1.1 or 1.2), or "" if all agree on what a person sees.
func ambiguous(s string) string {
	match := func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(s) }
	switch {
	case slices.Contains([]string{"y", "yes", "n", "no", "on", "off"}, strings.ToLower(s)):
		return "true or false"
	case slices.Contains([]string{"true", "false"}, strings.ToLower(s)):
		if s != strings.ToLower(s) {
			return "true or false, in small letters"
		}
	case s == "" || strings.Trim(s[:1], "0123456789+-.") != "":
		return ""
	case match(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?$`):
		return "a date"
	case match(`^[-+]?[0-9][0-9_]*(:[0-9]{1,2})+(\.[0-9_]*)?$`):
		return "a number to base 60"
	case match(`^[-+]?0[0-9_]+$`):
		return "a number to base 8"
	case match(`^[-+]?0[xob][0-9a-fA-F_]+$`):
		return "a number to another base"
	case match(`^[-+]?\.(inf|Inf|INF)$`) || match(`^\.(nan|NaN|NAN)$`):
		return "a number without a value"
	case match(`^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$`) && !roundTrips(s):
		return "a number, and write it in another way"
	}
	return ""
}

// roundTrips reports whether a number is still written s after it was read.
func roundTrips(s string) bool {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == s
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && strconv.FormatFloat(f, 'f', -1, 64) == s
}

func environmentKey() key[service] {
	return key[service]{
		"Variables of the container; one without a value is taken from where otto runs.",
		pairsSchema(),
		func(r *reader, v value, s *service) {
			s.environment, _ = r.pairs(v)
			for name, val := range s.environment {
				if val != nil {
					continue
				}
				got, ok := r.lookup(name)
				if !ok {
					r.warn(v.pos, "set it in the environment or in .env, or write its value",
						"variable %.60q is not set, containers will not have it", name)
					continue
				}
				s.environment[name] = &got
			}
		},
	}
}

type envFile struct {
	pos
	types.EnvFile
}

func envFileKey() key[service] {
	return as("Files with variables of the container.", oneOrMore(fileOfVariables()),
		func(s *service) *[]envFile { return &s.envFiles })
}

func fileOfVariables() form[envFile] {
	o := object[envFile]{
		noun: "an env_file",
		keys: map[string]key[envFile]{
			"path": {"Path, relative to this file.", schema{"type": "string"}, func(r *reader, v value, e *envFile) {
				e.pos = v.pos
				e.Path, _ = localPath().read(r, v)
			}},
			"required": {
				"Whether it must be there, true by default.",
				boolean().schema,
				func(r *reader, v value, e *envFile) {
					required, ok := boolean().read(r, v)
					e.Required = types.OptOut(required || !ok)
				},
			},
		},
		required: map[string]string{"path": "path: web.env"},
		later:    composeKeys[types.EnvFile](),
	}
	return form[envFile]{oneOf(schema{"type": "string"}, o.schema()), func(r *reader, v value) (envFile, bool) {
		e := envFile{pos: v.pos, EnvFile: types.EnvFile{Required: true}}
		if v.kind == mapping {
			return e, o.read(r, v, &e) && e.Path != ""
		}
		var ok bool
		e.Path, ok = localPath().read(r, v)
		return e, ok
	}}
}

// readLabelFiles adds the labels of files to those of the service, which win.
func (r *reader) readLabelFiles(s *service) {
	for _, f := range s.labelFiles {
		for name, val := range r.readEnvFile(f, r.env) {
			if s.Spec.Labels == nil {
				s.Spec.Labels = map[string]string{}
			}
			if _, given := s.Spec.Labels[name]; !given {
				s.Spec.Labels[name] = val
			}
		}
	}
}

// mergeEnvironment reads the files of variables and adds what environment says,
// which wins. As in Compose, a file may use the variables of otto's own
// environment and of the service.
func (r *reader) mergeEnvironment(s service) map[string]string {
	out := map[string]string{}
	lookup := func(name string) (string, bool) {
		if val, ok := r.env(name); ok {
			return val, true
		}
		if val := s.environment[name]; val != nil {
			return *val, true
		}
		return "", false
	}
	for _, f := range s.envFiles {
		for name, val := range r.readEnvFile(f, lookup) {
			out[name] = val
		}
	}
	for name, val := range s.environment {
		if val == nil {
			delete(out, name)
			continue
		}
		out[name] = *val
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (r *reader) readEnvFile(f envFile, lookup func(string) (string, bool)) map[string]string {
	data, err := readFile(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if bool(f.Required) {
			r.reject(f.pos, "write a path relative to this file, or required: false", "there is no file %s", f.Path)
		}
		return nil
	}
	if err != nil {
		r.reject(f.pos, "name a file that you may read", "%s: %s", f.Path, reason(err))
		return nil
	}
	r.warnOfDollars(f.Path, lookup)
	vars, problem := parseEnv(f.Path, data, lookup)
	if problem != nil {
		r.reject(f.pos, problem.Try, "%s: %s", f.Path, problem.What)
	}
	return vars
}
