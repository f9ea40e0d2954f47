package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/folder"
)

// stateDir is the directory .otto beside otto.yaml: what Otto remembers of the
// cluster on this machine. It is its owner's alone.
type stateDir string

// Files in a stateDir.
const (
	fileCluster     = "cluster.json"   // clusterFile
	fileControl     = "control.json"   // controlFile
	fileView        = "view.json"      // the last otto.Cluster, for when no control plane runs
	fileEvents      = "events.jsonl"   // what has happened
	fileLog         = "control.log"    // of the control plane
	fileVariables   = "variables.json" // fromShell
	fileBuilt       = "built.json"     // builtFile
	fileRecoveryKey = "recovery.key"   // that snapshots are sealed with
	fileCA          = "ca.pem"         // of our broker, for people's tools
	fileTokens      = "tokens.json"    // api.Token, of people on other machines
	fileContext     = "context.json"   // api.Context: the control plane is on another machine
	fileLock        = "start.lock"     // held by the command that changes something
	fileControlLock = "control.lock"   // held by the control plane
	dirStore        = "store"
	dirFolders      = "files" // of the projects that run elsewhere
	dirHistory      = "history"
)

// clusterFile is what otto cluster init remembers. The first prototype had the
// same first four fields.
type clusterFile struct {
	ConfigPath    string    `json:"config_path"`
	InitializedAt time.Time `json:"initialized_at"`
	ClusterName   string    `json:"cluster_name"`
	NodeIDs       []string  `json:"node_ids"`
	// StartedAt is when the cluster was started first; from then on its store must
	// not be empty.
	StartedAt time.Time `json:"started_at,omitzero"`
	// ClusterID is the cluster's, drawn at its first start. It stays when the store is lost.
	ClusterID string `json:"cluster_id,omitempty"`
	// Place is where this directory was when the cluster was started last.
	Place place `json:"place,omitzero"`
}

// controlFile is what a control plane is started with, so that it comes back
// after a crash whatever has become of otto.yaml.
type controlFile struct {
	Version  string      `json:"version"`
	Name     string      `json:"name"`
	MQTT     config.MQTT `json:"mqtt"`
	API      config.API  `json:"api,omitzero"`
	Remote   bool        `json:"remote"` // there are nodes on other machines
	Nodes    int         `json:"nodes"`
	TakeOver bool        `json:"take_over,omitempty"` // nodes enrolled with a former state
	LogLevel slog.Level  `json:"log_level"`
}

func (a *app) dir() (stateDir, error) {
	if a.context != "" {
		return contextDir(a.context)
	}
	path, err := filepath.Abs(a.config)
	if err != nil {
		return "", err
	}
	return stateDir(filepath.Join(filepath.Dir(path), ".otto")), nil
}

func (d stateDir) path(name string) string { return filepath.Join(string(d), name) }

// folders are the files of projects that the control plane keeps.
func (d stateDir) folders() *folder.Store { return folder.NewStore(d.path(dirFolders)) }

// client asks the control plane of this directory, which may be on another machine.
func (d stateDir) client() *api.Client {
	var c api.Context
	if err := d.read(fileContext, &c); err == nil {
		if client, err := c.Client(whoami()); err == nil { // app.dir has seen it
			return client
		}
	}
	return api.NewClient(api.Socket(string(d)), whoami())
}

// whoami is the person who runs this command, also behind sudo.
func whoami() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// read fills value from a file; fs.ErrNotExist says that there is none.
func (d stateDir) read(name string, value any) error {
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, value); err != nil {
		return fmt.Errorf("%s: %w", d.path(name), err)
	}
	return nil
}

// write replaces a file. Its callers hold the lock of who may write it.
func (d stateDir) write(name string, value any) error {
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	return durable.Replace(d.path(name), append(b, '\n'), 0o600)
}

// Who holds the locks of a cluster's directory.
var (
	errCommandRuns      = errors.New("another otto command is changing this cluster right now: wait for it")
	errControlPlaneRuns = errors.New("a control plane of this cluster runs already")
)

// lock keeps two commands that change the cluster apart.
func (d stateDir) lock() (unlock func(), err error) { return d.hold(fileLock, errCommandRuns) }

// lockControlPlane keeps two control planes apart. It is held from the first
// moment to the last, longer than the control plane answers.
func (d stateDir) lockControlPlane() (unlock func(), err error) {
	return d.hold(fileControlLock, errControlPlaneRuns)
}

// hold takes a lock that ends with the process, whatever happens to it.
func (d stateDir) hold(name string, taken error) (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, taken
	}
	return func() { f.Close() }, nil
}

// remember notes what the file says of the cluster.
func (d stateDir) remember(f *config.File, now time.Time) error {
	var c clusterFile
	if err := d.read(fileCluster, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := c.renamed(f); err != nil {
		return err
	}
	c.ConfigPath, c.ClusterName, c.NodeIDs = f.Path, f.Name, nodeIDs(f.Wanted.Nodes)
	if c.InitializedAt.IsZero() {
		c.InitializedAt = now.UTC()
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	var err error
	if c.Place, err = d.place(); err != nil {
		return err
	}
	return d.write(fileCluster, c)
}

func nodeIDs(nodes []otto.Node) []string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	return ids
}
