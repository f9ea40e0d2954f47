package docker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Containers returns the containers of this cluster on this node, running or not.
func (r *Runtime) Containers(ctx context.Context) ([]otto.Container, error) {
	var found []otto.Container
	err := r.call(ctx, shortCall, "list containers", func(ctx context.Context, c *client.Client) error {
		list, err := c.ContainerList(ctx, client.ContainerListOptions{
			All:     true,
			Filters: client.Filters{}.Add("label", otto.LabelCluster+"="+r.owner.Cluster),
		})
		if err != nil {
			return err
		}
		found = make([]otto.Container, 0, len(list.Items))
		for _, item := range list.Items {
			if !r.owns(item.ID, item.Labels) {
				continue
			}
			details, err := c.ContainerInspect(ctx, item.ID, client.ContainerInspectOptions{})
			if cerrdefs.IsNotFound(err) {
				continue // removed since
			}
			if err != nil {
				return err
			}
			found = append(found, containerOf(details.Container))
			last := &found[len(found)-1]
			last.OOMKills, last.Stopped, last.LastExit = r.kills.count(item.ID)
		}
		taken, err := r.takenContainers(ctx, c)
		if err != nil {
			return err
		}
		released, err := r.releasedContainers(ctx, c)
		found = append(append(found, taken...), released...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func containerOf(in container.InspectResponse) otto.Container {
	c := otto.Container{
		ID:       in.ID,
		Name:     strings.TrimPrefix(in.Name, "/"),
		Restarts: in.RestartCount,
		Setup:    setupOf(in),
		Borrows:  borrows(in.HostConfig),
	}
	if cfg := in.Config; cfg != nil {
		c.Image, c.ImageID = cmp.Or(cfg.Labels[otto.LabelImage], cfg.Image), imageID(in.Image)
		c.Service = cfg.Labels[otto.LabelService]
		c.Instance = cfg.Labels[otto.LabelInstance]
		c.SpecHash = cfg.Labels[otto.LabelSpec]
	}
	if s := in.State; s != nil {
		c.State = otto.ContainerState(s.Status)
		c.ExitCode = s.ExitCode
		c.OOM = s.OOMKilled
		c.Error = tidy(s.Error)
		c.Started = when(s.StartedAt)
		c.Finished = when(s.FinishedAt)
		c.Pid = s.Pid
		if s.Health != nil && s.Health.Status != container.NoHealthcheck {
			c.Health = string(s.Health.Status)
			c.Ailment = ailment(s.Health)
		}
	}
	for _, m := range in.Mounts {
		switch {
		case m.Type == mount.TypeVolume && !anonymous(m.Name):
			c.Mounts = append(c.Mounts,
				otto.Mount{Type: otto.MountVolume, Source: m.Name, Target: m.Destination, ReadOnly: !m.RW})
		case m.Type == mount.TypeBind:
			c.Mounts = append(c.Mounts,
				otto.Mount{Type: otto.MountBind, Source: m.Source, Target: m.Destination, ReadOnly: !m.RW})
		}
	}
	if n := in.NetworkSettings; n != nil {
		c.Address = address(n.Networks)
		if in.Config != nil && c.State == otto.ContainerCreated && in.Config.Labels[labelNetworks] != "" &&
			in.Config.Labels[labelNetworks] != strconv.Itoa(len(n.Networks)) {
			c.SpecHash = "" // the agent ended before all its networks were connected: it is no container to start
		}
	}
	return c
}

// ailment is what a container's own health check said last, if that was bad.
func ailment(h *container.Health) string {
	if h.Status != container.Unhealthy {
		return ""
	}
	why := "its health check fails"
	if len(h.Log) > 0 && h.Log[len(h.Log)-1] != nil {
		last := h.Log[len(h.Log)-1]
		why += fmt.Sprintf(": exit code %d", last.ExitCode)
		if lines := lastLines(last.Output, 1); len(lines) > 0 {
			why += ": " + tidy(lines[0][max(0, len(lines[0])-execOutput):])
		}
	}
	return why
}

// address is where a container is reached from its node: an address in any of
// its networks, the first by name that has one.
func address(networks map[string]*network.EndpointSettings) string {
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		if n := networks[name]; n != nil && n.IPAddress.IsValid() {
			return n.IPAddress.String()
		} else if n != nil && n.GlobalIPv6Address.IsValid() {
			return n.GlobalIPv6Address.String()
		}
	}
	return ""
}

// when reads the engine's time, whose zero is the year 1, and podman's empty one.
func when(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Running returns all running containers of the engine, foreign ones too. While
// a Watch is on it costs one call, plus one for each container that started
// since the last time.
func (r *Runtime) Running(ctx context.Context) ([]otto.RunningContainer, error) {
	var running []otto.RunningContainer
	err := r.call(ctx, shortCall, "list running containers", func(ctx context.Context, c *client.Client) error {
		known, generation := r.pids.begin()
		list, err := c.ContainerList(ctx, client.ContainerListOptions{})
		if err != nil {
			return err
		}
		running = make([]otto.RunningContainer, 0, len(list.Items))
		pids := make(map[string]int, len(list.Items))
		for _, item := range list.Items {
			pid, ok := known[item.ID]
			if !ok {
				details, err := c.ContainerInspect(ctx, item.ID, client.ContainerInspectOptions{})
				if cerrdefs.IsNotFound(err) {
					continue
				}
				if err != nil {
					return err
				}
				if s := details.Container.State; s != nil {
					pid = s.Pid
				}
			}
			if pid == 0 {
				continue // between two starts
			}
			pids[item.ID] = pid
			running = append(running, otto.RunningContainer{
				ID:   item.ID,
				Name: nameOf(item.Names),
				Pid:  pid,
				HostNetwork: item.HostConfig.NetworkMode == "host" ||
					strings.HasPrefix(item.HostConfig.NetworkMode, "container:"),
			})
		}
		r.pids.end(generation, pids)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return running, nil
}

// nameOf is a container's own name among those that links gave it.
func nameOf(names []string) string {
	for _, n := range names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}

// pidCache remembers the processes of running containers. A list of containers
// does not tell that one was restarted, so only a watched engine's processes
// are remembered, and all of them are forgotten when anything happens.
type pidCache struct {
	mu         sync.Mutex
	watched    bool
	generation int
	pids       map[string]int
}

// begin returns what is known and a generation to give to end. The map is never
// changed once it is here.
func (p *pidCache) begin() (map[string]int, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pids, p.generation
}

// end keeps pids, unless something happened since begin.
func (p *pidCache) end(generation int, pids map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched && p.generation == generation {
		p.pids = pids
	}
}

// forget drops everything; watched says whether later changes will be noticed.
func (p *pidCache) forget(watched bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = watched
	p.generation++
	p.pids = nil
}
