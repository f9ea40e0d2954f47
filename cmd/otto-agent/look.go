package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/wire"
)

// look prints what there is of a cluster on this node, as a wire.Look. The agent
// need not run for it.
func look(ctx context.Context, dir string, stdout io.Writer) error {
	e, err := readEnrolment(dir)
	if errors.Is(err, os.ErrNotExist) {
		return json.NewEncoder(stdout).Encode(wire.Look{})
	}
	if err != nil {
		return err
	}
	rt, err := engineOf(ctx, dir, e)
	if err != nil {
		return err
	}
	defer rt.Close()
	l := wire.Look{ClusterID: e.ClusterID, NodeID: e.NodeID, Containers: []wire.Seen{}}
	l.Assignment, l.Key = storedAssignment(dir, e), e.ControlKey
	l.Data = agent.Remembered(filepath.Join(dir, "state"))
	list, err := rt.Containers(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		l.Containers = append(l.Containers, wire.Seen{
			Name: c.Name, Service: c.Service, Instance: c.Instance, SpecHash: c.SpecHash, Image: c.Image, State: c.State,
		})
	}
	if l.Volumes, err = rt.AllVolumes(ctx); err != nil {
		return err
	}
	l.Volumes = append(l.Volumes, agent.Seeded(seedsDir(dir, rt.Local()), e.ClusterID)...)
	return json.NewEncoder(stdout).Encode(l)
}
