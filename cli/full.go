package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/otto-edge/otto/control"
)

// The embedded server does not write to a stream again after one write has
// failed, for as long as it runs: neither the store's nor that of the retained
// messages. So a control plane whose disk was full ends as soon as there is space
// again, and its supervisor starts it anew. That stops and moves nothing.

// errAgain says that a control plane is to be started again.
var errAgain = errors.New("the disk of the control plane's state is or was full: it is to be started again")

const (
	lookForSpace = 5 * time.Second
	spareSpace   = 256 << 10 // bytes that must be free
)

// guardedStore tells when a write was not answered.
type guardedStore struct {
	control.Store
	silent chan struct{}
}

// Put implements control.Store.
func (s guardedStore) Put(ctx context.Context, key string, value any) error {
	err := s.Store.Put(ctx, key, value)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		select {
		case s.silent <- struct{}{}:
		default:
		}
	}
	return err
}

// guard returns errAgain when the disk has been full, or the store silent, and
// there is space.
func (s guardedStore) guard(ctx context.Context, d stateDir) error {
	look := time.NewTicker(lookForSpace)
	defer look.Stop()
	stuck := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.silent:
			stuck = true
		case <-look.C:
		}
		if d.spare() != nil {
			stuck = true
		} else if stuck {
			return errAgain
		}
	}
}

// spare says why a little file cannot be written. It is not synced: it is gone
// before it reaches the disk.
func (d stateDir) spare() error {
	path := d.path("spare")
	return errors.Join(os.WriteFile(path, make([]byte, spareSpace), 0o600), os.Remove(path))
}
