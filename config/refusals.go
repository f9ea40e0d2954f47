package config

// refusal is why Otto does not accept a key of Compose, and what to do. No advice may
// lose data, isolation or a way round a VPN.
type refusal struct{ why, try string }

// refusals are the keys that Compose has and Otto does not.
func refusals() map[string]refusal {
	const compose = "keep this service with Compose until then"
	return map[string]refusal{
		"external": {
			"there is no store of Swarm's here from which it could come",
			"write file: PATH or environment: VARIABLE",
		},
		"driver":      {"drivers of secrets are of Swarm", "write file: PATH or environment: VARIABLE"},
		"driver_opts": {"drivers of secrets are of Swarm", "write file: PATH or environment: VARIABLE"},
		"extends": {
			"this file is not read by Compose's loader",
			"write out what it extends, or put the service into a compose.yaml and use stacks",
		},
		"include": {"this file is not read by Compose's loader", "use stacks for Compose files"},
		"volume_driver": {
			"a driver belongs to a volume here",
			"write it as driver of the volume, under volumes at the top of the file",
		},
		"credential_spec": {"Otto runs on Linux, and this is of Windows", compose},
		"provider":        {"a provider is a program of the machine that runs Compose", compose},
		"models":          {"Otto runs no models", compose},
		"use_api_socket": {
			"it would give the service the engine of one node, and the credentials of this machine",
			compose,
		},
		"pre_start":         {"Otto runs no hooks yet; the service would start without what it does", compose},
		"post_start":        {"Otto runs no hooks yet; the service would run without what it does", compose},
		"pre_stop":          {"Otto runs no hooks yet; the service would stop without what it does", compose},
		"jobs":              {"Otto runs no jobs of this kind yet", compose},
		"generic_resources": {"generic resources are of Swarm", "write devices or gpus instead"},
		"pull_refresh_after": {
			"Otto does not pull by age yet",
			"write pull_policy: always, which looks at each start",
		},
		"consistency":       {"it means something on macOS only", "take it out"},
		"interface_name":    {"Otto does not name network cards yet", compose},
		"mac_address":       {"Otto sets it for the whole container only", "write mac_address at the service"},
		"max_failure_ratio": {"Compose does nothing with it either", "take it out"},
		"template_driver":   {"it is of Swarm", compose},
		"format": {
			"Otto reads env_file in Compose's usual form only",
			"write its variables in quotes, '...', and take format out",
		},
		"use_service_name_alias": {"Otto always makes a service known by its name", compose},
	}
}

// refuse says why a key of Compose cannot be had.
func (r *reader) refuse(at pos, name string) {
	defer func() { r.problems[len(r.problems)-1].Refused = true }()
	if f, ok := refusals()[name]; ok {
		r.reject(at, f.try, "%s cannot be had: %s", name, f.why)
		return
	}
	r.reject(at, "keep this service with Compose until then", "Compose's key %s is not supported yet", name)
}
