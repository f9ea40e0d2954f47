package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/control/history"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/target"
)

type metricsOptions struct {
	name                     string
	metrics                  []string
	since, until, resolution string
	format                   string
}

func newMetrics(a *app) *cobra.Command {
	var o metricsOptions
	c := &cobra.Command{
		Use:        "metrics NODE|SERVICE|INSTANCE [METRIC...]",
		SuggestFor: []string{"history", "stats"},
		Short:      "Show what was measured of a node or a service, in the past too",
		Long: `Metrics shows what was measured, how requirements were judged and in which states
something was: an hour of each second, a day of each minute and a month of each ten
minutes, each with the least, the mean and the most. The control plane keeps it beside
otto.yaml. Of a time in which it did not run, or in which a node was silent, there is
nothing: a gap and no zeros.

Without a METRIC there is a line for each; with one it is drawn larger. Metrics are
those of requirements, such as cpu or node.temperature; bytes sent and the like are
shown as a rate. A requirement is a metric too, by its text, and state is the states.

In the bar of states a column is ` + "`▮`" + ` if all was well all the time, ` + "`▯`" + ` if only a part
was or some of the time, x if nothing was, - if it was stopped on request, ? if its
state could not be known, and ` + "`·`" + ` if nothing was kept.

With --output csv there is a line for each point of each metric, with json one object
with the states and events of that time too. It works without a control plane.`,
		Example: `  otto metrics rpi-01
  otto metrics web cpu memory.used --since 1h
  otto metrics web --since 168h --output csv >web.csv
  otto metrics rpi-01 node.temperature --since 2025-06-01 --until 2025-06-02`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%w: %s needs a node or a service: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.name, o.metrics = args[0], args[1:]
			return a.metrics(c.Context(), o, time.Now())
		},
	}
	f := c.Flags()
	f.StringVar(&o.since, "since", "24h",
		"from when on: a duration such as 90m or 36h, or a time such as 2025-06-01 or 2025-06-01T12:00:00Z")
	f.StringVar(&o.until, "until", "", "until when, likewise")
	f.StringVar(&o.resolution, "resolution", "", "1s, 1m or 10m; the finest one that is kept for so long if not given")
	f.StringVarP(&o.format, "output", "o", "plot", "how to show it: plot, csv or json")
	return c
}

// query makes a question of what was written.
func (o metricsOptions) query(now time.Time) (q otto.HistoryQuery, err error) {
	if o.format != "plot" && o.format != "csv" && o.format != "json" {
		return q, fmt.Errorf("%w: --output %s: write plot, csv or json", errUsage, o.format)
	}
	q.Metrics, q.Limit = o.metrics, otto.HistoryMaxPoints
	if q.Since, err = parseTime("--since", o.since, now); err != nil {
		return q, err
	}
	if q.Until, err = parseTime("--until", o.until, now); err != nil {
		return q, err
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	if !q.Since.Before(q.Until) {
		return q, fmt.Errorf("%w: --since is not before --until", errUsage)
	}
	if o.resolution != "" {
		if q.Resolution, err = time.ParseDuration(o.resolution); err != nil {
			return q, fmt.Errorf("%w: --resolution %s: write 1s, 1m or 10m", errUsage, o.resolution)
		}
	}
	return q, nil
}

func (a *app) metrics(ctx context.Context, o metricsOptions, now time.Time) error {
	q, err := o.query(now)
	if err != nil {
		return err
	}
	d, c, running, err := a.seen(ctx)
	if err != nil {
		return err
	}
	t, missing := target.Find(c, o.name)
	if missing != nil { // what was removed has a past
		t = target.Target{Service: o.name}
	}
	q.Node, q.Service = t.Node, t.Service
	h, err := d.past(ctx, q, now)
	if missing != nil && err == nil && len(h.Series)+len(h.States) == 0 {
		q.Node, q.Service = o.name, ""
		if h, err = d.past(ctx, q, now); err == nil && len(h.Series)+len(h.States) == 0 {
			return missing
		}
	}
	if err != nil {
		return err
	}
	if t.Instance != "" {
		h = ofInstance(h, t.Instance)
	}
	switch o.format {
	case "json":
		return a.printJSON(h)
	case "csv":
		return a.printCSV(h)
	}
	if !running {
		fmt.Fprintln(a.err, "otto: the control plane is not running; this is what it has kept")
	}
	if h.Problem != "" {
		fmt.Fprintln(a.err, "otto: "+h.Problem)
	}
	if len(h.Series)+len(h.States) == 0 {
		return a.nothingKept(ctx, d, q, now)
	}
	a.plot(h, q, a.width(), len(o.metrics) > 0)
	return nil
}

// nothingKept says why there is nothing to show.
func (a *app) nothingKept(ctx context.Context, d stateDir, q otto.HistoryQuery, now time.Time) error {
	asked := q.Metrics
	q.Metrics = nil
	h, err := d.past(ctx, q, now)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range h.Series {
		if !contained(names, s.Metric) {
			names = append(names, s.Metric)
		}
	}
	if len(asked) > 0 && len(names) > 0 {
		return fmt.Errorf("nothing was kept of %s in that time; there are %s", strings.Join(asked, ", "),
			strings.Join(names, ", "))
	}
	return fmt.Errorf("nothing was kept of %s in that time: it takes a minute after the first start, "+
		"and a control plane that runs", cmpOr(q.Node, q.Service))
}

func contained(list []string, s string) bool {
	for _, o := range list {
		if o == s {
			return true
		}
	}
	return false
}

// past is all that was kept of something, with or without a control plane.
func (d stateDir) past(ctx context.Context, q otto.HistoryQuery, now time.Time) (otto.History, error) {
	ask := func(q otto.HistoryQuery) (otto.History, error) { return d.client().History(ctx, q) }
	all, err := ask(q)
	if errors.Is(err, api.ErrNotRunning) {
		ask = func(q otto.HistoryQuery) (h otto.History, err error) {
			if h, err = history.Read(d.path(dirHistory), q, now); err != nil {
				return h, err
			}
			events, err := journal.Read(d.path(fileEvents))
			h.AddEvents(events)
			return h, err
		}
		all, err = ask(q)
	}
	for err == nil && !all.Next.IsZero() {
		q.Since, q.Resolution = all.Next, all.Resolution
		var next otto.History
		if next, err = ask(q); err == nil {
			all.Add(next)
		}
	}
	return all, err
}

// ofInstance leaves out other instances.
func ofInstance(h otto.History, instance string) otto.History {
	series, states := h.Series, h.States
	h.Series, h.States = []otto.Series{}, []otto.States{}
	for _, s := range series {
		if s.Instance == instance {
			h.Series = append(h.Series, s)
		}
	}
	for _, s := range states {
		if s.Instance == instance {
			h.States = append(h.States, s)
		}
	}
	return h
}

func (a *app) printCSV(h otto.History) error {
	w := csv.NewWriter(a.out)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	_ = w.Write([]string{"time", "node", "service", "instance", "metric", "unit", "min", "mean", "max"})
	for _, s := range h.Series {
		for _, p := range s.Points {
			_ = w.Write([]string{
				p.Time.Format(time.RFC3339), h.Node, h.Service, s.Instance, s.Metric, s.Unit,
				number(p.Min), number(p.Mean), number(p.Max),
			})
		}
	}
	w.Flush()
	return w.Error()
}

// width is that of the terminal, and 80 of what is none.
func (a *app) width() int {
	if f, ok := a.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// withProblem adds a problem, if there is one.
func withProblem(list []string, problem string) []string {
	if problem == "" {
		return list
	}
	return append(list, problem)
}
