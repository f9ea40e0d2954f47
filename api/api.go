// Package api is the HTTP API of the control plane: Server and Client side by side.
//
// Over a unix socket that only its owner can open all of Server.routes is there. On request
// it is served to other machines too (Remote): with TLS, to who has a token, as far as the
// token's role goes.
//
// The header Otto-By says who asks, for the events.
//
// An error is a status of 400 or above with one or more lines of text.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/shell"
)

// Plane is what the server serves. Package control has one.
type Plane interface {
	Cluster() *otto.Cluster
	Next() (*otto.Cluster, <-chan struct{})
	Apply(ctx context.Context, w otto.Wanted, base uint64, dryRun bool) ([]otto.Change, error)
	Plan(ctx context.Context, w otto.Wanted) (otto.Plan, error)
	Restart(ctx context.Context, service string) error
	Refresh(ctx context.Context, service string) error
	AcceptData(ctx context.Context, service string) error
	AdoptVolume(ctx context.Context, node, volume string) error
	Adopt(ctx context.Context, of otto.Adoption) error
	Release(ctx context.Context, ask otto.ReleaseRequest) error
	Stop(ctx context.Context) error
	Uninstall(ctx context.Context, volumes bool) error
	Intend(ctx context.Context, node string, intent otto.Intent) error
	Remove(ctx context.Context, node string) error
	AcceptMachine(ctx context.Context, node string) error
	Rekey(ctx context.Context, node string) error
	Rotate(ctx context.Context, compromised bool) error
	TakeOver(ctx context.Context) error
	Move(ctx context.Context, name, to string, advised bool) (otto.Decision, error)
	ExplainService(ctx context.Context, name string) (otto.Explanation, error)
	ExplainNode(ctx context.Context, id string) (otto.Explanation, error)
	Events(after uint64) ([]otto.Event, <-chan struct{})
	// Note keeps an event of what somebody does past the control plane.
	Note(ctx context.Context, e otto.Event) error
	Backup(ctx context.Context) ([]byte, error)
	LackFolders(ctx context.Context, manifests map[string][]byte) ([]string, error)
	PutFolder(ctx context.Context, pack io.Reader) error
}

// Nodes reaches what runs on nodes.
type Nodes interface {
	// Logs calls take with one entry after the other, and idle when there is none for
	// the moment.
	Logs(ctx context.Context, q logs.Query, take func(logs.Entry) error, idle func() error) error
	// Exec starts a command in a container. The connection ends when ctx does.
	Exec(ctx context.Context, q shell.Query) (shell.Conn, error)
	// Once runs a container of a service for a command. The connection ends when ctx does.
	Once(ctx context.Context, q shell.Query) (shell.Conn, error)
}

// headerBy names who asks.
const headerBy = "Otto-By"

// ErrNotRunning says that no control plane answers.
var ErrNotRunning = errors.New("the control plane is not running")

// socketDir begins the name of a directory for a socket whose own path is too long.
const socketDir = "otto-"

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
	return filepath.Join(base, socketDir+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:6]), "control.sock")
}
