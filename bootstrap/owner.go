package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// Whose a node is stands on the node, in two places: in agent.owner, which a cluster
// writes before anything else, and in agent.json. The node directory has the name of
// its cluster, which says nothing: another cluster may have the same.

// claimScript makes a node directory the cluster's unless it is somebody's, and prints
// whose it is. Of two at once one wins.
const claimScript = `IFS= read -r dir; IFS= read -r owner; umask 077; mkdir -p "$dir" || exit
(set -C; printf "%s\n" "$owner" > "$dir/agent.owner") 2>/dev/null
[ -s "$dir/agent.owner" ] || printf "%s\n" "$owner" > "$dir/agent.owner" || exit
printf "owner=%s\n" "$(cat "$dir/agent.owner")"`

// claim is the content of agent.owner: who a node directory is for.
type claim struct{ clusterID, node string }

func (c claim) String() string { return c.clusterID + " " + c.node }

func parseClaim(s string) claim {
	id, node, _ := strings.Cut(strings.TrimSpace(s), " ")
	return claim{id, node}
}

// owner is who the host is a node of; the zero claim if nothing says it.
func (f facts) owner() (c claim, cluster string) {
	if had, err := wire.DecodeEnrolment([]byte(f.enrolment)); err == nil {
		return claim{had.ClusterID, had.NodeID}, had.Cluster
	}
	return f.claim, path.Base(f.dir)
}

// ofCluster reports whether the host is a node of a cluster, whichever.
func (f facts) ofCluster(clusterID string) bool {
	is, _ := f.owner()
	return is.clusterID == clusterID
}

// notOurs says why a host is no business of a node of a cluster; nil for one that is
// this node, and for one that is nobody's.
func (f facts) notOurs(node otto.Node, clusterID string) error {
	is, cluster := f.owner()
	switch {
	case is == (claim{}):
		return nil
	case is.clusterID != clusterID:
		return fmt.Errorf(
			"%s belongs to another cluster named %s (id %s): give this one another name, or if it is that one and its .otto is lost, run `otto cluster restore --from %s`",
			node.ID,
			cluster,
			is.clusterID,
			SSHTarget(node),
		)
	case is.node != node.ID:
		return fmt.Errorf(
			"%s is the node %s of this cluster already: list each machine once; after a change of the id take %[2]s out first",
			node.ID,
			is.node,
		)
	}
	return nil
}

// stranger says why a host may not be changed by a: it is not a's, or of nobody that is
// known although an agent is there.
func (f facts) stranger(node otto.Node, a wire.Authority) error {
	if err := f.notOurs(node, a.ClusterID); err != nil {
		return err
	}
	is, _ := f.owner()
	if is == (claim{}) && (f.enrolment != "" || f.running != "") {
		return fmt.Errorf("%s has an agent in %s, and nothing there says of which cluster: it is left alone", node.ID,
			f.dir)
	}
	return nil
}

// newer says why a node does not obey a: it has obeyed a newer control plane of the
// same cluster.
func newer(ctx context.Context, h host, node otto.Node, found facts, a wire.Authority) error {
	e, err := wire.DecodeEnrolment([]byte(found.enrolment))
	if err != nil {
		return nil //nolint:nilerr // it obeys nobody
	}
	if e.Replaced(a.Key) {
		return wire.ReplacedError{Node: node.ID, By: e.ControlKey}
	}
	for _, name := range []string{"assignment.json", "assignment.previous.json"} {
		b, err := h.get(ctx, path.Join(found.dir, "state", name), maxAssignment)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		asg, err := e.OpenStored(b)
		if err != nil {
			continue // torn: the one before it counts
		}
		w, err := e.OpenStoredWarrant(asg.Warrant)
		if err != nil || a.Obeys(w) {
			return nil //nolint:nilerr // a build that wrote none
		}
		return fmt.Errorf(
			"%s obeys a newer control plane of this cluster (epoch %d, here %d): this one has been replaced; run the command where that one is, or `otto cluster start --take-over` here first",
			node.ID,
			w.Epoch,
			a.Epoch,
		)
	}
	return nil
}

const maxAssignment = 8 << 20 // bytes

// claim makes the host's node directory ours.
func (in *install) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	mine := claim{in.request.enrolment.ClusterID, in.node.ID}
	if in.found.claim == mine {
		return nil
	}
	if in.found.claim != (claim{}) &&
		(in.takeOver || in.found.enrolment != "") { // agent.json, which is ours, counts more
		return in.host.put(ctx, path.Join(in.found.dir, ownerFile), 0o600, strings.NewReader(mine.String()+"\n"))
	}
	out, err := in.host.run(ctx, claimScript, in.found.dir, mine.String())
	if err != nil {
		return err
	}
	in.found.claim = parseFacts(out).claim
	return in.found.notOurs(in.node, mine.clusterID)
}

const ownerFile = "agent.owner"

// Owner returns the id of the cluster that has its agent in the node directory of a
// cluster's name on a node; empty if none has.
func (f *Fleet) Owner(ctx context.Context, node otto.Node, cluster string) (clusterID string, err error) {
	err = f.look(ctx, node, cluster, func(_ host, found facts) error {
		is, _ := found.owner()
		clusterID = is.clusterID
		return nil
	})
	return clusterID, err
}

// SSHTarget is how ssh, and restore, are told of a node.
func SSHTarget(n otto.Node) string {
	if n.User == "" {
		return n.Host
	}
	return n.User + "@" + n.Host
}

// otherUser says why the host cannot be the node: another user's agent of a cluster of
// the same name is there, on the same engine.
func (f facts) otherUser(node otto.Node) string {
	for _, o := range f.others {
		if path.Base(o.dir) == path.Base(f.dir) && o.dir != f.dir {
			return fmt.Sprintf(
				"%s has an agent of a cluster named %s of another user already, in %s (pid %d): one machine is one node of one user; take it out there first, with `otto node rm` or `otto cluster uninstall`",
				node.ID,
				path.Base(f.dir),
				o.dir,
				o.pid,
			)
		}
	}
	return ""
}

// otherAgent is an agent of another user on the host.
type otherAgent struct {
	pid int
	dir string
}

// parseOther reads a process id and a command line, such as
// "12 /home/pi/.../otto-agent run --dir /home/pi/.local/share/otto/home".
func parseOther(s string) (o otherAgent, ok bool) {
	_, err := fmt.Sscan(s, &o.pid)
	_, dir, run := strings.Cut(s, "/"+agentName+" run --dir ")
	o.dir = strings.TrimSpace(dir)
	return o, err == nil && run
}
