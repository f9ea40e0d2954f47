package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/agent/service"
	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/wire"
)

const usage = `usage: otto-agent COMMAND
  run --dir DIR                    be the agent of the node directory DIR
  start --dir DIR [--anew]         start the agent in the background; anew: also if it runs
  stop --dir DIR                   stop the agent, and the containers of its cluster
  uninstall --dir DIR [--volumes]  remove the cluster's containers, its network and the agent
  look --dir DIR                   print what runs and what should, as JSON; change nothing
  volumes --dir DIR                print which volumes uninstall --volumes would remove, as JSON
  projects --dir DIR               print which Compose projects are not the cluster's, as JSON
  reach HOST:PORT...               print which of the addresses can be reached
  examine --dir DIR                print what there is to know of this machine, as JSON
  logs --dir DIR                   send logs of its containers, as asked on standard input
  exec --dir DIR                   run a command in a container, as asked on standard input
  once --dir DIR                   run a container for a command and remove it, likewise
  bring --dir DIR                  take in files for its containers, as sent on standard input
  image --dir DIR                  take in an image that was built for it, as sent on standard input
  engine --dir DIR                 connect standard input and output with the container engine
  seed --dir DIR                   take in the data of a project, as sent on standard input
  help --dir DIR WHAT              be the helper of another command, in a container
  collect --dir DIR                print what a maintainer needs of it, without secrets, as JSON
  version
`

// run does one command and returns the exit code: 1 when it went wrong, 2 when
// it was not understood.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	dir := flags.String("dir", "", "")
	volumes := flags.Bool("volumes", false, "")
	anew := flags.Bool("anew", false, "")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var err error
	switch {
	case args[0] == "version":
		fmt.Fprintln(stdout, version)
	case args[0] == "reach":
		for _, addr := range service.Reachable(ctx, flags.Args()) {
			fmt.Fprintln(stdout, addr)
		}
	case *dir == "":
		fmt.Fprint(stderr, usage)
		return 2
	case args[0] == "examine":
		err = examineNode(ctx, *dir, stdout)
	case args[0] == "collect":
		err = collect(ctx, *dir, stdout)
	case args[0] == "logs":
		err = readLogs(ctx, *dir, os.Stdin, stdout)
	case args[0] == "exec":
		err = runInContainer(ctx, *dir, os.Stdin, stdout)
	case args[0] == "once":
		err = runOnce(ctx, *dir, os.Stdin, stdout)
	case args[0] == "bring":
		err = bring(*dir, os.Stdin, stdout)
	case args[0] == "image":
		err = takeImage(ctx, *dir, os.Stdin, stdout)
	case args[0] == "engine":
		err = relayEngine(ctx, *dir, os.Stdin, stdout)
	case args[0] == "seed":
		err = takeSeed(ctx, *dir, os.Stdin, stdout)
	case args[0] == "help":
		err = help(ctx, *dir, flags.Arg(0))
	case args[0] == "run":
		err = runAgent(ctx, *dir, stderr)
	case args[0] == "start":
		err = service.Start(*dir, *anew)
	case args[0] == "stop":
		err = errors.Join(service.Stop(*dir), stopContainers(ctx, *dir))
	case args[0] == "look":
		err = look(ctx, *dir, stdout)
	case args[0] == "projects":
		err = listProjects(ctx, *dir, stdout)
	case args[0] == "volumes":
		err = listVolumes(ctx, *dir, stdout)
	case args[0] == "uninstall":
		err = uninstall(ctx, *dir, *volumes)
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// stopContainers stops what the agent has not stopped itself. A node that never
// got an enrolment has no containers.
func stopContainers(ctx context.Context, dir string) error {
	rt, err := runtimeOf(ctx, dir)
	if rt == nil {
		return err
	}
	defer rt.Close()
	list, err := rt.Containers(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rt.Sweep(ctx, true) })
	for _, c := range list {
		g.Go(func() error { return rt.Stop(ctx, c.ID) })
	}
	return g.Wait()
}

