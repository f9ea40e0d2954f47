package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

const (
	snapshotFile   = "snapshot" // and snapshot.1, the one before it
	snapshotWithin = time.Minute
)

const (
	// nodeDirScript prints the directory of a cluster on a node.
	nodeDirScript = `IFS= read -r cluster; cd && printf "%s/.local/share/otto/%s\n" "$(pwd -P)" "$cluster"`
	// keepScript makes snapshot.new the snapshot, and that the one before it, so
	// that at any moment there is a whole one.
	keepScript = `IFS= read -r dir; cd "$dir" || exit
[ ! -f snapshot ] || ln -f snapshot snapshot.1 2>/dev/null || cp -p snapshot snapshot.1 || exit
mv -f snapshot.new snapshot`
	// clustersScript prints the clusters that have left a snapshot with a host.
	clustersScript = `cd "$HOME/.local/share/otto" 2>/dev/null || exit 0
for file in */snapshot; do [ -f "$file" ] && printf "%s\n" "${file%/snapshot}"; done; exit 0`
)

// PutSnapshot leaves a sealed backup with a node of by's, beside the one before it.
func (f *Fleet) PutSnapshot(ctx context.Context, node otto.Node, by wire.Authority, sealed []byte) error {
	return f.change(ctx, node, by, snapshotWithin, func(ctx context.Context, h host, found facts) error {
		if err := h.put(ctx, path.Join(found.dir, snapshotFile+".new"), 0o600, bytes.NewReader(sealed)); err != nil {
			return err
		}
		_, err := h.run(ctx, keepScript, found.dir)
		return err
	})
}

func nodeDir(ctx context.Context, h host, cluster string) (string, error) {
	if !wire.ValidID(cluster) {
		return "", fmt.Errorf("%q is not the name of a cluster", cluster)
	}
	out, err := h.run(ctx, nodeDirScript, cluster)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n") // a login shell may say something before
	dir := lines[len(lines)-1]
	if !path.IsAbs(dir) {
		return "", fmt.Errorf("the user's shell does not run scripts (it said %.60q)", out)
	}
	return dir, nil
}

// Snapshots fetches the sealed backups that a cluster has left with a host, the
// newest first. Without a name of a cluster it is the one that there is.
func (f *Fleet) Snapshots(ctx context.Context, node otto.Node, cluster string, limit int64) (sealed [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotWithin)
	defer cancel()
	h, err := f.connect(ctx, node)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if cluster == "" {
		if cluster, err = onlyCluster(ctx, h, node); err != nil {
			return nil, err
		}
	}
	dir, err := nodeDir(ctx, h, cluster)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{snapshotFile, snapshotFile + ".1"} {
		b, err := h.get(ctx, path.Join(dir, name), limit)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("fetch the snapshot from %s: %w", node.ID, err)
		default:
			sealed = append(sealed, b)
		}
	}
	if len(sealed) == 0 {
		return nil, fmt.Errorf("%s has no snapshot of a cluster %s: try another node of it", node.ID, cluster)
	}
	return sealed, nil
}

func onlyCluster(ctx context.Context, h host, node otto.Node) (string, error) {
	out, err := h.run(ctx, clustersScript)
	if err != nil {
		return "", err
	}
	var names []string
	for name := range strings.FieldsSeq(out) {
		if wire.ValidID(name) {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%s has no snapshot of a cluster: try another node of it, as the user that Otto uses there", node.ID)
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("%s has snapshots of several clusters: choose one with --cluster: %s", node.ID, strings.Join(names, ", "))
}

// Target reads [user@]host[:port] as a node without a cluster.
func Target(s string) (otto.Node, error) {
	user, host, port, err := splitTarget(s)
	return otto.Node{ID: host, Host: host, User: user, Port: port}, err
}
