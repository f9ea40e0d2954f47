package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
)

func newMove(a *app) *cobra.Command {
	var to string
	var advised bool
	c := &cobra.Command{
		Use:   "move SERVICE",
		Short: "Move a service to another node",
		Long: `Move moves a service, or one of its containers by its name: to the node that is
named, or to the best one at which all requirements are foreseen to hold. With
--advised it does what otto explain shows as advised.

A service without data is started on the new node before it is stopped on the
old one. Nothing goes where its placement rules forbid it, and no service leaves
its data. The command returns when the move has begun; see otto events.`,
		Example: `  otto service move web
  otto service move web --to rpi-01
  otto service move web --advised`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || to != "" && advised {
				return fmt.Errorf("%w: %s needs one service, and --to or --advised at most: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			move, err := d.client().Move(c.Context(), args[0], to, advised)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(move)
			}
			fmt.Fprintf(a.out, "%s goes from %s to %s; foreseen outage: %s%s\n", move.Instance, move.Node, move.To, move.Outage, move.Fetches())
			a.printPredicted(move)
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "", "the node to move it to")
	c.Flags().BoolVar(&advised, "advised", false, "do what is advised")
	return c
}

// printDecisions prints how it stands with requirements, and what comes of it.
func (a *app) printDecisions(verdicts []otto.Verdict, list []otto.Decision) {
	for _, v := range verdicts {
		text := string(v.State)
		if v.Value != nil && v.Margin != nil {
			side := "within"
			if *v.Margin < 0 {
				side = "beyond"
			}
			text += fmt.Sprintf(", at %s, %s %s the limit", v.Requirement.Unit.Show(*v.Value), v.Requirement.Unit.Show(max(*v.Margin, -*v.Margin)), side)
		}
		if v.Value == nil && v.Reason != "" {
			text += ": " + v.Reason
		}
		fmt.Fprintf(a.out, "  %s: %s\n", v.Requirement, text)
	}
	for _, d := range list {
		a.printDecision(d)
	}
}

func (a *app) printDecision(d otto.Decision) {
	what := d.Action
	if d.Instance != "" {
		what += " " + d.Instance
	}
	if d.To != "" {
		what += " from " + d.Node + " to " + d.To
	}
	head := map[otto.Outcome]string{
		otto.OutcomeDo: "next: ", otto.OutcomeAdvise: "advised: ", otto.OutcomeWait: "next, but not yet: ", otto.OutcomeStuck: "of no use: ", otto.OutcomeTell: "not done: ",
	}[d.Outcome]
	fmt.Fprintf(a.out, "  %s%s: %s\n", head, what, d.Reason)
	if d.Waits != "" {
		fmt.Fprintf(a.out, "    held back: %s\n", d.Waits)
	}
	if !d.Until.IsZero() {
		fmt.Fprintf(a.out, "    looked at again at %s\n", d.Until.Local().Format("15:04:05"))
	}
	if d.Cost > 0 && d.Requirement != "" {
		fmt.Fprintf(a.out, "    the violation has cost %.1f s, and it would cost %.1f s with an outage of %s%s\n", d.Gain, d.Cost, d.Outage, d.Fetches())
	}
	a.printPredicted(d)
}

func (a *app) printPredicted(d otto.Decision) {
	for _, x := range d.Predicted {
		fmt.Fprintf(a.out, "    foreseen on %s for %s: %s, %s\n", d.To, x.Of, x.Requirement, x.Unit.Show(x.Value))
	}
}
