package docker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// replacedFor is for how long a container that is gone is not asked for again: most will
// never be back.
const replacedFor = 10 * time.Minute

// takenContainers are the containers of Compose's that are instances' by record alone, as
// far as they are there.
func (r *Runtime) takenContainers(ctx context.Context, c *client.Client) (found []otto.Container, err error) {
	taken := r.takenNow()
	for _, of := range slices.Concat(taken.Containers, taken.Back) {
		if at, gone := r.replaced.Load(of.ID); gone && time.Since(at.(time.Time)) < replacedFor {
			continue
		}
		details, err := c.ContainerInspect(ctx, of.ID, client.ContainerInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			r.replaced.Store(of.ID, time.Now())
			continue
		}
		if err != nil {
			return nil, err
		}
		in := details.Container
		if in.ID != of.ID || in.Config == nil || r.owner.Of(in.Config.Labels) != otto.Foreign {
			continue
		}
		ctr := containerOf(in)
		ctr.Service, ctr.Instance, ctr.SpecHash, ctr.Taken = of.Service, of.Instance, "", true
		ctr.OOMKills, ctr.Stopped, ctr.LastExit = r.kills.count(in.ID)
		found = append(found, ctr)
	}
	return found, nil
}

// setRestart gives a container of Compose's that is taken over the restart policy that it had, or
// none while it is stopped. An engine that cannot do it starts a stopped one with "always" at its
// own start; the agent then stops it again.
func (r *Runtime) setRestart(ctx context.Context, c *client.Client, id string, on bool) {
	of, taken := r.takenNow().Container(id)
	if !taken || of.Restart == "" {
		return
	}
	policy := container.RestartPolicy{Name: container.RestartPolicyDisabled}
	if on {
		policy = restartPolicyOf(of.Restart)
	}
	if _, err := c.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &policy}); err != nil {
		r.log.Debug("restart policy stays", "container", short(id), "error", err)
	}
}

func restartPolicyOf(text string) container.RestartPolicy {
	name, retries, _ := strings.Cut(text, ":")
	n, _ := strconv.Atoi(retries)
	return container.RestartPolicy{Name: container.RestartPolicyMode(name), MaximumRetryCount: n}
}

// releasedLabels are Compose's, and by which an agent knows what it has given back.
func releasedLabels(owner otto.Owner, inst otto.Instance, all map[string]string) map[string]string {
	maps.Copy(all, inst.Release.Labels)
	if n := len(attached(inst)); n > 1 {
		all[labelNetworks] = strconv.Itoa(n)
	}
	all[otto.LabelReleased] = strings.Join([]string{owner.ClusterID, owner.Node, inst.Service, inst.Name, inst.Hash()}, " ")
	return all
}

// releasedContainers are the containers of instances that are being given back.
func (r *Runtime) releasedContainers(ctx context.Context, c *client.Client) (found []otto.Container, err error) {
	releasing := r.takenNow().Releasing
	if len(releasing) == 0 {
		return nil, nil
	}
	list, err := c.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", otto.LabelReleased),
	})
	if err != nil {
		return nil, err
	}
	for _, item := range list.Items {
		of := strings.Split(item.Labels[otto.LabelReleased], " ")
		if len(of) != 5 || of[0] != r.owner.ClusterID || of[1] != r.owner.Node || !slices.Contains(releasing, of[3]) {
			continue
		}
		details, err := c.ContainerInspect(ctx, item.ID, client.ContainerInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ctr := containerOf(details.Container)
		ctr.Service, ctr.Instance, ctr.Taken = of[2], of[3], true
		if n := details.Container.NetworkSettings; ctr.State != otto.ContainerCreated || n == nil ||
			item.Labels[labelNetworks] == "" || item.Labels[labelNetworks] == strconv.Itoa(len(n.Networks)) {
			ctr.SpecHash = of[4] // else it is not whole
		}
		found = append(found, ctr)
	}
	return found, nil
}

