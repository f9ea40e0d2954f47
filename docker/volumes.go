package docker

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// AllVolumes returns the names of all volumes that the engine has, whoever made them.
func (r *Runtime) AllVolumes(ctx context.Context) (names []string, err error) {
	return r.volumes(ctx, nil)
}

// Volumes returns the names of the named volumes that were made for this cluster,
// used or not.
func (r *Runtime) Volumes(ctx context.Context) (names []string, err error) {
	all, err := r.volumes(ctx, r.ours())
	for _, name := range all {
		if !anonymous(name) {
			names = append(names, name)
		}
	}
	return names, err
}

// ours are the volumes that were made for this cluster: each has its label.
func (r *Runtime) ours() client.Filters {
	return make(client.Filters).Add("label", otto.LabelCluster+"="+r.cluster)
}

// anonymous reports whether the engine has made up a volume's name: 64 digits, of all
// engines.
func anonymous(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func (r *Runtime) volumes(ctx context.Context, which client.Filters) (names []string, err error) {
	err = r.call(ctx, shortCall, "list volumes", func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: which})
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
		found, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: r.ours()})
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
