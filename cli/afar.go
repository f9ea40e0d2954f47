package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
)

// afarNote goes with each plan of a file of another machine than the control plane's.
const afarNote = "nodes, mqtt and api of otto.yaml are applied on the machine of the control plane alone, and the otto.yaml there " +
	"stays as it is: what this one changes has to be in that one before the next apply there"

// suited sees to it that a file can be applied to the control plane of a context, if there is
// one: it is of that cluster, and nothing of this machine is needed. Keys for SSH are files
// of the control plane's machine, so those that the nodes have stay.
func (a *app) suited(ctx context.Context, c *api.Client, f *config.File) error {
	if a.context == "" {
		return nil
	}
	if len(f.OnlyHere) > 0 {
		return f.OnlyHere
	}
	v, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	if v.Name != f.Name {
		return fmt.Errorf("%s is of cluster %q, and context %s is cluster %q: nothing was changed: name the right file with "+
			"--config, or the right cluster with --context", f.Path, f.Name, a.context, v.Name)
	}
	for i := range f.Wanted.Nodes {
		n := &f.Wanted.Nodes[i]
		k := slices.IndexFunc(v.Nodes, func(s otto.NodeStatus) bool { return s.ID == n.ID })
		if k >= 0 {
			n.IdentityFile = v.Nodes[k].IdentityFile
		}
	}
	return nil
}
