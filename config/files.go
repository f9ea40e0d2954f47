package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otto-edge/otto"
)

// fileSource is a secret or a config that the file defines. Its content is read when a
// service needs it, as Compose does.
type fileSource struct {
	pos
	path        string
	environment string
	content     *string
	external    *pos
	nodes       []otto.Expression // of the labels of nodes where it may be
	nodesAt     []pos
	problem     bool // it was rejected already
	read        bool
	secret      otto.Secret
}

// fileUse is a secret or a config that a service names.
type fileUse struct {
	pos
	otto.File
}

// fileKeys read the secrets and configs at the top of a file.
func fileKeys() map[string]key[project] {
	return map[string]key[project]{
		"secrets": fileSourcesKey("Secrets for services: each from a file or an environment variable of this machine.",
			otto.FileSecret, func(p *project) *map[string]*fileSource { return &p.secrets }),
		"configs": fileSourcesKey("Configs for services: each from a file, an environment variable or content.",
			otto.FileConfig, func(p *project) *map[string]*fileSource { return &p.configs }),
	}
}

func fileSourcesKey(doc, kind string, of func(*project) *map[string]*fileSource) key[project] {
	o := fileSourceObject(kind)
	s := schema{"type": "object", "additionalProperties": o.schema()}
	return key[project]{doc, s, func(r *reader, v value, p *project) {
		if !r.wants(v, mapping, "one name a line, each with a colon after it") {
			return
		}
		all := map[string]*fileSource{}
		for _, f := range v.fields {
			source := &fileSource{pos: f.pos}
			source.problem = !o.read(r, f.value, source)
			all[f.name] = source
		}
		*of(p) = all
	}}
}

func fileSourceObject(kind string) object[fileSource] {
	o := object[fileSource]{
		noun:  "a " + kind,
		later: composeKeys[types.SecretConfig](),
		idle:  []string{"labels", "name"}, // Compose itself does nothing with them
		keys: map[string]key[fileSource]{
			"file": as("Path of a file of this machine, relative to this file.", localPath(),
				func(s *fileSource) *string { return &s.path }),
			"environment": as("Variable of where otto runs that holds it.", text("a variable such as DB_PASSWORD"),
				func(s *fileSource) *string { return &s.environment }),
			"external": {
				"Otto has no secrets and configs of elsewhere.",
				externalSchema(),
				func(r *reader, v value, s *fileSource) {
					if readExternal(r, v, new(string)) || v.kind == mapping {
						s.external = &v.pos
					}
				},
			},
		},
	}
	nodes := key[fileSource]{
		"What the labels of nodes must be that may have it, such as zone == vault.",
		oneOrMore(expression()).schema,
		func(r *reader, v value, s *fileSource) { readExpressions(r, v, expression(), &s.nodes, &s.nodesAt) },
	}
	o.keys["nodes"] = nodes
	o.keys[xOtto] = nested("What Compose has no key for.",
		object[fileSource]{noun: xOtto, keys: map[string]key[fileSource]{"nodes": nodes}})
	if kind == otto.FileConfig {
		o.keys["content"] = key[fileSource]{
			"The content itself.",
			schema{"type": "string"},
			func(r *reader, v value, s *fileSource) {
				if r.wants(v, scalar, "a text") {
					s.content = &v.text
				}
			},
		}
	}
	return o
}

// serviceFileKeys read which secrets and configs a service has.
func serviceFileKeys() map[string]key[service] {
	return map[string]key[service]{
		"secrets": fileUsesKey("Secrets, as files in /run/secrets.", otto.FileSecret),
		"configs": fileUsesKey("Configs, as files.", otto.FileConfig),
	}
}

func fileUsesKey(doc, kind string) key[service] {
	o := object[fileUse]{
		noun:  "a " + kind + " of a service",
		later: composeKeys[types.FileReferenceConfig](),
		keys: map[string]key[fileUse]{
			"source": as("Its name at the top of the file.", text("the name of a "+kind),
				func(f *fileUse) *string { return &f.Name }),
			"target": as("Path in the container.", text("a path such as /etc/app.conf"),
				func(f *fileUse) *string { return &f.Target }),
			"uid": as("Number of the user whose it is.", ownerID(), func(f *fileUse) *string { return &f.UID }),
			"gid": as("Number of the group whose it is.", ownerID(), func(f *fileUse) *string { return &f.GID }),
			"mode": as("Permissions in octal, 0444 by default.", permissions(),
				func(f *fileUse) *uint32 { return &f.Mode }),
		},
		required: map[string]string{"source": "source: NAME"},
	}
	s := listOf(form[int]{schema: oneOf(schema{"type": "string"}, o.schema())}).schema
	return key[service]{doc, s, func(r *reader, v value, s *service) {
		if !r.wants(v, list, "one "+kind+" an item, such as - NAME") {
			return
		}
		for _, item := range v.items {
			use, ok := fileUse{pos: item.pos}, false
			if item.kind == mapping {
				ok = o.read(r, item, &use) && use.Name != ""
			} else {
				use.Name, ok = text("the name of a "+kind).read(r, item)
			}
			if use.Kind = kind; ok {
				s.files = append(s.files, use)
			}
		}
	}}
}

func ownerID() form[string] {
	return checked(`a number such as "1000"`, func(s string) bool {
		_, err := strconv.ParseUint(s, 10, 31)
		return err == nil
	})
}

