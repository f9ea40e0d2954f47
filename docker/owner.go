package docker

import (
	"context"
	"fmt"
	"slices"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Adopt makes a what is this cluster's although no label proves it.
func (r *Runtime) Adopt(a otto.Adopted) { r.adopted.Store(&a) }

// Take makes t, and nothing of what it was told before, the cluster's.
func (r *Runtime) Take(t otto.Taken) { r.taken.Store(&t) }

// takenNow is what is the cluster's by its record alone.
func (r *Runtime) takenNow() otto.Taken {
	if t := r.taken.Load(); t != nil {
		return *t
	}
	return otto.Taken{}
}

// Unproven returns what has this cluster's name and no cluster's id.
func (r *Runtime) Unproven(ctx context.Context) (a otto.Adopted, err error) {
	err = r.call(
		ctx,
		shortCall,
		"list what builds before this one have made",
		func(ctx context.Context, c *client.Client) error {
			filter := client.Filters{}.Add("label", otto.LabelCluster+"="+r.owner.Cluster)
			containers, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filter})
			if err != nil {
				return err
			}
			networks, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: filter})
			if err != nil {
				return err
			}
			volumes, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: filter})
			if err != nil {
				return err
			}
			for _, item := range containers.Items {
				if r.owner.Of(item.Labels) == otto.Unproven {
					a.Containers = append(a.Containers, item.ID)
				}
			}
			for _, item := range networks.Items {
				if r.owner.Of(item.Labels) == otto.Unproven {
					a.Networks = append(a.Networks, item.ID)
				}
			}
			for _, item := range volumes.Items {
				if r.owner.Of(item.Labels) == otto.Unproven {
					a.Volumes = append(a.Volumes, item.Name)
				}
			}
			return nil
		},
	)
	return a, err
}

// owns reports whether a container is this cluster's.
func (r *Runtime) owns(id string, labels map[string]string) bool {
	if _, taken := r.takenNow().Container(id); taken && r.owner.Of(labels) == otto.Foreign {
		return true
	}
	return r.ownsAs(labels, id, func(a *otto.Adopted) []string { return a.Containers })
}

func (r *Runtime) ownsNetwork(name, id string, labels map[string]string) bool {
	if slices.Contains(r.takenNow().Given, name) {
		return false
	}
	if _, taken := r.takenNow().Network(id); taken && r.owner.Of(labels) == otto.Foreign {
		return true
	}
	return r.ownsAs(labels, id, func(a *otto.Adopted) []string { return a.Networks })
}

func (r *Runtime) ownsVolume(name string, labels map[string]string) bool {
	if slices.Contains(r.takenNow().Given, name) {
		return false
	}
	return r.ownsAs(labels, name, func(a *otto.Adopted) []string { return a.Volumes })
}

func (r *Runtime) ownsAs(labels map[string]string, key string, among func(*otto.Adopted) []string) bool {
	switch r.owner.Of(labels) {
	case otto.Own:
		return true
	case otto.Unproven:
		a := r.adopted.Load()
		return a != nil && slices.Contains(among(a), key)
	default:
		return false
	}
}

// whose says of something that is not this cluster's whose it is, as far as its labels
// tell, and what to do about a container like it that has a name which is needed.
func (r *Runtime) whose(labels map[string]string) (who, advice string) {
	cluster, id, node := labels[otto.LabelCluster], labels[otto.LabelClusterID], labels[otto.LabelNode]
	switch {
	case cluster == "" && id == "":
		return "", "rename or remove it, or name the service otherwise"
	case id == "" && cluster == r.owner.Cluster:
		return " as far as is known: it was made for a cluster of the same name", "stop it where it belongs, or name the service otherwise"
	case id == r.owner.ClusterID && id != "":
		return fmt.Sprintf(": it is of the node %s, which uses the same engine", node), "list each machine once"
	}
	return fmt.Sprintf(": it is of another cluster, named %s", cluster), "name the service otherwise"
}
