package main

import (
	"context"
	"errors"
	"io"

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
	return shell.Serve(ctx, rt, in, out)
}

func nodeEngine(ctx context.Context, dir string) (*docker.Runtime, error) {
	rt, err := runtimeOf(ctx, dir)
	if err == nil && rt == nil {
		err = errors.New("this is no node of the cluster")
	}
	return rt, err
}
