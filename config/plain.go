package config

import (
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// plainServices are those services of a model, as Compose's types have them, of which filling
// these types could say nothing else: that takes a fifth of the time of a load. Whatever could
// be a mistake is none of them, so that it is found in Compose's own way.
func plainServices(model map[string]any, environment types.Mapping) types.Services {
	services, _ := model["services"].(map[string]any)
	if model["jobs"] != nil || waitInCircle(services) {
		return nil
	}
	p := plain{model: model, services: services, lenders: map[string]bool{}, environment: environment}
	for _, s := range services {
		s, _ := s.(map[string]any)
		if s["build"] != nil { // which may name others
			return nil
		}
		mode, _ := s["network_mode"].(string)
		if lender, borrows := strings.CutPrefix(mode, types.ServicePrefix); borrows {
			p.lenders[lender] = true
		}
	}
	all := types.Services{}
	for name, s := range services {
		s, _ := s.(map[string]any)
		if p.lenders[name] {
			continue
		}
		if service, ok := p.service(s); ok {
			service.Name = name
			all[name] = service
		}
	}
	return all
}

// plain is a project of which the plain services are looked for.
type plain struct {
	model       map[string]any
	services    map[string]any
	lenders     map[string]bool // of their networks
	environment types.Mapping
}

// service is one as Compose's types have it, or false if it is not plain.
func (p plain) service(s map[string]any) (service types.ServiceConfig, ok bool) {
	if image, _ := s["image"].(string); image == "" {
		return service, false
	}
	for key, val := range s {
		ok := true
		switch key {
		case "env_file", "label_file", "profiles", "provider", "models", "scale", "deploy", "network_mode", "tmpfs",
			"configs", "secrets", "cpus", "mem_limit", "mem_reservation", "pids_limit", "pre_start":
			return service, false
		case "environment":
			ok = hasNoExtension(val) && service.Environment.DecodeMapstructure(val) == nil
		case "labels":
			ok = hasNoExtension(val) && service.Labels.DecodeMapstructure(val) == nil
		case "container_name":
			_, ok = val.(string)
		case "depends_on":
			ok = p.dependencies(val)
		case "networks":
			ok = p.networks(val)
		case "volumes":
			ok = p.mounts(val)
		}
		if !ok {
			return service, false
		}
	}
	service.Environment = service.Environment.Resolve(p.environment.Resolve)
	return service, true
}

// hasNoExtension reports whether no key of a mapping is one that Compose takes for an extension.
func hasNoExtension(v any) bool {
	m, _ := v.(map[string]any)
	for name := range m {
		if strings.HasPrefix(name, "x-") {
			return false
		}
	}
	return true
}

// dependencies reports whether all that a service depends on is there.
func (p plain) dependencies(v any) bool {
	m, ok := v.(map[string]any)
	for name, how := range m {
		on, there := p.services[name].(map[string]any)
		ok = ok && there && on["profiles"] == nil &&
			has(how, parts{"condition": isText, "restart": isBool, "required": isBool})
	}
	return ok
}

// networks reports whether all networks of a service are there.
func (p plain) networks(v any) bool {
	m, ok := v.(map[string]any)
	known, _ := p.model["networks"].(map[string]any)
	for name, how := range m {
		_, there := known[name]
		ok = ok && there && (how == nil || has(how, parts{"aliases": isTexts}))
	}
	return ok
}

// mounts reports whether all volumes that a service mounts are there, each at a place of
// its own.
func (p plain) mounts(v any) bool {
	list, ok := v.([]any)
	known, _ := p.model["volumes"].(map[string]any)
	targets := map[string]bool{}
	for _, item := range list {
		m, _ := item.(map[string]any)
		target, _ := m["target"].(string)
		source, _ := m["source"].(string)
		_, there := known[source]
		ok = ok && target != "" && !targets[target] && (there || source == "" || m["type"] != types.VolumeTypeVolume) &&
			has(m, mountParts())
		targets[target] = true
	}
	return ok
}

func mountParts() parts {
	bind := func(v any) bool { return has(v, parts{"create_host_path": isBool}) }
	volume := func(v any) bool { return has(v, nil) }
	return parts{"type": isText, "source": isText, "target": isText, "read_only": isBool, "bind": bind, "volume": volume}
}

// parts are the keys that a mapping may have, with what must be so of their values.
type parts map[string]func(any) bool

// has reports whether a value is a mapping of nothing but such parts.
func has(v any, all parts) bool {
	m, ok := v.(map[string]any)
	for name, val := range m {
		is, known := all[name]
		ok = ok && known && is(val)
	}
	return ok
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

func isBool(v any) bool {
	switch v.(type) {
	case bool, types.OptOut:
		return true
	}
	return false
}

func isTexts(v any) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(item any) bool { return !isText(item) })
}

// waitInCircle reports whether services of a model depend on themselves by way of others.
func waitInCircle(services map[string]any) bool {
	const under, done = 1, 2
	state := map[string]int{}
	var circle func(name string) bool
	circle = func(name string) bool {
		if state[name] != 0 {
			return state[name] == under
		}
		state[name] = under
		s, _ := services[name].(map[string]any)
		on, _ := s["depends_on"].(map[string]any)
		for other := range on {
			if circle(other) {
				return true
			}
		}
		state[name] = done
		return false
	}
	for name := range services {
		if circle(name) {
			return true
		}
	}
	return false
}
