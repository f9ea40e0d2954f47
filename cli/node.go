package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/durable"
)

func newNode(a *app) *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Look at nodes, empty them, add and remove them", Args: noArgs, RunE: help}
	c.AddCommand(newNodeList(a), newNodeShow(a), newNodeDrain(a),
		newNodeIntent(a, "cordon", "Let a node take nothing new; what is there stays", otto.Intent{Cordoned: true}),
		newNodeIntent(a, "uncordon", "Let a node take services again, also after a drain", otto.Intent{}),
		newNodeAdd(a), newNodeRemove(a), newNodeAcceptMachine(a), newNodeRekey(a))
	return c
}

func newNodeList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List nodes with their state and the reason for it", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(v.Nodes)
			}
			now := time.Now()
			rows := [][]string{{"NODE", "STATE", "SINCE", "ADDRESS", "SERVICES", "SEEN", "REASON"}}
			for _, n := range v.Nodes {
				rows = append(rows, []string{
					n.ID, string(n.State), age(now, n.Since), n.Host,
					dash(strings.Join(instancesOn(v, n.ID), ",")), age(now, n.LastSeen), dash(nodeReason(n)),
				})
			}
			table(a.out, a.colour(), 1, rows)
			return nil
		},
	}
}

// nodeReason is why a node is in its state, or takes nothing new.
func nodeReason(n otto.NodeStatus) string {
	why := cmpOr(n.Problem, n.Reason)
	if n.Intent.Cordoned && !n.Intent.Draining {
		why = strings.TrimPrefix(why+"; cordoned", "; ")
	}
	if n.Intent.By != "" {
		why += " (by " + n.Intent.By + ")"
	}
	if n.Intent.Why != "" {
		why += ": " + n.Intent.Why
	}
	return why
}

// instancesOn are the names of the instances that have their place on a node.
func instancesOn(c *otto.Cluster, node string) (names []string) {
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if i.Node == node {
				names = append(names, i.Name)
			}
		}
	}
	return names
}

func newNodeShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show NODE", Short: "Show everything known of a node, with its last events", Args: one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, v, running, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			n, err := findNode(v, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(n)
			}
			a.printNode(v, n, time.Now())
			if !running {
				return nil
			}
			return a.lastEvents(c.Context(), d, n.ID)
		},
	}
}

func (a *app) printNode(c *otto.Cluster, n otto.NodeStatus, now time.Time) {
	a.line("node", n.ID)
	a.line("state", fmt.Sprintf("%s, since %s ago", n.State, age(now, n.Since)))
	a.line("reason", nodeReason(n))
	a.line("address", n.Host)
	a.line("system", strings.TrimSpace(fmt.Sprintf("%s %s, %s", n.Facts.OS, n.Facts.Arch, n.Facts.Kernel)))
	a.line("engine", strings.TrimSpace(n.Facts.Engine.Name+" "+n.Facts.Engine.Version))
	a.line("agent", n.Facts.AgentVersion)
	if !n.LastSeen.IsZero() {
		a.line("seen", age(now, n.LastSeen)+" ago")
	}
	if s := n.Sample; s != nil {
		a.line("load", fmt.Sprintf("CPU %.0f%%, memory %.0f%% of %s, disk %.0f%% of %s",
			s.CPUPercent, s.MemoryPercent(), size(s.MemoryTotal), s.DiskPercent(), size(s.DiskTotal)))
	}
	for _, w := range n.Warnings {
		a.line("warning", w)
	}
	for _, s := range c.Services {
		for _, i := range s.Instances {
			if i.Node == n.ID {
				a.line("service", i.Name+" is "+describe(i))
			}
		}
	}
}

// lastEvents prints the last ten events of a node.
func (a *app) lastEvents(ctx context.Context, d stateDir, node string) error {
	var last []otto.Event
	err := d.client().Events(ctx, 0, false, func(e otto.Event) bool {
		if e.Node == node {
			last = append(last, e)
		}
		return true
	})
	if err != nil || len(last) == 0 {
		return err
	}
	fmt.Fprintln(a.out)
	for _, e := range last[max(0, len(last)-10):] {
		if err := a.printEvent(a.out, e); err != nil {
			return err
		}
	}
	return nil
}

