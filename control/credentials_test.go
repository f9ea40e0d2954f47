package control

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func someIdentity(t *testing.T, format int) identity {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := newAuthority("c0ffee")
	if err != nil {
		t.Fatal(err)
	}
	return identity{Format: format, Name: "home", ClusterID: "c0ffee", Key: key, Authority: ca}
}

// TestFormerBuildsRefuseANewerState is about those that know no formats: they compare the
// name of the cluster, and start nothing if it is another one.
func TestFormerBuildsRefuseANewerState(t *testing.T) {
	was := someIdentity(t, stateFormat)
	b, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	var former struct {
		Name      string             `json:"name"`
		ClusterID string             `json:"cluster_id"`
		Key       ed25519.PrivateKey `json:"key"`
	}
	if err := json.Unmarshal(b, &former); err != nil {
		t.Fatal(err)
	}
	if former.Name == was.Name || !strings.Contains(former.Name, "newer Otto") || !former.Key.Equal(was.Key) {
		t.Errorf("a former build reads %q", former.Name)
	}
	var now identity
	if err := json.Unmarshal(b, &now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, now); diff != "" {
		t.Errorf("it comes back as another one (-was +now):\n%s", diff)
	}
}

func TestNewerStateIsRefused(t *testing.T) {
	raw, err := encodeDocuments(documents{identity: someIdentity(t, stateFormat+1), enrolled: map[string]secrets{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeDocuments(raw); !errors.Is(err, errNewerState) {
		t.Errorf("got %v", err)
	}
	raw, err = encodeDocuments(documents{identity: someIdentity(t, stateFormat), enrolled: map[string]secrets{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeDocuments(raw); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreCompletedAndStay(t *testing.T) {
	atOther, err := secrets{}.complete("n1", false)
	if err != nil || atOther.Password == "" || atOther.Key != nil {
		t.Fatalf("for another broker: %v, %v", atOther, err)
	}
	atOurs, err := atOther.complete("n1", true)
	if err != nil || atOurs.ClientID != atOther.ClientID || len(atOurs.Key) != ed25519.PrivateKeySize {
		t.Fatalf("for our broker: %v, %v", atOurs, err)
	}
	if again, err := atOurs.complete("n1", true); err != nil || !again.equal(atOurs) {
		t.Errorf("drawn anew: %v, %v", again, err)
	}
	cert, key, err := clientCertificate("n1", atOurs.Key)
	if err != nil {
		t.Fatal(err)
	}
	if sameCert, sameKey, err := clientCertificate("n1", atOurs.Key); err != nil || sameCert != cert || sameKey != key {
		t.Errorf("the same key is wrapped in another way: %v", err)
	}
}

// TestFormatRisesWithRenewedKeys: a former build may take over as long as none were renewed.
func TestFormatRisesWithRenewedKeys(t *testing.T) {
	was := someIdentity(t, 1)
	if was.format() != 1 {
		t.Errorf("it needs format %d", was.format())
	}
	now, err := was.renewed("me", false, time.Now())
	if err != nil || now.Format != 2 || now.ClusterID != was.ClusterID || now.Authority.Name == "" {
		t.Fatalf("renewed: %+v, %v", now, err)
	}
	b, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	var again identity
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(now, again); diff != "" {
		t.Errorf("it comes back as another one (-was +now):\n%s", diff)
	}
}

// TestKeysOfANodeFollowTheClusters also if it has not used the last one of its own yet.
func TestKeysOfANodeFollowTheClusters(t *testing.T) {
	s, err := secrets{}.of(renewal{}, true).complete("n1", true)
	if err != nil {
		t.Fatal(err)
	}
	first := s.Key
	s.Key, s.FormerKey = nil, s.Key // otto node rekey
	if s, err = s.complete("n1", true); err != nil {
		t.Fatal(err)
	}
	second := s.Key
	overlapping := renewal{Generation: 1, Rotation: &rotation{}}
	now, err := s.of(overlapping, true).complete("n1", true)
	if err != nil {
		t.Fatal(err)
	}
	if now.Key.Equal(second) || !now.FormerKey.Equal(second) || len(now.Older) != 1 || !now.Older[0].Equal(first.Public()) ||
		now.Drawn != 1 || now.Has != 0 {
		t.Errorf("it has %+v", now)
	}
	if !bytes.Equal(now.SealKey, s.SealKey) {
		t.Error("what is sealed on its disk cannot be opened any more")
	}
	if again := now.of(overlapping, true); !again.equal(now) {
		t.Errorf("drawn anew: %+v", again)
	}
	now, err = s.of(renewal{Generation: 1, Rotation: &rotation{Compromised: true}}, true).complete("n1", true)
	if err != nil || now.former() || now.Key.Equal(second) || bytes.Equal(now.SealKey, s.SealKey) {
		t.Errorf("compromised: %+v, %v", now, err)
	}
	if joins := (secrets{}).of(overlapping, true); joins.Has != 1 {
		t.Errorf("a node that joins: %+v", joins)
	}
}

// TestSecretsAreSealedToTheKeyThatTheAgentHas: after a rekey that is the former one, until
// the new one has come over SSH.
func TestSecretsAreSealedToTheKeyThatTheAgentHas(t *testing.T) {
	first, err := secrets{}.complete("a", true)
	if err != nil || len(first.SealKey) == 0 {
		t.Fatalf("no key to open secrets with (%v)", err)
	}
	rekeyed := first
	rekeyed.SealKey, rekeyed.FormerSealKey = nil, first.SealKey
	if rekeyed, err = rekeyed.complete("a", true); err != nil || rekeyed.equal(first) {
		t.Fatalf("it has the same key as before (%v)", err)
	}
	p := &Plane{documents: documents{enrolled: map[string]secrets{"a": rekeyed}}}
	for _, tt := range []struct {
		says string
		key  []byte
		has  bool
	}{
		{wire.SealKeyName(first.SealKey), first.SealKey, true},
		{wire.SealKeyName(rekeyed.SealKey), rekeyed.SealKey, true},
		{"", rekeyed.SealKey, false},
		{"somebody else's", rekeyed.SealKey, false},
	} {
		n := &node{Node: otto.Node{ID: "a"}, sealKey: tt.says}
		if key, has := p.sealKeyOf(n); !bytes.Equal(key, tt.key) || has != tt.has {
			t.Errorf("%q: it has %t, and the key is the new one: %t", tt.says, has, bytes.Equal(key, rekeyed.SealKey))
		}
	}
}

// TestNamesOfSealKeysAreRemembered as far as there are nodes.
func TestNamesOfSealKeysAreRemembered(t *testing.T) {
	p := &Plane{nodes: map[string]*node{"a": {}, "b": {}}}
	for range 30 {
		key, err := wire.NewSealKey()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if name := p.sealKeyName(key); name != wire.SealKeyName(key) {
				t.Errorf("the name is %q", name)
			}
		}
		if n := len(p.sealNames); n == 0 || n > 9 {
			t.Errorf("%d names are remembered", n)
		}
	}
}
