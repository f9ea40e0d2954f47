package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/tui"
)

func newTop(a *app) *cobra.Command {
	var o tui.Options
	c := &cobra.Command{
		Use: "top", SuggestFor: []string{"dashboard", "ui", "tui", "k9s"},
		Short: "Show the cluster on the whole terminal, as it changes",
		Long: `Top shows what is wrong first, then nodes with their last hour, then services by
stack, with how near their requirements are to a limit and their last 24 hours. Keys
are those of k9s where they mean the same; ? lists them. What changes something shows
first what it would do, and asks.

otto alone does the same, on a terminal and where a cluster is.

Without a control plane it shows what was known last, and how old that is. With
NO_COLOR it has no colours. What is no terminal gets all of it once, as text.`,
		Example: `  otto top
  otto top | head -20`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.top(c.Context(), o) },
	}
	c.Flags().BoolVar(&o.ReadOnly, "read-only", false, "for looking only: no key changes anything, and there is no shell")
	return c
}

// alone is otto without a command: on a terminal where a cluster is it shows that.
func (a *app) alone(c *cobra.Command, args []string) error {
	if d, err := a.dir(); err == nil && isTerminal(a.in) && isTerminal(a.out) && !a.json() {
		if _, err := os.Stat(d.path(fileCluster)); err == nil || a.context != "" {
			if err := a.top(c.Context(), tui.Options{}); !errors.Is(err, errNotStarted) {
				return err
			}
		}
	}
	return help(c, args)
}

func (a *app) top(ctx context.Context, o tui.Options) error {
	d, v, running, err := a.seen(ctx)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(v)
	}
	if !running {
		o.Away = "control plane down"
	}
	s := source{a, d}
	if !isTerminal(a.in) || !isTerminal(a.out) {
		return a.topOnce(ctx, s, v, o.Away)
	}
	o.NoColour = !a.colour()
	o.Source, o.Cluster, o.In, o.Out = s, v, a.in, a.out
	return tui.Run(ctx, o)
}

// For what is no terminal: what of the past is asked for at most, and for how long.
const (
	pastAsked = 50 // services, and nodes
	pastWait  = 5 * time.Second
)

// topOnce prints the screen once, with all nodes and services.
func (a *app) topOnce(ctx context.Context, s source, v *otto.Cluster, away string) error {
	ctx, cancel := context.WithTimeout(ctx, pastWait)
	defer cancel()
	now := time.Now()
	m := tui.Model{
		Index: tui.NewIndex(v), Now: now, Received: now, Away: away,
		Trends: map[string]tui.Trend{}, Days: map[string][]otto.Span{},
	}
	for _, n := range v.Nodes[:min(len(v.Nodes), pastAsked)] {
		if t, err := tui.Trending(ctx, s, n.ID, now); err == nil {
			m.Trends[n.ID] = t
		}
	}
	for i := range v.Services[:min(len(v.Services), pastAsked)] {
		name := v.Services[i].Name
		if spans, err := tui.Day(ctx, s, name, now); err == nil {
			m.Days[name] = spans
		}
	}
	_, err := io.WriteString(a.out, m.Plain(max(a.width(), 80)).String())
	return err
}

// source is what a tui.Program asks.
type source struct {
	a *app
	d stateDir
}

// Watch implements tui.Source.
func (s source) Watch(ctx context.Context, take func(*otto.Cluster) bool) error {
	return s.d.client().Watch(ctx, take)
}

// Last implements tui.Source.
func (s source) Last() (*otto.Cluster, error) {
	var c otto.Cluster
	return &c, s.d.read(fileView, &c)
}

// Events implements tui.Source.
func (s source) Events(ctx context.Context, after uint64, take func(otto.Event) bool) error {
	return s.d.client().Events(ctx, after, true, take)
}

// Past implements tui.Past.
func (s source) Past(ctx context.Context, q otto.HistoryQuery) (otto.History, error) {
	now := time.Now()
	if q.Until.IsZero() {
		q.Until = now
	}
	return s.d.past(ctx, q, now)
}

