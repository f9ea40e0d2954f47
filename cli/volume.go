package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVolume(a *app) *cobra.Command {
	c := &cobra.Command{Use: "volume", Short: "Take over volumes", Args: noArgs, RunE: help}
	c.AddCommand(newVolumeAdopt(a))
	return c
}

func newVolumeAdopt(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "adopt NODE VOLUME",
		Short: "Make a volume of a node this cluster's, with what is in it",
		Long: `A volume that this cluster has not made and has never run with may hold somebody's
data, so that a service which names it does not start. Adopt says that it is this
cluster's: its .otto directory was lost, or somebody has made the volume by hand.

Two clusters that both use a volume destroy what is in it: see that no other one
does. For a volume that is meant to be shared write external: true instead.`,
		Example: "  otto volume adopt pi-1 db",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%w: %s needs a node and a volume: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().AdoptVolume(c.Context(), args[0], args[1]); err != nil {
				return err
			}
			if !a.json() {
				fmt.Fprintf(a.out, "The volume %s of %s is this cluster's.\n", args[1], args[0])
			}
			return nil
		},
	}
}
