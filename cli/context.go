package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/durable"
)

// fromAfar are the commands that need nothing but the control plane, wherever it is, or not
// even that. The others need the cluster's directory, its keys or SSH with its nodes.
func fromAfar() []string {
	return []string{
		"otto cluster status", "otto node ls", "otto node show", "otto node cordon", "otto node uncordon", "otto node drain",
		"otto plan", "otto apply", "otto service ls", "otto service show", "otto service restart", "otto service move",
		"otto service scale", "otto service rm", "otto service update", "otto service accept-data", "otto stack rm",
		"otto stack ls", "otto stack show", "otto logs", "otto exec", "otto run", "otto port-forward", "otto events",
		"otto metrics", "otto requirements", "otto explain", "otto context", "otto context add", "otto context ls",
		"otto context rm", "otto compose", "otto compose keys", "otto simulate", "otto top", "otto version", "otto", "otto help", "otto completion",
	}
}

// checkContext refuses a command that needs the control plane's own machine.
func (a *app) checkContext(c *cobra.Command) error {
	if a.context == "" || slices.Contains(fromAfar(), c.CommandPath()) || strings.HasPrefix(c.CommandPath(), "otto completion") {
		return nil
	}
	return fmt.Errorf("%w: %s works on the machine of the control plane alone: log in there, or leave out --context (OTTO_CONTEXT)",
		errUsage, c.CommandPath())
}

var contextName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// contextsDir is where this user's contexts are, a directory each.
func contextsDir() (string, error) {
	base, err := os.UserConfigDir()
	return filepath.Join(base, "otto", "contexts"), err
}

// contextDir is the directory of a context: it is a stateDir in which there is only how to
// reach the control plane.
func contextDir(name string) (stateDir, error) {
	all, err := contextsDir()
	if err != nil {
		return "", err
	}
	d := stateDir(filepath.Join(all, name))
	var c api.Context
	if err := d.read(fileContext, &c); errors.Is(err, fs.ErrNotExist) || !contextName.MatchString(name) {
		return "", fmt.Errorf("there is no context %q: look at `otto context ls`", name)
	} else if err != nil {
		return "", fmt.Errorf("context %s: %w: run `otto context rm %s` and add it again", name, err, name)
	}
	if _, err := c.Client(""); err != nil {
		return "", fmt.Errorf("context %s: %w: run `otto context rm %s` and add it again", name, err, name)
	}
	return d, nil
}

func newContext(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "context", Short: "Use clusters whose control plane is on another machine", Args: noArgs, RunE: help,
		Long: `A context is a cluster whose control plane is on another machine: its address and a
token, kept for this user alone. Commands that look at a cluster and act on what runs
take it with --context NAME, or from OTTO_CONTEXT. otto apply takes the otto.yaml of
this machine then. What adds or removes nodes, renews keys, starts or stops the
cluster is done where the control plane is.`,
	}
	c.AddCommand(newContextAdd(a), newContextList(a), newContextRemove(a))
	return c
}

func newContextAdd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME HOST:PORT",
		Short: "Add a cluster, with what otto token create has shown",
		Long: `Add asks for the line that otto token create has shown on the control plane's
machine, so that it is not in the shell's history; in a script it is read from
standard input. It asks the control plane once before anything is kept. A context of
this name is replaced.`,
		Example: `  otto context add home nas.local:7443
  otto --context home cluster status`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%w: %s needs a name and an address: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			if _, _, err := net.SplitHostPort(args[1]); err != nil {
				return fmt.Errorf("%w: %q is no address: write it as nas.local:7443", errUsage, args[1])
			}
			if !contextName.MatchString(args[0]) {
				return fmt.Errorf("%w: the name %q: use a-z, 0-9, dots and dashes", errUsage, args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if isTerminal(a.in) {
				fmt.Fprint(a.err, "What otto token create has shown: ")
			}
			line, err := bufio.NewReader(a.in).ReadString('\n')
			if err != nil && line == "" {
				return errors.New("nothing was given on standard input: paste what `otto token create` has shown")
			}
			access, err := api.ReadInvite(line)
			if err != nil {
				return err
			}
			made := api.Context{Address: args[1], Access: access}
			client, err := made.Client(whoami())
			if err != nil {
				return err
			}
			cluster, err := client.Cluster(c.Context())
			if err != nil {
				return err
			}
			if err := keepContext(args[0], made); err != nil {
				return err
			}
			if !a.json() {
				fmt.Fprintf(a.out, "%s is cluster %s, to %s. Try: otto --context %s cluster status\n", args[0], cluster.Name, access.Role, args[0])
			}
			return nil
		},
	}
}

func keepContext(name string, c api.Context) error {
	all, err := contextsDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(all, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, fileContext), b, 0o600)
}

// knownContext is a context as it is listed.
type knownContext struct {
	Name    string   `json:"name"`
	Cluster string   `json:"cluster"`
	Address string   `json:"address"`
	Role    api.Role `json:"role"`
}

func newContextList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the contexts", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := contextsDir()
			if err != nil {
				return err
			}
			entries, err := os.ReadDir(all)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			list := []knownContext{}
			for _, e := range entries {
				var c api.Context
				if err := stateDir(filepath.Join(all, e.Name())).read(fileContext, &c); err == nil {
					list = append(list, knownContext{e.Name(), c.Cluster, c.Address, c.Role})
				}
			}
			if a.json() {
				return a.printJSON(list)
			}
			rows := [][]string{{"CONTEXT", "CLUSTER", "ADDRESS", "ROLE"}}
			for _, c := range list {
				rows = append(rows, []string{c.Name, c.Cluster, c.Address, string(c.Role)})
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}

func newContextRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget a context; its token stays until it is removed on the control plane's machine",
		Args: one("context"),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := contextsDir()
			if err != nil {
				return err
			}
			dir := filepath.Join(all, args[0])
			if _, err := os.Stat(filepath.Join(dir, fileContext)); err != nil || !contextName.MatchString(args[0]) {
				return fmt.Errorf("there is no context %q: look at `otto context ls`", args[0])
			}
			return os.RemoveAll(dir)
		},
	}
}