// printing calls f with an app that prints to a text.
func (s source) printing(f func(*app) error) (string, error) {
	var b strings.Builder
	a := *s.a
	a.out, a.err = &b, &b
	err := f(&a)
	if errors.Is(err, api.ErrNotRunning) {
		err = withoutControl(err)
	}
	return b.String(), err
}

// Describe implements tui.Source.
func (s source) Describe(ctx context.Context, name string, node bool) (string, error) {
	return s.printing(func(a *app) error {
		c, running, err := look(ctx, s.d)
		if err != nil {
			return err
		}
		now := time.Now()
		if node {
			n, err := findNode(c, name)
			if err != nil {
				return err
			}
			if a.printNode(c, n, now); running {
				return a.lastEvents(ctx, s.d, name)
			}
			return nil
		}
		of := slices.DeleteFunc(slices.Clone(c.Services), func(o otto.ServiceStatus) bool {
			return o.Name != name && !strings.HasPrefix(o.Name, name+"/")
		})
		for i, o := range of {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			a.printService(o, now)
			a.printDay(ctx, s.d, o.Name, now)
		}
		if len(of) == 0 {
			return fmt.Errorf("%s is gone", name)
		}
		return nil
	})
}

// Why implements tui.Source.
func (s source) Why(ctx context.Context, name string, node bool) (string, error) {
	return s.printing(func(a *app) error {
		e, err := explanationOf(ctx, s.d.client(), name, node)
		if err == nil {
			a.printExplanation(e)
		}
		return err
	})
}

// Logs implements tui.Source.
func (s source) Logs(ctx context.Context, name string, previous bool, w io.Writer) error {
	a := *s.a
	a.out, a.err = w, w
	var o logsOptions
	o.query.Name, o.query.Follow, o.query.Previous = name, !previous, previous
	if err := o.parse(time.Now()); err != nil {
		return err
	}
	return a.logs(ctx, s.d.client(), o)
}

// Explain implements tui.Source.
func (s source) Explain(ctx context.Context, service string) (otto.Explanation, error) {
	return s.d.client().ExplainService(ctx, service)
}

// Intend implements tui.Source.
func (s source) Intend(ctx context.Context, node string, intent otto.Intent) error {
	return s.d.client().Intend(ctx, node, intent)
}

// Move implements tui.Source.
func (s source) Move(ctx context.Context, service, to string) (otto.Decision, error) {
	return s.d.client().Move(ctx, service, to, false)
}

// Shell implements tui.Source. It is a process of its own: what reads the keyboard for a
// shell would take the next key afterwards too.
func (s source) Shell(ctx context.Context, service string) tui.Command {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	c := exec.CommandContext(ctx, path, "--config", s.a.config, "--context", s.a.context, "exec", service)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return &terminalShell{c, service}
}

// terminalShell is otto exec, on the terminal of a tui.Program.
type terminalShell struct {
	*exec.Cmd
	service string
}

// Run implements tui.Command.
func (t *terminalShell) Run() error {
	fmt.Fprintf(t.Stdout, "A shell in a container of %s. It ends with exit or Ctrl-D.\n", t.service)
	var said strings.Builder // which is off the screen when the shell has ended
	t.Stderr = &said
	if err := t.Cmd.Run(); said.Len() > 0 {
		return errors.New(strings.TrimSpace(said.String()))
	} else if code := new(exec.ExitError); !errors.As(err, &code) {
		return err
	}
	return nil // the last command's exit code
}

// SetStdin implements tui.Command. The shell has the terminal of the command line.
func (t *terminalShell) SetStdin(io.Reader) {}

// SetStdout implements tui.Command.
func (t *terminalShell) SetStdout(io.Writer) {}

// SetStderr implements tui.Command.
func (t *terminalShell) SetStderr(io.Writer) {}