// Projects returns the Compose projects that the engine has and that are not this
// cluster's, by name. It changes nothing.
func (r *Runtime) Projects(ctx context.Context) (list []otto.Project, err error) {
	err = r.call(ctx, longCall, "find Compose projects", func(ctx context.Context, c *client.Client) error {
		all, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
		if err != nil {
			return err
		}
		by := map[string]*otto.Project{}
		for _, item := range all.Items {
			name := item.Labels[otto.ComposeProject]
			if name == "" || r.owns(item.ID, item.Labels) && r.owner.Of(item.Labels) != otto.Foreign ||
				item.Labels[labelOnce] != "" {
				continue
			}
			details, err := c.ContainerInspect(ctx, item.ID, client.ContainerInspectOptions{})
			if cerrdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if by[name] == nil {
				by[name] = &otto.Project{Name: name}
			}
			by[name].Containers = append(by[name].Containers, r.projectContainer(ctx, c, details.Container))
		}
		for _, name := range slices.Sorted(maps.Keys(by)) {
			if err := r.completeProject(ctx, c, by[name], all.Items); err != nil {
				return err
			}
			list = append(list, *by[name])
		}
		return r.measureNameless(ctx, c, list)
	})
	return list, err
}

func (r *Runtime) projectContainer(ctx context.Context, c *client.Client, in container.InspectResponse) otto.ProjectContainer {
	ctr := containerOf(in)
	p := otto.ProjectContainer{
		ID: in.ID, Name: ctr.Name, State: ctr.State, Image: ctr.Image, ImageID: ctr.ImageID, Number: 1,
		Labels: map[string]string{}, Networks: map[string]string{}, Others: r.othersThan(in.Config.Labels),
	}
	for name, value := range in.Config.Labels {
		if strings.HasPrefix(name, otto.ComposeLabels) {
			p.Labels[name] = value
		}
	}
	p.Service = p.Labels[otto.ComposeService]
	if n, err := strconv.Atoi(p.Labels[otto.ComposeLabels+"container-number"]); err == nil {
		p.Number = n
	}
	p.OneOff = p.Labels[otto.ComposeLabels+"oneoff"] == "True"
	if image, err := c.ImageInspect(ctx, p.Image); err == nil && imageID(image.ID) != p.ImageID {
		p.ImageNow = imageID(image.ID)
	}
	for _, m := range in.Mounts {
		of := otto.ProjectMount{Type: string(m.Type), Source: m.Source, Target: m.Destination, ReadOnly: !m.RW}
		if m.Type == mount.TypeVolume {
			of.Source, of.Nameless = m.Name, anonymous(m.Name)
		}
		p.Mounts = append(p.Mounts, of)
	}
	slices.SortFunc(p.Mounts, func(a, b otto.ProjectMount) int { return cmp.Compare(a.Target, b.Target) })
	if in.NetworkSettings != nil {
		for name, n := range in.NetworkSettings.Networks {
			p.Networks[name] = fixedAddress(n)
		}
	}
	if in.HostConfig != nil {
		p.Ports = publishedBy(in.HostConfig.PortBindings)
		p.Restart = restartText(in.HostConfig.RestartPolicy)
	}
	return p
}

// restartText is a restart policy as Compose has it; empty for none.
func restartText(p container.RestartPolicy) string {
	switch {
	case p.IsNone():
		return ""
	case p.MaximumRetryCount > 0:
		return string(p.Name) + ":" + strconv.Itoa(p.MaximumRetryCount)
	}
	return string(p.Name)
}

func fixedAddress(n *network.EndpointSettings) string {
	if n == nil || n.IPAMConfig == nil || !n.IPAMConfig.IPv4Address.IsValid() {
		return ""
	}
	return n.IPAMConfig.IPv4Address.String()
}

// publishedBy are the ports of the host that a container asks for by number.
func publishedBy(bindings network.PortMap) (list []otto.Port) {
	for port, of := range bindings {
		for _, b := range of {
			if host, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil && host > 0 {
				list = append(list, otto.Port{Host: uint16(host), Container: port.Num(), Protocol: string(port.Proto())})
			}
		}
	}
	slices.SortFunc(list, func(a, b otto.Port) int { return cmp.Compare(a.Host, b.Host) })
	return slices.Compact(list)
}

