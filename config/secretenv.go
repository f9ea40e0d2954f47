package config

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// secretVariable is a variable of the environment that a service marks as secret.
type secretVariable struct {
	pos
	name string
}

func secretEnvironmentKey() key[service] {
	s := listOf(form[int]{schema: schema{"type": "string"}}).schema
	doc := "Names of variables of environment or env_file whose values are secret."
	return key[service]{doc, s, func(r *reader, v value, s *service) {
		if !r.wants(v, list, "one variable an item, such as - DB_PASSWORD") {
			return
		}
		for _, item := range v.items {
			if name, ok := text("a variable such as DB_PASSWORD").read(r, item); ok {
				s.secretVariables = append(s.secretVariables, secretVariable{item.pos, name})
			}
		}
	}}
}

// resolveVariables takes the values of variables that are secret out of the spec. No message
// has anything of them.
func (p *project) resolveVariables(r *reader, s *service) {
	for _, v := range s.secretVariables {
		if given, there := s.environment[v.name]; there && given == nil {
			continue // it is not set where otto runs, which a warning has said
		}
		if _, twice := s.Spec.SecretEnvironment[v.name]; twice {
			r.reject(v.pos, "keep one of them", "%.60q is here already", v.name)
			continue
		}
		val, there := s.Spec.Environment[v.name]
		switch {
		case !there:
			try := "write it under environment, or take it out here"
			if n := nearest(v.name, slices.Sorted(maps.Keys(s.Spec.Environment))); n != "" {
				try = "did you mean " + n + "?"
			}
			r.reject(v.pos, try, "service %s has no variable %.60q", s.Name, v.name)
			continue
		case len(val) > otto.MaxFile:
			r.reject(v.pos, "use secrets, or bring it to the node yourself", "variable %.60q has %d KiB, and %d KiB are the most",
				v.name, (len(val)+1023)>>10, otto.MaxFile>>10)
			continue
		case strings.ContainsRune(val, 0):
			r.reject(v.pos, "use secrets for what is no text", "the value of variable %.60q has a NUL character", v.name)
			continue
		}
		delete(s.Spec.Environment, v.name)
		if s.Spec.SecretEnvironment == nil {
			s.Spec.SecretEnvironment = map[string]string{}
		}
		if p.contents == nil {
			p.contents = otto.Contents{}
		}
		// No name has a colon: it is the name of no secret or config.
		id := path.Join(p.stack, s.Name, "variable:"+v.name)
		s.Spec.SecretEnvironment[v.name], p.contents[id] = id, otto.NewSecret([]byte(val))
	}
	if len(s.Spec.Environment) == 0 {
		s.Spec.Environment = nil
	}
}
