package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// setupOf is what the engine says of how a container is set up, in those aspects that
// somebody could change later.
func setupOf(in container.InspectResponse) map[string]string {
	setup := map[string]string{}
	host := in.HostConfig
	if host == nil {
		return nil
	}
	if in.NetworkSettings != nil {
		for name, n := range in.NetworkSettings.Networks {
			if n != nil && name != "host" && name != "none" {
				setup[otto.SetupNetwork+name] = strings.Join(aliasesOf(n, in.ID), " ")
			}
		}
		if in.State != nil && in.State.Running {
			publishedPorts(setup, host.PortBindings, in.NetworkSettings.Ports)
		}
	}
	for _, m := range in.Mounts {
		from := m.Name
		if from == "" {
			from = m.Source
		}
		if !m.RW {
			from += ", read-only"
		}
		setup[otto.SetupMount+m.Destination] = fmt.Sprintf("%s %s", m.Type, from)
	}
	setup["memory limit"] = limit(host.Memory, "bytes")
	setup["CPU limit"] = limit(host.NanoCPUs, "billionths of a core")
	setup["restart policy"] = string(host.RestartPolicy.Name)
	if n := host.RestartPolicy.MaximumRetryCount; n > 0 {
		setup["restart policy"] += ":" + strconv.Itoa(n)
	}
	return setup
}

func limit(n int64, unit string) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// publishedPorts adds the ports of the host by which those of a container are reached,
// of those that were asked for by number.
func publishedPorts(setup map[string]string, asked, published network.PortMap) {
	for port, bindings := range asked {
		fixed := slices.ContainsFunc(bindings,
			func(b network.PortBinding) bool { return b.HostPort != "" && b.HostPort != "0" })
		var at []string
		for _, b := range published[port] {
			at = append(at, b.HostPort)
		}
		if slices.Sort(at); fixed && len(at) > 0 {
			setup[otto.SetupPort+port.String()] = strings.Join(slices.Compact(at), " ")
		}
	}
}

// aliasesOf are the names by which a network finds a container, without the one that
// engines before 25 make of its id.
func aliasesOf(n *network.EndpointSettings, id string) []string {
	names := slices.DeleteFunc(slices.Clone(n.Aliases), func(a string) bool { return a == short(id) })
	slices.Sort(names)
	return slices.Compact(names)
}

// Attach puts a container into its networks as Create has done. It needs no restart, and
// what a running container has of them already is left as it is.
func (r *Runtime) Attach(ctx context.Context, inst otto.Instance, id string) error {
	defer r.attaching.begin(inst)()
	return r.heavy(ctx, "attach "+short(id)+" to its network", func(ctx context.Context, c *client.Client) error {
		if err := r.ensureNetworks(ctx, c, inst); err != nil {
			return err
		}
		found, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		if inst.Spec.NetworkMode == "bridge" {
			return connectTo(ctx, c, "bridge", nil, found.Container)
		}
		for _, n := range attached(inst) {
			end, err := endpoint(inst, n)
			if err == nil {
				err = connectTo(ctx, c, cmp.Or(n.Name, r.owner.Cluster), end, found.Container)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func connectTo(ctx context.Context, c *client.Client, name string, want *network.EndpointSettings,
	in container.InspectResponse,
) error {
	if in.State != nil && in.State.Running && in.NetworkSettings != nil {
		have := in.NetworkSettings.Networks[name]
		if have != nil && (want == nil || slices.Equal(aliasesOf(have, in.ID), aliasesOf(want, in.ID))) {
			return nil
		}
	}
	// From a network that has been removed too. That it is in none is an error of many
	// kinds; whether this was needed is seen by what follows.
	_, _ = c.NetworkDisconnect(ctx, name, client.NetworkDisconnectOptions{Container: in.ID, Force: true})
	_, err := c.NetworkConnect(ctx, name, client.NetworkConnectOptions{Container: in.ID, EndpointConfig: want})
	return err
}

// networkGone adds otto.ErrNetworkGone to the error of a container that does not start
// for that.
func networkGone(err error) error {
	if cerrdefs.IsNotFound(err) && strings.Contains(err.Error(), "network ") {
		return fmt.Errorf("%w: %w", otto.ErrNetworkGone, err)
	}
	return err
}
