package wire

import (
	"crypto/ed25519"

	"github.com/otto-edge/otto"
)

// Authority is who changes a node over SSH: the control plane of a cluster. A node
// is changed only by one of its own cluster, and by the newest that it has obeyed.
type Authority struct {
	Cluster string // name of the cluster
	Warrant        // with the cluster's id
	// Key is the cluster's public key as the control plane knows it; nil for who only looks.
	Key ed25519.PublicKey
}

// Obeys reports whether a node that has an assignment with warrant w is to obey a.
func (a Authority) Obeys(w Warrant) bool {
	return w.Epoch < a.Epoch || w.Epoch == a.Epoch && w.Process == a.Process
}

// Owner is who a makes containers for on a node.
func (a Authority) Owner(node string) otto.Owner {
	return otto.Owner{Cluster: a.Cluster, ClusterID: a.ClusterID, Node: node}
}
