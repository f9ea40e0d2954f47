package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BuildCommand is how the docker command builds an image.
type BuildCommand struct {
	Args  []string
	Env   []string // beside those of this process
	Input string   // a Dockerfile
}

// Command is how a Build is done, for a platform such as linux/arm64, or for that of the engine
// if empty; by buildx, or else by what is in the engine. It fails if that cannot do it.
func (b *Build) Command(platform string, buildx bool) (BuildCommand, error) {
	c := b.config
	out := BuildCommand{Args: []string{"build", "--force-rm"}} // buildx leaves no container of a step that fails
	if buildx {
		// The description of a build has its time in it: the image would be another one each time.
		out = BuildCommand{
			Args: []string{"buildx", "build", "--load", "--progress=plain"},
			Env:  []string{"BUILDX_NO_DEFAULT_ATTESTATIONS=1"},
		}
	} else if needs := b.needsBuildx(); needs != "" {
		return out, fmt.Errorf("%s of a build needs docker buildx, which is not there: install it, or take %[1]s out", needs)
	}
	add := func(flag string, values ...string) {
		for _, val := range values {
			if val != "" {
				out.Args = append(out.Args, flag, val)
			}
		}
	}
	yes := func(flag string, on bool) {
		if on {
			out.Args = append(out.Args, flag)
		}
	}
	add("--tag", b.Image)
	add("--tag", c.Tags...)
	add("--platform", platform)
	if c.DockerfileInline != "" {
		add("--file", "-")
		out.Input = c.DockerfileInline
	} else {
		add("--file", b.dockerfile())
	}
	add("--target", c.Target)
	for _, name := range slices.Sorted(maps.Keys(c.Args)) {
		if val := c.Args[name]; val != nil {
			add("--build-arg", name+"="+*val)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		add("--label", name+"="+c.Labels[name])
	}
	add("--cache-from", c.CacheFrom...)
	hosts := c.ExtraHosts.AsList(":")
	slices.Sort(hosts)
	add("--add-host", hosts...)
	add("--network", c.Network)
	if c.ShmSize > 0 {
		add("--shm-size", strconv.FormatInt(int64(c.ShmSize), 10))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ulimits)) {
		u := c.Ulimits[name]
		limit := fmt.Sprintf("%s=%d:%d", name, u.Soft, u.Hard)
		if u.Single != 0 {
			limit = fmt.Sprintf("%s=%d", name, u.Single)
		}
		add("--ulimit", limit)
	}
	yes("--no-cache", c.NoCache)
	yes("--pull", c.Pull)
	add("--cache-to", c.CacheTo...)
	add("--no-cache-filter", c.NoCacheFilter...)
	add("--allow", c.Entitlements...)
	for _, name := range slices.Sorted(maps.Keys(c.AdditionalContexts)) {
		add("--build-context", name+"="+b.path(c.AdditionalContexts[name]))
	}
	for _, s := range b.secrets {
		if s.variable != "" {
			add("--secret", "id="+s.id+",env="+s.variable)
			out.Env = append(out.Env, s.variable+"="+s.value)
		} else {
			add("--secret", "id="+s.id+",src="+s.file)
		}
	}
	var keys []string // which Compose's loader has in any order
	for _, key := range c.SSH {
		keys = append(keys, strings.TrimSuffix(key.ID+"="+key.Path, "="))
	}
	slices.Sort(keys)
	add("--ssh", keys...)
	if !buildx && len(b.secrets)+len(c.SSH) > 0 {
		out.Env = append(out.Env, "DOCKER_BUILDKIT=1") // the engine's own
	}
	out.Args = append(out.Args, b.context)
	return out, nil
}

// needsBuildx is the first key that an engine's own build does not know.
func (b *Build) needsBuildx() string {
	switch c := b.config; {
	case len(c.CacheTo) > 0:
		return "cache_to"
	case len(c.NoCacheFilter) > 0:
		return "no_cache_filter"
	case len(c.Entitlements) > 0:
		return "entitlements"
	case len(c.AdditionalContexts) > 0:
		return "additional_contexts"
	}
	return ""
}

// path is absolute, unless it is an address.
func (b *Build) path(p string) string {
	if remoteContext(p) || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.dir, p)
}

// Platforms are those that it may be built for; none means any.
func (b *Build) Platforms() []string { return b.config.Platforms }

// Context is the folder or the address that it is built from.
func (b *Build) Context() string { return b.context }