func newNodeIntent(a *app, verb, short string, intent otto.Intent) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NODE", Short: short, Args: one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().Intend(c.Context(), args[0], intent); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is %sed.\n", args[0], verb)
			return err
		},
	}
}

func newNodeAcceptMachine(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accept-machine NODE",
		Short: "Say that a node's disk is in another machine for good",
		Long: `A node whose disk, or a copy of it, runs in another machine than before does not start
what keeps its data there: the former machine may still run it, and nobody hears that.
Otto says so in otto cluster status. Make sure that the former machine is off, and
stays off, and then say so with this command.`,
		Args: one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().AcceptMachine(c.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is another machine from now on.\n", args[0])
			return err
		},
	}
}

func newNodeRekey(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rekey NODE",
		Short: "Give a node a new key for the broker, and end its former one",
		Long: `Rekey draws the key anew by which a node logs in at the broker that Otto serves, and
brings it there over SSH. The former key ends when the node has logged in with the new
one. So a copy of a node's disk is shut out, and whoever has read its agent.json. No
service is restarted. A node that SSH does not reach now gets its key when it does.

At a broker of your own nodes log in with the account of mqtt.username. There the key is
the one by which a node proves what it says and opens its secrets. Who has read its
agent.json knows the account as well: give it another password at the broker and in
otto.yaml, and run otto cluster start.`,
		Example: `  otto node rekey pi`,
		Args:    one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if err := d.client().Rekey(c.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s gets a new key; the former one ends when the node has used that.\n",
				args[0])
			return err
		},
	}
}

// drained is what a drain has come to.
type drained struct {
	Node  string `json:"node"`
	Empty bool   `json:"empty"`
	Left  []stay `json:"left,omitempty"`
}

// stay is an instance that a drain leaves behind, and why.
type stay struct {
	Instance string `json:"instance"`
	Why      string `json:"why"`
}

func newNodeDrain(a *app) *cobra.Command {
	var deadline time.Duration
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "Empty a node, and say what stays on it and why",
		Long: `Drain moves everything off a node that can run elsewhere, and lets the node take
nothing new. It waits until that is done, or until the deadline; then it names
what is still there with the reason. The node stays drained until otto node
uncordon.

The exit code is 0 if the node is empty, and 3 if something is left on it.`,
		Example: "  otto node drain rpi-01 --deadline 2m",
		Args:    one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			return a.drain(c.Context(), d.client(), args[0], deadline)
		},
	}
	c.Flags().DurationVar(&deadline, "deadline", 5*time.Minute, "how long to wait for services to leave")
	return c
}

