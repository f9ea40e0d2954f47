package docker

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// ensureNetwork makes the cluster's network, a bridge named after the cluster,
// if it is not there. One goroutine at a time: engines of API 1.41 let two
// networks have one name.
func (r *Runtime) ensureNetwork(ctx context.Context, c *client.Client) error {
	if err := r.networking.enter(ctx); err != nil {
		return err
	}
	defer r.networking.leave()
	there, err := r.network(ctx, c)
	if err != nil || there {
		return err
	}
	_, err = c.NetworkCreate(ctx, r.owner.Cluster, client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: r.owner.Labels(),
	})
	return err
}

// network reports whether the cluster's network is there. One of that name that is
// not this cluster's is an error.
func (r *Runtime) network(ctx context.Context, c *client.Client) (bool, error) {
	found, err := c.NetworkInspect(ctx, r.owner.Cluster, client.NetworkInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n := found.Network
	if n.Name != r.owner.Cluster { // the engine also looks among ids
		return false, nil
	}
	if !r.ownsNetwork(n.ID, n.Labels) {
		whose, _ := r.whose(n.Labels)
		return false, fmt.Errorf("a network named %s is there that is not this cluster's%s: give the cluster another name", n.Name, whose)
	}
	return true, nil
}

// RemoveNetwork removes the cluster's network, once nothing uses it any more. A
// network that is not there, or not this cluster's, is left alone.
func (r *Runtime) RemoveNetwork(ctx context.Context) error {
	return r.call(ctx, shortCall, "remove network "+r.owner.Cluster, func(ctx context.Context, c *client.Client) error {
		found, err := c.NetworkInspect(ctx, r.owner.Cluster, client.NetworkInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !r.ownsNetwork(found.Network.ID, found.Network.Labels) {
			return nil
		}
		_, err = c.NetworkRemove(ctx, found.Network.ID, client.NetworkRemoveOptions{})
		return err
	})
}
