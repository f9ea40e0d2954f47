package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
)

func newStack(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "stack",
		Short: "Look at Compose projects that run, and remove them",
		Args:  noArgs,
		RunE:  help,
	}
	c.AddCommand(newStackList(a), newStackShow(a), newStackRemove(a))
	return c
}

func newStackList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List stacks with where they are", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			list := stacksOf(v)
			if a.json() {
				return a.printJSON(list)
			}
			rows := [][]string{{"STACK", "UP", "NODES", "SERVICES"}}
			for _, s := range list {
				rows = append(
					rows,
					[]string{
						s.Name,
						fmt.Sprintf("%d/%d", s.Up, s.Instances),
						dash(strings.Join(s.Nodes, ",")),
						strings.Join(s.Services, ","),
					},
				)
			}
			table(a.out, false, 0, rows)
			return nil
		},
	}
}

// ofStack reports whether a service is one of a stack.
func ofStack(service, stack string) bool { return strings.HasPrefix(service, stack+"/") }

// servicesOf are the services of a stack as the cluster has them.
func servicesOf(v *otto.Cluster, stack string) []otto.ServiceStatus {
	return slices.DeleteFunc(slices.Clone(v.Services), func(s otto.ServiceStatus) bool { return !ofStack(s.Name, stack) })
}

// stackStatus is a stack in a list.
type stackStatus struct {
	Name      string   `json:"name"`
	Services  []string `json:"services"` // without the name of the stack
	Nodes     []string `json:"nodes"`
	Up        int      `json:"up"` // instances
	Instances int      `json:"instances"`
}

// stacksOf are the stacks that a cluster has, in the order of the file.
func stacksOf(v *otto.Cluster) []stackStatus {
	list := []stackStatus{}
	for _, s := range v.Services {
		name, service, ok := strings.Cut(s.Name, "/")
		if !ok {
			continue
		}
		k := slices.IndexFunc(list, func(o stackStatus) bool { return o.Name == name })
		if k < 0 {
			k, list = len(list), append(list, stackStatus{Name: name, Services: []string{}, Nodes: []string{}})
		}
		st := &list[k]
		st.Services = append(st.Services, service)
		for _, i := range s.Instances {
			st.Instances++
			if i.Up() {
				st.Up++
			}
			if i.Node != "" && !slices.Contains(st.Nodes, i.Node) {
				st.Nodes = append(st.Nodes, i.Node)
			}
		}
	}
	return list
}

func newStackShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show STACK", Short: "Show what is known of the services of a stack", Args: one("stack"),
		RunE: func(c *cobra.Command, args []string) error {
			_, v, _, err := a.seen(c.Context())
			if err != nil {
				return err
			}
			services := servicesOf(v, args[0])
			if len(services) == 0 {
				return fmt.Errorf("no stack %q: see otto stack ls", args[0])
			}
			if a.json() {
				return a.printJSON(services)
			}
			for i, s := range services {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				a.printService(s, time.Now())
			}
			return nil
		},
	}
}

func newStackRemove(a *app) *cobra.Command {
	var o startOptions
	c := &cobra.Command{
		Use:   "rm STACK",
		Short: "Take a stack out of otto.yaml and apply it; its volumes stay",
		Long: `Rm takes a stack out of otto.yaml and applies the file, which removes its
containers and networks. Its Compose file and its volumes stay. It refuses if the
file says more than the cluster knows already: look at otto plan then.`,
		Args: one("stack"),
		RunE: func(c *cobra.Command, args []string) error {
			without := func(data []byte) ([]byte, error) { return config.RemoveStack(data, args[0]) }
			said := fmt.Sprintf("%s is out of %s.", args[0], a.config)
			if _, err := config.Load(a.config, os.LookupEnv); err != nil {
				return a.removeBroken(c.Context(), o, args[0], without, said)
			}
			return a.editAndApply(c.Context(), o, without, said)
		},
	}
	c.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for it")
	return c
}

