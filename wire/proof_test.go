package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

func beat(t testing.TB) []byte {
	t.Helper()
	b, err := wire.Encode(wire.Heartbeat{BootID: "boot", Seq: 7, UpMS: 1234, Machine: "hardware/boot"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageIsProvenByItsNodeAlone(t *testing.T) {
	seal := newKey(t)
	key := wire.ProofKey(seal, "c0ffee", "n1")
	topic := wire.NodeTopic("n1", wire.KindHeartbeat)
	want := wire.Proof{Boot: 1 << 63, Heard: otto.Revision{Epoch: 3, Number: 14}, Number: 1<<32 + 1}
	b, err := wire.Prove(key, topic, beat(t), want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.CheckProof(key, topic, b); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if h, err := wire.DecodeHeartbeat(b); err != nil || h.Seq != 7 {
		t.Errorf("who only reads it reads %+v %v", h, err)
	}
	for name, check := range map[string]func() (wire.Proof, error){
		"no proof":        func() (wire.Proof, error) { return wire.CheckProof(key, topic, beat(t)) },
		"empty":           func() (wire.Proof, error) { return wire.CheckProof(key, topic, nil) },
		"no key":          func() (wire.Proof, error) { return wire.CheckProof(nil, topic, b) },
		"another key":     func() (wire.Proof, error) { return wire.CheckProof(wire.ProofKey(newKey(t), "c0ffee", "n1"), topic, b) },
		"another cluster": func() (wire.Proof, error) { return wire.CheckProof(wire.ProofKey(seal, "decaf", "n1"), topic, b) },
		"another node's key": func() (wire.Proof, error) {
			return wire.CheckProof(wire.ProofKey(seal, "c0ffee", "n2"), topic, b)
		},
		"another node's topic": func() (wire.Proof, error) {
			return wire.CheckProof(key, wire.NodeTopic("n2", wire.KindHeartbeat), b)
		},
		"another kind": func() (wire.Proof, error) { return wire.CheckProof(key, wire.NodeTopic("n1", wire.KindStatus), b) },
	} {
		if p, err := check(); !errors.Is(err, wire.ErrNotProven) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, err := wire.CheckProof(key, topic, changed); !errors.Is(err, wire.ErrNotProven) {
			t.Errorf("%s: %v", changed, err)
		}
	}
}

func TestOnlyObjectsAreProven(t *testing.T) {
	key := wire.ProofKey(newKey(t), "c", "n")
	for _, message := range []string{"", "{}", "[1]", "null"} {
		if b, err := wire.Prove(key, "t", []byte(message), wire.Proof{}); err == nil {
			t.Errorf("%q: %s", message, b)
		}
	}
	large := []byte(`{"a":"` + string(bytes.Repeat([]byte("x"), wire.MaxMessage-20)) + `"}`)
	if _, err := wire.Prove(key, "t", large, wire.Proof{}); err == nil {
		t.Error("what is larger than a message is proven")
	}
	if wire.ProofKey(nil, "c", "n") != nil {
		t.Error("a node without a key has one")
	}
}

func FuzzCheckProof(f *testing.F) {
	key := wire.ProofKey(newKey(f), "c", "n")
	proven, err := wire.Prove(key, "t", beat(f), wire.Proof{Number: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proven)
	f.Add(beat(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := wire.CheckProof(key, "t", b); err == nil && !bytes.Equal(b, proven) {
			t.Errorf("forged: %q", b)
		}
		if !json.Valid(b) {
			return
		}
		out, err := wire.Prove(key, "t", b, wire.Proof{Number: 2})
		if err != nil {
			return
		}
		if p, err := wire.CheckProof(key, "t", out); err != nil || p.Number != 2 {
			t.Errorf("%q is not proven: %v", out, err)
		}
	})
}

// BenchmarkProve is what a node with fifty containers has to do more a second: a heartbeat, a
// sample of the node and one of its containers.
func BenchmarkProve(b *testing.B) {
	key := wire.ProofKey(newKey(b), "c0ffee", "n1")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	node, err := wire.EncodeNodeSample("n1", otto.NodeSample{Time: now})
	if err != nil {
		b.Fatal(err)
	}
	containers, err := wire.EncodeContainerSamples("n1", now, make([]otto.ContainerSample, 50))
	if err != nil {
		b.Fatal(err)
	}
	heartbeat := beat(b)
	b.Run("messages", func(b *testing.B) {
		for b.Loop() {
			for _, message := range [][]byte{heartbeat, node, containers} {
				if _, err := wire.Prove(key, "otto/nodes/n1/heartbeat", message, wire.Proof{}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	proven, err := wire.Prove(key, "t", heartbeat, wire.Proof{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check of a heartbeat", func(b *testing.B) {
		for b.Loop() {
			if _, err := wire.CheckProof(key, "t", proven); err != nil {
				b.Fatal(err)
			}
		}
	})
}
