package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

func newStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "stop", SuggestFor: []string{"down"},
		Short: "Stop services, agents and control plane, everywhere",
		Long: `Stop ends all services, then the agents, then the control plane. Containers and
volumes stay where they are; otto cluster start goes on with them.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.takeDown(c.Context(), "stopped", nil, (*api.Client).Stop)
		},
	}
}

func newUninstall(a *app) *cobra.Command {
	var volumes, yes bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop everything and take Otto off every node",
		Long: `Uninstall stops the cluster and removes its containers, networks and agents from
every node. Named volumes, and the data in them, stay unless --volumes is given: then
it shows which there are, by node, with size and age, and asks.`,
		Example: `  otto cluster uninstall
  otto cluster uninstall --volumes`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var may func(context.Context, *otto.Cluster) error
			if volumes {
				may = func(ctx context.Context, c *otto.Cluster) error { return a.mayDelete(ctx, c, yes) }
			}
			return a.takeDown(c.Context(), "uninstalled", may, func(client *api.Client, ctx context.Context) error {
				return client.Uninstall(ctx, volumes)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&volumes, "volumes", false, "remove named volumes too, with the data in them")
	return c
}

// takeDown stops or uninstalls, unless may, if given, says why not; a control plane is
// started for it if none runs.
func (a *app) takeDown(ctx context.Context, done string, may func(context.Context, *otto.Cluster) error,
	do func(*api.Client, context.Context) error,
) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	var settings controlFile
	if err := d.read(fileControl, &settings); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(a.out, "there is nothing to stop: no cluster has been started here")
		return nil
	} else if err != nil {
		return err
	}
	if err := d.mayTakeDown(); err != nil {
		return err
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.ensureControlPlane(ctx, d, settings); err != nil {
		return err
	}
	if may != nil {
		c, err := d.client().Cluster(ctx)
		if err != nil {
			return err
		}
		if err := may(ctx, c); err != nil {
			return err
		}
	}
	left := do(d.client(), ctx)
	if err := endControlPlane(ctx, d); err != nil {
		return err
	}
	if left != nil {
		fmt.Fprintf(a.err, "otto: not everything could be %s; what is named here goes on as it was:\n", done)
		for line := range strings.Lines(left.Error()) {
			fmt.Fprint(a.err, "  "+line)
		}
		fmt.Fprintln(a.err)
		return errPart
	}
	fmt.Fprintf(a.out, "%s is %s.\n", settings.Name, done)
	return nil
}

// endWithin is how long a control plane may take to end.
const endWithin = 15 * time.Second

// lockBoth keeps away the supervisor and, should it be gone, what it has started.
func (d stateDir) lockBoth() (unlock func(), err error) {
	supervisor, err := d.lockControlPlane()
	if err != nil {
		return nil, err
	}
	worker, err := d.hold(dirStore+".lock", errControlPlaneRuns)
	if err != nil {
		supervisor()
		return nil, err
	}
	return func() { worker(); supervisor() }, nil
}

// endControlPlane returns when no control plane runs: it has ended what it had to
// write when it lets go of its lock, which is later than its last answer.
func endControlPlane(ctx context.Context, d stateDir) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	if err := d.client().Exit(ctx); err != nil && !errors.Is(err, api.ErrNotRunning) {
		return err
	}
	for {
		unlock, err := d.lockBoth()
		if err == nil {
			unlock()
			return nil
		}
		if !errors.Is(err, errControlPlaneRuns) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the control plane does not end: see %s", d.path(fileLog))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