// othersThan says whose something is that has another cluster's labels; empty for nobody's.
func (r *Runtime) othersThan(labels map[string]string) string {
	if of := r.owner.Of(labels); of == otto.Foreign || of == otto.Own {
		return ""
	}
	whose, _ := r.whose(labels)
	return strings.TrimPrefix(strings.TrimSpace(whose), ": ")
}

// completeProject finds the volumes and networks of a project's containers, and where its
// files are.
func (r *Runtime) completeProject(ctx context.Context, c *client.Client, p *otto.Project, all []container.Summary) error {
	slices.SortFunc(p.Containers, func(a, b otto.ProjectContainer) int { return cmp.Compare(a.Name, b.Name) })
	volumes, networks := map[string]bool{}, map[string]bool{}
	for i := range p.Containers {
		ctr := &p.Containers[i]
		if files := ctr.Labels[otto.ComposeLabels+"project.config_files"]; p.Dir == "" && !ctr.OneOff {
			p.Dir = ctr.Labels[otto.ComposeLabels+"project.working_dir"]
			if files != "" {
				p.Files = strings.Split(files, ",")
			}
		}
		for _, m := range ctr.Mounts {
			if m.Type == otto.MountVolume && !m.Nameless {
				volumes[m.Source] = true
			}
		}
		for name := range ctr.Networks {
			networks[name] = !predefined(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		found, err := c.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		v := otto.ProjectVolume{Name: name, ID: found.Volume.Labels[otto.LabelVolume], Others: r.othersThan(found.Volume.Labels)}
		v.UsedBy = usersBeside(p, all, name)
		p.Volumes = append(p.Volumes, v)
	}
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		if !networks[name] {
			continue
		}
		found, err := c.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		n := found.Network
		p.Networks = append(p.Networks, otto.ProjectNetwork{Name: n.Name, ID: n.ID, Others: r.othersThan(n.Labels)})
	}
	return nil
}

// usersBeside are the containers that run with a volume and are not of the project.
func usersBeside(p *otto.Project, all []container.Summary, volume string) (names []string) {
	for _, item := range all {
		uses := slices.ContainsFunc(item.Mounts, func(m container.MountPoint) bool {
			return m.Type == mount.TypeVolume && m.Name == volume
		})
		running := item.State == container.StateRunning || item.State == container.StatePaused ||
			item.State == container.StateRestarting
		own := slices.ContainsFunc(p.Containers, func(c otto.ProjectContainer) bool { return c.ID == item.ID })
		if uses && running && !own && !(item.Labels[otto.ComposeProject] == p.Name && item.Labels[otto.LabelCluster] != "") {
			names = append(names, nameOf(item.Names))
		}
	}
	slices.Sort(names)
	return names
}

// measureNameless finds out whether there is anything in volumes without a name. What cannot
// be measured counts as full.
func (r *Runtime) measureNameless(ctx context.Context, c *client.Client, list []otto.Project) error {
	var nameless []*otto.ProjectMount
	for i := range list {
		for k := range list[i].Containers {
			for n := range list[i].Containers[k].Mounts {
				if m := &list[i].Containers[k].Mounts[n]; m.Nameless {
					nameless = append(nameless, m)
				}
			}
		}
	}
	if len(nameless) == 0 {
		return nil
	}
	sizes := map[string]int64{}
	used, err := c.DiskUsage(ctx, client.DiskUsageOptions{Volumes: true, Verbose: true})
	if err != nil {
		return err
	}
	for _, v := range used.Volumes.Items {
		if v.UsageData != nil {
			sizes[v.Name] = v.UsageData.Size
		}
	}
	for _, m := range nameless {
		size, known := sizes[m.Source]
		m.Full = !known || size != 0
	}
	return nil
}
