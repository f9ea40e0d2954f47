package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Stop ends the agent of a cluster on the node, so that a reboot does not bring
// it back. What it needs to start again stays. A node that is not by's is left alone,
// as by Uninstall.
func (f *Fleet) Stop(ctx context.Context, node otto.Node, by wire.Authority) error {
	err := f.change(ctx, node, by, commandWithin, func(ctx context.Context, h host, found facts) error {
		exe, err := f.exe(node, found)
		if exe == "" {
			return err
		}
		_, err = h.run(ctx, execScript, exe, "stop", "--dir", found.dir)
		return err
	})
	if err != nil {
		return fmt.Errorf("stop the agent on %s: %w", node.ID, err)
	}
	f.closeTunnel(node.ID)
	return nil
}

// Uninstall takes everything of a cluster off the node: containers, networks, the
// agent and its files, and with volumes its volumes too. It is for a node that
// was installed in part as well, and for one that never was.
func (f *Fleet) Uninstall(ctx context.Context, node otto.Node, by wire.Authority, volumes bool) error {
	err := f.change(ctx, node, by, uninstallWithin, func(ctx context.Context, h host, found facts) error {
		exe, err := f.exe(node, found)
		if err != nil {
			return err
		}
		if exe != "" {
			words := []string{exe, "uninstall", "--dir", found.dir}
			if volumes {
				words = append(words, "--volumes")
			}
			if _, err := h.run(ctx, execScript, words...); err != nil {
				return err
			}
		}
		_, err = h.run(ctx, removeScript, found.dir)
		return err
	})
	if err != nil {
		return fmt.Errorf("uninstall %s: %w", node.ID, err)
	}
	f.closeTunnel(node.ID)
	return nil
}

// change connects to a node for something that changes it, and refuses what is not by's.
func (f *Fleet) change(ctx context.Context, node otto.Node, by wire.Authority, within time.Duration,
	do func(context.Context, host, facts) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return f.look(ctx, node, by.Cluster, func(h host, found facts) error {
		if err := found.stranger(node, by); err != nil {
			return err
		}
		if err := newer(ctx, h, node, found, by); err != nil {
			return err
		}
		return do(ctx, h, found)
	})
}

// exe is the path of the agent that is to act on a host; empty if there is none, or if
// none can ever have run there.
func (f *Fleet) exe(node otto.Node, found facts) (string, error) {
	exe := f.agentFor(found)
	switch {
	case exe == "" || found.noexec == "":
		return exe, nil
	case found.enrolment == "":
		return "", nil
	}
	return "", errors.New(found.cannotRun(node.ID))
}

// agentFor is the path of the agent that is to act on the host: of this build if it is
// there, as former ones go by the cluster's name.
func (f *Fleet) agentFor(found facts) string {
	mine, err := f.opts.Binaries(architecture(found))
	if size, there := found.agents[mine.Hash]; err == nil && there && size == mine.Size {
		return path.Join(found.dir, "agents", mine.Hash, agentName)
	}
	return found.anyAgent()
}

// anyAgent is the path of an agent on the host: the one that runs, else any.
func (f facts) anyAgent() string {
	hash := f.running
	if _, ok := f.agents[hash]; !ok {
		var all []string
		for h := range f.agents {
			all = append(all, h)
		}
		if len(all) == 0 {
			return ""
		}
		hash = slices.Min(all)
	}
	return path.Join(f.dir, "agents", hash, agentName)
}
