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
)

func newRelease(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "release STACK",
		Short: "Give a stack back to Compose, running",
		Long: `Release gives a stack back to docker compose, running on the node that it is on: each
container is made anew once with the labels of Compose, what others depend on first,
with the same volumes, networks, names, ports and fixed addresses. Then the stack is
taken out of otto.yaml. The former container serves again if the new one does not
start. Run it again after anything that has interrupted it.

docker compose ps and docker compose up in the folder of the project take the
containers for their own. Where the file is as it was at otto adopt, up changes
nothing; otherwise it makes them anew once more.`,
		Example: `  otto release immich
  otto release immich --yes`,
		Args: one("stack"),
		RunE: func(c *cobra.Command, args []string) error { return a.release(c.Context(), args[0], o) },
	}
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	c.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for it")
	return c
}

func (a *app) release(ctx context.Context, stack string, o applyOptions) error {
	d, v, running, err := a.seen(ctx)
	if err != nil {
		return err
	}
	if !running {
		return api.ErrNotRunning
	}
	p, f, err := a.plan(ctx, false)
	if err != nil {
		return err
	}
	if len(p.Changes) > 0 {
		return fmt.Errorf("%s has changes that are not applied yet: look at `otto plan`, and `otto apply` or undo them first", a.config)
	}
	data, err := os.ReadFile(a.config)
	if err != nil {
		return err
	}
	entry, there := config.FindStack(data, stack)
	if !there {
		return fmt.Errorf("%s has no stack %s with lines of its own: see `otto stack ls`", a.config, stack)
	}
	ask := otto.ReleaseRequest{Stack: stack, Specs: map[string]string{}}
	node := ""
	for _, s := range f.Wanted.Services {
		if strings.HasPrefix(s.Name, stack+"/") {
			ask.Specs[s.Name] = s.Spec.Hash()
		}
	}
	for _, s := range v.Services {
		if strings.HasPrefix(s.Name, stack+"/") && len(s.Instances) > 0 {
			node = s.Instances[0].Node
		}
	}
	if i := slices.IndexFunc(f.Wanted.Nodes, func(n otto.Node) bool { return n.ID == node }); i >= 0 && f.Wanted.Nodes[i].IsLocal() {
		if ask.Files, err = a.composePaths(entry); err != nil {
			return err
		}
		ask.Dir = filepath.Dir(ask.Files[0])
	}
	if !o.yes {
		if !a.json() {
			fmt.Fprintf(a.out, "Stack %s on %s becomes a project of Compose. Each of these is made anew once:\n", stack, dash(node))
			for _, s := range v.Services {
				if strings.HasPrefix(s.Name, stack+"/") {
					fmt.Fprintln(a.out, "  "+s.Name)
				}
			}
		}
		if err := a.confirm("Give it back?"); err != nil {
			return err
		}
	}
	if err := d.client().Release(ctx, ask); err != nil {
		return err
	}
	if err := a.followRelease(ctx, d.client(), stack, o.timeout); err != nil {
		return err
	}
	without := func(data []byte) ([]byte, error) { return config.RemoveStack(data, stack) }
	return a.editAndApply(ctx, o.startOptions, without, fmt.Sprintf("%s runs under Compose, and is out of %s.", stack, a.config))
}

// composePaths are where the Compose files of a stack are on this machine.
func (a *app) composePaths(s config.Stack) ([]string, error) {
	dir, err := filepath.Abs(filepath.Dir(a.config))
	if err != nil {
		return nil, err
	}
	return config.ComposeFiles(dir, s.Compose, os.LookupEnv)
}

// followRelease waits until all containers of a stack are Compose's.
func (a *app) followRelease(ctx context.Context, c *api.Client, stack string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	said := map[string]string{}
	left, failed := "", ""
	hopeless := time.Time{}
	err := c.Watch(ctx, func(now *otto.Cluster) bool {
		left, failed = "", ""
		for _, s := range now.Services {
			if !strings.HasPrefix(s.Name, stack+"/") {
				continue
			}
			for _, i := range s.Instances {
				state := i.Name + " is Compose's"
				if !isReleased(i.InstanceStatus, s.Spec) {
					left, state = i.Name, i.Name+" is given back: "+describe(i)
					if i.Failed == otto.ReleasedHash+s.Spec.Hash() {
						failed = state
					}
				}
				if said[i.Name] != state && !a.json() {
					fmt.Fprintln(a.err, state)
				}
				said[i.Name] = state
			}
		}
		switch {
		case failed == "":
			hopeless = time.Time{}
		case hopeless.IsZero():
			hopeless = time.Now()
		}
		return left != "" && (hopeless.IsZero() || time.Since(hopeless) < giveUpAfter)
	})
	switch {
	case left == "" && err == nil:
		return nil
	case failed != "":
		return fmt.Errorf("%s: the former container runs on; mend that and run `otto release %s` again", failed, stack)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s is not given back after %s: run `otto release %s` again", left, within, stack)
	}
	return err
}

// isReleased reports whether an instance's container is Compose's.
func isReleased(i otto.InstanceStatus, spec otto.ContainerSpec) bool {
	return i.SpecHash == otto.ReleasedHash+spec.Hash() && (i.State == otto.InstanceRunning || i.State == otto.InstanceCompleted)
}
