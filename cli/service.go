package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
)

func newService(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Look at services, move, scale, restart and remove them",
		Args:  noArgs,
		RunE:  help,
	}
	c.AddCommand(newServiceList(a), newServiceShow(a), newMove(a), newServiceScale(a), newServiceRestart(a),
		newServiceUpdate(a), newAcceptData(a), newServiceRemove(a))
	return c
}

func newServiceList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List services with where they are and what is wrong", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(v.Services)
			}
			rows := [][]string{{"SERVICE", "UP", "NODES", "IMAGE", "UPDATE"}}
			for _, s := range v.Services {
				up := 0
				var nodes []string
				for _, i := range s.Instances {
					if i.Up() {
						up++
					}
					nodes = append(nodes, dash(i.Node))
				}
				rows = append(
					rows,
					[]string{
						s.Name,
						fmt.Sprintf("%d/%d", up, len(s.Instances)),
						dash(strings.Join(nodes, ",")),
						s.Spec.Image,
						dash(updateText(s.Rollout)),
					},
				)
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}

// updateText is how far an update has come, in one line.
func updateText(u *otto.UpdateStatus) string {
	if u == nil {
		return ""
	}
	text := strings.ReplaceAll(string(u.State), "-", " ")
	if u.Left > 0 {
		text += fmt.Sprintf(", %d left", u.Left)
	}
	if u.Failed != nil {
		why, _, _ := strings.Cut(u.Failed.String(), "\n")
		text += ": " + why
	}
	return text
}

func newServiceShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show SERVICE", Short: "Show what is known of a service and its instances", Args: one("service"),
		RunE: func(c *cobra.Command, args []string) error {
			d, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			s, err := findService(v, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(s)
			}
			a.printService(s, time.Now())
			a.printDay(c.Context(), d, s.Name, time.Now())
			return nil
		},
	}
}

func (a *app) printService(s otto.ServiceStatus, now time.Time) {
	a.line("service", s.Name)
	a.line("image", s.Spec.Image)
	a.line("home", s.Node)
	a.line("stays", s.Stays())
	order, why := s.UpdateOrder()
	if why != "" {
		order += ": " + why
	}
	a.line("updates", order)
	a.line("update", updateText(s.Rollout))
	if s.Rollout != nil && s.Rollout.Failed != nil {
		for _, l := range s.Rollout.Failed.Tail {
			fmt.Fprintln(a.out, "  | "+l)
		}
	}
	for _, i := range s.Instances {
		text := i.Name + " is " + describe(i)
		if i.State == otto.InstanceRunning && !i.Started.IsZero() {
			text += ", for " + age(now, i.Started)
		}
		a.line("instance", text)
	}
}

func newServiceScale(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "scale SERVICE N",
		Short: "Write another number of replicas into otto.yaml and apply it",
		Long: `Scale changes the number of replicas of a service in otto.yaml, which stays the
one place that says what runs, and applies the file. It refuses if the file says
more than the cluster knows already: look at otto plan then.`,
		Example: "  otto service scale web 3",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%w: %s needs a service and a number: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			if n, err := strconv.Atoi(args[1]); err != nil || n < 1 {
				return fmt.Errorf("%w: %s is no number of replicas: write one from 1 on", errUsage, args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			n, _ := strconv.Atoi(args[1]) // checked before
			return a.editAndApply(c.Context(), o.startOptions,
				func(data []byte) ([]byte, error) { return config.SetReplicas(data, args[0], n) },
				fmt.Sprintf("%s has %s of %s now.", a.config, count(n, "replica"), args[0]))
		},
	}
	c.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for it")
	return c
}

func newServiceRemove(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "rm SERVICE",
		Short: "Take a service out of otto.yaml and apply it; its volumes stay",
		Long: `Rm takes a service out of otto.yaml and applies the file, which removes its
containers. Named volumes stay on their nodes. It refuses if the file says more
than the cluster knows already: look at otto plan then.`,
		Args: one("service"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.editAndApply(c.Context(), o.startOptions,
				func(data []byte) ([]byte, error) { return config.RemoveService(data, args[0]) },
				fmt.Sprintf("%s is out of %s.", args[0], a.config))
		},
	}
	c.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for it")
	return c
}

// editAndApply changes otto.yaml and applies it, if the change is all that it
// changes: what else somebody has edited is not for this command to apply.
func (a *app) editAndApply(ctx context.Context, o startOptions, change func([]byte) ([]byte, error),
	said string,
) error {
	before, _, err := a.plan(ctx, true) // what builds would change is not for it either
	if err != nil {
		return err
	}
	if len(before.Changes) > 0 {
		return fmt.Errorf(
			"%s has changes that are not applied yet: look at `otto plan`, and `otto apply` or undo them first",
			a.config,
		)
	}
	data, err := a.edited(change)
	if err != nil {
		return err
	}
	p, err := a.planOf(ctx, data)
	if err != nil {
		return err
	}
	return a.applyEdit(ctx, o, change, p, said)
}

// applyEdit changes otto.yaml and applies it, as planned.
func (a *app) applyEdit(ctx context.Context, o startOptions, change func([]byte) ([]byte, error), p otto.Plan,
	said string,
) error {
	if err := a.edit(change); err != nil {
		return err
	}
	if !a.json() {
		fmt.Fprintln(a.out, said)
	}
	f, err := a.load()
	if err != nil {
		return err
	}
	o.base = &p.Revision
	return a.bringUp(ctx, f, o)
}

