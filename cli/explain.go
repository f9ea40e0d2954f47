package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
)

func newExplain(a *app) *cobra.Command {
	var node bool
	c := &cobra.Command{
		Use:   "explain SERVICE|NODE",
		Short: "Say why a service is where it is, or a node as it is",
		Long: `Explain says, for each instance of a service, why it is on its node and not on
another one: how each node that could take it scores and what of, which filter
refuses it on the others, which rules of placement hold, and what holds it back.

A score is from 0 to 1: the mean of its parts by their weights, of the node as
it would be with the instance on it. docs/services.md says what the parts mean;
scheduler.weights in otto.yaml sets their weights.

Which requirements hold and by how much, what would be done about those that do
not, and what holds that back, is there too.

Of a node it says why it is in its state, what is there and why, and which
services it could not be given now.`,
		Example: `  otto explain web
  otto explain rpi-01
  otto explain web --output json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: %s needs one service or node: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			e, err := explanationOf(c.Context(), d.client(), args[0], node)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(e)
			}
			a.printExplanation(e)
			return nil
		},
	}
	c.Flags().BoolVar(&node, "node", false, "the name is a node's, if there is a service of that name too")
	return c
}

// explainer is the control plane as far as it explains.
type explainer interface {
	Cluster(ctx context.Context) (*otto.Cluster, error)
	ExplainService(ctx context.Context, name string) (otto.Explanation, error)
	ExplainNode(ctx context.Context, id string) (otto.Explanation, error)
}

func explanationOf(ctx context.Context, control explainer, name string, node bool) (otto.Explanation, error) {
	if node {
		return control.ExplainNode(ctx, name)
	}
	c, err := control.Cluster(ctx)
	if err != nil {
		return otto.Explanation{}, err
	}
	var known []string
	for _, s := range c.Services {
		if s.Name == name {
			return control.ExplainService(ctx, name)
		}
		known = append(known, s.Name)
	}
	for _, n := range c.Nodes {
		if n.ID == name {
			return control.ExplainNode(ctx, name)
		}
		known = append(known, n.ID)
	}
	return otto.Explanation{}, fmt.Errorf("no service or node %q: there are %s", name, strings.Join(known, ", "))
}

func (a *app) printExplanation(e otto.Explanation) {
	if s := e.Service; s != nil {
		for i, inst := range s.Instances {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			a.printInstanceExplanation(inst)
		}
		if len(s.Instances) == 0 {
			fmt.Fprintf(a.out, "%s has no instance: no node fits\n", s.Name)
		}
	}
	if n := e.Node; n != nil {
		a.printNodeExplanation(*n)
	}
}

func (a *app) printInstanceExplanation(i otto.InstanceExplanation) {
	where := ""
	if i.Node != "" {
		where = " on " + i.Node
	}
	fmt.Fprintf(a.out, "%s is %s%s: %s\n", i.Name, i.State, where, i.Why)
	if i.Node != "" && i.Waits != "" {
		fmt.Fprintf(a.out, "  it waits: %s\n", i.Waits)
	}
	if e := i.Last; e != nil {
		fmt.Fprintf(a.out, "  %s: %s\n", e.Time.Local().Format("2006-01-02 15:04:05"), e.Message)
	}
	a.printDecisions(i.Verdicts, i.Decisions)
	for _, r := range i.Rules {
		held := "holds"
		if !r.Holds {
			held = "does not hold"
		}
		fmt.Fprintf(a.out, "  %s: %s\n", r.Rule, held)
	}
	printScores(a.out, i)
	if len(i.Refusals) > 0 {
		rows := [][]string{{"NODE", "REFUSED BY", "BECAUSE"}}
		for _, r := range i.Refusals {
			rows = append(rows, []string{r.Node, r.Filter, r.Reason})
		}
		fmt.Fprintln(a.out)
		table(a.out, false, 0, rows)
	}
}

// printScores prints a line a node, and what the score of its own node, or of the
// best one, is made of.
func printScores(w io.Writer, i otto.InstanceExplanation) {
	if len(i.Scores) == 0 {
		return
	}
	head := []string{"NODE", "SCORE"}
	for _, p := range i.Scores[0].Parts {
		head = append(head, strings.ToUpper(p.Name))
	}
	rows := [][]string{head}
	for _, s := range i.Scores {
		row := []string{s.Node, fmt.Sprintf("%.2f", s.Total)}
		for _, p := range s.Parts {
			row = append(row, fmt.Sprintf("%.2f", p.Value))
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(w)
	table(w, false, 0, rows)
	shown := i.Scores[max(0, slices.IndexFunc(i.Scores, func(s otto.Score) bool { return s.Node == i.Node }))]
	rows = [][]string{{"PART", "WEIGHT", "VALUE", "ON " + strings.ToUpper(shown.Node)}}
	for _, p := range shown.Parts {
		rows = append(rows, []string{p.Name, fmt.Sprintf("%g", p.Weight), fmt.Sprintf("%.2f", p.Value), p.Reason})
	}
	fmt.Fprintln(w)
	table(w, false, 0, rows)
}

func (a *app) printNodeExplanation(n otto.NodeExplanation) {
	why := ""
	if n.Why != "" {
		why = ": " + n.Why
	}
	fmt.Fprintf(a.out, "%s is %s%s\n", n.ID, n.State, why)
	if n.Refuses != "" {
		fmt.Fprintf(a.out, "  it takes nothing new: %s\n", n.Refuses)
	}
	if n.Leaves != "" {
		fmt.Fprintf(a.out, "  what may move leaves it: it %s\n", n.Leaves)
	}
	a.printDecisions(n.Verdicts, n.Decisions)
	if len(n.Instances) > 0 {
		rows := [][]string{{"INSTANCE", "STATE", "BECAUSE"}}
		for _, i := range n.Instances {
			rows = append(rows, []string{i.Name, string(i.State), i.Why})
		}
		fmt.Fprintln(a.out)
		table(a.out, a.colour(), 1, rows)
	}
	if len(n.Refused) > 0 {
		rows := [][]string{{"SERVICE", "REFUSED BY", "BECAUSE"}}
		for _, r := range n.Refused {
			rows = append(rows, []string{r.Service, r.Filter, r.Reason})
		}
		fmt.Fprintln(a.out)
		table(a.out, false, 0, rows)
	}
}
