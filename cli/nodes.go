package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/logs/gather"
	"github.com/otto-edge/otto/shell"
	"github.com/otto-edge/otto/target"
)

// nodes reaches the nodes of a control plane over SSH, for api.Server.
type nodes struct {
	plane *control.Plane
	fleet *bootstrap.Fleet
}

// Next implements gather.Cluster.
func (n nodes) Next() (*otto.Cluster, <-chan struct{}) { return n.plane.Next() }

// OpenLogs implements gather.Cluster.
func (n nodes) OpenLogs(ctx context.Context, node otto.Node) (gather.Conn, error) {
	return n.fleet.OpenShared(ctx, node, n.plane.Cluster().Name, "logs")
}

// Logs implements api.Nodes.
func (n nodes) Logs(ctx context.Context, q logs.Query, take func(logs.Entry) error, idle func() error) error {
	return gather.Read(ctx, n, q, take, idle)
}

// Exec implements api.Nodes.
func (n nodes) Exec(ctx context.Context, q shell.Query) (shell.Conn, error) {
	view := n.plane.Cluster()
	at, err := shell.Find(view, q)
	if err != nil {
		return nil, err
	}
	conn, err := n.fleet.OpenShared(ctx, at.Node, view.Name, "exec")
	if err == nil {
		if err = shell.Ask(conn, at, q.Command); err == nil {
			return conn, nil
		}
		conn.Close()
	}
	return nil, fmt.Errorf("%s on %s: %w", at.Instance, at.Node.ID, err)
}

// Once implements api.Nodes.
func (n nodes) Once(ctx context.Context, q shell.Query) (shell.Conn, error) {
	t, err := target.Find(n.plane.Cluster(), q.Name)
	switch {
	case err != nil:
		return nil, err
	case t.Node != "":
		return nil, fmt.Errorf("%s is a node: name a service", q.Name)
	}
	inst, at, err := n.plane.Once(ctx, cmp.Or(t.Instance, t.Service), q.Node)
	if err != nil {
		return nil, err
	}
	conn, err := n.fleet.OpenShared(ctx, at, n.plane.Cluster().Name, "once")
	if err == nil {
		if err = shell.AskOnce(conn, inst, q.Command); err == nil {
			return conn, nil
		}
		conn.Close()
	}
	return nil, fmt.Errorf("%s on %s: %w", q.Name, at.ID, err)
}
