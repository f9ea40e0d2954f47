package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/shell"
	"github.com/otto-edge/otto/wire"
)

func newPortForward(a *app) *cobra.Command {
	var q shell.Query
	address := "127.0.0.1"
	c := &cobra.Command{
		Use:   "port-forward SERVICE|INSTANCE [LOCAL:]PORT",
		Short: "Reach a port of a container from this machine",
		Long: `Port-forward listens on this machine and passes each connection on to a port of a
container, over SSH, until Ctrl-C. The port needs not be published. Of a service
with several instances it is the first one that runs when the connection is made,
wherever it is by then.

LOCAL is the port here: without it the same one, with 0 any that is free.`,
		Example: `  otto port-forward shop/db 5432
  otto port-forward web 8080:80`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%w: %s needs a service or an instance, and a port: %s", errUsage, c.CommandPath(),
					c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			q.Name = args[0]
			local, port, err := ports(args[1])
			if err != nil {
				return err
			}
			q.Command.Port, q.Command.In = port, true
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.portForward(c.Context(), d.client(), q, net.JoinHostPort(address, strconv.Itoa(local)))
		},
	}
	f := c.Flags()
	f.StringVar(&address, "address", address, "address of this machine that it listens on")
	f.StringVar(&q.Node, "node", "", "only a container on this node")
	return c
}

// ports reads [LOCAL:]PORT.
func ports(text string) (local, port int, err error) {
	here, there, both := strings.Cut(text, ":")
	if !both {
		there = here
	}
	local, err = strconv.Atoi(here)
	if err == nil {
		port, err = strconv.Atoi(there)
	}
	const highest = 65535
	if err != nil || local < 0 || local > highest || port < 1 || port > highest {
		return 0, 0, fmt.Errorf("%w: %q: write PORT or LOCAL:PORT, such as 8080:80", errUsage, text)
	}
	return local, port, nil
}

func (a *app) portForward(ctx context.Context, control *api.Client, q shell.Query, address string) error {
	view, err := control.Cluster(ctx)
	if err != nil {
		return err
	}
	at, err := shell.Find(view, q)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s is port %d of %s on %s; Ctrl-C ends it\n", l.Addr(), q.Command.Port, at.Instance, at.Node.ID)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return err
		}
		connections.Go(func() {
			if err := pass(ctx, control, q, conn); err != nil && ctx.Err() == nil {
				fmt.Fprintf(a.err, "otto: %s\n", wire.Plain(err.Error()))
			}
		})
	}
}

// pass passes a connection on to a container, and closes it.
func pass(ctx context.Context, control commander, q shell.Query, here net.Conn) error {
	defer here.Close()
	there, err := control.Exec(ctx, q)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { there.Close() })
	defer stop()
	_, err = shell.Attach(ctx, there, shell.Ends{In: here, Out: here, Err: here})
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil // who connected has left
	}
	return err
}
