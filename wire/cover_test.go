package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// sealedFor is an assignment as it is sent, covered or not.
func sealedFor(t *testing.T, private ed25519.PrivateKey, seal []byte, a otto.Assignment, cover bool) []byte {
	t.Helper()
	contents := otto.NewContents(map[string][]byte{"c0": []byte("content")})
	var err error
	if cover {
		if a, contents, err = wire.Cover(a, contents); err != nil {
			t.Fatal(err)
		}
	}
	if a.Sealed, err = wire.SealContents(seal, "c", "n", contents); err != nil {
		t.Fatal(err)
	}
	b, err := wire.SignAssignment(private, a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCoveredAssignmentIsReadByItsNodeAlone(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	seal, former := newKey(t), newKey(t)
	want := otto.Assignment{
		ClusterID: "c", Node: "n", Revision: otto.Revision{Epoch: 1, Number: 2},
		Instances: []otto.Instance{{
			Name: "web", Service: "web", Probe: &otto.Probe{Exec: []string{"hunter2"}},
			Spec: otto.ContainerSpec{Image: "web", Environment: map[string]string{"PASSWORD": "hunter2"}},
		}},
		Watches: []otto.Watch{{Instance: "db", Address: "hunter2:80"}},
	}
	b := sealedFor(t, private, seal, want, true)
	if bytes.Contains(b, []byte("hunter2")) {
		t.Error("it is read by everybody")
	}
	got, err := wire.OpenAssignment(public, "c", "n", b)
	if err != nil || !got.Covered || len(got.Instances) != 1 || got.Instances[0].Name != "web" {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := wire.Unseal(got, former, nil); err == nil {
		t.Error("it is opened by another key")
	}
	opened, err := wire.Unseal(got, former, seal)
	if err != nil {
		t.Fatal(err)
	}
	if string(opened.Contents["c0"].Plain()) != "content" || len(opened.Contents) != 1 {
		t.Errorf("contents: %v", opened.Contents.Plain())
	}
	opened.Sealed, opened.Contents = nil, nil
	if diff := cmp.Diff(want, opened); diff != "" {
		t.Error(diff)
	}

	plain, err := wire.OpenAssignment(public, "c", "n", sealedFor(t, private, seal, want, false))
	if err != nil || plain.Covered {
		t.Errorf("%+v %v", plain, err)
	}
	if kept, err := wire.Unseal(plain, former); err == nil || len(kept.Instances) != 1 {
		t.Error("without its secrets nothing is known of an assignment that is in plain")
	}
}

// TestCoverIsPartOfWhatIsSigned: an agent that knows no covers must not take one for an
// assignment of which the environments are empty.
func TestCoverIsPartOfWhatIsSigned(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := sealedFor(t, private, newKey(t), otto.Assignment{ClusterID: "c", Node: "n"}, true)
	for name, text := range map[string][2]string{
		"uncovered": {`"covered":true,`, ``},
		"recovered": {`"covered":true`, `"covered":false`},
	} {
		changed := bytes.Replace(b, []byte(text[0]), []byte(text[1]), 1)
		if _, err := wire.OpenAssignment(public, "c", "n", changed); bytes.Equal(b, changed) || !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
