// Package api is the HTTP API of the control plane, over a unix socket that
// only its owner can open: Server and Client side by side.
//
//	GET  /v1/cluster         everything known, as otto.Cluster
//	GET  /v1/cluster?watch   the same, and again after every change, one JSON a line
//	PUT  /v1/wanted?base=N   replaces what is wanted; answers the changes; with &dry only tells them
//	POST /v1/stop            stops all services and agents; answers when done
//	POST /v1/uninstall       the same, and takes Otto off every node; with ?volumes its volumes too
//	POST /v1/nodes/ID/machine the machine that it was is off for good, and it is another one
//	PUT  /v1/nodes/ID/intent what a person wants of a node, as otto.Intent
//	POST /v1/services/NAME/move?to=ID   moves an instance; with &advised where that is advised; answers an otto.Decision
//	DELETE /v1/nodes/ID      takes a node out of the cluster at once
//	GET  /v1/events?after=N  the events numbered above N, one JSON a line; with &follow also those to come
//	GET  /v1/history?node=ID|service=NAME  what was kept of one, as otto.History; also metric (several), since, until,
//	                         resolution and limit as otto.HistoryQuery has them; the next page is since its next
//	GET  /v1/backup          everything kept, as a backup's file
//	POST /v1/nodes/ID/volumes/NAME/adopt  makes a volume of a node the cluster's, whoever made it
//	POST /v1/folders/lacking which of these lists of files, by their keys, the control plane has no files of
//	PUT  /v1/folders         the files of one of them, as a pack of package folder
//	POST /v1/plan            what would change if this otto.Wanted were applied, as otto.Plan
//	POST /v1/services/NAME/restart      restarts its instances one after the other
//	POST /v1/services/NAME/refresh      makes its containers anew from what its image is in the registry
//	POST /v1/services/NAME/accept-data  has it go on with what is there of the data that it waits for
//	GET  /v1/services/NAME/explanation  why a service is where it is, as otto.Explanation
//	GET  /v1/nodes/ID/explanation       why a node is as it is, likewise
//	POST /v1/rotate          renews all keys of the cluster; with ?compromised those of before end at once
//	POST /v1/lead            makes a control plane that has stepped down decide again
//	POST /v1/exec            run the command of a shell.Query: the connection is its frames from then on
//	POST /v1/run             likewise in a container that is made for it and removed afterwards
//	POST /v1/logs            the logs that a logs.Query asks for, one logs.Entry a line, as they come
//	GET  /v1/process         the control plane as a process, as Process
//	GET  /v1/goroutines      what each of its goroutines does, as text
//	POST /v1/exit            ends the control plane
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
