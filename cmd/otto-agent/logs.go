package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/docker"
	"github.com/otto-edge/otto/logs/reader"
	"github.com/otto-edge/otto/shell"
)

// readLogs answers a query for logs of this node's containers.
func readLogs(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	rt, err := nodeEngine(ctx, dir)
	if err != nil {
		return err
	}
	defer rt.Close()
	return reader.Run(ctx, reader.Options{Engine: rt, SameClock: rt.Local()}, in, out)
}

// runInContainer runs a command in one of this node's containers.
func runInContainer(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	rt, err := nodeEngine(ctx, dir)
	if err != nil {
		return err
	}
	defer rt.Close()
	signal.Ignore(syscall.SIGPIPE) // who asks may be gone: there is still something to end
	return shell.Serve(ctx, rt, in, out)
}

// maker is an engine that makes no container whose data is not there.
type maker struct {
	*docker.Runtime
	dir string
}

// Make implements shell.Maker.
func (m maker) Make(ctx context.Context, inst otto.Instance, c shell.Command) (shell.Made, error) {
	inst, err := agent.Once(ctx, stateDir(m.dir), m.Runtime, inst)
	if err != nil {
		return nil, err
	}
	if inst, err = withSecrets(m.dir, m.Local(), inst); err != nil {
		return nil, err
	}
	if inst.FolderPaths, err = foldersFor(m.dir, m.Local(), inst.Spec); err != nil {
		return nil, err
	}
	if len(inst.Spec.Seeded()) > 0 {
		e, err := readEnrolment(m.dir)
		if err != nil {
			return nil, err
		}
		if inst.SeedPaths, err = agent.SeedPaths(seedsDir(m.dir, m.Local()), e.ClusterID, inst.Spec); err != nil {
			return nil, err
		}
	}
	return m.Runtime.Make(ctx, inst, c)
}

// runOnce runs a container for a command, and removes it.
func runOnce(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	rt, err := nodeEngine(ctx, dir)
	if err != nil {
		return err
	}
	defer rt.Close()
	signal.Ignore(syscall.SIGPIPE)
	return shell.ServeOnce(ctx, maker{rt, dir}, in, out)
}

func nodeEngine(ctx context.Context, dir string) (*docker.Runtime, error) {
	rt, err := runtimeOf(ctx, dir)
	if err == nil && rt == nil {
		err = errors.New("this is no node of the cluster")
	}
	return rt, err
}
