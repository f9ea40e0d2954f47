package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
)

func newVolume(a *app) *cobra.Command {
	c := &cobra.Command{Use: "volume", Short: "See and take over volumes", Args: noArgs, RunE: help}
	c.AddCommand(newVolumeList(a), newVolumeAdopt(a))
	return c
}

func newVolumeList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the cluster's volumes with who uses them", Args: noArgs,
		Long: `The volumes of the cluster on all its nodes, with the services that mount them there;
also those that nothing mounts any more, and those that something has run with and that
are gone. Sizes are asked of the nodes over SSH.`,
		RunE: func(c *cobra.Command, _ []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			found, problems := volumesOf(c.Context(), v)
			list := usedVolumes(v, found)
			for _, p := range problems {
				fmt.Fprintln(a.err, "otto: which volumes it has is not known: "+p)
			}
			if a.json() {
				return a.printJSON(list)
			}
			rows := [][]string{{"NODE", "VOLUME", "SIZE", "AGE", "SERVICES", "STATE"}}
			now := time.Now()
			for _, u := range list {
				bytes, state := "-", "there"
				if u.Bytes >= 0 {
					bytes = size(uint64(u.Bytes))
				}
				if u.Problem != "" {
					state = u.Problem
				}
				services := dash(strings.Join(u.Services, ","))
				rows = append(rows, []string{u.Node, u.Name, bytes, age(now, u.Created), services, state})
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}

// usedVolume is a volume of a node with the services that mount it there.
type usedVolume struct {
	nodeVolume
	Services []string `json:"services"`
	// Problem says what is wrong with one that a service has run with; empty if nothing is
	// known to be.
	Problem string `json:"problem,omitempty"`
}

// usedVolumes are volumes that were found, and those that are gone, by node and name.
func usedVolumes(c *otto.Cluster, found []nodeVolume) []usedVolume {
	list := []usedVolume{}
	for _, v := range found {
		list = append(list, usedVolume{nodeVolume: v})
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		for _, d := range n.Lost {
			if !d.IsVolume() {
				continue
			}
			k := slices.IndexFunc(list, func(u usedVolume) bool { return u.Node == n.ID && u.Name == d.Source })
			if k < 0 {
				k = len(list)
				list = append(list, usedVolume{nodeVolume: nodeVolume{n.ID, otto.VolumeUse{Name: d.Source, Bytes: -1}}})
			}
			list[k].Problem = d.Problem
		}
	}
	for k := range list {
		list[k].Services = mounting(c, list[k].Node, list[k].Name)
	}
	slices.SortFunc(list, func(a, b usedVolume) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Name, b.Name))
	})
	return list
}

// mounting are the services that have an instance on a node and mount a volume.
func mounting(c *otto.Cluster, node, volume string) []string {
	names := []string{}
	for i := range c.Services {
		s := &c.Services[i]
		there := func(p otto.PlacedInstance) bool { return p.Node == node }
		if slices.Contains(s.Spec.Volumes(), volume) && slices.ContainsFunc(s.Instances, there) {
			names = append(names, s.Name)
		}
	}
	return names
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
