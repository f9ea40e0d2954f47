package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/shell"
)

func newRun(a *app) *cobra.Command {
	var q shell.Query
	var noTTY bool
	c := &cobra.Command{
		Use:   "run SERVICE [COMMAND [ARG...]]",
		Short: "Run a service once, in a container of its own",
		Long: `Run makes a container of a service, runs it once with this terminal, or with
standard input, output and errors in pipes, and removes it; the exit code is its
own. A command replaces that of the service, as with docker compose run.

It runs on the node where the service is, or would be, with its networks, mounts
and environment, without its published ports and fixed addresses; other services
do not find it by the service's name. If the service runs as well, both have its
volumes: whether that is safe only the service knows. No volume is made for it.

It is removed also when this end is closed or lost.`,
		Example: `  otto run shop/migrate
  otto run shop/web -- bin/console user:add me
  otto run -e LEVEL=debug web`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%w: %s needs a service: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			q.Name, q.Command.Args = args[0], commandOf(args)
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.exec(c.Context(), once{d.client()}, q, noTTY)
		},
	}
	commandFlags(c, &q, &noTTY)
	c.Flags().StringVar(&q.Node, "node", "", "on this one of the nodes that it is on")
	return c
}

// once is a control plane that runs commands in containers of their own.
type once struct{ *api.Client }

// Exec implements commander.
func (o once) Exec(ctx context.Context, q shell.Query) (io.ReadWriteCloser, error) {
	return o.Once(ctx, q)
}
