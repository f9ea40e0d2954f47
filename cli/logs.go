package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/logs/show"
)

const (
	followTail     = 100 // lines of each container that a log which is followed begins with
	reconnectAfter = time.Second
)

type logsOptions struct {
	query         logs.Query
	since, until  string
	tail          string
	bare, stamped bool
}

func newLogs(a *app) *cobra.Command {
	var o logsOptions
	c := &cobra.Command{
		Use:   "logs SERVICE|INSTANCE|STACK|NODE",
		Short: "Show what the containers of a service, a stack or a node have written",
		Long: `Logs shows the logs of all containers of a service or a stack, or of all that are
on a node, as one, in order of time. They are read from the engines of the nodes at this
moment: what an engine has no more, or has never kept, cannot be shown.

With --follow it goes on with what comes, also when the service is restarted,
updated or moved, and when a node comes back that was away. No line comes twice.
It begins with the last ` + strconv.Itoa(followTail) + ` lines of each container unless --tail or --since say
otherwise.

Containers that an update has left, NAME.failed or NAME.kept, are read too. With
--previous only those are, and what a container has written before it was started last:
why it has ended is in there.

On a terminal control characters are taken out of what containers write, and
colours stay. In a file or a pipe each line is as it was written; what Otto has to
say is on standard error then. With --output json each line is an object.`,
		Example: `  otto logs web
  otto logs web --follow --tail 20
  otto logs web-2 --since 1h --grep 'error|warn'
  otto logs immich --follow
  otto logs web --previous --tail 50
  otto logs rpi-01 --since 2025-06-01T12:00:00Z --until 2025-06-01T12:10:00Z
  otto logs web --no-prefix >web.log`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: %s needs one service, instance, stack or node: %s", errUsage, c.CommandPath(),
					c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.query.Name = args[0]
			if err := o.parse(time.Now()); err != nil {
				return err
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.logs(c.Context(), d.client(), o)
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.query.Follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	f.StringVar(&o.since, "since", "",
		"leave out what is older: a duration such as 90m or 36h, or a time such as 2025-06-01 or 2025-06-01T12:00:00Z")
	f.StringVar(&o.until, "until", "", "leave out what is newer, likewise")
	f.StringVarP(&o.tail, "tail", "n", "", "only so many lines of each container, the last ones; or all")
	f.StringVarP(&o.query.Grep, "grep", "g", "", "only lines that this regular expression matches")
	f.BoolVarP(&o.query.Previous, "previous", "p", false, "only what was written before the present run of each container")
	f.StringVar(&o.query.Node, "node", "", "only containers on this node")
	f.BoolVar(&o.bare, "no-prefix", false, "do not say which container each line is of")
	f.BoolVarP(&o.stamped, "timestamps", "t", false, "say when each line was written")
	return c
}

// parse makes a query of what was written.
func (o *logsOptions) parse(now time.Time) (err error) {
	if o.query.Since, err = parseTime("--since", o.since, now); err != nil {
		return err
	}
	if o.query.Until, err = parseTime("--until", o.until, now); err != nil {
		return err
	}
	switch {
	case o.query.Follow && o.query.Previous:
		return fmt.Errorf("%w: --previous and --follow exclude each other", errUsage)
	case o.query.Follow && o.until != "":
		return fmt.Errorf("%w: --until and --follow exclude each other", errUsage)
	case o.tail == "" && o.query.Follow && o.since == "":
		o.query.Tail = new(followTail)
	case o.tail != "" && o.tail != "all":
		n, err := strconv.Atoi(o.tail)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: --tail %s: write a number of lines, or all", errUsage, o.tail)
		}
		o.query.Tail = &n
	}
	if _, err := regexp.Compile(o.query.Grep); err != nil {
		return fmt.Errorf("%w: --grep: %w", errUsage, err)
	}
	return nil
}

// logReader is the control plane as far as it reads logs.
type logReader interface {
	Logs(ctx context.Context, q logs.Query, take func(logs.Entry) error, idle func() error) error
}

func (a *app) logs(ctx context.Context, control logReader, o logsOptions) error {
	out := bufio.NewWriter(a.out)
	p := show.Printer{
		Out:      out,
		Marks:    a.err,
		Terminal: isTerminal(a.out),
		Colour:   a.colour(),
		JSON:     a.json(),
		Bare:     o.bare,
		Times:    o.stamped,
	}
	q := o.query
	q.After = logs.Positions{}
	began, connected, ever, troubled := time.Now(), false, false, false
	take := func(e logs.Entry) error {
		connected = true
		q.After.Take(e)
		troubled = troubled || e.Mark == logs.MarkTrouble
		return p.Print(e)
	}
	idle := func() error {
		connected = true
		return out.Flush()
	}
	for {
		err := control.Logs(ctx, q, take, idle)
		if q.Follow && ctx.Err() != nil {
			return out.Flush() // Ctrl-C is how it ends
		}
		ever = ever || connected
		if !errors.Is(err, api.ErrNotRunning) || !q.Follow || !ever {
			return logsEnded(errors.Join(err, out.Flush()), troubled)
		}
		if connected {
			connected = false
			away := logs.Entry{
				Time: time.Now().UTC(),
				Mark: logs.MarkTrouble,
				Text: "the control plane is away; it goes on when that is back",
			}
			if err := errors.Join(p.Print(away), out.Flush()); err != nil {
				return err
			}
		}
		if q.Tail != nil { // what is older has been shown
			q.Tail, q.Since = nil, began
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(reconnectAfter):
		}
	}
}

func logsEnded(err error, troubled bool) error {
	switch {
	case err == nil && troubled:
		return errPart
	}
	return err
}
