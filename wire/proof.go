package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/otto-edge/otto"
)

// At a broker that is not the cluster's own, everybody who may use its account can publish on
// the topics of nodes. There a node proves that a message is its own: the last field of the
// JSON object is a message authentication code by a key that it shares with the control plane,
// over the topic and everything before. So the message stays what it was for all who only
// read it. See ADR 21.

// Proof is what a node proves with a message, beside that it is the node's.
type Proof struct {
	Boot uint64 // of the agent, drawn at its start
	// Heard is the newest assignment that the agent had got. An older message that somebody
	// sends again cannot name a newer one.
	Heard  otto.Revision
	Number uint64 // counts the messages of a boot
}

// ErrNotProven says that a message is not proven to be the node's.
var ErrNotProven = errors.New("it is not proven to be the node's")

const (
	proofField = `,"proof":"`
	macSize    = 16 // of SHA-256's 32 bytes
	proofBytes = 4*8 + macSize
	proofSize  = len(proofField) + proofBytes/3*4 + len(`"}`)
)

// ProofKey is what a node proves its messages by: it follows from the key that opens what is
// sealed for it. Nil for a node that has none.
func ProofKey(sealKey []byte, clusterID, node string) []byte {
	if len(sealKey) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, sealKey)
	mac.Write([]byte("otto proof key v1\n" + clusterID + "\n" + node))
	return mac.Sum(nil)
}

// Prove adds a proof to a message of a node, which is an encoded JSON object with a field.
func Prove(key []byte, topic string, message []byte, p Proof) ([]byte, error) {
	body, ok := bytes.CutSuffix(message, []byte("}"))
	if !ok || len(body) < 2 {
		return nil, errors.New("only a message with a field can be proven")
	}
	if len(message)+proofSize > MaxMessage {
		return nil, fmt.Errorf("a message of %d KiB is too large to be proven", len(message)>>10)
	}
	b := make([]byte, 0, proofBytes)
	for _, n := range []uint64{p.Boot, p.Heard.Epoch, p.Heard.Number, p.Number} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, proofMAC(key, topic, body, b)...)
	out := make([]byte, 0, len(body)+proofSize)
	out = append(append(out, body...), proofField...)
	out = base64.RawURLEncoding.AppendEncode(out, b)
	return append(out, `"}`...), nil
}

// CheckProof reads the proof of a message. It is ErrNotProven if there is none, or one that
// was made by another key, for another topic or for another content.
func CheckProof(key []byte, topic string, message []byte) (p Proof, err error) {
	at := len(message) - proofSize
	if at < 2 || len(key) == 0 {
		return p, ErrNotProven
	}
	body, rest := message[:at], message[at:]
	text, ok := bytes.CutPrefix(rest, []byte(proofField))
	if !ok {
		return p, ErrNotProven
	}
	text, ok = bytes.CutSuffix(text, []byte(`"}`))
	if !ok {
		return p, ErrNotProven
	}
	var b [proofBytes]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(b[:], text); err != nil || n != proofBytes {
		return p, ErrNotProven
	}
	said, mac := b[:proofBytes-macSize], b[proofBytes-macSize:]
	if !hmac.Equal(mac, proofMAC(key, topic, body, said)) {
		return p, ErrNotProven
	}
	next := func() (n uint64) {
		n, said = binary.BigEndian.Uint64(said), said[8:]
		return n
	}
	p.Boot = next()
	p.Heard.Epoch, p.Heard.Number = next(), next()
	p.Number = next()
	return p, nil
}

func proofMAC(key []byte, topic string, body, said []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("otto proof v1\n" + topic + "\n"))
	mac.Write(said)
	mac.Write(body)
	return mac.Sum(nil)[:macSize]
}
