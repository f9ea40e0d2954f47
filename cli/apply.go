package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
)

func newPlan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what an edited otto.yaml would change, and where things would go",
		Long: `Plan asks the control plane what would happen if otto.yaml were applied now:
what is added, changed and removed, where each instance would be and why, which
would get another container and how, and what the file cannot have. It changes
nothing. otto apply --plan ID does what was shown, or says that it is not so any
more.

The exit code is 0 if nothing would change, 1 if something would, and 255 if it
cannot be told.`,
		Example: `  otto plan
  otto plan --output json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, _, err := a.plan(c.Context(), false)
			if err != nil {
				return err
			}
			if a.json() {
				err = a.printJSON(p)
			} else {
				a.printPlan(p)
			}
			if err == nil && len(p.Changes)+len(p.Refused) > 0 {
				err = errChanges
			}
			return err
		},
	}
}

// plan is what would change by otto.yaml: with what it builds if it is to, or else with what
// was built last.
func (a *app) plan(ctx context.Context, build bool) (otto.Plan, *config.File, error) {
	f, err := a.load()
	if err != nil {
		return otto.Plan{}, nil, err
	}
	d, err := a.dir()
	if err != nil {
		return otto.Plan{}, nil, err
	}
	c := d.client()
	if err := a.suited(ctx, c, f); err != nil {
		return otto.Plan{}, nil, err
	}
	var notes []string
	if a.context != "" {
		notes = append(notes, afarNote)
	}
	if build {
		err = a.buildAll(ctx, d, f)
	} else {
		var built []string
		built, err = d.lastBuilds(f)
		notes = append(notes, built...)
	}
	if err != nil {
		return otto.Plan{}, nil, err
	}
	p, err := c.Plan(ctx, f.Wanted)
	p.Notes = append(p.Notes, notes...)
	if errors.Is(err, api.ErrNotRunning) {
		err = fmt.Errorf("%w: run `otto cluster start`, which shows what changes and applies it", api.ErrNotRunning)
	}
	if err == nil {
		p, err = d.withSettings(measured(p), f)
	}
	if err == nil {
		p = d.withVariables(p, f)
	}
	return p, f, err
}

func (a *app) printPlan(p otto.Plan) {
	a.printChanges(p.Changes)
	if len(p.Changes) == 0 {
		fmt.Fprintln(a.out, "Nothing would change.")
	}
	words := map[otto.PlanAction]string{
		otto.PlanKeep: "stays", otto.PlanAdd: "new", otto.PlanUpdate: "recreated", otto.PlanMove: "moves", otto.PlanRemove: "removed", otto.PlanWait: "waits",
	}
	rows := [][]string{{"INSTANCE", "NODE", "BECOMES", "BECAUSE"}}
	for _, i := range p.Instances {
		node, what := dash(i.Node), words[i.Action]
		switch {
		case i.Action == otto.PlanMove:
			node = i.From + " -> " + i.Node
		case i.Node == "":
			node = dash(i.From)
		}
		if i.Order != "" {
			what += ", " + i.Order
		}
		rows = append(rows, []string{i.Name, node, what, i.Why})
	}
	if len(rows) > 1 {
		fmt.Fprintln(a.out)
		table(a.out, false, 0, rows)
	}
	a.printSeeds(p.Seeds)
	for _, note := range p.Notes {
		fmt.Fprintln(a.out, "\nNote: "+note)
	}
	if len(p.Refused) > 0 {
		fmt.Fprintln(a.out, "\nIt cannot be applied:")
		for _, why := range p.Refused {
			fmt.Fprintln(a.out, "  "+why)
		}
		return
	}
	if len(p.Changes) > 0 && p.ID != "" {
		fmt.Fprintf(a.out, "\nPlan %s: `otto apply --plan %s` does this, and nothing else.\n", p.ID, p.ID)
	}
}

type applyOptions struct {
	compose composeOptions
	plan    string
	startOptions
}

func newApply(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use: "apply", SuggestFor: []string{"up", "deploy"},
		Short: "Do what otto plan shows, or run a Compose project",
		Long: `Apply shows what otto plan shows, asks, does it, and waits until it is so: as
otto cluster start does, which needs no question.

With --plan it does what was shown under that ID, or refuses because otto.yaml or
the cluster has changed since.

With --file it writes a Compose project into otto.yaml first, as a stack, if it is
not there: otherwise the next apply would take it out again. otto.yaml is looked for
here, above, and above the Compose file. Several files are merged in their order; a
folder stands for the usual names in it.

With --context it applies a file of this machine to a control plane on another one,
which is told what the file says and gets the files that it names. What only the
control plane's machine can do is refused first: nodes, images that are built, data
of projects.

An update that fails goes back by itself; run apply again to try it again.`,
		Example: `  otto apply
  otto apply --yes
  otto apply --plan 3f9c2a71d0e4b865
  otto apply -f immich/compose.yaml
  otto apply -f shop --stack store --node nas --yes`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case len(o.compose.files) > 0:
				return a.applyStack(c.Context(), o)
			case o.compose.stack != "" || o.compose.node != "":
				return fmt.Errorf("%w: --stack and --node are of a Compose project: name its file with -f", errUsage)
			}
			return a.planAndApply(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&o.compose.files, "file", "f", nil, "Compose file, or its folder; may be repeated")
	f.StringVar(&o.compose.stack, "stack", "", "name of the stack, if it is not to be called as Compose would call it")
	f.StringVar(&o.compose.node, "node", "", "node that is the home of the stack; without it Otto chooses one")
	f.StringVar(&o.plan, "plan", "", "the ID of the plan that was shown")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.acceptHostKeys, "accept-new-host-keys", false, "accept SSH host keys of new nodes without asking")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for nodes and services")
	return c
}

func (a *app) planAndApply(ctx context.Context, o applyOptions) error {
	p, f, err := a.plan(ctx, true)
	if err != nil {
		return err
	}
	if o.plan != "" && o.plan != p.ID {
		return fmt.Errorf("plan %s is not what would be done any more: %s or the cluster has changed since; look at `otto plan`", o.plan, a.config)
	}
	if len(p.Refused) > 0 {
		return errors.New(strings.Join(p.Refused, "\n"))
	}
	if o.plan == "" && !a.json() {
		a.printPlan(p)
	}
	if len(p.Changes) > 0 && o.plan == "" && !o.yes {
		if err := a.confirm("Do it?"); err != nil {
			return err
		}
	}
	o.base, o.shown = &p.Revision, true
	return a.bringUp(ctx, f, o.startOptions)
}

// confirm asks on a terminal; elsewhere nobody can agree.
func (a *app) confirm(question string) error {
	if !isTerminal(a.in) {
		return fmt.Errorf("%w: this needs a yes: run it in a terminal to be asked, or pass --yes", errUsage)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
