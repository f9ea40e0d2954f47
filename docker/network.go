package docker

import (
	"context"
	"fmt"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
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
	_, err = c.NetworkCreate(ctx, r.cluster, client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: map[string]string{otto.LabelCluster: r.cluster},
	})
	return err
}

// network reports whether the cluster's network is there. A foreign network of
// that name is an error.
func (r *Runtime) network(ctx context.Context, c *client.Client) (bool, error) {
	found, err := c.NetworkInspect(ctx, r.cluster, client.NetworkInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if found.Network.Name != r.cluster { // the engine also looks among ids
		return false, nil
	}
	if found.Network.Labels[otto.LabelCluster] != r.cluster {
		return false, fmt.Errorf("a network named %s is there that is not Otto's: remove it (docker network rm %[1]s), or give the cluster another name", r.cluster)
	}
	return true, nil
}

// RemoveNetwork removes the cluster's network, once nothing uses it any more. A
// network that is not there, or not Otto's, is left alone.
func (r *Runtime) RemoveNetwork(ctx context.Context) error {
	return r.call(ctx, shortCall, "remove network "+r.cluster, func(ctx context.Context, c *client.Client) error {
		found, err := c.NetworkInspect(ctx, r.cluster, client.NetworkInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if found.Network.Labels[otto.LabelCluster] != r.cluster {
			return nil
		}
		_, err = c.NetworkRemove(ctx, found.Network.ID, client.NetworkRemoveOptions{})
		return err
	})
}