// removeBroken removes a stack because of which otto.yaml cannot be read. What else has been
// edited cannot be told by a plan of the file as it is; so its removal must be all that the
// file without it changes.
func (a *app) removeBroken(ctx context.Context, o startOptions, name string,
	without func([]byte) ([]byte, error), said string,
) error {
	data, err := a.edited(without)
	if err != nil {
		return err
	}
	p, err := a.planOf(ctx, data)
	if err != nil {
		return err
	}
	if c, other := otherChange(p.Changes, name); other {
		return fmt.Errorf("%s has other changes that are not applied yet, such as of %s %s: take %s out of it by hand, "+
			"and look at `otto plan`", a.config, c.Noun, c.Name, name)
	}
	return a.applyEdit(ctx, o, without, p, said)
}

// composeOptions say which Compose project to apply.
type composeOptions struct {
	files       []string
	stack, node string
}

// applyStack writes a Compose project into otto.yaml, if it is not there, and applies it.
func (a *app) applyStack(ctx context.Context, o applyOptions) error {
	if err := a.findUpward(o.compose.files[0]); err != nil {
		return err
	}
	s := config.Stack{Name: o.compose.stack, Node: o.compose.node}
	if s.Name == "" {
		s.Name = config.StackName(o.compose.files, os.LookupEnv)
	}
	var err error
	if s.Compose, err = a.besideAll(o.compose.files); err != nil {
		return err
	}
	if err := config.FindCompose(o.compose.files, os.LookupEnv); err != nil {
		return err
	}
	add := func(data []byte) ([]byte, error) { return config.AddStack(data, s) }
	data, err := a.edited(add)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(a.config); err != nil || string(was) == string(data) { // it is there
		return errors.Join(err, a.planAndApply(ctx, o))
	}
	if o.plan != "" {
		return fmt.Errorf("%w: --plan is of a file that has the stack: write it without -f", errUsage)
	}
	if err := a.showPlanned(ctx, data, o); err != nil {
		return err
	}
	return a.editAndApply(ctx, o.startOptions, add, fmt.Sprintf("%s has stack %s now.", a.config, s.Name))
}

// showPlanned shows what otto.yaml would change with this content, and asks.
func (a *app) showPlanned(ctx context.Context, data []byte, o applyOptions) error {
	p, err := a.planOf(ctx, data)
	if err != nil {
		return err
	}
	if o.yes {
		return nil
	}
	if !a.json() {
		p.ID = "" // it is of a file that is not written yet
		a.printPlan(p)
	}
	return a.confirm("Do it?")
}

// findUpward finds otto.yaml in this directory or above it, or above the Compose file, if
// none was named.
func (a *app) findUpward(compose string) error {
	if _, err := os.Stat(a.config); err == nil || a.config != defaultConfig {
		return nil
	}
	for _, from := range []string{".", filepath.Dir(compose)} {
		dir, err := filepath.Abs(from)
		if err != nil {
			return err
		}
		for ; ; dir = filepath.Dir(dir) {
			path := filepath.Join(dir, defaultConfig)
			if _, err := os.Stat(path); err == nil {
				a.config = path
				return nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return fmt.Errorf(
		"no otto.yaml is here, above, or above %s: run `otto cluster init --example`, or name one with --config",
		compose,
	)
}

// besideAll are paths as they stand in otto.yaml.
func (a *app) besideAll(files []string) (paths []string, err error) {
	for _, f := range files {
		at, err := a.besideConfig(f)
		if err != nil {
			return nil, err
		}
		paths = append(paths, at)
	}
	return paths, nil
}

// besideConfig is a path as it stands in otto.yaml: relative to that if it is below it.
func (a *app) besideConfig(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s: %w: write the path of a Compose file, or of its folder", path, errors.Unwrap(err))
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	base, err := filepath.Abs(filepath.Dir(a.config))
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(base, path); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	return path, nil
}

// otherChange is the first change that is not the removal of a service of a stack.
func otherChange(changes []otto.Change, stack string) (otto.Change, bool) {
	for _, c := range changes {
		if c.Kind != "remove" || c.Noun != "service" || !ofStack(c.Name, stack) {
			return c, true
		}
	}
	return otto.Change{}, false
}
