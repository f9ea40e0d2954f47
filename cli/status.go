package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
)

func newStatus(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use: "status", SuggestFor: []string{"ps"},
		Short: "Show nodes and services as they are now",
		Example: `  otto cluster status
  otto cluster status --watch
  otto cluster status --output json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if watch {
				return a.watch(c.Context(), d, a.printStatus, func(c *otto.Cluster) any { return c })
			}
			return a.status(c.Context(), d)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on, once a second, in place on a terminal")
	return c
}

// errNotStarted says that there is nothing to look at yet.
var errNotStarted = errors.New("no cluster has been started here: run `otto cluster start`")

// look returns what the control plane knows, or knew last.
func look(ctx context.Context, d stateDir) (c *otto.Cluster, running bool, err error) {
	c, err = d.client().Cluster(ctx)
	if !errors.Is(err, api.ErrNotRunning) {
		return c, true, err
	}
	c = new(otto.Cluster)
	if err := d.read(fileView, c); errors.Is(err, fs.ErrNotExist) {
		if err := d.orphaned(); err != nil {
			return nil, false, err
		}
		return nil, false, errNotStarted
	} else if err != nil {
		return nil, false, err
	}
	return c, false, nil
}

func (a *app) status(ctx context.Context, d stateDir) error {
	c, running, err := look(ctx, d)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(c)
	}
	a.printStatus(a.out, c, running, time.Now())
	return nil
}

// watch shows what is known once a second: print is for people, data what is
// printed as JSON.
func (a *app) watch(ctx context.Context, d stateDir, print func(io.Writer, *otto.Cluster, bool, time.Time), data func(*otto.Cluster) any) error {
	const home, clear = "\x1b[H", "\x1b[J"
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		var page strings.Builder
		c, running, err := look(ctx, d)
		switch {
		case err != nil:
			return err
		case a.json():
			err = a.printJSON(data(c))
		case isTerminal(a.out):
			print(&page, c, running, time.Now())
			_, err = io.WriteString(a.out, home+strings.ReplaceAll(page.String(), "\n", "\x1b[K\n")+clear)
		default:
			print(&page, c, running, time.Now())
			_, err = fmt.Fprintln(a.out, page.String())
		}
		if err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) printStatus(w io.Writer, c *otto.Cluster, running bool, now time.Time) {
	switch {
	case !running && c.Stopped:
		fmt.Fprintf(w, "%s is stopped, since %s ago.\n\n", c.Name, age(now, c.Time))
	case !running:
		fmt.Fprintf(w, "The control plane of %s is not running; services run on. This is from %s ago.\n\n", c.Name, age(now, c.Time))
	case c.Problem != "":
		fmt.Fprintf(w, "%s: %s\n\n", c.Name, c.Problem)
	default:
		fmt.Fprintf(w, "%s, broker %s, up %s\n\n", c.Name, c.Broker, age(now, c.Started))
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n\n", warning)
	}
	if r := c.Rotation; r != nil {
		fmt.Fprintf(w, "%s\n\n", rotation(*r, now))
	}
	rows := [][]string{{"NODE", "STATE", "ADDRESS", "ARCH", "ENGINE", "CPU", "MEMORY", "DISK", "TEMP", "SAMPLE"}}
	for _, n := range c.Nodes {
		rows = append(rows, nodeRow(n, now))
	}
	table(w, a.colour(), 1, rows)
	fmt.Fprintln(w)
	rows = [][]string{{"SERVICE", "STATE", "NODE", "IMAGE", "UPTIME", "CPU", "MEMORY", "PORTS"}}
	for _, s := range c.Services {
		for _, i := range s.Instances {
			rows = append(rows, instanceRow(s, i, now))
		}
	}
	table(w, a.colour(), 1, rows)
	var kept []string
	for _, s := range c.Snapshots {
		if !s.Time.IsZero() {
			kept = append(kept, fmt.Sprintf("%s (%s ago)", s.Node, age(now, s.Time)))
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(w, "\nSnapshots of the control plane: %s\n", strings.Join(kept, ", "))
	}
	a.printTroubles(w, c)
}

func nodeRow(n otto.NodeStatus, now time.Time) []string {
	row := []string{n.ID, string(n.State), n.Host, dash(n.Facts.Arch), dash(strings.TrimSpace(n.Facts.Engine.Name + " " + n.Facts.Engine.Version)), "-", "-", "-", "-", "-"}
	if s := n.Sample; s != nil {
		row[5] = fmt.Sprintf("%.0f%%", s.CPUPercent)
		row[6] = fmt.Sprintf("%.0f%% of %s", s.MemoryPercent(), size(s.MemoryTotal))
		row[7] = fmt.Sprintf("%.0f%% of %s", s.DiskPercent(), size(s.DiskTotal))
		if s.Temperature != nil {
			row[8] = fmt.Sprintf("%.0f°C", *s.Temperature)
		}
		row[9] = age(now, n.SampleReceived)
	}
	return row
}

func instanceRow(s otto.ServiceStatus, i otto.PlacedInstance, now time.Time) []string {
	row := []string{i.Name, string(i.State), dash(i.Node), dash(i.Image), "-", "-", "-", "-"}
	if !i.Started.IsZero() && i.State.Runs() && i.State != otto.InstanceStarting {
		row[4] = age(now, i.Started)
	}
	if i.Sample != nil {
		row[5] = fmt.Sprintf("%.1f%%", i.Sample.CPUPercent)
		row[6] = size(i.Sample.MemoryUsed)
	}
	var ports []string
	for _, p := range s.Spec.Ports {
		ports = append(ports, p.String())
	}
	row[7] = dash(strings.Join(ports, ","))
	return row
}

// printTroubles prints what is wrong or worth knowing, below the tables.
func (a *app) printTroubles(w io.Writer, c *otto.Cluster) {
	var lines []string
	for _, n := range c.Nodes {
		why := cmpOr(n.Problem, n.Reason)
		if why == "" && n.State != otto.NodeReady {
			why = n.Step
		}
		if why != "" {
			lines = append(lines, fmt.Sprintf("node %s: %s", n.ID, why))
		}
		for _, warning := range n.Warnings {
			lines = append(lines, fmt.Sprintf("node %s: warning: %s", n.ID, warning))
		}
	}
	var troubled []otto.PlacedInstance
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if i.Warning != "" {
				lines = append(lines, fmt.Sprintf("service %s: warning: %s", i.Name, i.Warning))
			}
			if i.Error != "" || i.Reason != "" {
				troubled = append(troubled, i)
			}
			if whose := composes(s, i); whose != "" {
				lines = append(lines, whose)
			}
		}
	}
	lines = append(lines, describeAll(troubled)...)
	for _, s := range c.Snapshots {
		if s.Problem != "" {
			lines = append(lines, fmt.Sprintf("node %s: the snapshot of the control plane was not left there: %s", s.Node, s.Problem))
		}
	}
	for _, v := range verdicts(c) {
		if troubling(v) {
			lines = append(lines, fmt.Sprintf("requirement of %s is %s: %s", cmpOr(v.Instance, "node "+v.Node), v.State, cmpOr(v.Reason, v.Requirement.String())))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(lines, "\n"))
	}
}

// composes says of an instance that it is Compose's, or on its way from it or to it.
func composes(s otto.ServiceStatus, i otto.PlacedInstance) string {
	stack, _, of := strings.Cut(s.Name, "/")
	switch {
	case !of || i.ContainerID == "":
	case isReleased(i.InstanceStatus, s.Spec):
		return fmt.Sprintf("service %s is Compose's again: `otto release %s` finishes that", i.Name, stack)
	case i.SpecHash == "" && i.State.Runs():
		return fmt.Sprintf("service %s is on its way from Compose or back to it: `otto adopt` lists what is Compose's", i.Name)
	}
	return ""
}

// troubling is a violation, and what cannot be judged although there was time to
// measure: the node may not have such a metric.
func troubling(v otto.Verdict) bool {
	blind := v.State == otto.RequirementUnknown && v.Evaluated.Sub(v.Since) > v.Requirement.Over/2+time.Minute
	return v.Standing() || blind
}

func dash(s string) string { return cmpOr(s, "-") }

// age is how long ago something was, in its largest unit.
func age(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	switch d := max(now.Sub(then), 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// size is in 1024-based units.
func size(b uint64) string {
	if b >= otto.GB {
		return fmt.Sprintf("%.1f GB", float64(b)/otto.GB)
	}
	return fmt.Sprintf("%.1f MB", float64(b)/otto.MB)
}
