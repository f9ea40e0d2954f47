package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/seed"
	"github.com/otto-edge/otto/wire"
)

// seedAsked is how much data of a project is copied to a node without a question, in bytes.
const seedAsked = 1 << 30

// measured counts the data that a plan would have copied to nodes. What cannot be copied
// refuses the plan.
func measured(p otto.Plan) otto.Plan {
	for i := range p.Seeds {
		s := &p.Seeds[i]
		if s.Empty {
			continue
		}
		found, err := seed.Scan(s.Project, s.Path)
		if err != nil {
			p.Refused = append(p.Refused, fmt.Sprintf("data for %s: %s", onNode(s.Node), err))
			continue
		}
		s.Bytes, s.Files = found.Bytes, found.Files
	}
	return p
}

// printSeeds says what would be copied.
func (a *app) printSeeds(seeds []otto.PlannedSeed) {
	for i, s := range seeds {
		if i == 0 {
			fmt.Fprintln(a.out)
		}
		if s.Files <= 1 && s.Bytes == 0 {
			fmt.Fprintf(a.out, "Data %s begins empty on %s, and stays there.\n", s.Seed, onNode(s.Node))
			continue
		}
		fmt.Fprintf(a.out, "Data %s is copied to %s once, %s in %d files and folders, and stays there.\n", s.Seed,
			onNode(s.Node), size(uint64(max(0, s.Bytes))), s.Files) //nolint:gosec // not negative
	}
}

func onNode(id string) string {
	if id == "" {
		return "its node"
	}
	return "node " + id
}

// agreeToSeeds refuses what cannot be copied, and asks about what is large.
func (a *app) agreeToSeeds(ctx context.Context, c *api.Client, w otto.Wanted, yes bool) error {
	some := false
	for i := range w.Services {
		some = some || len(w.Services[i].Spec.Seeded()) > 0
	}
	if !some {
		return nil
	}
	p, err := c.Plan(ctx, w)
	if err != nil {
		return err
	}
	refused := len(p.Refused)
	p = measured(p)
	if len(p.Refused) > refused {
		return errors.New(strings.Join(p.Refused[refused:], "\n"))
	}
	return a.agreeTo(ctx, p.Seeds, yes)
}

// agreeTo asks about what is large, and refuses what something here writes to.
func (a *app) agreeTo(ctx context.Context, seeds []otto.PlannedSeed, yes bool) error {
	for _, s := range seeds {
		if s.Empty {
			continue
		}
		if err := inUse(ctx, s.Seed); err != nil {
			return fmt.Errorf("data for %s: %w", onNode(s.Node), err)
		}
		if s.Bytes <= seedAsked || yes {
			continue
		}
		much := size(uint64(s.Bytes)) //nolint:gosec // not negative
		if err := a.confirm(fmt.Sprintf("Copy %s of data in %s to %s?", much, s.Seed, onNode(s.Node))); err != nil {
			return fmt.Errorf("data %s has %s: %w", s.Seed, much, err)
		}
	}
	return nil
}

// seeder copies data of projects, which are on this machine, to nodes.
func seeder(reach *bootstrap.Fleet, cluster string) func(context.Context, otto.Node, string, otto.Seed) error {
	return func(ctx context.Context, n otto.Node, volume string, of otto.Seed) error {
		ask := wire.Seed{Volume: volume, Path: of.String()}
		if of.Empty {
			return reach.Seed(ctx, n, cluster, ask, seed.SendEmpty)
		}
		found, err := seed.Scan(of.Project, of.Path)
		if err != nil {
			return err
		}
		if err := inUse(ctx, of); err != nil {
			return err
		}
		ask.Bytes, ask.Files = found.Bytes, found.Files
		return reach.Seed(ctx, n, cluster, ask, func(w io.Writer) error { return seed.Send(w, of.Project, of.Path) })
	}
}

// inUse refuses data that a container of this machine has mounted and may write to.
func inUse(ctx context.Context, of otto.Seed) error {
	for _, socket := range engineSockets() {
		names, err := usersBy(ctx, socket, filepath.Join(of.Project, of.Path))
		if err != nil {
			return fmt.Errorf("%s: whether a container of this machine writes to it is not known: %w: stop the engine at %s, or "+
				"run otto as a user who may use it", of, err, socket)
		}
		if len(names) > 0 {
			return fmt.Errorf("%s is in use by container %s of this machine: stop it first, with `docker compose stop` where "+
				"Compose has started it", of, strings.Join(names, ", "))
		}
	}
	return nil
}

// engineSockets are where a container engine of this machine may answer.
func engineSockets() []string {
	list := []string{"/var/run/docker.sock", "/run/podman/podman.sock"}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		list = append(list, filepath.Join(run, "docker.sock"), filepath.Join(run, "podman/podman.sock"))
	}
	if own, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://"); ok && !slices.Contains(list, own) {
		list = append(list, own)
	}
	return list
}

// usersBy are the containers of the engine at a socket that run and may write to a path; none
// if no engine is there.
func usersBy(ctx context.Context, socket, path string) ([]string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.Close()
	rt, err := docker.New("unix://"+socket, otto.Owner{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer rt.Close()
	return rt.Users(ctx, path)
}
