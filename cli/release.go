package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	d, v, err := a.controlled(ctx)
	if err != nil {
		return err
	}
	p, f, err := a.plan(ctx, false)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(a.config)
	if err != nil {
		return err
	}
	entry, there := config.FindStack(data, stack)
	services := servicesOf(v, stack)
	said := fmt.Sprintf("%s runs under Compose, and is out of %s.", stack, a.config)
	without := func(data []byte) ([]byte, error) { return config.RemoveStack(data, stack) }
	if !there && allReleased(services) && onlyRemoves(p.Changes, stack) { // the command was killed before it has applied that
		return a.applyEdit(ctx, o.startOptions, unchanged, p, said)
	}
	if len(p.Changes) > 0 {
		return fmt.Errorf("%s has changes that are not applied yet: look at `otto plan`, and `otto apply` or undo them first", a.config)
	}
	if !there {
		return fmt.Errorf("%s has no stack %s with lines of its own: see `otto stack ls`", a.config, stack)
	}
	ask, node, err := a.releaseRequest(entry, f, services)
	if err != nil {
		return err
	}
	if !o.yes {
		if !a.json() {
			fmt.Fprintf(a.out, "Stack %s on %s becomes a project of Compose. Each of these is made anew once:\n", stack, dash(node))
			for _, s := range services {
				fmt.Fprintln(a.out, "  "+s.Name)
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
	// What the stack builds is not built for its end: its folder may have changed.
	if data, err = a.edited(without); err != nil {
		return err
	}
	if p, err = a.planOf(ctx, data); err != nil {
		return err
	}
	if !onlyRemoves(p.Changes, stack) {
		return fmt.Errorf("%s is Compose's, and %s has got other changes since: take the stack out of it, and `otto apply`", stack, a.config)
	}
	return a.applyEdit(ctx, o.startOptions, without, p, said)
}

func unchanged(data []byte) ([]byte, error) { return data, nil }

// onlyRemoves reports whether changes are the removal of a stack and nothing else.
func onlyRemoves(changes []otto.Change, stack string) bool {
	_, other := otherChange(changes, stack)
	return !other
}

// allReleased reports whether a stack is there, and all of its containers are Compose's.
func allReleased(services []otto.ServiceStatus) bool {
	for _, s := range services {
		for _, i := range s.Instances {
			if !isReleased(i.InstanceStatus, s.Spec) {
				return false
			}
		}
	}
	return len(services) > 0
}

// releaseRequest asks for a stack of otto.yaml to be given back, on the node that it is on.
func (a *app) releaseRequest(entry config.Stack, f *config.File, services []otto.ServiceStatus) (
	ask otto.ReleaseRequest, node string, err error,
) {
	ask = otto.ReleaseRequest{Stack: entry.Name, Specs: map[string]string{}}
	for _, s := range f.Wanted.Services {
		if ofStack(s.Name, entry.Name) {
			ask.Specs[s.Name] = s.Spec.Hash()
		}
	}
	for _, s := range services {
		if len(s.Instances) > 0 {
			node = s.Instances[0].Node
		}
	}
	i := slices.IndexFunc(f.Wanted.Nodes, func(n otto.Node) bool { return n.ID == node })
	if i < 0 || !f.Wanted.Nodes[i].IsLocal() {
		return ask, node, nil
	}
	if ask.Files, err = a.composePaths(entry); err != nil {
		return ask, node, err
	}
	ask.Dir = filepath.Dir(ask.Files[0])
	return ask, node, nil
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
		for _, s := range servicesOf(now, stack) {
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
