package config

import (
	"cmp"
	"slices"
	"strings"

	composespec "github.com/compose-spec/compose-go/v2/schema"
)

// What Otto does with a key of Compose.
const (
	KeyPasses  = "passes"        // it goes to the engine as it is
	KeyDoes    = "does itself"   // Otto does what it asks for, or Compose's own loader has
	KeyNothing = "needs nothing" // it means nothing outside of Swarm, or not to a running service
	KeyRefuses = "refuses"       // it cannot be had; Why says what would be lost
)

// ComposeKey is what Otto does with a key of the Compose specification.
type ComposeKey struct {
	Path string `json:"key"` // such as services.*.build, where * is any name
	Does string `json:"otto"`
	Why  string `json:"why,omitempty"`
}

// ComposeKeys are all keys of the Compose specification at the top of a file, of
// services, networks, volumes and deploy, in order.
func ComposeKeys() []ComposeKey {
	var all []ComposeKey
	for _, p := range composespec.AttributePaths() {
		if path := string(p); ownLine(path) {
			all = append(all, composeKey(path))
		}
	}
	slices.SortFunc(all, func(a, b ComposeKey) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// ownLine reports whether a key has a line of its own; those below have the fate of it.
func ownLine(path string) bool {
	parts := strings.Split(path, ".")
	switch {
	case parts[len(parts)-1] == "*":
		return false
	case parts[0] == "jobs", parts[0] == "models", parts[0] == "include":
		return len(parts) == 1
	case len(parts) > 3 && (parts[2] == "deploy" || parts[2] == "networks" || parts[2] == "volumes"):
		return len(parts) <= 6
	}
	return len(parts) <= 3
}

// pullsByNoAge is why some values of pull_policy are refused.
const pullsByNoAge = "missing, always, never and, with build, build; refresh, daily, weekly and every_... are refused: Otto " +
	"pulls only when it makes a container"

func composeKey(path string) ComposeKey {
	parts := strings.Split(path, ".")
	name := parts[len(parts)-1]
	for i := len(parts); i > 0; i-- { // what is said of a key above, if nothing is of this one
		if does, ok := composeTable()[strings.Join(parts[:i], ".")]; ok {
			k := ComposeKey{Path: path, Does: does}
			switch f, known := refusals()[parts[i-1]]; {
			case does == KeyRefuses && known:
				k.Why = f.why
			case path == "services.*.pull_policy":
				k.Why = pullsByNoAge
			}
			return k
		}
	}
	return ComposeKey{Path: path, Does: KeyRefuses, Why: refusals()[name].why}
}

// composeTable says what Otto does, by path. A key that is not in it is refused.
func composeTable() map[string]string {
	table := map[string]string{
		"version": KeyNothing, "services.*.attach": KeyNothing, "services.*.develop": KeyNothing,
		"services.*.deploy.labels": KeyNothing, "services.*.deploy.endpoint_mode": KeyNothing, "services.*.deploy.rollback_config": KeyNothing,
		"services.*.deploy.restart_policy.delay": KeyNothing, "services.*.deploy.restart_policy.window": KeyNothing,
		"services.*.volumes.[].consistency":                          KeyNothing,
		"services.*.deploy.resources.reservations.generic_resources": KeyRefuses, "services.*.deploy.update_config.max_failure_ratio": KeyRefuses,
		"services.*.networks.*.interface_name": KeyRefuses, "services.*.networks.*.use_service_name_alias": KeyRefuses,
		"models": KeyRefuses, "jobs": KeyRefuses,
	}
	set := func(does, prefix, names string) {
		for _, name := range strings.Fields(names) {
			table[prefix+name] = does
		}
	}
	set(KeyDoes, "", "configs name include secrets services networks volumes")
	set(KeyDoes, "services.*.", "build configs container_name deploy depends_on env_file environment extends label_file links networks platform ports "+
		"profiles pull_policy restart scale secrets volumes volumes_from")
	set(KeyPasses, "services.*.", "annotations blkio_config cap_add cap_drop cgroup cgroup_parent command cpu_count cpu_percent cpu_period cpu_quota "+
		"cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint expose "+
		"external_links extra_hosts gpus group_add healthcheck hostname image init ipc isolation labels logging mac_address mem_limit mem_reservation "+
		"mem_swappiness memswap_limit network_mode oom_kill_disable oom_score_adj pid pids_limit privileged read_only runtime security_opt shm_size "+
		"stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits umask user userns_mode uts working_dir")
	set(KeyRefuses, "services.*.", "credential_spec models post_start pre_start pre_stop provider pull_refresh_after use_api_socket")
	set(KeyDoes, "networks.*.", "name external")
	set(KeyPasses, "networks.*.", "driver driver_opts ipam internal attachable enable_ipv4 enable_ipv6 labels")
	set(KeyDoes, "volumes.*.", "name external")
	set(KeyPasses, "volumes.*.", "driver driver_opts labels")
	for _, of := range []string{"secrets.*.", "configs.*."} {
		set(KeyDoes, of, "environment file")
		set(KeyNothing, of, "labels name")
		set(KeyRefuses, of, "external template_driver")
	}
	set(KeyDoes, "configs.*.", "content")
	set(KeyRefuses, "secrets.*.", "driver driver_opts")
	return table
}
