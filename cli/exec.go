package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/otto-edge/otto/shell"
)

// exitCode is that of a command that ran elsewhere; it has said itself what went wrong.
type exitCode int

// Error implements error.
func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newExec(a *app) *cobra.Command {
	var q shell.Query
	var noTTY bool
	c := &cobra.Command{
		Use:   "exec SERVICE|INSTANCE [COMMAND [ARG...]]",
		Short: "Run a command in a container of a service",
		Long: `Exec runs a command in a container of a service on its node, as if it ran here:
with this terminal, or with standard input, output and errors in pipes, and with
its exit code. Without a command it is a shell, sh.

Of a service with several instances it is the first one that runs. The command
runs over SSH, by the engine of the node, and belongs to the container: it ends
when that does, and when this end is closed or lost, where the agent's user may end
processes of the container.`,
		Example: `  otto exec web
  otto exec shop/db -- pg_dump -U shop shop >shop.sql
  otto exec --user root web-2 -- cat /etc/hosts`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%w: %s needs a service or an instance: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			q.Name, q.Command.Args = args[0], commandOf(args)
			if len(q.Command.Args) == 0 {
				q.Command.Args = []string{"sh"}
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.exec(c.Context(), d.client(), q, noTTY)
		},
	}
	commandFlags(c, &q, &noTTY)
	c.Flags().StringVar(&q.Node, "node", "", "only in a container on this node")
	return c
}

// commandOf is the command that follows the name of a service.
func commandOf(args []string) []string {
	if args = args[1:]; len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	return args
}

// commandFlags are those of commands that run something in a container.
func commandFlags(c *cobra.Command, q *shell.Query, noTTY *bool) {
	f := c.Flags()
	f.SetInterspersed(false) // what follows the service is the command's
	f.StringVarP(&q.Command.User, "user", "u", "", "who runs it, NAME or UID[:GID]; otherwise the container's user")
	f.StringVarP(&q.Command.Dir, "workdir", "w", "", "directory in the container that it runs in")
	f.StringArrayVarP(&q.Command.Env, "env", "e", nil, "NAME=VALUE that is added to its environment; may be repeated")
	f.BoolVarP(noTTY, "no-tty", "T", false, "give it no terminal, also if there is one")
}

// commander is the control plane as far as it runs commands.
type commander interface {
	Exec(ctx context.Context, q shell.Query) (io.ReadWriteCloser, error)
}

func (a *app) exec(ctx context.Context, control commander, q shell.Query, noTTY bool) error {
	e := shell.Ends{In: a.in, Out: a.out, Err: a.err}
	q.Command.In = true
	in, isFile := a.in.(*os.File)
	if isFile && !noTTY && term.IsTerminal(int(in.Fd())) && isTerminal(a.out) {
		q.Command.TTY, q.Command.Size = true, sizeOf(in)
		q.Command.Env = append([]string{"TERM=" + cmpOr(os.Getenv("TERM"), "xterm")}, q.Command.Env...)
	}
	conn, err := control.Exec(ctx, q)
	if err != nil {
		return err
	}
	if q.Command.TTY {
		former, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			conn.Close()
			return err
		}
		defer func() { _ = term.Restore(int(in.Fd()), former) }()
		sizes, stop := watchSize(in)
		defer stop()
		e.Sizes = sizes
	}
	code, err := shell.Attach(ctx, conn, e)
	if err == nil && code != 0 {
		err = exitCode(code)
	}
	return err
}

func sizeOf(terminal *os.File) (s shell.Size) {
	s.Width, s.Height, _ = term.GetSize(int(terminal.Fd()))
	return s
}

// watchSize sends the size of a terminal whenever it has changed, until stop is called.
func watchSize(terminal *os.File) (sizes <-chan shell.Size, stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	list, done := make(chan shell.Size), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-changed:
			}
			select {
			case <-done:
				return
			case list <- sizeOf(terminal):
			}
		}
	}()
	return list, func() {
		signal.Stop(changed)
		close(done)
	}
}
