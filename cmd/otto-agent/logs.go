package main

import (
	"context"
	"errors"
	"io"

	"github.com/otto-edge/otto/logs/reader"
)

// readLogs answers a query for logs of this node's containers.
func readLogs(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	rt, err := runtimeOf(ctx, dir)
	if err == nil && rt == nil {
		err = errors.New("this is no node of the cluster")
	}
	if err != nil {
		return err
	}
	defer rt.Close()
	return reader.Run(ctx, reader.Options{Engine: rt, SameClock: rt.Local()}, in, out)
}
