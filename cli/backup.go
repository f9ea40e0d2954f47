package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/wire"
)

// keptConfig is the name of otto.yaml in a backup, whatever it is called here.
const keptConfig = "otto.yaml"

func newBackup(a *app) *cobra.Command {
	var recoveryKey bool
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything that must not be lost into one file",
		Long: `Backup writes the cluster's state, its events and otto.yaml into one file, from
which otto cluster restore brings the cluster back, on another machine too. It
needs no running control plane. The file holds the cluster's signing key and the
environments of its services: keep it where only you can read it. Files that
otto.yaml names, such as an env_file or an SSH key, are not in it, and neither is the
history of otto metrics, which is large and brings nothing back: see docs/history.md.

Beside that the control plane leaves sealed snapshots with two nodes on other
machines, by itself. They can be opened with the recovery key alone.`,
		Example: `  otto cluster backup ~/home.backup
  otto cluster backup --recovery-key`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 && !recoveryKey {
				return fmt.Errorf("%w: %s needs one file: %s", errUsage, c.CommandPath(), c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			if recoveryKey {
				return a.showRecoveryKey(d)
			}
			return a.backup(c.Context(), d, args[0])
		},
	}
	c.Flags().BoolVar(&recoveryKey, "recovery-key", false, "only print the key that snapshots are sealed with")
	return c
}

func (a *app) backup(ctx context.Context, d stateDir, path string) error {
	if former, err := os.ReadFile(path); err == nil {
		if _, err := backup.Decode(former); err != nil {
			return fmt.Errorf("%s is there already and is no backup of Otto: name another file", path)
		}
	}
	content, err := d.client().Backup(ctx)
	if errors.Is(err, api.ErrNotRunning) {
		content, err = a.storedBackup(ctx, d)
	}
	if err != nil {
		return err
	}
	b, err := backup.Decode(content)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, content, 0o600); err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]any{"file": path, "cluster": b.Cluster, "made": b.Made, "bytes": len(content)})
	}
	_, err = fmt.Fprintf(a.out, "%s is backed up in %s (%s, %s).\n", b.Cluster, path, size(uint64(len(content))), count(len(b.Events), "event"))
	return err
}

// storedBackup makes a backup without a control plane, and keeps one from
// starting meanwhile.
func (a *app) storedBackup(ctx context.Context, d stateDir) ([]byte, error) {
	if !d.hasStore() {
		return nil, errors.New("no cluster has been started here: run `otto cluster start`")
	}
	unlock, err := d.lockControlPlane()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var b backup.Backup
	err = withStore(ctx, d.path(dirStore), false, func(s *store.Store) (err error) {
		b, err = control.StoredBackup(ctx, s, d.folders())
		return explainLost(d, err)
	})
	if err != nil {
		return nil, err
	}
	b.Made, b.By = time.Now().UTC(), a.version
	if b.Events, err = journal.Read(d.path(fileEvents)); err != nil {
		return nil, err
	}
	if b.Files, err = d.files(); err != nil {
		return nil, err
	}
	return backup.Encode(b)
}

// withStore opens a store that nobody has open.
func withStore(ctx context.Context, dir string, create bool, do func(*store.Store) error) error {
	b, err := broker.Start(ctx, broker.Options{Dir: dir})
	if err != nil {
		return err
	}
	nc, err := b.Conn()
	if err != nil {
		return errors.Join(err, b.Close())
	}
	s, err := store.Open(ctx, nc, create)
	if err == nil {
		err = do(s)
	}
	return errors.Join(err, b.Close())
}

// hasStore reports whether there is a stored state, whatever is in it.
func (d stateDir) hasStore() bool {
	entries, err := os.ReadDir(d.path(dirStore))
	return err == nil && len(entries) > 0
}

// files are what belongs into a backup beside the store.
func (d stateDir) files() (map[string]string, error) {
	var c clusterFile
	if err := d.read(fileCluster, &c); err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, path := range map[string]string{
		keptConfig: c.ConfigPath, fileCluster: d.path(fileCluster), fileRecoveryKey: d.path(fileRecoveryKey),
	} {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the state is worth keeping without it
		}
		if err != nil {
			return nil, err
		}
		files[name] = string(b)
	}
	return files, nil
}

// recoveryKey reads the key that snapshots are sealed with.
func (d stateDir) recoveryKey() (backup.Key, error) {
	b, err := os.ReadFile(d.path(fileRecoveryKey))
	if err != nil {
		return backup.Key{}, err
	}
	k, err := backup.ParseKey(string(b))
	if err != nil {
		return k, fmt.Errorf("%s: %w", d.path(fileRecoveryKey), err)
	}
	return k, nil
}

// ensureRecoveryKey draws a recovery key if there is none, and shows it then. It is for
// a control plane that runs: a key of one that could not start would open nothing.
func (a *app) ensureRecoveryKey(d stateDir, settings controlFile) error {
	if !settings.Remote {
		return nil
	}
	if _, err := d.recoveryKey(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k := backup.NewKey()
	if err := durable.Replace(d.path(fileRecoveryKey), []byte(k.String()+"\n"), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "recovery key: %s (keep it elsewhere: with it, `otto cluster restore --from NODE` brings the cluster back if this machine is lost)\n", k)
	return nil
}

func (a *app) showRecoveryKey(d stateDir) error {
	k, err := d.recoveryKey()
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no recovery key: the first `otto cluster start` with nodes on other machines makes one")
	}
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]string{"recovery_key": k.String()})
	}
	_, err = fmt.Fprintln(a.out, k)
	return err
}

// snapshots seals backups for nodes to keep. It implements control.Snapshots.
type snapshots struct {
	dir   stateDir
	fleet *bootstrap.Fleet
}

func (s snapshots) Seal(content []byte) ([]byte, error) {
	k, err := s.dir.recoveryKey()
	if err != nil {
		return nil, err
	}
	return backup.Seal(k, content)
}

func (s snapshots) Put(ctx context.Context, n otto.Node, by wire.Authority, sealed []byte) error {
	return s.fleet.PutSnapshot(ctx, n, by, sealed)
}

// backedUp reads a file of a backup into value.
func backedUp(b backup.Backup, name string, value any) error {
	text, ok := b.Files[name]
	if !ok {
		return fs.ErrNotExist
	}
	return json.Unmarshal([]byte(text), value)
}
