// Package api is the HTTP API of the control plane, over a unix socket that
// only its owner can open: Server and Client side by side.
//
//	GET  /v1/cluster         everything known, as otto.Cluster
//	GET  /v1/cluster?watch   the same, and again after every change, one JSON a line
//	PUT  /v1/wanted?base=N   replaces what is wanted; answers the changes; with &dry only tells them
//	POST /v1/stop            stops all services and agents; answers when done
//	POST /v1/uninstall       the same, and takes Otto off every node; with ?volumes its volumes too
//	POST /v1/exit            ends the control plane
//
// An error is a status of 400 or above with one or more lines of text.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/otto-edge/otto"
)

// Plane is what the server serves. Package control has one.
type Plane interface {
	Cluster() *otto.Cluster
	Next() (*otto.Cluster, <-chan struct{})
	Apply(ctx context.Context, w otto.Wanted, base uint64, dryRun bool) ([]otto.Change, error)
	Stop(ctx context.Context) error
	Uninstall(ctx context.Context, volumes bool) error
}

// ErrNotRunning says that no control plane answers.
var ErrNotRunning = errors.New("the control plane is not running")

// Socket is the path of the socket for the cluster whose state is in dir. A path
// too long for a socket address (108 bytes on Linux, 104 elsewhere) moves to the
// user's runtime directory.
func Socket(dir string) string {
	path := filepath.Join(dir, "control.sock")
	if len(path) < 100 {
		return path
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = os.TempDir()
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(base, "otto-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:6]), "control.sock")
}
