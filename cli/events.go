package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/control/journal"
)

type eventsOptions struct {
	follow        bool
	since         string
	node, service string
}

func newEvents(a *app) *cobra.Command {
	var o eventsOptions
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened, and why Otto did what it did",
		Long: `Events are kept beside otto.yaml, some thousand of them, also while the control
plane does not run. What nodes noticed while they could not reach the control
plane is there as well, at the time it happened.`,
		Example: `  otto events --since 1h
  otto events --since 2025-06-01 --node rpi-01
  otto events --follow --output json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.events(c.Context(), o, time.Now()) },
	}
	f := c.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with events as they happen")
	f.StringVar(&o.since, "since", "",
		"leave out what is older: a duration such as 90m or 36h, or a time such as 2025-06-01 or 2025-06-01T12:00:00Z")
	f.StringVar(&o.node, "node", "", "only those of a node")
	f.StringVar(&o.service, "service", "", "only those of a service")
	return c
}

func (a *app) events(ctx context.Context, o eventsOptions, now time.Time) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	since, err := parseTime("--since", o.since, now)
	if err != nil {
		return err
	}
	var failed error
	show := func(e otto.Event) bool {
		if e.Time.Before(since) || o.node != "" && e.Node != o.node || o.service != "" && e.Service != o.service {
			return true
		}
		if a.json() {
			failed = a.printJSONLine(e)
		} else {
			failed = a.printEvent(a.out, e)
		}
		return failed == nil
	}
	err = d.client().Events(ctx, 0, o.follow, show)
	switch {
	case errors.Is(err, api.ErrNotRunning) && !o.follow:
		err = d.keptEvents(show)
	case errors.Is(err, context.Canceled) && o.follow:
		err = nil // Ctrl-C is how it ends
	}
	return errors.Join(err, failed)
}

// keptEvents calls f with each event, without a control plane.
func (d stateDir) keptEvents(f func(otto.Event) bool) error {
	kept, err := journal.Read(d.path(fileEvents))
	if err == nil && len(kept) == 0 {
		err = errors.New("no cluster has been started here: run `otto cluster start`")
	}
	for _, e := range kept {
		if !f(e) {
			break
		}
	}
	return err
}

func (a *app) printEvent(w io.Writer, e otto.Event) error {
	where := cmpOr(e.Node, "-")
	text := e.Message
	if e.Service != "" && !strings.Contains(text, e.Service) {
		text = e.Service + ": " + text
	}
	if e.By != "" {
		text += " (by " + e.By + ")"
	}
	_, err := fmt.Fprintf(w, "%s  %-12s %-18s %s\n", e.Time.Local().Format("2006-01-02 15:04:05"), where, e.Kind, text)
	return err
}

// parseTime is a time before now, or one as it is written, of a flag.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d.Abs()), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: %s %s: write a duration such as 90m, or a time such as 2025-06-01T12:00:00Z",
		errUsage, flag, text)
}
