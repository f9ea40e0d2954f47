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

// Lease is the right to run stateful instances for a while. It answers one
// heartbeat, and counts from when that was sent: however late it arrives, the
// node knows its end at least as early as the control plane does.
type Lease struct {
	ClusterID string `json:"cluster_id"`
	Node      string `json:"node"`
	// Revision is of the assignment that the control plane knows the node by. To an
	// agent that has another one in force the lease means nothing.
	Revision otto.Revision `json:"revision"`
	BootID   string        `json:"boot_id"` // of the heartbeat
	Seq      uint64        `json:"seq"`     // of the heartbeat
	Duration time.Duration `json:"duration_ns"`
}

// Question asks a node whether it reaches another one.
type Question struct {
	ClusterID string        `json:"cluster_id"`
	Node      string        `json:"node"` // who is asked
	ID        string        `json:"id"`
	Address   string        `json:"address"` // host:port, for TCP
	Within    time.Duration `json:"within_ns"`
}

// Warrant is a control plane's proof that it is one of its cluster. It is not
// secret: who shows it need not be who it speaks of.
type Warrant struct {
	ClusterID string `json:"cluster_id"`
	Epoch     uint64 `json:"epoch"`
	Process   string `json:"process"` // drawn at each start of a control plane
}

// Newer reports whether a control plane with this warrant decides rather than
// one with the other. Two of the same epoch agree on which of them it is.
func (w Warrant) Newer(other Warrant) bool {
	return w.Epoch > other.Epoch || w.Epoch == other.Epoch && w.Process > other.Process
}

// kindWarrant is only for the signature: a warrant travels in other messages.
const kindWarrant Kind = "warrant"

// ErrSignature says that a message was not signed by the cluster's key.
var ErrSignature = errors.New("the signature is not the cluster's")

// signed carries a message as the very bytes that were signed.
type signed struct {
	Message   json.RawMessage `json:"message"`
	Signature []byte          `json:"signature"`
	// Also are signatures of the same message by further keys: while the cluster's key is
	// renewed, some nodes know the former one alone and some the new one.
	Also [][]byte `json:"also,omitempty"`
}

// context keeps a signature made for one kind of message from being good for another.
func (k Kind) context() []byte { return []byte("otto " + string(k) + " v1\n") }

func sign(kind Kind, message any, keys ...ed25519.PrivateKey) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	s := signed{Message: body}
	for i, key := range keys {
		if len(key) != ed25519.PrivateKeySize {
			return nil, errors.New("the cluster has no signing key")
		}
		signature := ed25519.Sign(key, append(kind.context(), body...))
		if i == 0 {
			s.Signature = signature
		} else {
			s.Also = append(s.Also, signature)
		}
	}
	return Encode(s)
}

// maxAlso is how many further signatures of a message are looked at.
const maxAlso = 3

func open(key ed25519.PublicKey, kind Kind, b []byte, into any) error {
	if len(key) != ed25519.PublicKeySize {
		return errors.New("the node has no key of the cluster to check a message with")
	}
	var s signed
	if err := decode(b, &s); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	content := append(kind.context(), s.Message...)
	by := func(signature []byte) bool { return ed25519.Verify(key, content, signature) }
	if !by(s.Signature) && !slices.ContainsFunc(s.Also[:min(len(s.Also), maxAlso)], by) {
		return fmt.Errorf("%s: %w", kind, ErrSignature)
	}
	if err := json.Unmarshal(s.Message, into); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

func addressed(kind Kind, clusterID, node, wantCluster, wantNode string) error {
	if clusterID != wantCluster || node != wantNode {
		return fmt.Errorf("%s: it is for node %q of cluster %q", kind, node, clusterID)
	}
	return nil
}

// SignAssignment encodes a for its node, signed by the cluster's key, and also by others
// that some nodes know in its place, as all that is signed.
func SignAssignment(key ed25519.PrivateKey, a otto.Assignment, also ...ed25519.PrivateKey) ([]byte, error) {
	return sign(kindOf(a), a, append([]ed25519.PrivateKey{key}, also...)...)
}

// OpenAssignment decodes an assignment and checks that the cluster's key signed
// it for this node of this cluster. It says nothing about its age.
func OpenAssignment(key ed25519.PublicKey, clusterID, node string, b []byte) (a otto.Assignment, err error) {
	a, err = openAssignment(func(kind Kind, into any) error { return open(key, kind, b, into) })
	if err == nil {
		err = addressed(KindAssignment, a.ClusterID, a.Node, clusterID, node)
	}
	return a, err
}

// SignWarrant encodes w, signed by the cluster's key.
func SignWarrant(key ed25519.PrivateKey, w Warrant, also ...ed25519.PrivateKey) ([]byte, error) {
	return sign(kindWarrant, w, append([]ed25519.PrivateKey{key}, also...)...)
}

// OpenWarrant decodes a warrant and checks that the key of this cluster signed it.
func OpenWarrant(key ed25519.PublicKey, clusterID string, b []byte) (w Warrant, err error) {
	if err = open(key, kindWarrant, b, &w); err == nil && w.ClusterID != clusterID {
		err = fmt.Errorf("%s: it is of cluster %q", kindWarrant, w.ClusterID)
	}
	return w, err
}

// SignLease encodes l for its node, signed by the cluster's key.
func SignLease(key ed25519.PrivateKey, l Lease, also ...ed25519.PrivateKey) ([]byte, error) {
	return sign(KindLease, l, append([]ed25519.PrivateKey{key}, also...)...)
}

// OpenLease decodes a lease as OpenAssignment does an assignment.
func OpenLease(key ed25519.PublicKey, clusterID, node string, b []byte) (l Lease, err error) {
	if err = open(key, KindLease, b, &l); err == nil {
		err = addressed(KindLease, l.ClusterID, l.Node, clusterID, node)
	}
	return l, err
}

// SignQuestion encodes q for the node that is asked, signed by the cluster's key.
func SignQuestion(key ed25519.PrivateKey, q Question, also ...ed25519.PrivateKey) ([]byte, error) {
	return sign(KindQuestion, q, append([]ed25519.PrivateKey{key}, also...)...)
}

// OpenQuestion decodes a question as OpenAssignment does an assignment: a
// node connects to nothing because a stranger says so.
func OpenQuestion(key ed25519.PublicKey, clusterID, node string, b []byte) (q Question, err error) {
	if err = open(key, KindQuestion, b, &q); err == nil {
		err = addressed(KindQuestion, q.ClusterID, q.Node, clusterID, node)
	}
	return q, err
}
