package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/control/recording"
	"github.com/otto-edge/otto/control/replay"
	"github.com/otto-edge/otto/wire"
)

type simulateOptions struct {
	nodes, services, days int
	seed                  uint64
	policies              []string
	from                  string
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
moves nothing; all stands for these five. All of them see the same load.

A policy may also be a YAML file with keys of otto.yaml, which go before the
cluster's own, and the policy that decides (ours, if it does not say):

  policy: ours
  decisions: {cooldown: 2m, per_cluster: 40}
  scheduler: {weights: {heat: 5}}

With --from it runs on what otto record has kept of a real cluster, by its own
requirements, decisions and weights. What a service took is what it would have
liked to take. Judged are node.cpu, node.memory, node.memory.available and
node.temperature; what else is required is named and left out, and so are other
actions than migrate.

What is counted, summed over all requirements of all nodes and of all instances:
OVER is for how long the newest sample was beyond the limit, where the instance
runs, so that no move hides it; EARLY the part of it in which the requirement was
not violated by its window and time, so that no policy may act; VIOLATED for how
long it was, as verdicts have it, which begin anew where a service comes to.
OUTAGE is for how long instances were away because they were moved, DOWN because
their node was lost. HASTY moves came within the service's cooldown, RETURNS went
back to a node that had been left within return_after, and after USELESS ones the
requirement was still violated.`,
		Example: `  otto simulate --nodes 50 --services 200 --days 7
  otto simulate --policy all --seed 3
  otto simulate --policy ours --policy mine.yaml
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
	f.StringArrayVar(&o.policies, "policy", []string{"ours"}, "ours, threshold, random, topsis, none, all of them, or a file; may be given again")
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
	policies, err := o.chosen()
	if err != nil {
		return err
	}
	s := simulation{Seed: o.seed, Nodes: len(scenario.Wanted.Nodes), Services: len(scenario.Wanted.Services), Length: scenario.Length}
	for _, p := range policies {
		decides, err := replay.Named(p.Name, o.seed)
		if err != nil {
			return err
		}
		under := scenario
		under.Wanted = p.Over(scenario.Wanted)
		w := replay.New(under, p.label, decides)
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

// labelled is a policy with what it is called in the output.
type labelled struct {
	config.Policy
	label string
}

// chosen are the policies that were asked for, each by its name or its file.
func (o simulateOptions) chosen() (list []labelled, err error) {
	names := replay.Policies()
	for _, of := range o.policies {
		if of == "all" {
			for _, name := range names {
				list = append(list, labelled{config.Policy{Name: name}, name})
			}
			continue
		}
		if slices.Contains(names, of) {
			list = append(list, labelled{config.Policy{Name: of}, of})
			continue
		}
		if _, err := os.Stat(of); err != nil {
			return nil, fmt.Errorf("%w: --policy %s: there are %s and all, and no such file: %w", errUsage, of, strings.Join(names, ", "), err)
		}
		p, err := config.LoadPolicy(of, names, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		p.Name = cmp.Or(p.Name, names[0])
		list = append(list, labelled{p, filepath.Base(of)})
	}
	return list, nil
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
	if len(s.Unjudged) > 0 {
		fmt.Fprintf(a.err, "otto: %s: left out, as a simulation cannot judge it: %s\n", o.from, wire.Plain(strings.Join(s.Unjudged, "; ")))
	}
	return s, nil
}

func (a *app) printSimulation(s simulation) {
	fmt.Fprintf(a.out, "%d nodes, %d services, %s\n\n", s.Nodes, s.Services, s.Length)
	rows := [][]string{{"POLICY", "OVER", "EARLY", "VIOLATED", "MOVES", "OUTAGE", "DOWN", "FAILOVERS", "HASTY", "RETURNS", "USELESS"}}
	for _, r := range s.Results {
		row := []string{r.Policy, r.Over.String(), r.Early.String(), r.Violated.String()}
		row = slices.Concat(row, []string{strconv.Itoa(r.Moves), r.Outage.String(), r.Down.String()})
		for _, n := range []int{r.Failovers, r.Hasty, r.Returns, r.Useless} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	table(a.out, false, 0, rows)
	fmt.Fprintln(a.out, "\nOVER: newest samples beyond a limit, of all nodes and instances; EARLY: of that, not violated yet. See otto simulate --help.")
}
