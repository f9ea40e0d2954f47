package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
)

func newRotate(a *app) *cobra.Command {
	var compromised bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Renew the keys of the cluster and of its nodes",
		Long: `Rotate renews the authority that signs the broker's certificates, the key that signs
assignments, and the key of each node. SSH brings the new ones to the nodes. What was
before holds until they have them, so that no service is restarted and no node is locked
out. A node that is away for longer than half a minute is not waited for: it gets its keys
when it is back and SSH reaches it.

With --compromised what was before ends at once, for when somebody else may have it. Nodes
are cut off until SSH has brought them their new keys: services run on, but what needs a
lease stops on a node that SSH does not reach before its lease ends.

The cluster stays the one that it was. Tools that use .otto/ca.pem need the new one, which
is there as soon as the command has begun. A backup of before holds the former keys: make
a new one.

The exit code is 0 when all nodes have the new keys, or only those that are away lack
them, and 3 if that takes longer than --timeout: it goes on by itself.`,
		Example: `  otto cluster rotate
  otto cluster rotate --compromised`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.rotate(c.Context(), compromised, timeout) },
	}
	c.Flags().BoolVar(&compromised, "compromised", false, "end the former keys at once: somebody else may have them")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the nodes")
	return c
}

func (a *app) rotate(ctx context.Context, compromised bool, timeout time.Duration) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	client := d.client()
	if compromised { // first: who has the keys may have the tokens, too
		ended, err := removeTokens(ctx, client)
		if err != nil {
			return fmt.Errorf("tokens of the API: %w", err)
		}
		if ended > 0 {
			fmt.Fprintf(a.err, "otto: the tokens of the API have ended: make new ones with `otto token create`\n")
		}
	}
	if err := client.Rotate(ctx, compromised); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var left *otto.Rotation
	said := map[string]string{}
	err = client.Watch(within, func(c *otto.Cluster) bool {
		left = c.Rotation
		going := left != nil && !left.Since.IsZero()
		if going {
			a.sayLacking(left.Lacking, said)
		}
		return going
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	over := left == nil || left.Since.IsZero()
	switch {
	case a.json():
		if left == nil {
			left = &otto.Rotation{Lacking: []otto.Lacking{}}
		}
		if err := a.printJSON(left); err != nil {
			return err
		}
	case left == nil:
		fmt.Fprintln(a.out, "All nodes have new keys; those of before have ended.")
	default:
		fmt.Fprintln(a.out, rotation(*left, time.Now()))
	}
	if !over {
		return errPart
	}
	return nil
}

// sayLacking prints each node that lacks the new keys, with the reason, when that changes.
func (a *app) sayLacking(list []otto.Lacking, said map[string]string) {
	for _, l := range list {
		if !a.json() && said[l.Node] != l.Why {
			said[l.Node] = l.Why
			fmt.Fprintf(a.err, "%s: %s\n", l.Node, l.Why)
		}
	}
}

// rotation says how far a renewal of keys has come.
func rotation(r otto.Rotation, now time.Time) string {
	var nodes []string
	for _, l := range r.Lacking {
		nodes = append(nodes, fmt.Sprintf("  %s: %s", l.Node, l.Why))
	}
	what := "Keys are renewed; those of before have ended."
	switch {
	case r.Compromised:
		what = fmt.Sprintf("Keys are being renewed, since %s ago; those of before have ended.", age(now, r.Since))
	case !r.Since.IsZero():
		what = fmt.Sprintf("Keys are being renewed, since %s ago; those of before hold until it is done.", age(now, r.Since))
	}
	if len(nodes) > 0 {
		what += " Without the new ones:\n" + strings.Join(nodes, "\n")
	}
	return what
}