// permissions are those of a file: nobody becomes somebody else by one of them.
func permissions() form[uint32] {
	return form[uint32]{octal().schema, func(r *reader, v value) (uint32, bool) {
		mode, ok := octal().read(r, v)
		if ok && (mode == 0 || mode > 0o777) {
			r.reject(v.pos, "write them in octal, such as 0440", "%.60q are no permissions of such a file", v.text)
			return 0, false
		}
		return mode, ok
	}}
}

// resolveFiles puts the secrets and configs of a service into its spec.
func (p *project) resolveFiles(r *reader, s *service) {
	taken := map[string]bool{}
	for _, m := range s.Spec.Mounts {
		taken[path.Clean(m.Target)] = true
	}
	for _, use := range s.files {
		sources, base := p.secrets, "/run/secrets"
		if use.Kind == otto.FileConfig {
			sources, base = p.configs, "/"
		}
		source, known := sources[use.Name]
		if !known {
			try := "define it under " + use.Kind + "s at the top of the file"
			if n := nearest(use.Name, slices.Sorted(maps.Keys(sources))); n != "" {
				try = "did you mean " + n + "?"
			}
			r.reject(use.pos, try, "there is no %s %.60q", use.Kind, use.Name)
			continue
		}
		switch {
		case use.Target == "":
			use.Target = path.Join(base, use.Name)
		case !isAbs(use.Target):
			use.Target = path.Join(base, use.Target)
		}
		use.Target = path.Clean(use.Target)
		if use.Target == "/" || strings.ContainsRune(use.Target, 0) {
			r.reject(use.pos, "write a path in the container, such as /etc/app.conf", "this cannot be the target of a %s",
				use.Kind)
			continue
		}
		if taken[use.Target] {
			r.reject(use.pos, "write another target at one of them", "something is mounted at %.60q already",
				use.Target)
			continue
		}
		taken[use.Target] = true
		if !source.load(r, use) {
			continue
		}
		source.restrict(s)
		use.Content = strings.TrimPrefix(p.stack+"/"+use.Kind+"/"+use.Name, "/")
		if p.contents == nil {
			p.contents = otto.Contents{}
		}
		p.contents[use.Content] = source.secret
		s.Spec.Files = append(s.Spec.Files, use.File)
	}
	// Their order in the file means nothing.
	slices.SortFunc(s.Spec.Files, func(a, b otto.File) int { return strings.Compare(a.Target, b.Target) })
}

// restrict has a service be only where its secret or config may.
func (s *fileSource) restrict(user *service) {
	for i, e := range s.nodes {
		said := func(o otto.Expression) bool { return o.String() == e.String() }
		if slices.ContainsFunc(user.Placement.Require, said) {
			continue
		}
		user.Placement.Require = append(slices.Clip(user.Placement.Require), e)
		user.placed.requireAt = append(slices.Clip(user.placed.requireAt), s.nodesAt[i])
	}
}

// load reads the content, once. No message has anything of it.
func (s *fileSource) load(r *reader, use fileUse) bool {
	if s.read || s.problem {
		return !s.problem
	}
	s.read = true
	what := fmt.Sprintf("%s %.60q", use.Kind, use.Name)
	ways := "file: PATH or environment: VARIABLE"
	if use.Kind == otto.FileConfig {
		ways = "file: PATH, environment: VARIABLE or content: TEXT"
	}
	given := 0
	inline := s.content != nil && !(r.stack && s.environment != "") // which Compose's loader has put there
	for _, is := range []bool{s.path != "", s.environment != "", inline} {
		if is {
			given++
		}
	}
	var content []byte
	fail := func(at pos, try, format string, args ...any) bool {
		r.reject(at, try, format, args...)
		s.problem = true
		return false
	}
	switch {
	case s.external != nil:
		return fail(*s.external, "write "+ways,
			"%s is external, and there is no store of Swarm's here from which it could come", what)
	case given == 0:
		return fail(s.pos, "write "+ways, "%s has no content", what)
	case given > 1:
		return fail(s.pos, "keep one of them", "%s comes from more than one place", what)
	case s.path != "":
		b, err := readFile(s.path)
		if err != nil {
			return fail(s.pos, "write the path of a file that you may read", "%s: %s: %s", what, s.path, reason(err))
		}
		content = b
	case s.environment != "":
		val, ok := r.lookup(s.environment)
		if !ok {
			return fail(s.pos, "set it in the environment or in .env", "variable %.60q of %s is not set", s.environment,
				what)
		}
		content = []byte(val)
	default:
		content = []byte(*s.content)
	}
	if len(content) > otto.MaxFile {
		return fail(s.pos, "make it smaller, or bring it to the node yourself and mount it",
			"%s has %d KiB, and %d KiB are the most", what, (len(content)+1023)>>10, otto.MaxFile>>10)
	}
	s.secret = otto.NewSecret(content)
	return true
}

// withFileModes writes the permissions of secrets and configs in octal, as otto.yaml has
// them: Compose's loader has read them as numbers.
func withFileModes(v value, config types.ServiceConfig) {
	for _, f := range v.fields {
		var modes []*types.FileMode
		switch f.name {
		case "secrets":
			for _, s := range config.Secrets {
				modes = append(modes, s.Mode)
			}
		case "configs":
			for _, c := range config.Configs {
				modes = append(modes, c.Mode)
			}
		}
		if len(modes) != len(f.items) {
			continue
		}
		for i, mode := range modes {
			for k, option := range f.items[i].fields {
				if option.name == "mode" && mode != nil {
					f.items[i].fields[k].text = strconv.FormatInt(int64(*mode), 8)
				}
			}
		}
	}
}
