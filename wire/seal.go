package wire

import (
	"compress/gzip"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/otto-edge/otto"
)

// The contents of files travel in an assignment, which the broker keeps and the node
// writes to its disk. They are sealed for the node: compressed, and encrypted to a key of
// its own by HPKE (RFC 9180: X25519, HKDF-SHA256, ChaCha20-Poly1305). Who has sent them is
// told by the signature around them.

var errSealKey = errors.New("the node has no key to open its secrets with")

// maxContents bounds what is opened, in bytes.
const maxContents = 16 << 20

// packers keeps writers, each with most of a megabyte of tables.
var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }} //nolint:gochecknoglobals // a cache

// NewSealKey draws a node's key.
func NewSealKey() ([]byte, error) {
	key, err := sealKEM().GenerateKey()
	if err != nil {
		return nil, err
	}
	return key.Bytes()
}

// SealKeyName names a key without giving it away; empty for none.
func SealKeyName(key []byte) string {
	private, err := openSealKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(private.PublicKey().Bytes())
	return hex.EncodeToString(sum[:8])
}

// SealContents encrypts contents for the node with this key.
func SealContents(key []byte, clusterID, node string, contents otto.Contents) ([]byte, error) {
	private, err := openSealKey(key)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(contents.Plain())
	if err != nil {
		return nil, err
	}
	var packed strings.Builder
	z, _ := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(&packed)
	_, err = z.Write(plain)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, err
	}
	return hpke.Seal(private.PublicKey(), hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(clusterID, node),
		[]byte(packed.String()))
}

// OpenContents is the inverse of SealContents.
func OpenContents(key []byte, clusterID, node string, sealed []byte) (otto.Contents, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	private, err := openSealKey(key)
	if err != nil {
		return nil, err
	}
	packed, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(clusterID, node), sealed)
	if err != nil {
		return nil, errors.New("secrets: they are not sealed for this key of the node")
	}
	z, err := gzip.NewReader(strings.NewReader(string(packed)))
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxContents))
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	var plain map[string][]byte
	if json.Unmarshal(b, &plain) != nil { // whose error would quote them
		return nil, errors.New("secrets: they cannot be read")
	}
	return otto.NewContents(plain), nil
}

func sealKEM() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

func sealInfo(clusterID, node string) []byte {
	return []byte("otto contents v1\n" + clusterID + "\n" + node)
}

func openSealKey(key []byte) (hpke.PrivateKey, error) {
	if len(key) == 0 {
		return nil, errSealKey
	}
	private, err := sealKEM().NewPrivateKey(key)
	if err != nil {
		return nil, errSealKey
	}
	return private, nil
}
