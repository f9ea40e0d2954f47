package wire

import (
	"crypto/ed25519"
	"fmt"

	"github.com/otto-edge/otto"
)

// Look is what a node says of itself over SSH, when there is no control plane
// that it could report to.
type Look struct {
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	// Assignment is the newest that the agent keeps, signed, as it came; empty if
	// there is none.
	Assignment []byte `json:"assignment,omitempty"`
	// Key is the cluster's public key as the node knows it; older agents do not say it.
	Key ed25519.PublicKey `json:"control_key,omitempty"`
	// Containers are those of the cluster, running or not, and Volumes its volumes.
	Containers []Seen   `json:"containers"`
	Volumes    []string `json:"volumes"`
	// Data is what its agent remembers of the data that services have run with.
	Data []otto.Data `json:"data,omitempty"`
}

// Seen is a container that is there.
type Seen struct {
	Name     string              `json:"name"`
	Service  string              `json:"service"`
	Instance string              `json:"instance"`
	SpecHash string              `json:"spec_hash"`
	Image    string              `json:"image"`
	State    otto.ContainerState `json:"state"`
}

// Runs reports whether the container runs, or will again without anybody's help.
func (s Seen) Runs() bool {
	return s.State == otto.ContainerRunning || s.State == otto.ContainerRestarting || s.State == otto.ContainerPaused
}

// DecodeLook reads what a node says of itself.
func DecodeLook(b []byte) (Look, error) {
	var l Look
	if err := Unmarshal(b, &l); err != nil {
		return l, fmt.Errorf("what the node says of itself: %w", err)
	}
	return l, nil
}
