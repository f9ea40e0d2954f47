package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/otto-edge/otto"
)

// signatureContext keeps a signature made for an assignment from being good for
// anything else that the cluster's key may sign one day.
const signatureContext = "otto assignment v1\n"

// ErrSignature says that an assignment was not signed by the cluster's key.
var ErrSignature = errors.New("the assignment's signature is not the cluster's")

// signed carries the assignment as the very bytes that were signed.
type signed struct {
	Assignment json.RawMessage `json:"assignment"`
	Signature  []byte          `json:"signature"`
}

// SignAssignment encodes a for its node, signed by the cluster's key.
func SignAssignment(key ed25519.PrivateKey, a otto.Assignment) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("the cluster has no signing key")
	}
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return Encode(signed{body, ed25519.Sign(key, append([]byte(signatureContext), body...))})
}

// OpenAssignment decodes an assignment and checks that the cluster's key signed
// it for this node of this cluster. It says nothing about its age.
func OpenAssignment(key ed25519.PublicKey, clusterID, node string, b []byte) (otto.Assignment, error) {
	var a otto.Assignment
	if len(key) != ed25519.PublicKeySize {
		return a, errors.New("the node has no key of the cluster to check the assignment with")
	}
	var s signed
	if err := decode(b, &s); err != nil {
		return a, fmt.Errorf("assignment: %w", err)
	}
	if !ed25519.Verify(key, append([]byte(signatureContext), s.Assignment...), s.Signature) {
		return a, ErrSignature
	}
	if err := json.Unmarshal(s.Assignment, &a); err != nil {
		return a, fmt.Errorf("assignment: %w", err)
	}
	if a.ClusterID != clusterID || a.Node != node {
		return a, fmt.Errorf("the assignment is for node %q of cluster %q", a.Node, a.ClusterID)
	}
	return a, nil
}
