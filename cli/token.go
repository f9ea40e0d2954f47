package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
)

func newToken(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Let people on other machines use the cluster", Args: noArgs, RunE: help,
	}
	c.AddCommand(newTokenCreate(a), newTokenList(a), newTokenRemove(a))
	return c
}

func newTokenCreate(a *app) *cobra.Command {
	var role string
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and show what another machine needs of it",
		Long: `A token is for one person or program on another machine. It is for one of two roles:

  look      see nodes, services, events and history, without environments,
            arguments, labels and logs
  operate   also act: move, restart, drain, logs, exec. Who has it can start any
            container, and so has the machines

What stops or uninstalls the cluster, its keys and its backups are done on the
control plane's machine alone. What is shown here is shown this once; of the
secret in it only a hash is kept. The API is served if otto.yaml says where:

  api:
    listen: ":7443"`,
		Example: "  otto token create laptop --role operate",
		Args:    one("token"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			access, err := d.client().AddToken(c.Context(), args[0], api.Role(role))
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(access)
			}
			invite, err := access.Invite()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "On the other machine run this, and paste the line below when it asks:\n\n  otto context add %s %s\n\n%s\n",
				access.Cluster, d.reachedAt(), invite)
			if d.reachedAt() == unserved {
				fmt.Fprintf(a.err, "otto: the API is not served to other machines yet: write api: {listen: \":7443\"} in %s and run `otto apply`\n", a.config)
			}
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", string(api.Look), "what it is for: look or operate")
	return c
}

// unserved stands for the address of an API that is not served.
const unserved = "HOST:PORT"

// reachedAt is where other machines reach the API, as far as it can be told here.
func (d stateDir) reachedAt() string {
	var c controlFile
	if err := d.read(fileControl, &c); err != nil || c.API.Listen == "" {
		return unserved
	}
	host, port, err := net.SplitHostPort(c.API.Listen)
	if err != nil {
		return unserved
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return unserved
		}
	}
	return net.JoinHostPort(host, port)
}

func newTokenList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the tokens", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			list, err := d.client().ListTokens(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(list)
			}
			rows := [][]string{{"TOKEN", "ROLE", "AGE"}}
			for _, t := range list {
				rows = append(rows, []string{t.Name, string(t.Role), age(time.Now(), t.Created)})
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}

func newTokenRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm TOKEN", Short: "End a token, and what is under way with it", Args: one("token"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().RemoveToken(c.Context(), args[0]); err != nil {
				return err
			}
			if !a.json() {
				fmt.Fprintf(a.out, "Nobody gets in with token %s any more.\n", args[0])
			}
			return nil
		},
	}
}

// removeTokens ends all tokens: who has stolen the keys may have read them, too.
func removeTokens(ctx context.Context, c *api.Client) (n int, err error) {
	list, err := c.ListTokens(ctx)
	for _, t := range list {
		err = errors.Join(err, c.RemoveToken(ctx, t.Name))
	}
	return len(list), err
}
