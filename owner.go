package otto

import "slices"

// Labels that Otto puts on what it creates. A container, network or volume
// without LabelCluster is foreign and is left alone. None of them is in a spec's
// hash, and the labels of what exists cannot be changed.
const (
	LabelCluster   = "otto.cluster"    // name of the cluster; other clusters may have the same
	LabelClusterID = "otto.cluster-id" // id of the cluster, which no other has; builds before it did not write it
	LabelNode      = "otto.node"       // of a container: id of its node
	LabelService   = "otto.service"    // name of the service
	LabelInstance  = "otto.instance"   // name of the instance
	LabelSpec      = "otto.spec"       // ContainerSpec.Hash of what the container was made from
	LabelImage     = "otto.image"      // name of its image, where it was made from the id of one
)

// Owner is who containers, networks and volumes are made for.
type Owner struct {
	Cluster   string // name of the cluster, for people
	ClusterID string // whose it is
	Node      string // id of the node
}

// Labels are those of everything that is made for o.
func (o Owner) Labels() map[string]string {
	return map[string]string{LabelCluster: o.Cluster, LabelClusterID: o.ClusterID}
}

// Ownership is whose something is, as its labels say.
type Ownership int

// The ownerships.
const (
	Foreign    Ownership = iota // not Otto's
	OtherOwner                  // another cluster's, or another node's
	Unproven                    // it has the name of this cluster and no id
	Own
)

// Of says whose a container, network or volume with these labels is.
func (o Owner) Of(labels map[string]string) Ownership {
	cluster, id, node := labels[LabelCluster], labels[LabelClusterID], labels[LabelNode]
	switch {
	case cluster == "" && id == "":
		return Foreign
	case id == "" && cluster == o.Cluster:
		return Unproven
	case id != o.ClusterID, node != "" && node != o.Node:
		return OtherOwner
	}
	return Own
}

// Adopted is what a cluster owns although no label proves it: what builds made
// for it that did not write LabelClusterID.
type Adopted struct {
	Containers []string `json:"containers,omitempty"` // ids
	Networks   []string `json:"networks,omitempty"`   // ids
	Volumes    []string `json:"volumes,omitempty"`    // names
}

// With is everything that is in a or in b, sorted.
func (a Adopted) With(b Adopted) Adopted {
	return Adopted{
		Containers: union(a.Containers, b.Containers),
		Networks:   union(a.Networks, b.Networks),
		Volumes:    union(a.Volumes, b.Volumes),
	}
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
