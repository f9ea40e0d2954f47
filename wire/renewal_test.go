package wire

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/otto-edge/otto"
)

// TestMessageOfTwoKeys is one that nodes read by either, those of former builds by the first.
func TestMessageOfTwoKeys(t *testing.T) {
	formerPublic, former, _ := ed25519.GenerateKey(nil)
	public, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	b, err := SignLease(former, Lease{ClusterID: "c1", Node: "n1"}, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]ed25519.PublicKey{"the former": formerPublic, "the new": public} {
		if _, err := OpenLease(k, "c1", "n1", b); err != nil {
			t.Errorf("by %s key: %v", name, err)
		}
	}
	if _, err := OpenLease(other, "c1", "n1", b); !errors.Is(err, ErrSignature) {
		t.Errorf("by a third key: %v", err)
	}
	var s signed
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(formerPublic, append(KindLease.context(), s.Message...), s.Signature) {
		t.Error("a former build does not read it")
	}
	s.Message = json.RawMessage(strings.Replace(string(s.Message), "n1", "n2", 1))
	changed, _ := Encode(s)
	if _, err := OpenLease(public, "c1", "n2", changed); !errors.Is(err, ErrSignature) {
		t.Errorf("changed: %v", err)
	}
	s.Also = slices.Insert(s.Also, 0, make([][]byte, maxAlso)...)
	many, _ := Encode(s)
	if _, err := OpenLease(public, "c1", "n2", many); !errors.Is(err, ErrSignature) {
		t.Errorf("with many signatures: %v", err)
	}
}

func TestStoredCountsByAFormerKey(t *testing.T) {
	formerPublic, former, _ := ed25519.GenerateKey(nil)
	stolenPublic, stolen, _ := ed25519.GenerateKey(nil)
	public, key, _ := ed25519.GenerateKey(nil)
	e := Enrolment{ClusterID: "c1", NodeID: "n1", ControlKey: public, FormerKeys: []FormerKey{
		{Key: stolenPublic, Compromised: true}, {Key: formerPublic},
	}}
	for _, tt := range []struct {
		name string
		key  ed25519.PrivateKey
		node string
		good bool
	}{
		{"the key in force", key, "n1", true},
		{"a former key", former, "n1", true},
		{"a former key, for another node", former, "n2", false},
		{"a compromised key", stolen, "n1", false},
	} {
		b, err := SignAssignment(tt.key, otto.Assignment{ClusterID: "c1", Node: tt.node})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.OpenStored(b); (err == nil) != tt.good {
			t.Errorf("by %s: %v", tt.name, err)
		}
		if e.Served(b) != (tt.node == "n1") {
			t.Errorf("by %s: an agent of the cluster has been there: %v", tt.name, e.Served(b))
		}
		w, err := SignWarrant(tt.key, Warrant{ClusterID: "c1", Epoch: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.OpenStoredWarrant(w); tt.node == "n1" && (err == nil) != tt.good {
			t.Errorf("warrant by %s: %v", tt.name, err)
		}
	}
	_, stranger, _ := ed25519.GenerateKey(nil)
	for _, other := range []struct {
		key     ed25519.PrivateKey
		cluster string
	}{{stranger, "c1"}, {key, "c2"}} {
		b, err := SignAssignment(other.key, otto.Assignment{ClusterID: other.cluster, Node: "n1"})
		if err != nil || e.Served(b) || e.Served(nil) {
			t.Errorf("an agent of the cluster has been there by what is of %s (%v)", other.cluster, err)
		}
	}
	if !e.Replaced(formerPublic) || !e.Replaced(stolenPublic) || e.Replaced(public) {
		t.Error("which keys are replaced is not known")
	}
}