func newServiceRestart(a *app) *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "restart SERVICE",
		Short: "Restart the instances of a service, one after the other",
		Long: `Restart stops and starts the containers of a service, as an update would: so many
at a time as update.parallelism says, and the next ones when those have been up
for a while. The containers stay the same, with all that they have written.`,
		Args: one("service"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.inTurn(c.Context(), d.client(), args[0], turn{timeout, (*api.Client).Restart, "restarted"})
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for it")
	return c
}

func newServiceUpdate(a *app) *cobra.Command {
	var timeout time.Duration
	var pull bool
	c := &cobra.Command{
		Use:   "update --pull [SERVICE]",
		Short: "Make the containers of a service anew, from what its image's name means now",
		Long: `A name such as web:1 may mean another image than when a container was made from
it. Otto says so where it knows, in otto plan and otto cluster status, and leaves
what runs as it is.

Update --pull asks the registry for the service's image, or takes what the node has
if no registry answers, and makes the containers anew, as an update does: if the
new ones do not work, the former ones come back. Without a SERVICE it does so for
all services that run another image than its name means on their nodes.`,
		Example: `  otto service update --pull web
  otto service update --pull`,
		Args: func(c *cobra.Command, args []string) error {
			if !pull || len(args) > 1 {
				return fmt.Errorf("%w: write %s; what otto.yaml changes is done by `otto apply`", errUsage, c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if args = otherImages(v); len(args) == 0 {
					return a.nothingToPull()
				}
			}
			for _, service := range args {
				if err := a.inTurn(c.Context(), d.client(), service,
					turn{timeout, (*api.Client).Refresh, "updated"}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&pull, "pull", false, "ask the registry for the image")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait for each service")
	return c
}

// otherImages are the services that run another image than its name means on a node.
func otherImages(v *otto.Cluster) (names []string) {
	for _, s := range v.Services {
		if slices.ContainsFunc(s.Instances, func(i otto.PlacedInstance) bool { return i.ImageNow != "" }) {
			names = append(names, s.Name)
		}
	}
	return names
}

func (a *app) nothingToPull() error {
	if !a.json() {
		fmt.Fprintln(a.out,
			"All services run what their images are on their nodes; name a SERVICE to ask its registry.")
	}
	return nil
}

// turn is what is done with the instances of a service, some after the others.
type turn struct {
	timeout time.Duration
	begin   func(c *api.Client, ctx context.Context, service string) error
	done    string
}

func (a *app) inTurn(ctx context.Context, client *api.Client, service string, t turn) error {
	if err := t.begin(client, ctx, service); err != nil {
		return err
	}
	timeout := t.timeout
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last otto.ServiceStatus
	lines := newProgress(a)
	said := map[string]bool{}
	err := client.Watch(within, func(c *otto.Cluster) bool {
		if last, _ = findService(c, service); !a.json() {
			lines.show(&otto.Cluster{Services: []otto.ServiceStatus{last}})
			for _, why := range awaited(c, last) {
				if !said[why] {
					said[why] = true
					fmt.Fprintln(a.err, why)
				}
			}
		}
		return last.Rollout != nil && last.Rollout.State == otto.UpdateGoing
	})
	if err != nil && within.Err() == nil {
		return err
	}
	if a.json() {
		if err := a.printJSON(last); err != nil {
			return err
		}
	}
	if last.Rollout != nil {
		fmt.Fprintf(a.err, "otto: not all of %s is %s: %s\n", service, t.done, updateText(last.Rollout))
		return errPart
	}
	if !a.json() {
		fmt.Fprintf(a.out, "%s is %s.\n", service, t.done)
	}
	return nil
}

// awaited says for which nodes an update or a restart of a service waits, as nothing can
// be done there now.
func awaited(c *otto.Cluster, s otto.ServiceStatus) (list []string) {
	if s.Rollout == nil || s.Rollout.State != otto.UpdateGoing {
		return nil
	}
	for _, i := range s.Instances {
		for _, n := range c.Nodes {
			if n.ID == i.Node && !settled(n) {
				list = append(list, i.Name+" waits for node "+n.ID+", which is "+whyNotReady(n))
			}
		}
	}
	return list
}

func newAcceptData(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accept-data SERVICE",
		Short: "Have a service go on with what is there of the data that it waits for",
		Long: `A service that has run with a volume or a directory of its node waits when that is
missing, or when another one is in its place: its disk may not be mounted. Once
the disk is back it starts by itself.

Accept-data says that the service is to go on with what is there now: the data was
restored by hand, or it is lost and the service begins with none. Nothing is
deleted. It is for all volumes and directories that the service waits for.`,
		Args: one("service"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().AcceptData(c.Context(), args[0]); err != nil {
				return err
			}
			if !a.json() {
				fmt.Fprintf(a.out, "%s goes on with the data that is there now.\n", args[0])
			}
			return nil
		},
	}
}

// planOf is what would change if otto.yaml had this content. It fails if the control
// plane refuses it.
func (a *app) planOf(ctx context.Context, data []byte) (otto.Plan, error) {
	defer collectRarely()()
	f, err := config.LoadAs(a.config, data, os.LookupEnv)
	if err != nil {
		return otto.Plan{}, err
	}
	d, err := a.dir()
	if err != nil {
		return otto.Plan{}, err
	}
	if err := a.suited(ctx, d.client(), f); err != nil {
		return otto.Plan{}, err
	}
	if len(a.built) > 0 {
		a.alreadyBuilt(f)
	} else if _, err := d.lastBuilds(f); err != nil {
		return otto.Plan{}, err
	}
	p, err := d.client().Plan(ctx, f.Wanted)
	if err == nil && len(p.Refused) > 0 {
		err = fmt.Errorf("%s was left as it is: %s", a.config, strings.Join(p.Refused, "; "))
	}
	if err == nil {
		p = d.withVariables(p, f)
	}
	return p, err
}