func (a *app) drain(ctx context.Context, client *api.Client, node string, deadline time.Duration) error {
	before, err := client.Cluster(ctx)
	if err != nil {
		return err
	}
	if err := client.Intend(ctx, node, otto.Intent{Cordoned: true, Draining: true}); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var now drained
	said := map[string]string{}
	there := instancesOn(before, node)
	err = client.Watch(within, func(c *otto.Cluster) bool {
		var going bool
		now, going = drainOf(c, node, there)
		for _, s := range now.Left {
			if going && !a.json() && said[s.Instance] != s.Why {
				said[s.Instance] = s.Why
				fmt.Fprintf(a.err, "%s: %s\n", s.Instance, s.Why)
			}
		}
		return going
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if a.json() {
		if err := a.printJSON(now); err != nil {
			return err
		}
	} else if now.Empty {
		fmt.Fprintf(a.out, "%s is empty, and stays so until `otto node uncordon %s`.\n", node, node)
	} else {
		fmt.Fprintf(a.out, "%s takes nothing new until `otto node uncordon %s`; still there:\n", node, node)
		for _, s := range now.Left {
			fmt.Fprintf(a.out, "  %s: %s\n", s.Instance, s.Why)
		}
	}
	if !now.Empty {
		return errPart
	}
	return nil
}

// drainOf says how far the drain of a node has come, and whether it still goes
// on. there are the instances that it had before.
func drainOf(c *otto.Cluster, node string, there []string) (now drained, going bool) {
	now.Node = node
	for _, s := range c.Services {
		for _, i := range s.Instances {
			switch why := s.Stays(); {
			case i.Node != node && slices.Contains(there, i.Name) && !i.Up():
				going = true
				now.Left = append(now.Left, stay{i.Name, "it is leaving, and " + describe(i)})
			case i.Node != node:
			case why != "" && !s.Global():
				now.Left = append(now.Left, stay{i.Name, why})
			default:
				going = true
				now.Left = append(now.Left, stay{i.Name, cmpOr(i.Reason, "it has not left yet")})
			}
		}
	}
	for _, n := range c.Nodes {
		if n.ID != node || n.Current {
			continue
		}
		if !going { // no other line says what the drain waits for
			now.Left = append(now.Left,
				stay{n.ID, "it has not said yet that all else is stopped: it is " + whyNotReady(n)})
		}
		going = true
	}
	now.Empty = len(now.Left) == 0
	return now, going
}

func newNodeAdd(a *app) *cobra.Command {
	var n otto.Node
	var o startOptions
	var labels map[string]string
	c := &cobra.Command{
		Use:   "add NODE --host ADDRESS",
		Short: "Write a node into otto.yaml and bring it up",
		Example: `  otto node add rpi-03 --host 192.168.1.23 --user pi
  otto node add nas --host nas.local --label disk=big`,
		Args: one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			n.ID, n.Labels = args[0], labels
			return a.addNode(c.Context(), n, o)
		},
	}
	f := c.Flags()
	f.StringVar(&n.Host, "host", "", "address for SSH, or localhost")
	f.StringVar(&n.User, "user", "", "user for SSH; what the ssh config says if left out")
	f.IntVar(&n.Port, "port", 0, "port for SSH; what the ssh config says if left out")
	f.StringVar(&n.IdentityFile, "identity-file", "", "private key for SSH")
	f.StringVar(&n.DockerURL, "docker-url", "", "the engine's address on the node, if it is not the usual one")
	f.StringToStringVar(&labels, "label", nil, "label as key=value; may be repeated")
	f.BoolVar(&o.acceptHostKeys, "accept-new-host-keys", false,
		"accept an SSH host key that is not known yet without asking")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for the node")
	return c
}

func (a *app) addNode(ctx context.Context, n otto.Node, o startOptions) error {
	if n.Host == "" {
		return fmt.Errorf("%w: --host is missing: say where %s is", errUsage, n.ID)
	}
	if err := a.edit(func(data []byte) ([]byte, error) { return config.AddNode(data, n) }); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s has node %s now.\n", a.config, n.ID)
	return a.start(ctx, o)
}

func newNodeRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NODE",
		Short: "Cut a node off and take it out of otto.yaml",
		Long: `Rm cuts a node off from the broker at once, starts its services elsewhere if
they may run there, takes the node out of otto.yaml, and takes Otto off it if it
can be reached over SSH. A node that has the home of a service, or data that
cannot leave it, is not removed: drain names what stays.`,
		Args: one("node"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			id := args[0]
			without := func(data []byte) ([]byte, error) { return config.RemoveNode(data, id) }
			if _, err := a.edited(without); err != nil { // nothing is cut off if the file cannot follow
				return err
			}
			if err := d.client().Remove(c.Context(), id); err != nil {
				return err
			}
			if err := a.edit(without); err != nil {
				return fmt.Errorf("%s is cut off, but still in the file: %w", id, err)
			}
			_, err = fmt.Fprintf(a.out,
				"%s is cut off and out of %s; Otto is being taken off it: `otto events --node %s`.\n", id, a.config, id)
			return err
		},
	}
}

// edited is otto.yaml as it would be after a change that leaves it right.
func (a *app) edited(change func([]byte) ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(a.config)
	if err != nil {
		return nil, err
	}
	// The change is made to a clone: it may work in place.
	if data, err = change(slices.Clone(data)); err != nil {
		return nil, fmt.Errorf("%s was left as it is: %w", a.config, err)
	}
	defer collectRarely()()
	f, err := config.LoadAs(a.config, data, os.LookupEnv)
	if err != nil {
		a.warn(f)
	}
	return data, err
}

// edit changes otto.yaml, if it is right afterwards.
func (a *app) edit(change func([]byte) ([]byte, error)) error {
	data, err := a.edited(change)
	if err != nil {
		return err
	}
	info, err := os.Stat(a.config)
	if err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(a.config)
	if err != nil {
		return err
	}
	return durable.Replace(path, data, info.Mode().Perm())
}
