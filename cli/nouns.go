package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

// What the commands about nodes and about services have in common.

// one takes exactly one argument: which node, or which service.
func one(noun string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%w: %s needs one %s: %s", errUsage, c.CommandPath(), noun, c.UseLine())
		}
		return nil
	}
}

// named is the one of a list that is called name.
func named[T any](noun, name string, list []T, call func(T) string) (found T, err error) {
	var names []string
	for _, one := range list {
		if call(one) == name {
			return one, nil
		}
		names = append(names, call(one))
	}
	return found, fmt.Errorf("no %s %q: there are %s", noun, name, strings.Join(names, ", "))
}

func findNode(c *otto.Cluster, id string) (otto.NodeStatus, error) {
	return named("node", id, c.Nodes, func(n otto.NodeStatus) string { return n.ID })
}

func findService(c *otto.Cluster, name string) (otto.ServiceStatus, error) {
	return named("service", name, c.Services, func(s otto.ServiceStatus) string { return s.Name })
}

// seen is what is known of the cluster of this directory, and whether its control
// plane runs.
func (a *app) seen(ctx context.Context) (d stateDir, c *otto.Cluster, running bool, err error) {
	if d, err = a.dir(); err != nil {
		return d, nil, false, err
	}
	c, running, err = look(ctx, d)
	return d, c, running, err
}

// controlled is seen for what needs a control plane that runs.
func (a *app) controlled(ctx context.Context) (d stateDir, c *otto.Cluster, err error) {
	d, c, running, err := a.seen(ctx)
	if err == nil && !running {
		err = api.ErrNotRunning
	}
	return d, c, err
}

// line prints what something is, if anything is known.
func (a *app) line(name, value string) {
	if value != "" {
		fmt.Fprintf(a.out, "%-12s %s\n", name, value)
	}
}
