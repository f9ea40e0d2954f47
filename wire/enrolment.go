package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// Enrolment is what makes a machine a node of a cluster: the file agent.json
// that is brought to the node over SSH. It holds the node's secrets, so it is
// readable by its owner only.
type Enrolment struct {
	Cluster   string `json:"cluster"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	// Brokers are host:port addresses, all of the same broker; the first that
	// answers is used.
	Brokers  []string `json:"brokers"`
	TLS      *TLS     `json:"tls,omitempty"`
	ClientID string   `json:"client_id"` // node id and 128 secret bits, stable for life
	Username string   `json:"username,omitempty"`
	Password string   `json:"password,omitempty"`
	// ControlKey is the cluster's public key, which signs assignments.
	ControlKey ed25519.PublicKey `json:"control_key"`
	// FormerKeys are those that ControlKey has replaced, the newest first.
	FormerKeys []FormerKey `json:"former_keys,omitempty"`
	// SealKey opens what is sealed for the node; see SealContents.
	SealKey []byte `json:"seal_key,omitempty"`
	// FormerSealKey is the one before. What the node has on its disk may be sealed for it;
	// nothing that comes over the network is opened by it.
	FormerSealKey []byte `json:"former_seal_key,omitempty"`
	// Proofs says that the broker is not the cluster's own: the node proves that what it says
	// is its own, see Prove, and gets its environments sealed.
	Proofs    bool          `json:"proofs,omitempty"`
	DockerURL string        `json:"docker_url"`
	Interval  time.Duration `json:"interval_ns"`  // between samples
	Heartbeat time.Duration `json:"heartbeat_ns"` // between heartbeats
}

// FormerKey is a key of the cluster that another one has replaced. Nothing that comes over
// the network counts by it.
type FormerKey struct {
	Key ed25519.PublicKey `json:"key"`
	// Compromised says that others may have signed with it. By any other key the
	// assignment counts that a node has on its disk from before.
	Compromised bool `json:"compromised,omitempty"`
}

// Replaced reports whether the node's cluster has replaced a key: who holds it as the one
// in force has an older copy of the cluster's state.
func (e Enrolment) Replaced(key ed25519.PublicKey) bool {
	return slices.ContainsFunc(e.FormerKeys, func(f FormerKey) bool { return f.Key.Equal(key) })
}

// ReplacedError is otto.ErrReplaced of a node.
type ReplacedError struct {
	Node string
	By   ed25519.PublicKey // the cluster's key that the node has
}

func (e ReplacedError) Error() string { return e.Node + ": " + otto.ErrReplaced.Error() }

// Unwrap makes it otto.ErrReplaced.
func (e ReplacedError) Unwrap() error { return otto.ErrReplaced }

// OpenStored is OpenAssignment for what the node has on its disk, which may have come
// before the cluster's key was replaced.
func (e Enrolment) OpenStored(b []byte) (otto.Assignment, error) {
	a, err := OpenAssignment(e.ControlKey, e.ClusterID, e.NodeID, b)
	for _, f := range e.FormerKeys {
		if !errors.Is(err, ErrSignature) {
			break
		}
		if !f.Compromised {
			a, err = OpenAssignment(f.Key, e.ClusterID, e.NodeID, b)
		}
	}
	return a, err
}

// Served reports whether signed bytes are an assignment of this node, by any key that the
// cluster has had. Others may have signed it by one that is compromised: it says that an
// agent of the cluster has been here, and nothing of what should run.
func (e Enrolment) Served(b []byte) bool {
	by := func(key ed25519.PublicKey) bool {
		_, err := OpenAssignment(key, e.ClusterID, e.NodeID, b)
		return err == nil
	}
	return by(e.ControlKey) || slices.ContainsFunc(e.FormerKeys, func(f FormerKey) bool { return by(f.Key) })
}

// OpenStoredWarrant is OpenWarrant likewise.
func (e Enrolment) OpenStoredWarrant(b []byte) (Warrant, error) {
	w, err := OpenWarrant(e.ControlKey, e.ClusterID, b)
	for _, f := range e.FormerKeys {
		if err != nil && !f.Compromised {
			w, err = OpenWarrant(f.Key, e.ClusterID, b)
		}
	}
	return w, err
}

// Owner is who the node makes containers for.
func (e Enrolment) Owner() otto.Owner {
	return otto.Owner{Cluster: e.Cluster, ClusterID: e.ClusterID, Node: e.NodeID}
}

// DecodeEnrolment reads agent.json and checks that nothing is missing.
func DecodeEnrolment(b []byte) (Enrolment, error) {
	var e Enrolment
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("enrolment: %w", err)
	}
	switch {
	case !ValidID(e.NodeID), !ValidID(e.Cluster), e.ClusterID == "":
		return e, errors.New("enrolment: node or cluster is missing or not a valid id")
	case len(e.Brokers) == 0:
		return e, errors.New("enrolment: no broker")
	case e.ClientID == "":
		return e, errors.New("enrolment: no client id")
	case len(e.ControlKey) != ed25519.PublicKeySize:
		return e, errors.New("enrolment: no key of the cluster")
	case e.DockerURL == "":
		return e, errors.New("enrolment: no address of a container engine")
	case e.Interval < 0, e.Heartbeat < 0:
		return e, errors.New("enrolment: negative interval")
	}
	return e, nil
}
