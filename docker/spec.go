package docker

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// createOptions is what the engine is asked to make for an instance.
func createOptions(owner otto.Owner, inst otto.Instance, name string) (client.ContainerCreateOptions, error) {
	spec, err := borrowing(inst)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	env, err := environment(spec, inst.Contents)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	exposed, bindings, err := ports(spec.Ports, spec.Expose)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	restart, err := restartPolicy(spec, inst.Release != nil)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	if len(inst.FilePaths) != len(spec.Files) {
		return client.ContainerCreateOptions{}, fmt.Errorf("the secrets and configs of %s are not on the node", inst.Name)
	}
	for _, m := range spec.Folders() {
		if inst.FolderPaths[m.Content] == "" {
			return client.ContainerCreateOptions{}, fmt.Errorf("the files %s of %s are not on the node", m.Source, inst.Name)
		}
	}
	for _, m := range spec.Seeded() {
		if inst.SeedPaths[m.Source] == "" {
			return client.ContainerCreateOptions{}, fmt.Errorf("the data %s of %s is not on the node", m.Seed, inst.Name)
		}
	}
	binds, mounts := mountsOf(inst, owner)
	mode, endpoints, err := networks(owner.Cluster, inst)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	if spec.NetworkMode != "" {
		mode = container.NetworkMode(spec.NetworkMode)
	}
	options := client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image:        cmp.Or(inst.ImageID, spec.Image),
			Cmd:          spec.Command,
			Entrypoint:   spec.Entrypoint,
			Env:          env,
			Labels:       labels(owner, inst),
			ExposedPorts: exposed,
			Healthcheck:  healthcheck(spec.Healthcheck),
			StopSignal:   spec.StopSignal,
			StopTimeout:  stopTimeout(spec.StopGrace),
			User:         spec.User,
			WorkingDir:   spec.WorkingDir,
		},
		HostConfig: &container.HostConfig{
			Binds:          binds,
			Mounts:         mounts,
			Tmpfs:          tmpfs(spec.Tmpfs),
			PortBindings:   bindings,
			RestartPolicy:  restart,
			LogConfig:      logging(spec.Logging),
			NetworkMode:    mode,
			CapAdd:         spec.CapAdd,
			CapDrop:        spec.CapDrop,
			ReadonlyRootfs: spec.ReadOnly,
			ExtraHosts:     spec.ExtraHosts,
			VolumesFrom:    spec.VolumesFrom,
			Resources: container.Resources{
				Memory:   spec.Resources.MemoryBytes,
				NanoCPUs: int64(math.Round(spec.Resources.CPU * 1e9)),
				Devices:  devices(spec.Devices),
			},
		},
		NetworkingConfig: endpoints,
	}
	if mode.IsBridge() { // the only network with links of its own; the others have them by endpoint
		options.HostConfig.Links = spec.Links
	}
	if spec.NoEntrypoint {
		options.Config.Entrypoint = []string{}
	}
	if spec.StopAtOnce {
		options.Config.StopTimeout = new(0)
	}
	if spec.Engine != nil {
		if err := pass(*spec.Engine, options.Config, options.HostConfig); err != nil {
			return client.ContainerCreateOptions{}, err
		}
	}
	return options, nil
}

// labels are the user's and Otto's; Otto's win.
func labels(owner otto.Owner, inst otto.Instance) map[string]string {
	all := make(map[string]string, len(inst.Spec.Labels)+6)
	maps.Copy(all, inst.Spec.Labels)
	if inst.Once {
		return onceLabels(owner, inst, all)
	}
	if inst.Release != nil {
		return releasedLabels(owner, inst, all)
	}
	maps.Copy(all, owner.Labels())
	all[otto.LabelNode] = owner.Node
	all[otto.LabelService] = inst.Service
	all[otto.LabelInstance] = inst.Name
	all[otto.LabelSpec] = inst.Spec.Hash()
	if inst.ImageID != "" {
		all[otto.LabelImage] = inst.Spec.Image
	}
	if stack, service, ok := strings.Cut(inst.Service, "/"); ok { // as Compose does, for the tools that look for them
		number, _ := strings.CutPrefix(inst.Name, inst.Service+"-")
		if number == inst.Name {
			number = "1"
		}
		all["com.docker.compose.project"], all["com.docker.compose.service"] = stack, service
		all["com.docker.compose.container-number"], all["com.docker.compose.oneoff"] = number, "False"
	}
	if n := len(attached(inst)); n > 1 {
		all[labelNetworks] = strconv.Itoa(n)
	}
	return all
}

