package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/control/recording"
	"github.com/otto-edge/otto/control/replay"
)

type simulateOptions struct {
	nodes, services, days int
	seed                  uint64
	policy, from          string
}

func newSimulate(a *app) *cobra.Command {
	var o simulateOptions
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Run decisions on a cluster that is not there, and show what they come to",
		Long: `Simulate draws a cluster from a seed, with the load of its services over days, hot
rooms and nodes that are lost, and lets the control plane's own code judge and
decide there, in virtual time. Nothing real is touched, and no cluster is needed.

Policies: ours, as the control plane decides; threshold, which moves the largest
service to the least loaded node whenever a limit is exceeded for its time;
random; topsis, which is threshold with a weighing of many criteria; none, which
moves nothing. All of them see the same load.

With --from it runs on what otto record has kept of a real cluster, by the
requirements of that time and the default decisions. What a service took is what
it would have liked to take.

OVER is for how long what requirements are about was beyond their limit, and
VIOLATED for how long they were violated as verdicts have it, summed over all;
OUTAGE for how long instances were away because they were moved, DOWN because
their node was lost. HASTY moves came within the service's cooldown, RETURNS went
back to a node that had been left within return_after, and after USELESS ones the
requirement was still violated.`,
		Example: `  otto simulate --nodes 50 --services 200 --days 7
  otto simulate --policy all --seed 3
  otto simulate --from week.otto-recording --policy all
  otto simulate --output json | jq '.results[0].moves'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, drawn := range []string{"nodes", "services", "days"} {
				if o.from != "" && c.Flags().Changed(drawn) {
					return fmt.Errorf("%w: --from and --%s: a recording has its own", errUsage, drawn)
				}
			}
			return a.simulate(c.Context(), o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.nodes, "nodes", 50, "how many nodes")
	f.IntVar(&o.services, "services", 200, "how many services")
	f.IntVar(&o.days, "days", 7, "how many days")
	f.Uint64Var(&o.seed, "seed", 1, "what everything is drawn from")
	f.StringVar(&o.from, "from", "", "a file of otto record, instead of a drawn cluster")
	f.StringVar(&o.policy, "policy", "ours", "ours, threshold, random, topsis, none, or all of them")
	return c
}

// maxServiceDays bounds the memory that a simulation takes: about 25 KB each.
const maxServiceDays = 20_000

func (o simulateOptions) check() error {
	switch {
	case o.nodes < 1 || o.nodes > 1000:
		return fmt.Errorf("%w: --nodes %d: write a number from 1 to 1000", errUsage, o.nodes)
	case o.services < 1 || o.days < 1:
		return fmt.Errorf("%w: --services %d and --days %d: both must be 1 at least", errUsage, o.services, o.days)
	case o.services > maxServiceDays/o.days:
		return fmt.Errorf("%w: %d services for %d days are too many: at most %d services times days", errUsage, o.services, o.days, maxServiceDays)
	}
	return nil
}

// simulation is what otto simulate prints as JSON.
type simulation struct {
	Seed     uint64          `json:"seed"`
	Nodes    int             `json:"nodes"`
	Services int             `json:"services"`
	Length   time.Duration   `json:"length_ns"`
	Results  []replay.Result `json:"results"`
}

func (a *app) simulate(ctx context.Context, o simulateOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	scenario, err := a.scenario(o)
	if err != nil {
		return err
	}
	s := simulation{Seed: o.seed, Nodes: len(scenario.Wanted.Nodes), Services: len(scenario.Wanted.Services), Length: scenario.Length}
	names := []string{o.policy}
	if o.policy == "all" {
		names = replay.Policies()
	}
	for _, name := range names {
		policy, err := replay.Named(name, o.seed)
		if err != nil {
			return fmt.Errorf("%w: --policy: %w", errUsage, err)
		}
		w := replay.New(scenario, name, policy)
		for w.Step() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		s.Results = append(s.Results, w.Result())
	}
	if a.json() {
		return a.printJSON(s)
	}
	a.printSimulation(s)
	return nil
}

// scenario is drawn, or made of a recording.
func (a *app) scenario(o simulateOptions) (replay.Scenario, error) {
	if o.from == "" {
		return replay.Draw(o.seed, replay.Size{Nodes: o.nodes, Services: o.services, Length: time.Duration(o.days) * 24 * time.Hour}), nil
	}
	f, err := os.Open(o.from)
	if err != nil {
		return replay.Scenario{}, err
	}
	defer f.Close()
	r, err := recording.Read(f)
	if errors.Is(err, recording.ErrTorn) {
		fmt.Fprintf(a.err, "otto: %s: %v; what is there before that is used\n", o.from, err)
		err = nil
	}
	if err != nil {
		return replay.Scenario{}, fmt.Errorf("%s: %w", o.from, err)
	}
	s, err := r.Scenario()
	if err != nil {
		return s, fmt.Errorf("%s: %w", o.from, err)
	}
	return s, nil
}

func (a *app) printSimulation(s simulation) {
	fmt.Fprintf(a.out, "%d nodes, %d services, %s\n\n", s.Nodes, s.Services, s.Length)
	rows := [][]string{{"POLICY", "OVER", "VIOLATED", "MOVES", "OUTAGE", "DOWN", "FAILOVERS", "HASTY", "RETURNS", "USELESS"}}
	for _, r := range s.Results {
		row := []string{r.Policy, r.Over.String(), r.Violated.String()}
		row = slices.Concat(row, []string{strconv.Itoa(r.Moves), r.Outage.String(), r.Down.String()})
		for _, n := range []int{r.Failovers, r.Hasty, r.Returns, r.Useless} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	table(a.out, false, 0, rows)
}
