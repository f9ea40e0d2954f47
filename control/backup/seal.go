package backup

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// MaxSealed is how large a sealed backup may be, in bytes.
const MaxSealed = 8 << 20

// A sealed backup is a line that says what it is, the name of its key, a nonce,
// and the compressed file under XChaCha20-Poly1305, which authenticates all of it.
const (
	magic       = "otto sealed backup "
	version     = "1\n"
	keyName     = 8 // bytes
	maxUnpacked = 64 << 20
)

// Seal encrypts the content of a backup's file.
func Seal(k Key, content []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(k.derive("seal"))
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	header := append([]byte(magic+version), k.derive("name")[:keyName]...)
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	sealed := aead.Seal(append(bytes.Clone(header), nonce...), nonce, packed.Bytes(), header)
	if len(sealed) > MaxSealed {
		return nil, fmt.Errorf("a backup of %d MiB is too large to be kept on nodes", len(sealed)>>20)
	}
	return sealed, nil
}

// ErrOtherKey says that a sealed backup was sealed with another key.
var ErrOtherKey = errors.New("this is not its recovery key")

// Open returns the content of a sealed backup's file.
func Open(k Key, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(magic))
	if !ok {
		return nil, errors.New("this is not a sealed backup of Otto")
	}
	rest, ok = bytes.CutPrefix(rest, []byte(version))
	if !ok {
		return nil, errors.New("the sealed backup is of a newer Otto, or damaged: use that version, or another copy")
	}
	aead, err := chacha20poly1305.NewX(k.derive("seal"))
	if err != nil {
		return nil, err
	}
	damaged := errors.New("the sealed backup is damaged: take another copy of it")
	if len(rest) < keyName+aead.NonceSize() {
		return nil, damaged
	}
	name, rest := rest[:keyName], rest[keyName:]
	if !bytes.Equal(name, k.derive("name")[:keyName]) {
		return nil, ErrOtherKey
	}
	nonce, box := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	packed, err := aead.Open(nil, nonce, box, append([]byte(magic+version), name...))
	if err != nil {
		return nil, damaged
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, damaged
	}
	content, err := io.ReadAll(io.LimitReader(z, maxUnpacked))
	if err != nil {
		return nil, damaged
	}
	return content, nil
}

// Sealed reports whether content is a sealed backup, whole or not.
func Sealed(content []byte) bool { return bytes.HasPrefix(content, []byte(magic)) }