// environment is sorted. A bad name is refused here, because the engine's own
// error would quote the value.
// environment are a container's variables as the engine has them. No error has a value.
func environment(spec otto.ContainerSpec, contents otto.Contents) ([]string, error) {
	vars := spec.Environment
	if len(spec.SecretEnvironment) > 0 {
		vars = maps.Clone(vars)
		if vars == nil {
			vars = map[string]string{}
		}
		for name, key := range spec.SecretEnvironment {
			value, there := contents[key]
			if !there {
				return nil, fmt.Errorf("the value of the secret variable %s is not on the node", name)
			}
			vars[name] = string(value.Plain())
		}
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("environment variable %q: a name has at least one character and no =", name)
		}
		env = append(env, name+"="+vars[name])
	}
	return env, nil
}

// ports are those to expose, and what to publish of them.
func ports(published []otto.Port, expose []string) (network.PortSet, network.PortMap, error) {
	if len(published)+len(expose) == 0 {
		return nil, nil, nil
	}
	exposed, bindings := network.PortSet{}, network.PortMap{}
	for _, p := range expose {
		port, err := network.ParsePort(p)
		if err != nil {
			return nil, nil, fmt.Errorf("port %q to expose: write it as 80/tcp", p)
		}
		exposed[port] = struct{}{}
	}
	if len(published) == 0 {
		return exposed, nil, nil
	}
	for _, p := range published {
		port, ok := network.PortFrom(p.Container, network.IPProtocol(p.Protocol))
		if !ok {
			return nil, nil, fmt.Errorf("port %d: write tcp, udp or sctp as its protocol", p.Container)
		}
		var binding network.PortBinding
		if p.Host != 0 {
			binding.HostPort = strconv.Itoa(int(p.Host))
		}
		if p.HostIP != "" {
			addr, err := netip.ParseAddr(p.HostIP)
			if err != nil {
				return nil, nil, fmt.Errorf("port %d: host address %q is not an IP address", p.Container, p.HostIP)
			}
			binding.HostIP = addr
		}
		exposed[port] = struct{}{}
		bindings[port] = append(bindings[port], binding)
	}
	return exposed, bindings, nil
}

// restartPolicy is the engine's. It has none for a stateful service: after a
// power cut the engine would start a copy of data that may have moved away. One that is given
// back has nobody else to start it.
func restartPolicy(spec otto.ContainerSpec, released bool) (container.RestartPolicy, error) {
	if !spec.EngineRestarts() && !released {
		return container.RestartPolicy{Name: container.RestartPolicyDisabled}, nil
	}
	name, retries, limited := strings.Cut(spec.Restart, ":")
	policy := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if name == "" {
		policy.Name = container.RestartPolicyUnlessStopped
	}
	if limited {
		n, err := strconv.Atoi(retries)
		if err != nil {
			return policy, fmt.Errorf("restart %q: write on-failure:N with a number for N", spec.Restart)
		}
		policy.MaximumRetryCount = n
	}
	return policy, container.ValidateRestartPolicy(policy)
}

// mountsOf uses the short form for binds, the only one that makes a missing host
// path before API 1.42 and that labels for SELinux, and the long form for everything else:
// also for a directory that is there, so that no start makes it where its disk should be.
func mountsOf(inst otto.Instance, owner otto.Owner) (binds []string, mounts []mount.Mount) {
	for _, m := range inst.Spec.Mounts {
		if m.Type == otto.MountFiles {
			m.Type, m.Source, m.ReadOnly, m.MustExist = otto.MountBind, inst.FolderPaths[m.Content], true, true
		}
		if m.Seed != "" { // the engine may make what is missing in it, as with Compose, and never itself
			m.Type, m.Source, m.MustExist = otto.MountBind, path.Join(inst.SeedPaths[m.Source], m.Subpath), m.Subpath == ""
		}
		if m.Type == otto.MountBind && slices.Contains(inst.Present, path.Clean(m.Source)) {
			m.MustExist = true
		}
		short := m.Type == otto.MountBind && !m.MustExist && m.Recursive == "" || m.SELinux != "" && m.Source != ""
		if short && !strings.ContainsRune(m.Source+m.Target, ':') {
			binds = append(binds, shortBind(m))
			continue
		}
		mounts = append(mounts, longMount(m, owner))
	}
	for i, f := range inst.Spec.Files {
		mounts = append(mounts, mount.Mount{
			Type:     mount.TypeBind,
			Source:   inst.FilePaths[i],
			Target:   f.Target,
			ReadOnly: true,
		})
	}
	return binds, mounts
}