// uninstall removes everything of the cluster; the agent's own files last, so
// that it can be done again.
func uninstall(ctx context.Context, dir string, volumes bool) error {
	if err := service.Stop(dir); err != nil {
		return err
	}
	rt, err := runtimeOf(ctx, dir)
	if err != nil {
		return err
	}
	if rt != nil {
		defer rt.Close()
		if err := removeContainers(ctx, dir, rt); err != nil {
			return err
		}
		if volumes {
			if err := errors.Join(rt.RemoveVolumes(ctx), removeSeeds(ctx, dir, rt)); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(removeFiles(dir), folder.Remove(foldersDir(dir, true))); err != nil {
		return err
	}
	return service.Remove(dir)
}

// removeSeeds removes the data of projects.
func removeSeeds(ctx context.Context, dir string, rt *docker.Runtime) (err error) {
	list, _ := os.ReadDir(seedsDir(dir, true)) // none if there is no directory
	s := seeding(dir, "", rt)
	for _, d := range list {
		err = errors.Join(err, s.Remove(ctx, filepath.Join(s.Dir, d.Name())))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(s.Dir)
}

func listVolumes(ctx context.Context, dir string, stdout io.Writer) error {
	list := []otto.VolumeUse{}
	rt, err := runtimeOf(ctx, dir)
	if err != nil {
		return err
	}
	if rt != nil {
		defer rt.Close()
		if list, err = rt.OwnVolumes(ctx); err != nil {
			return err
		}
		e, err := readEnrolment(dir)
		if err != nil {
			return err
		}
		for _, name := range agent.Seeded(seedsDir(dir, rt.Local()), e.ClusterID) {
			list = append(list, otto.VolumeUse{Name: name, Bytes: -1})
		}
	}
	return json.NewEncoder(stdout).Encode(list)
}

func listProjects(ctx context.Context, dir string, stdout io.Writer) error {
	rt, err := runtimeOf(ctx, dir)
	if err != nil {
		return err
	}
	if rt == nil {
		return errors.New("no agent was ever started here: run `otto cluster start`")
	}
	defer rt.Close()
	list, err := rt.Projects(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(list)
}

func removeContainers(ctx context.Context, dir string, rt *docker.Runtime) error {
	list, err := rt.Containers(ctx)
	if err != nil {
		return err
	}
	stopped, err := agent.StoppedOf(stateDir(dir))
	if err != nil {
		return err
	}
	remove, start := apart(list, stopped)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rt.Sweep(gctx, true) })
	for _, c := range remove {
		g.Go(func() error {
			if err := rt.Stop(gctx, c.ID); err != nil {
				return err
			}
			return rt.Remove(gctx, c.ID)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range start { // when nothing runs with its data any more
		err = errors.Join(err, rt.Start(ctx, c.ID))
	}
	if err != nil {
		return err
	}
	return rt.RemoveNetwork(ctx)
}

// apart tells the containers of a cluster from those that are Compose's still or again, of which
// those that an agent has stopped are started. One of theirs that has never run goes as well: it
// may have been made to be given back, beside the one that runs.
func apart(list []otto.Container, stopped []string) (remove, start []otto.Container) {
	for _, c := range list {
		switch {
		case slices.Contains(stopped, c.ID) && c.Taken:
			start = append(start, c)
		case !c.Taken || c.State == otto.ContainerCreated:
			remove = append(remove, c)
		}
	}
	return remove, start
}

// runtimeOf returns the engine that dir's enrolment names, nil if there is none.
func runtimeOf(ctx context.Context, dir string) (*docker.Runtime, error) {
	e, err := readEnrolment(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return engineOf(ctx, dir, e)
}

// engineOf returns the engine of an enrolment, and tells it what its agent in dir has
// adopted.
func engineOf(ctx context.Context, dir string, e wire.Enrolment) (*docker.Runtime, error) {
	rt, err := docker.New(e.DockerURL, e.Owner(), newLog(io.Discard))
	if err != nil {
		return nil, err
	}
	_, err = agent.Adopt(ctx, stateDir(dir), e.ClusterID, agent.Served(stateDir(dir), e.Served), rt)
	if err != nil {
		rt.Close()
		return nil, err
	}
	return rt, nil
}

// storedAssignment is the newest that the agent of dir keeps, signed; nil for none.
func storedAssignment(dir string, e wire.Enrolment) []byte {
	return agent.Stored(stateDir(dir), e.OpenStored)
}

func stateDir(dir string) string { return filepath.Join(dir, "state") }

func enrolmentFile(dir string) string { return filepath.Join(dir, "agent.json") }
