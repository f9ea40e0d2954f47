package config

import (
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/otto-edge/otto"
)

// warnOfSplits finds services that look for another one by its name and may be placed on
// another node, where that name means nothing.
func (d *document) warnOfSplits(r *reader) {
	if len(d.nodes) < 2 {
		return
	}
	for i := range d.services {
		s := &d.services[i]
		for _, o := range d.services {
			stack, own := path.Split(o.Name)
			if of, _ := path.Split(s.Name); o.Name == s.Name || of != stack || s.Global() || o.Global() ||
				s.Unit != "" && s.Unit == o.Unit || together(s.Service, o.Service) {
				continue
			}
			try := "write placement: {near: [" + o.Name + "]} there, or the same node at both"
			if stack != "" {
				try = "take apart out of x-otto, or write the same node for both"
			}
			if name := looksFor(d.variables(s), own); name != "" {
				r.warn(s.pos, try, "service %s names %s in %s, and may be placed on another node, where that name is not found",
					s.Name, own, name)
			}
		}
	}
}

// warnOfSockets finds services that may change containers through the socket of an engine:
// such a tool sees its own node alone, where its user may expect the cluster.
func (d *document) warnOfSockets(r *reader) {
	if len(d.nodes) < 2 {
		return
	}
	for i := range d.services {
		s := &d.services[i]
		for _, m := range s.Spec.Mounts {
			if m.Type == otto.MountBind && !m.ReadOnly && (m.Source == "/var/run/docker.sock" || m.Source == "/run/docker.sock") {
				r.warn(s.pos, "write :ro behind it if it only looks; what Otto runs is changed in otto.yaml or in its Compose file",
					"service %s has the socket of a container engine: it sees its own node alone, and Otto puts right "+
						"what it changes of Otto's containers", s.Name)
			}
		}
	}
}

// variables are all of a service, secret ones too.
func (d *document) variables(s *service) map[string]string {
	if len(s.Spec.SecretEnvironment) == 0 {
		return s.Spec.Environment
	}
	all := map[string]string{}
	maps.Copy(all, s.Spec.Environment)
	for name, key := range s.Spec.SecretEnvironment {
		all[name] = string(d.contents[key].Plain())
	}
	return all
}

// together reports whether two services are on one node for certain.
func together(a, b otto.Service) bool {
	return a.Node != "" && a.Node == b.Node || slices.Contains(a.Placement.Near, b.Name) ||
		slices.Contains(b.Placement.Near, a.Name)
}

// hostVariable is how variables are called whose value is the name of a host.
var hostVariable = regexp.MustCompile(`(?i)host|server|addr|url|uri|broker|endpoint`)

// looksFor is the first variable whose value has a service's name as that of a host.
func looksFor(environment map[string]string, service string) string {
	within := regexp.MustCompile(
		`(://|@)` + regexp.QuoteMeta(service) + `([:/,]|$)|(^|,)` + regexp.QuoteMeta(service) + `:[0-9]+([/,]|$)`,
	)
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if val := environment[name]; val == service && hostVariable.MatchString(name) || within.MatchString(val) {
			return name
		}
	}
	return ""
}
