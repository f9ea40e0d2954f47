package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
)

func newRequirements(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "requirements",
		Short: "Show which requirements hold, and which do not",
		Long: `Each requirement of otto.yaml is judged for each instance of its service, where it
runs, or for its node: ok, pending (over its limit, not for long enough yet),
violated, clearing (good again, not for long enough yet) or unknown (there are no
data to judge by, so that nothing is done about it).`,
		Example: `  otto requirements
  otto requirements --watch
  otto requirements --output json | jq '.[] | select(.state == "violated")'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if watch {
				return a.watch(c.Context(), d, a.printRequirements, func(c *otto.Cluster) any { return verdicts(c) })
			}
			return a.requirements(c.Context(), d)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on, once a second, in place on a terminal")
	return c
}

func (a *app) requirements(ctx context.Context, d stateDir) error {
	c, running, err := look(ctx, d)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(verdicts(c))
	}
	a.printRequirements(a.out, c, running, time.Now())
	return nil
}

// verdicts are all of a cluster, nodes first.
func verdicts(c *otto.Cluster) []otto.Verdict {
	list := []otto.Verdict{}
	for _, n := range c.Nodes {
		list = append(list, n.Verdicts...)
	}
	for _, s := range c.Services {
		list = append(list, s.Verdicts...)
	}
	return list
}

func (a *app) printRequirements(w io.Writer, c *otto.Cluster, running bool, now time.Time) {
	if !running {
		fmt.Fprintf(w, "The control plane of %s is not running: nothing is judged. This is from %s ago.\n\n", c.Name, age(now, c.Time))
	}
	list := verdicts(c)
	if len(list) == 0 {
		fmt.Fprintln(w, "Nothing is required of what runs: write requirements in otto.yaml, such as `requirements: [node.temperature < 75C]`.")
		return
	}
	rows := [][]string{{"OF", "ON", "REQUIREMENT", "STATE", "VALUE", "SINCE", "WHY"}}
	for _, v := range list {
		value := "-"
		if v.Value != nil {
			value = v.Requirement.Unit.Show(*v.Value)
		}
		rows = append(rows, []string{cmpOr(v.Instance, v.Node), v.Node, v.Requirement.String(), string(v.State), value, age(now, v.Since), v.Reason})
	}
	table(w, a.colour(), 3, rows)
}
