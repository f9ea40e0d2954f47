package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Volumes asks the agent that is on a node of by's which volumes of the cluster there
// are, as Uninstall would remove them. It changes nothing there.
func (f *Fleet) Volumes(ctx context.Context, node otto.Node, by wire.Authority) (list []otto.VolumeUse, err error) {
	ctx, cancel := context.WithTimeout(ctx, measureWithin)
	defer cancel()
	err = f.look(ctx, node, by.Cluster, func(h host, found facts) error {
		exe := f.agentFor(found)
		if exe == "" {
			return nil
		}
		if err := found.stranger(node, by); err != nil {
			return err
		}
		out, err := h.run(ctx, execScript, exe, "volumes", "--dir", found.dir)
		if err != nil {
			return err
		}
		return wire.Unmarshal([]byte(out), &list)
	})
	if err != nil {
		return nil, fmt.Errorf("volumes of %s: %w", node.ID, err)
	}
	return list, nil
}

// Projects asks the agent that is on a node of by's which Compose projects run there that
// are not the cluster's. It changes nothing there.
func (f *Fleet) Projects(ctx context.Context, node otto.Node, by wire.Authority) (list []otto.Project, err error) {
	ctx, cancel := context.WithTimeout(ctx, measureWithin)
	defer cancel()
	err = f.look(ctx, node, by.Cluster, func(h host, found facts) error {
		exe := f.agentFor(found)
		if exe == "" {
			return errors.New("no agent is there: run `otto cluster start`")
		}
		if err := found.stranger(node, by); err != nil {
			return err
		}
		out, err := h.run(ctx, execScript, exe, "projects", "--dir", found.dir)
		if err != nil {
			return err
		}
		return wire.Unmarshal([]byte(out), &list)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for Compose projects on %s: %w", node.ID, err)
	}
	return list, nil
}

// measureWithin is how long an engine may take to measure its volumes.
const measureWithin = 2 * time.Minute

// Look asks the agent that is on a node what there is of a cluster. It changes
// nothing there. A host without an agent says nothing: the Look is empty.
func (f *Fleet) Look(ctx context.Context, node otto.Node, cluster string) (look wire.Look, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	err = f.look(ctx, node, cluster, func(h host, found facts) error {
		exe := found.anyAgent()
		if exe == "" {
			return nil
		}
		out, err := h.run(ctx, execScript, exe, "look", "--dir", found.dir)
		if err != nil {
			return fmt.Errorf("its agent cannot tell what runs there: %w", err)
		}
		look, err = wire.DecodeLook([]byte(out))
		return err
	})
	return look, err
}
