package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// The agents are built before otto, by make. Without them everything compiles,
// and only nodes cannot be installed. Hidden files, which make is still writing,
// are left out.
//
//go:embed binaries
var embedded embed.FS

// Binary is the agent for one architecture, kept compressed.
type Binary struct {
	Hash string // the first 16 hex digits of the SHA-256
	Size int64  // bytes
	gz   []byte
}

// NewBinary reads a compressed agent.
func NewBinary(gz []byte) (Binary, error) {
	b := Binary{gz: gz}
	r, err := b.open()
	if err != nil {
		return b, err
	}
	sum := sha256.New()
	b.Size, err = io.Copy(sum, r)
	b.Hash = hex.EncodeToString(sum.Sum(nil))[:16]
	return b, err
}

func (b Binary) open() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(b.gz)) }

// Embedded returns the agents inside this program, by GOARCH.
func Embedded() func(arch string) (Binary, error) { return binariesOf(embedded) }

func binariesOf(files fs.FS) func(arch string) (Binary, error) {
	var mu sync.Mutex
	cache := map[string]Binary{}
	return func(arch string) (Binary, error) {
		mu.Lock()
		defer mu.Unlock()
		if b, ok := cache[arch]; ok {
			return b, nil
		}
		gz, err := fs.ReadFile(files, "binaries/otto-agent-linux-"+arch+".gz")
		if errors.Is(err, fs.ErrNotExist) {
			return Binary{}, fmt.Errorf("this build of otto carries no agent for %s: build it with `make build`", arch)
		}
		if err != nil {
			return Binary{}, err
		}
		b, err := NewBinary(gz)
		if err != nil {
			return b, fmt.Errorf("the agent for %s inside this build of otto is damaged: %w", arch, err)
		}
		cache[arch] = b
		return b, nil
	}
}
