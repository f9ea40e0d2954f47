package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// AllVolumes returns the names of all volumes that the engine has, whoever made them.
func (r *Runtime) AllVolumes(ctx context.Context) (names []string, err error) {
	all, err := r.volumes(ctx)
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, err
}

// Volumes returns the names of the named volumes that were made for this cluster,
// used or not.
func (r *Runtime) Volumes(ctx context.Context) (names []string, err error) {
	all, err := r.volumes(ctx)
	for _, v := range all {
		if r.ownsVolume(v.Name, v.Labels) && !anonymous(v.Name) {
			names = append(names, v.Name)
		}
	}
	return names, err
}

// OwnVolumes returns what RemoveVolumes would remove.
func (r *Runtime) OwnVolumes(ctx context.Context) (list []otto.VolumeUse, err error) {
	err = r.call(ctx, longCall, "measure volumes", func(ctx context.Context, c *client.Client) error {
		used, err := c.DiskUsage(ctx, client.DiskUsageOptions{Volumes: true, Verbose: true})
		if err != nil {
			return err
		}
		for _, v := range used.Volumes.Items {
			if !r.ownsVolume(v.Name, v.Labels) {
				continue
			}
			own := otto.VolumeUse{Name: v.Name, Bytes: -1}
			own.Created, _ = time.Parse(time.RFC3339, v.CreatedAt) // not all drivers tell
			if v.UsageData != nil {
				own.Bytes = v.UsageData.Size
			}
			list = append(list, own)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b otto.VolumeUse) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}

// anonymous reports whether the engine has made up a volume's name: 64 digits, of all
// engines.
func anonymous(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

func (r *Runtime) volumes(ctx context.Context) (all []volume.Volume, err error) {
	err = r.call(ctx, shortCall, "list volumes", func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeList(ctx, client.VolumeListOptions{})
		all = found.Items
		return err
	})
	return all, err
}

// ensureVolumes makes the volumes of a container that are not there: the short form of a
// mount could not say how, and some engines do not label what they make with a container. One that others make must be there: the engine would make an
// empty one of that name without a word.
func (r *Runtime) ensureVolumes(ctx context.Context, c *client.Client, mounts []otto.Mount) error {
	for _, m := range mounts {
		var err error
		switch {
		case m.Type != otto.MountVolume || m.Source == "" || m.Seed != "":
		case m.External:
			if _, err = c.VolumeInspect(ctx, m.Source, client.VolumeInspectOptions{}); cerrdefs.IsNotFound(err) {
				err = fmt.Errorf(
					"volume %s is external and not on this node: bring it here, or let the service run where it is; an empty one is not made",
					m.Source,
				)
			}
		default:
			labels := volumeLabels(r.owner, m)
			labels[otto.LabelVolume] = rand.Text()
			_, err = c.VolumeCreate(ctx,
				client.VolumeCreateOptions{Name: m.Source, Driver: m.Driver, DriverOpts: m.DriverOpts, Labels: labels})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Volume returns the volume of a name, whoever made it, or that there is none.
func (r *Runtime) Volume(ctx context.Context, name string) (v otto.Volume, there bool, err error) {
	err = r.call(ctx, shortCall, "volume "+name, func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		labels := found.Volume.Labels
		v, there = otto.Volume{Name: name, ID: labels[otto.LabelVolume]}, true
		if !r.ownsVolume(name, labels) {
			v.Others = "nobody knows whose"
			if who, _ := r.whose(labels); who != "" {
				v.Others = strings.TrimPrefix(who, ": ")
			}
		}
		return nil
	})
	return v, there, err
}

// RemoveVolumes removes the volumes that were made for this cluster, with the data in
// them. A volume that a container still uses is an error.
func (r *Runtime) RemoveVolumes(ctx context.Context) error {
	return r.call(ctx, longCall, "remove volumes", func(ctx context.Context, c *client.Client) error {
		found, err := c.VolumeList(ctx, client.VolumeListOptions{})
		if err != nil {
			return err
		}
		var errs []error
		for _, v := range found.Items {
			if r.ownsVolume(v.Name, v.Labels) {
				_, err := c.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}
