// Package cli is Otto's command line, and the one place where its parts are
// wired together.
//
// Each command is a function from options and streams to an error. What an error
// means for the exit code is decided in Main alone.
package cli

//go:generate go test -run ^(TestDocsAreCurrent|TestAccessTable)$ . -update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/wire"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1   // it went wrong
	exitUsage  = 2   // the command or otto.yaml is not right; nothing was touched
	exitChange = 1   // of plan: something would change
	exitPart   = 3   // a part did not come up, or could not be stopped; the rest is as asked
	exitAgain  = 4   // a control plane is to be started again
	exitUntold = 255 // of plan: it cannot be told what would change
)

// errPart says that not everything is as it was asked for. What is missing has
// been printed.
var errPart = errors.New("not everything is as asked for")

// errChanges says that a plan has changes, which have been printed.
var errChanges = errors.New("there are changes")

// errFound says that doctor has found a problem, which has been printed.
var errFound = errors.New("there are problems")

// errUsage marks a command that was not understood.
var errUsage = errors.New("usage")

// defaultConfig is the file that describes the cluster, if none is named.
const defaultConfig = "otto.yaml"

// app is what all commands share.
type app struct {
	version  string
	in       io.Reader
	out, err io.Writer
	config   string // path of otto.yaml
	output   string // text or json
	logLevel string
	context  string // name of a control plane on another machine; empty: that of this directory

	built   []image      // what was built
	builtOf *config.File // for which file
	engines []*nodeEngine
}

// Main runs one command line and returns the exit code.
func Main(version string, args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	a := &app{version: version, in: in, out: out, err: errOut}
	defer a.closeEngines()
	root := newRoot(a)
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	code := explainError(ctx, c.CommandPath(), err, errOut)
	if c.CommandPath() == "otto plan" && err != nil && !errors.Is(err, errChanges) {
		return exitUntold // 1 means something else there, as with other tools that plan
	}
	return code
}

// withoutControl is the error of whoever needs a control plane and finds none, with what to
// do about it in place of what the socket says.
func withoutControl(err error) error {
	if before, _, cut := strings.Cut(err.Error(), api.ErrNotRunning.Error()+": dial "); cut {
		return fmt.Errorf("%s%w: run `otto cluster start`", before, api.ErrNotRunning)
	}
	return err
}

// explainError prints an error of a command and returns what it means for the exit code.
func explainError(ctx context.Context, command string, err error, errOut io.Writer) int {
	var problems config.Problems
	var code exitCode
	if errors.Is(err, api.ErrNotRunning) {
		err = withoutControl(err)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errChanges):
		return exitChange
	case errors.Is(err, errPart):
		return exitPart
	case errors.Is(err, errFound):
		return exitFailed
	case errors.As(err, &problems):
		fmt.Fprintln(errOut, err)
		return exitUsage
	case errors.Is(err, errUsage):
		fmt.Fprintf(errOut, "otto: %s\nTry: %s --help\n", strings.TrimPrefix(err.Error(), "usage: "), command)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(errOut, "otto: interrupted")
		return exitFailed
	case errors.Is(err, errAgain):
		fmt.Fprintf(errOut, "otto: %s\n", wire.Plain(err.Error()))
		return exitAgain
	default:
		fmt.Fprintf(errOut, "otto: %s\n", wire.Plain(err.Error()))
		return exitFailed
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "otto",
		Short: "Container orchestration for edge and home clusters",
		Long: `Otto runs containers on a handful of machines: a laptop, a few Raspberry Pis, a
mini-PC. One otto.yaml says what should run; Otto puts it there over SSH and
watches it over MQTT.

Alone, on a terminal and where a cluster is, it shows that: see otto top.

Exit codes:
  0  done
  1  it went wrong
  2  the command line or otto.yaml is not right; nothing was touched
  3  a part did not come up, or could not be stopped; the rest is as asked for

otto plan has its own: 0 nothing would change, 1 something would, 255 it cannot
be told. otto exec and otto run have that of the command they have run.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.check(c) },
		Version:           a.version, Args: noArgs, RunE: a.alone,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	flags := root.PersistentFlags()
	flags.StringVarP(&a.config, "config", "c", defaultConfig, "file that describes the cluster")
	flags.StringVarP(&a.output, "output", "o", "text", "how to show things: text or json")
	flags.StringVar(&a.logLevel, "log-level", "info", "what the control plane logs: debug, info, warn or error")
	flags.StringVar(&a.context, "context", "", "cluster whose control plane is elsewhere, see otto context (or OTTO_CONTEXT)")
	root.AddCommand(newCluster(a), newPlan(a), newApply(a), newService(a), newStack(a), newCompose(a), newNode(a),
		newVolume(a), newTop(a), newToken(a), newContext(a))
	root.AddCommand(newAdopt(a), newRelease(a), newLogs(a), newExec(a), newRun(a), newPortForward(a), newEvents(a), newMetrics(a),
		newRequirements(a), newExplain(a), newDoctor(a), newDebug(a))
	root.AddCommand(newRecord(a), newSimulate(a), newVersion(a), newControlPlane(a))
	return root
}

func newCluster(a *app) *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Start, look at and stop a cluster", Args: noArgs, RunE: help}
	c.AddCommand(newInit(a), newStart(a), newStatus(a), newStop(a), newUninstall(a), newBackup(a), newRestore(a),
		newRotate(a))
	return c
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": a.version})
			}
			_, err := fmt.Fprintln(a.out, "otto", a.version)
			return err
		},
	}
}

func help(c *cobra.Command, _ []string) error { return c.Help() }

func noArgs(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !c.HasSubCommands():
		return fmt.Errorf("%w: %s takes no arguments, and there is %q", errUsage, c.CommandPath(), args[0])
	}
	if meant := meantBy(c.Root(), args[0]); len(meant) > 0 {
		return fmt.Errorf("%w: %s has no command %q: did you mean `%s`?", errUsage, c.CommandPath(), args[0],
			strings.Join(meant, "` or `"))
	}
	return fmt.Errorf("%w: %s has no command %q", errUsage, c.CommandPath(), args[0])
}

// meantBy are the commands below c that a name may mean: those that are called so, or so by
// other tools, and otherwise those that are called nearly so.
func meantBy(c *cobra.Command, name string) (paths []string) {
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		paths = append(paths, meantBy(sub, name)...)
		if sub.Name() == name || slices.Contains(sub.SuggestFor, name) {
			paths = append(paths, sub.CommandPath())
		}
	}
	if len(paths) == 0 && !c.HasParent() {
		c.SuggestionsMinimumDistance = 2
		for _, near := range c.SuggestionsFor(name) {
			paths = append(paths, c.CommandPath()+" "+near)
		}
	}
	return paths
}

func (a *app) check(c *cobra.Command) error {
	if a.context == "" {
		a.context = os.Getenv("OTTO_CONTEXT")
	}
	if err := a.checkContext(c); err != nil {
		return err
	}
	if a.output != "text" && a.output != "json" {
		return fmt.Errorf("%w: --output %s: write text or json", errUsage, a.output)
	}
	_, err := a.level()
	return err
}

func (a *app) json() bool { return a.output == "json" }
