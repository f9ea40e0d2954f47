package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/config"
)

// lost tells a cluster whose .otto is lost from a new one, before anything is made for
// it: where each node that answers belongs to one cluster of that name, this is either
// that cluster, or must not have its name.
func (a *app) lost(ctx context.Context, d stateDir, f *config.File) error {
	var c clusterFile
	if err := d.read(fileCluster, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.ClusterID != "" || !c.StartedAt.IsZero() || d.hasStore() {
		return nil
	}
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	owners := owners(ctx, fleet, f.Wanted.Nodes, f.Name)
	if len(owners) == 0 || slices.ContainsFunc(owners, func(o nodeOwner) bool { return o.id != owners[0].id }) ||
		owners[0].id == "" {
		return nil // each node tells what is wrong with it
	}
	var ids []string
	for _, o := range owners {
		ids = append(ids, o.node.ID)
	}
	return fmt.Errorf(
		"%s: there is a cluster named %s already (id %s), and no state of it is in %s: if it is this one, bring it back with `otto cluster restore --from %s`; if not, give this one another name",
		strings.Join(ids, ", "),
		f.Name,
		owners[0].id,
		d,
		bootstrap.SSHTarget(owners[0].node),
	)
}

// nodeOwner is the id of the cluster that a node belongs to; empty for none.
type nodeOwner struct {
	node otto.Node
	id   string
}

// owners are those of the nodes that answer, in their order.
func owners(ctx context.Context, fleet *bootstrap.Fleet, nodes []otto.Node, cluster string) (found []nodeOwner) {
	all := make([]*nodeOwner, len(nodes))
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, n := range nodes {
		g.Go(func() error {
			id, err := fleet.Owner(ctx, n, cluster)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				all[i] = &nodeOwner{n, id}
			}
			return nil
		})
	}
	_ = g.Wait() // they return none
	for _, o := range all {
		if o != nil {
			found = append(found, *o)
		}
	}
	return found
}
