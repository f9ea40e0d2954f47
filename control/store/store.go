// Package store keeps what must survive: a few JSON documents in a JetStream
// key-value bucket of the embedded server, in .otto/ beside otto.yaml. Every
// write is synced to disk before it is acknowledged.
//
// Only intent is kept (what is wanted, where it was placed, who is enrolled);
// facts are learned again from what nodes report. A bucket that was there
// before and is gone, or holds something unreadable, is otto.ErrStateLost: it
// never reads as "nothing should run".
package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/otto-edge/otto"
)

const (
	bucket   = "otto"
	maxBytes = 64 << 20
	history  = 5
	// packFrom is the size in bytes from which a document is compressed: the server
	// takes no message above 260 KiB, and what a thousand nodes run is more than that.
	packFrom = 64 << 10
	// maxUnpacked bounds a document that is read, in bytes.
	maxUnpacked = 64 << 20
)

// Store is a bucket of documents.
type Store struct{ kv jetstream.KeyValue }

// Open returns the store behind nc. With create it is made if it is not there;
// without, a missing one is otto.ErrStateLost.
func Open(ctx context.Context, nc *nats.Conn, create bool) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if !create {
			return nil, otto.ErrStateLost
		}
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, History: history, MaxBytes: maxBytes, Storage: jetstream.FileStorage,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &Store{kv}, nil
}

// Get reads the document at key into value and reports whether there is one.
func (s *Store) Get(ctx context.Context, key string, value any) (found bool, err error) {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s from the store: %w", key, err)
	}
	b, err := unpack(e.Value())
	if err == nil {
		err = json.Unmarshal(b, value)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %s is unreadable: %w", otto.ErrStateLost, key, err)
	}
	return true, nil
}

// Put writes the document at key. It is on disk when Put returns.
func (s *Store) Put(ctx context.Context, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := s.kv.Put(ctx, key, pack(b)); err != nil {
		return fmt.Errorf("write %s to the store: %w", key, err)
	}
	return nil
}

// gzipMagic begins what is compressed; JSON begins with none of it.
const gzipMagic = "\x1f\x8b"

func pack(b []byte) []byte {
	if len(b) < packFrom {
		return b
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // to memory: cannot fail
	_ = z.Close()
	return out.Bytes()
}

func unpack(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(gzipMagic)) {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err == nil && len(out) > maxUnpacked {
		err = fmt.Errorf("it is larger than %d MiB", maxUnpacked>>20)
	}
	return out, err
}
