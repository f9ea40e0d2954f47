package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bundle"
	"github.com/otto-edge/otto/doctor"
	"github.com/otto-edge/otto/wire"
)

const examineWithin = 20 * time.Second // a connection, the probe and the agent's own deadlines

// Examine finds out how a node is and changes nothing there. The agent on the
// node does it; where there is none, or one that cannot, the exam has what the
// probe tells. Why a node cannot be examined is in the exam too.
func (f *Fleet) Examine(ctx context.Context, node otto.Node, cluster string) doctor.Exam {
	x := doctor.Exam{Node: node}
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	x.Err = f.look(ctx, node, cluster, func(h host, found facts) error {
		x.Received = time.Now()
		x.Facts = factsOf(node, found)
		exe := found.anyAgent()
		x.Agent = doctor.Agent{Installed: exe != "", Running: found.running != ""}
		if exe == "" {
			return nil
		}
		x.Agent.Current = f.current(found)
		out, err := h.run(ctx, execScript, exe, "examine", "--dir", found.dir)
		now := time.Now()
		said, decodeErr := doctor.Decode([]byte(out))
		switch {
		case err != nil:
			x.Agent.Problem = err.Error()
		case decodeErr != nil:
			x.Agent.Problem = decodeErr.Error()
		default:
			x.Facts, x.Received = said, now
			if p := engineProblem(node, found); p != "" {
				x.Facts.Engine = &doctor.Engine{Problem: p} // it knows more of a missing socket
			}
		}
		return nil
	})
	return x
}

// Collect returns what the agent on the node gathers for a maintainer. Nothing is
// changed.
func (f *Fleet) Collect(ctx context.Context, node otto.Node, cluster string) (n bundle.Node, err error) {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	err = f.look(ctx, node, cluster, func(h host, found facts) error {
		exe := found.anyAgent()
		if exe == "" {
			return errors.New("no agent is there")
		}
		out, err := h.run(ctx, execScript, exe, "collect", "--dir", found.dir)
		if err != nil {
			return fmt.Errorf("the agent cannot collect: %w", err)
		}
		return json.Unmarshal([]byte(out), &n)
	})
	return n, err
}

// look connects to a node and probes it.
func (f *Fleet) look(ctx context.Context, node otto.Node, cluster string, do func(host, facts) error) error {
	if !wire.ValidID(cluster) {
		return fmt.Errorf("%q is not the name of a cluster", cluster)
	}
	h, err := f.connect(ctx, node)
	if err != nil {
		return err
	}
	defer h.Close()
	found, err := probe(ctx, h, cluster, node.DockerURL)
	if err != nil {
		return err
	}
	return do(h, found)
}

// current reports whether the agent that would be asked is of this build. A build
// without agents inside has nothing to compare with.
func (f *Fleet) current(found facts) bool {
	mine, err := f.opts.Binaries(architecture(found))
	if err != nil {
		return true
	}
	if found.running != "" {
		return found.running == mine.Hash
	}
	_, there := found.agents[mine.Hash]
	return there
}

// factsOf are the few facts that the probe of a host tells.
func factsOf(node otto.Node, found facts) doctor.Facts {
	f := doctor.Facts{Time: found.clock, User: found.user, Arch: architecture(found)}
	if p := engineProblem(node, found); p != "" {
		f.Engine = &doctor.Engine{Problem: p}
	}
	if !found.writable {
		f.Sync = &doctor.Sync{Path: found.home, Problem: "the user " + found.user + " may not write there, or it is mounted read-only"}
	}
	if found.diskFree >= 0 {
		f.Disks = []doctor.Disk{{Path: found.home, Free: uint64(found.diskFree)}}
	}
	return f
}
