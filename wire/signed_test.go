package wire

import (
	"crypto/ed25519"
	"testing"

	"github.com/otto-edge/otto"
)

// TestSignedIsForItsNode: what the cluster's key has signed for one node is refused by every
// other node, and by a node of that name of another cluster.
func TestSignedIsForItsNode(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	asg, err := SignAssignment(key, otto.Assignment{ClusterID: "c1", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := SignLease(key, Lease{ClusterID: "c1", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	question, err := SignQuestion(key, Question{ClusterID: "c1", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, open := range map[Kind]func(cluster, node string) error{
		KindAssignment: func(c, n string) error { _, err := OpenAssignment(public, c, n, asg); return err },
		KindLease:      func(c, n string) error { _, err := OpenLease(public, c, n, lease); return err },
		KindQuestion:   func(c, n string) error { _, err := OpenQuestion(public, c, n, question); return err },
	} {
		if err := open("c1", "n1"); err != nil {
			t.Errorf("%s, by its node: %v", kind, err)
		}
		if open("c1", "n2") == nil {
			t.Errorf("%s: another node takes it", kind)
		}
		if open("c2", "n1") == nil {
			t.Errorf("%s: a node of another cluster takes it", kind)
		}
	}
}
