package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"

	"github.com/otto-edge/otto"
)

// FuzzSigned has the cluster's key sign anything, as a control plane of another build may:
// it is refused, or taken for what it says of itself, and for no other kind of message.
func FuzzSigned(f *testing.F) {
	public, key, err := ed25519.GenerateKey(bytes.NewReader(make([]byte, 64)))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []any{
		otto.Assignment{ClusterID: "c", Node: "n", Instances: []otto.Instance{{Name: "web", Service: "web"}}},
		otto.Assignment{ClusterID: "c", Node: "n", Covered: true},
		Lease{ClusterID: "c", Node: "n", BootID: "b", Seq: 1 << 63, Duration: -1},
		Question{ClusterID: "c", Node: "n", Address: "h:1"},
		Warrant{ClusterID: "c", Epoch: 1, Process: "p"},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{`null`, `[]`, `{"cluster_id":"c","node":"n","instances":[null],"files":[{}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) {
			return
		}
		for _, kind := range []Kind{KindAssignment, kindCovered, KindLease, KindQuestion, kindWarrant} {
			b, err := sign(kind, json.RawMessage(body), key)
			if err != nil {
				continue // too large
			}
			a, err := OpenAssignment(public, "c", "n", b)
			if err == nil && (a.ClusterID != "c" || a.Node != "n" || kind != KindAssignment && kind != kindCovered) {
				t.Errorf("%s %q is taken for an assignment", kind, body)
			}
			if err == nil {
				_, _ = Unseal(a, make([]byte, 32))
			}
			l, err := OpenLease(public, "c", "n", b)
			if err == nil && (kind != KindLease || l.ClusterID != "c" || l.Node != "n") {
				t.Errorf("%s %q is taken for a lease", kind, body)
			}
			q, err := OpenQuestion(public, "c", "n", b)
			if err == nil && (kind != KindQuestion || q.ClusterID != "c" || q.Node != "n") {
				t.Errorf("%s %q is taken for a question", kind, body)
			}
			if w, err := OpenWarrant(public, "c", b); err == nil && (kind != kindWarrant || w.ClusterID != "c") {
				t.Errorf("%s %q is taken for a warrant", kind, body)
			}
		}
	})
}
