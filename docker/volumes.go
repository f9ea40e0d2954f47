package docker

import (
	"context"
	"errors"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Volumes returns the names of all volumes that the engine has, whoever made them.
func (r *Runtime) Volumes(ctx context.Context) (names []string, err error) {
	err = r.call(ctx, shortCall, "list volumes", func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeList(ctx, client.VolumeListOptions{})
		if err != nil {
			return err
		}
		names = nil
		for _, v := range found.Items {
			names = append(names, v.Name)
		}
		return nil
	})
	return names, err
}

// RemoveVolumes removes the named volumes that were made for this cluster, with
// the data in them. A volume that a container still uses is an error.
func (r *Runtime) RemoveVolumes(ctx context.Context) error {
	return r.call(ctx, longCall, "remove volumes", func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeList(ctx, client.VolumeListOptions{
			Filters: make(client.Filters).Add("label", otto.LabelCluster+"="+r.cluster),
		})
		if err != nil {
			return err
		}
		var errs []error
		for _, v := range found.Items {
			_, err := c.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}
