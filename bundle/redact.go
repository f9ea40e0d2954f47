package bundle

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/otto-edge/otto"
)

// Redacted stands where something secret may have been.
const Redacted = "[redacted]"

// Spec is a container's spec with the keys of its environment, labels and log
// options, and none of their values. Of its commands the options are left.
func Spec(s otto.ContainerSpec) otto.ContainerSpec {
	s.Environment, s.Labels = keysOnly(s.Environment), keysOnly(s.Labels)
	s.Command, s.Entrypoint = words(s.Command), words(s.Entrypoint)
	if s.Healthcheck != nil {
		h := *s.Healthcheck
		h.Test = words(h.Test)
		s.Healthcheck = &h
	}
	if s.Logging != nil {
		l := *s.Logging
		l.Options = keysOnly(l.Options)
		s.Logging = &l
	}
	return s
}

// Probe is a probe without its command and the query of its path.
func Probe(p *otto.Probe) *otto.Probe {
	if p == nil {
		return nil
	}
	q := *p
	q.Exec = words(p.Exec)
	if p.HTTP != nil {
		h := *p.HTTP
		if path, query, _ := strings.Cut(h.Path, "?"); query != "" {
			h.Path = path + "?" + Redacted
		}
		q.HTTP = &h
	}
	return &q
}

// Cluster is a view that may be shown. What containers have printed is left out:
// nobody knows what that is.
func Cluster(c otto.Cluster) otto.Cluster {
	c.Nodes, c.Services = slices.Clone(c.Nodes), slices.Clone(c.Services)
	c.Requirements = requirements(c.Requirements)
	for i := range c.Nodes {
		n := &c.Nodes[i]
		n.Labels, n.Requirements, n.Verdicts = keysOnly(n.Labels), requirements(n.Requirements), verdicts(n.Verdicts)
	}
	for i := range c.Services {
		s := &c.Services[i]
		s.Spec, s.Probe = Spec(s.Spec), Probe(s.Probe)
		s.Requirements, s.Verdicts = requirements(s.Requirements), verdicts(s.Verdicts)
		s.Instances = slices.Clone(s.Instances)
		for j := range s.Instances {
			s.Instances[j].SpecHash = brief(s.Instances[j].SpecHash)
			if s.Instances[j].LogTail != nil {
				s.Instances[j].LogTail = []string{Redacted}
			}
		}
	}
	return c
}

// requirements keep that somebody is notified, and not how: an address of a webhook is a
// secret as a rule, and a command may hold one.
func requirements(list []otto.Requirement) []otto.Requirement {
	list = slices.Clone(list)
	for i := range list {
		list[i].Notify = notify(list[i].Notify)
	}
	return list
}

func verdicts(list []otto.Verdict) []otto.Verdict {
	list = slices.Clone(list)
	for i := range list {
		list[i].Requirement.Notify = notify(list[i].Requirement.Notify)
	}
	return list
}

func notify(n *otto.Notify) *otto.Notify {
	if n == nil {
		return nil
	}
	out := &otto.Notify{}
	if n.Webhook != "" {
		out.Webhook = Redacted
	}
	if len(n.Command) > 0 {
		out.Command = []string{n.Command[0], Redacted}
	}
	return out
}

// brief leaves enough of a hash to tell two apart, and too little to try passwords
// against: what is hashed has the environment in it.
func brief(hash string) string { return hash[:min(4, len(hash))] }

// Assignment is an assignment that may be shown.
func Assignment(a otto.Assignment) otto.Assignment {
	a.Warrant, a.Sealed = nil, nil
	a.Instances = slices.Clone(a.Instances)
	for i := range a.Instances {
		a.Instances[i].Spec, a.Instances[i].Probe = Spec(a.Instances[i].Spec), Probe(a.Instances[i].Probe)
	}
	return a
}

func keysOnly(m map[string]string) map[string]string {
	m = maps.Clone(m)
	for k := range m {
		m[k] = Redacted
	}
	return m
}

// option is a long option with or without its value, or a short one, whose value
// may follow without a space.
var option = regexp.MustCompile(`^(--[A-Za-z][A-Za-z0-9_.-]*)(=?)|^(-[A-Za-z])`)

// words are a command of which only the options are left.
func words(list []string) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, w := range list {
		m := option.FindStringSubmatch(w)
		switch {
		case m != nil && m[0] == w && m[2] == "":
			out[i] = w
		case m != nil && m[2] == "=":
			out[i] = m[1] + "=" + Redacted
		case m != nil && m[3] != "":
			out[i] = m[3] + Redacted
		default:
			out[i] = Redacted
		}
	}
	return out
}

// AddSpec notes what of a spec may be secret, to be found elsewhere too.
func (s *Secrets) AddSpec(spec otto.ContainerSpec) {
	for _, m := range []map[string]string{spec.Environment, spec.Labels} {
		s.Add(slices.Collect(maps.Values(m))...)
	}
	if spec.Logging != nil {
		s.Add(slices.Collect(maps.Values(spec.Logging.Options))...)
	}
	s.addWords(spec.Command)
	s.addWords(spec.Entrypoint)
	if spec.Healthcheck != nil {
		s.addWords(spec.Healthcheck.Test)
	}
}

// AddContents does so for the contents of secrets and configs.
func (s *Secrets) AddContents(contents otto.Contents) {
	for _, c := range contents {
		s.Add(string(c.Plain()))
	}
}

// AddProbe does so for a probe.
func (s *Secrets) AddProbe(p *otto.Probe) {
	if p == nil {
		return
	}
	s.addWords(p.Exec)
	if p.HTTP != nil {
		_, query, _ := strings.Cut(p.HTTP.Path, "?")
		s.Add(query)
		if values, err := url.ParseQuery(query); err == nil {
			for _, v := range values {
				s.Add(v...)
			}
		}
	}
}

// AddServices does so for what is wanted.
func (s *Secrets) AddServices(list []otto.Service) {
	for _, service := range list {
		s.AddSpec(service.Spec)
		s.AddProbe(service.Probe)
		s.AddRequirements(service.Requirements)
	}
}

// AddRequirements does so for who is notified.
func (s *Secrets) AddRequirements(list []otto.Requirement) {
	for _, r := range list {
		if r.Notify != nil {
			s.Add(r.Notify.Webhook)
			s.addWords(r.Notify.Command)
		}
	}
}

// plainWord is the length up to which a word of a command is taken for a word of
// a language, such as serve, unless an option with a value says otherwise.
const plainWord = 8

func (s *Secrets) addWords(list []string) {
	follows := false
	for _, w := range list {
		switch m := option.FindStringSubmatch(w); {
		case m != nil && m[0] == w && m[2] == "":
			follows = true
			continue
		case m != nil:
			s.Add(strings.TrimPrefix(w, m[0]))
		case follows || len(w) >= plainWord && !strings.HasPrefix(w, "/"):
			s.Add(w)
		}
		follows = false
		for _, part := range strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" \t\n'\";=", r) }) {
			if len(part) >= plainWord && !strings.HasPrefix(part, "/") && !strings.HasPrefix(part, "-") {
				s.Add(part)
			}
		}
	}
}