func shortBind(m otto.Mount) string {
	mode := "rw"
	if m.ReadOnly {
		mode = "ro"
	}
	if m.Propagation != "" {
		mode += "," + m.Propagation
	}
	if m.SELinux != "" {
		mode += "," + m.SELinux
	}
	if m.NoCopy {
		mode += ",nocopy"
	}
	return m.Source + ":" + m.Target + ":" + mode
}

func longMount(m otto.Mount, owner otto.Owner) mount.Mount {
	out := mount.Mount{Type: mount.Type(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	switch m.Type {
	case otto.MountBind:
		if m.Propagation != "" || m.Recursive != "" {
			out.BindOptions = &mount.BindOptions{
				Propagation:            mount.Propagation(m.Propagation),
				NonRecursive:           m.Recursive == "disabled",
				ReadOnlyNonRecursive:   m.Recursive == "writable",
				ReadOnlyForceRecursive: m.Recursive == "readonly",
				CreateMountpoint:       !m.MustExist,
			}
		}
	case otto.MountVolume:
		out.VolumeOptions = &mount.VolumeOptions{
			NoCopy:  m.NoCopy,
			Labels:  volumeLabels(owner, m),
			Subpath: m.Subpath,
		}
		if m.Driver != "" || len(m.DriverOpts) > 0 {
			out.VolumeOptions.DriverConfig = &mount.Driver{Name: cmp.Or(m.Driver, "local"), Options: m.DriverOpts}
		}
	case otto.MountImage:
		out.ImageOptions = &mount.ImageOptions{Subpath: m.Subpath}
	case otto.MountTmpfs:
		out.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: m.SizeBytes, Mode: os.FileMode(m.Mode)}
	}
	return out
}

// volumeLabels are the user's and Otto's, which say whose the volume is.
func volumeLabels(owner otto.Owner, m otto.Mount) map[string]string {
	all := map[string]string{}
	maps.Copy(all, m.Labels)
	maps.Copy(all, owner.Labels())
	return all
}

func tmpfs(wanted []string) map[string]string {
	if len(wanted) == 0 {
		return nil
	}
	out := make(map[string]string, len(wanted))
	for _, t := range wanted {
		path, options, _ := strings.Cut(t, ":")
		out[path] = options
	}
	return out
}

func healthcheck(h *otto.Healthcheck) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test:          h.Test,
		Interval:      h.Interval,
		Timeout:       h.Timeout,
		StartPeriod:   h.StartPeriod,
		StartInterval: h.StartInterval,
		Retries:       h.Retries,
	}
}

// stopTimeout is in whole seconds, rounded up; nil means the engine's 10 s.
func stopTimeout(grace time.Duration) *int {
	if grace <= 0 {
		return nil
	}
	return new(int(math.Ceil(grace.Seconds())))
}

// logging bounds the logs that the file does not speak of: unbounded ones fill
// a small node's disk. json-file because every engine and podman know it.
func logging(l *otto.Logging) container.LogConfig {
	if l == nil {
		return container.LogConfig{
			Type:   "json-file",
			Config: map[string]string{"max-size": "10m", "max-file": "3"},
		}
	}
	return container.LogConfig{Type: l.Driver, Config: l.Options}
}

func devices(wanted []otto.Device) []container.DeviceMapping {
	var out []container.DeviceMapping
	for _, d := range wanted {
		out = append(out, container.DeviceMapping{
			PathOnHost:        d.Host,
			PathInContainer:   d.Container,
			CgroupPermissions: d.Permissions,
		})
	}
	return out
}
