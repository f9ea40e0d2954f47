package docker

import (
	"context"
	"slices"
	"sync"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// labelComposeNetwork is what networks of stacks have, and neither the cluster's own nor one that
// is external to its stack.
const labelComposeNetwork = "com.docker.compose.network"

// attaching counts by network the containers that are being put into it.
type attaching struct {
	mu    sync.Mutex
	count map[string]int
}

// begin notes the networks of an instance, until end is called first.
func (a *attaching) begin(inst otto.Instance) (end func()) {
	add := func(n int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.count == nil {
			a.count = map[string]int{}
		}
		for _, of := range attached(inst) {
			if a.count[of.Name] += n; a.count[of.Name] == 0 {
				delete(a.count, of.Name)
			}
		}
	}
	add(1)
	return sync.OnceFunc(func() { add(-1) })
}

func (a *attaching) to(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[name] > 0
}

// networksOf are the names of the networks of an instance and its stack.
func networksOf(inst otto.Instance) (names []string) {
	for _, n := range slices.Concat(attached(inst), inst.Beside) {
		if n.Name != "" {
			names = append(names, n.Name)
		}
	}
	return names
}

// removeUnusedNetworks removes those networks of a stack that no container is in any more, also
// none that is stopped: an engine has addresses for about thirty. One that cannot be removed
// stays until the next container is removed from it.
func (r *Runtime) removeUnusedNetworks(ctx context.Context, c *client.Client, names []string) {
	if len(names) == 0 || r.networking.enter(ctx) != nil {
		return
	}
	defer r.networking.leave()
	for _, name := range names {
		found, err := c.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
		if err != nil || found.Network.Name != name || r.attaching.to(name) ||
			found.Network.Labels[labelComposeNetwork] == "" || !r.ownsNetwork(name, found.Network.ID, found.Network.Labels) {
			continue
		}
		in, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("network", name)})
		if err != nil || len(in.Items) > 0 {
			continue
		}
		if _, err := c.NetworkRemove(ctx, found.Network.ID, client.NetworkRemoveOptions{}); err != nil {
			r.log.Debug("network stays", "network", name, "error", err)
		}
	}
}
