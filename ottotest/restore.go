package ottotest

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/folder"
	"github.com/otto-edge/otto/wire"
)

// Backup is what the control plane gives as its backup.
func (c *Cluster) Backup() []byte {
	c.T.Helper()
	content, err := c.Plane.Backup(context.Background())
	if err != nil {
		c.T.Fatal(err)
	}
	return content
}

// Look is what somebody finds who looks at a host over SSH.
func (c *Cluster) Look(host string) control.Sight {
	h := c.Hosts[host]
	if err := (reach{c}).ssh(host); err != nil {
		return control.Sight{Err: err}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enrolment == nil {
		return control.Sight{}
	}
	e := *h.enrolment
	l := wire.Look{ClusterID: e.ClusterID, NodeID: e.NodeID}
	l.Assignment, l.Key = agent.Stored(h.Dir, e.OpenStored), e.ControlKey
	for _, ctr := range h.Runtime.List() {
		l.Containers = append(l.Containers, wire.Seen{
			Name: ctr.Name, Service: ctr.Service, Instance: ctr.Instance, SpecHash: ctr.SpecHash, Image: ctr.Image, State: ctr.State,
		})
	}
	l.Data = agent.Remembered(h.Dir)
	l.Volumes, _ = h.Runtime.Volumes(context.Background())
	l.Volumes = append(l.Volumes, agent.Seeded(h.SeedsDir(), e.ClusterID)...)
	return control.Sight{Look: l}
}

// Restore makes the cluster's store what a backup leads to, as `otto cluster
// restore` does. No control plane may run.
func (c *Cluster) Restore(content []byte) control.Restored {
	c.T.Helper()
	b, err := backup.Decode(content)
	var r control.Restored
	if err == nil {
		sights := map[string]control.Sight{}
		for id := range c.Hosts {
			sights[id] = c.Look(id)
		}
		r, err = control.Reconcile(b, nil, sights)
	}
	c.Store, c.Folders = NewStore(), folder.NewStore(filepath.Join(c.T.TempDir(), "files"))
	if err := errors.Join(err, c.Folders.Restore(b.Folders), control.Restore(context.Background(), c.Store, r.Documents)); err != nil {
		c.T.Fatal(err)
	}
	return r
}
