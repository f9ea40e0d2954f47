package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/api"
	"github.com/otto-edge/otto/bootstrap"
	"github.com/otto-edge/otto/control"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/control/store"
	"github.com/otto-edge/otto/durable"
	"github.com/otto-edge/otto/wire"
)

type restoreOptions struct {
	from, cluster   string
	identityFile    string
	recoveryKeyFile string
	acceptHostKeys  bool
	dryRun, yes     bool
	startEmpty      bool
}

func newRestore(a *app) *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "Bring a cluster back from a backup, on another machine too",
		Long: `Restore brings a cluster back whose control plane's machine or directory is lost:
from the file of otto cluster backup, or with --from from the newest snapshot that
a node has, which needs the recovery key.

It looks at every node first: what really runs counts more than the backup, so
that an old one moves, starts and stops nothing by itself. It shows what it
found and what otto cluster start will do then, and asks. With --dry-run it stops
there. In a directory without an otto.yaml it writes the one of the backup; one
that is there is what counts, and is left as it is.`,
		Example: `  otto cluster restore ~/home.backup --dry-run
  otto cluster restore ~/home.backup
  otto cluster restore --from pi@192.168.1.20`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || (len(args) == 1) == (o.from != "") {
				return fmt.Errorf("%w: %s needs one file, or --from", errUsage, c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.restore(c.Context(), strings.Join(args, ""), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "[user@]host of a node that has a snapshot, instead of a file")
	f.StringVar(&o.cluster, "cluster", "", "name of the cluster, if that node has snapshots of several")
	f.StringVar(&o.identityFile, "identity-file", "", "SSH key for --from, if your SSH configuration does not say it")
	f.StringVar(&o.recoveryKeyFile, "recovery-key-file", "",
		"file with the recovery key, instead of being asked for it")
	f.BoolVar(&o.acceptHostKeys, "accept-new-host-keys", false,
		"accept SSH host keys that are not known yet without asking")
	f.BoolVar(&o.dryRun, "dry-run", false, "only show what was found and what would follow; change nothing anywhere")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.startEmpty, "start-empty", false, "let services whose data is not there start on empty data")
	return c
}

func (a *app) restore(ctx context.Context, file string, o restoreOptions) error {
	d, err := a.dir()
	if err != nil {
		return err
	}
	if !o.dryRun {
		unlock, err := d.lockForRestore()
		if err != nil {
			return err
		}
		defer unlock()
	}
	if err := d.mayRestore(ctx); err != nil {
		return err
	}
	fleet := bootstrap.New(bootstrap.Options{Log: slog.New(slog.DiscardHandler)})
	defer fleet.Close()
	b, err := a.findBackup(ctx, d, fleet, file, o)
	if err != nil {
		return err
	}
	id, err := control.BackupID(b)
	if err != nil {
		return err
	}
	if err := d.sameCluster(b.Cluster, id); err != nil {
		return err
	}
	wanted, err := a.wantedFor(b)
	if err != nil {
		return err
	}
	nodes, err := control.RestoreNodes(b, wanted)
	if err != nil {
		return err
	}
	if !o.dryRun || o.acceptHostKeys {
		if err := a.trust(ctx, nodes, o.acceptHostKeys); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.err, "looking at %s\n", count(len(nodes), "node"))
	r, err := control.Reconcile(b, wanted, lookAt(ctx, fleet, nodes, b.Cluster))
	if err != nil {
		return errors.Join(err, a.leaveConfig(b, o))
	}
	if err := a.showRestore(b, r, o); err != nil {
		return err
	}
	if err := lacking(r.Findings, o); err != nil {
		return errors.Join(err, a.leaveConfig(b, o))
	}
	if o.dryRun {
		return nil
	}
	if o.startEmpty {
		if err := r.StartEmpty(); err != nil {
			return err
		}
	}
	if err := a.agreed(b.Cluster, o); err != nil {
		return err
	}
	if err := a.writeRestored(ctx, d, b, r); err != nil {
		return err
	}
	if !a.json() {
		fmt.Fprintf(a.out, "%s is restored. Next: otto cluster start\n", b.Cluster)
	}
	return nil
}

// lockForRestore keeps commands and control planes of this directory away.
func (d stateDir) lockForRestore() (unlock func(), err error) {
	first, err := d.lock()
	if err != nil {
		return nil, err
	}
	second, err := d.lockControlPlane()
	if err != nil {
		first()
		return nil, errRestoreRuns
	}
	return func() { second(); first() }, nil
}

var errRestoreRuns = errors.New(
	"a control plane of this directory runs, so nothing is lost here: restore in another directory, or end it first",
)

// mayRestore says why nothing may be restored here.
func (d stateDir) mayRestore(ctx context.Context) error {
	if _, err := d.client().Cluster(ctx); !errors.Is(err, api.ErrNotRunning) {
		return errRestoreRuns
	}
	if d.hasStore() {
		return fmt.Errorf("there is a state here already: to put a backup in its place, move %s away first",
			d.path(dirStore))
	}
	return nil
}

// sameCluster says why a cluster cannot be restored where another one was.
func (d stateDir) sameCluster(name, id string) error {
	var c clusterFile
	err := d.read(fileCluster, &c)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case c.ClusterID != "" && c.ClusterID != id:
		return fmt.Errorf(
			"this is the directory of a cluster %s with the id %s, and the backup is of one with the id %s: restore it in another directory",
			c.ClusterName,
			c.ClusterID,
			id,
		)
	case c.ClusterName != "" && c.ClusterName != name:
		return fmt.Errorf(
			"this is the directory of the cluster %s, and the backup is of %s: restore it in another directory",
			c.ClusterName,
			name,
		)
	}
	return nil
}

// findBackup reads the backup from its file or from a node.
func (a *app) findBackup(ctx context.Context, d stateDir, fleet *bootstrap.Fleet, file string,
	o restoreOptions,
) (backup.Backup, error) {
	if file == "" {
		return a.fetchBackup(ctx, d, fleet, o)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return backup.Backup{}, err
	}
	if backup.Sealed(content) { // a snapshot that somebody has copied from a node
		key, err := a.askRecoveryKey(d, o)
		if err != nil {
			return backup.Backup{}, err
		}
		if content, err = backup.Open(key, content); err != nil {
			return backup.Backup{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	b, err := backup.Decode(content)
	if err != nil {
		return b, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// fetchBackup takes the newest whole snapshot from a node.
func (a *app) fetchBackup(ctx context.Context, d stateDir, fleet *bootstrap.Fleet,
	o restoreOptions,
) (b backup.Backup, err error) {
	node, err := bootstrap.Target(o.from)
	if err != nil {
		return b, err
	}
	node.IdentityFile = o.identityFile
	if !o.dryRun || o.acceptHostKeys {
		if err := a.trust(ctx, []otto.Node{node}, o.acceptHostKeys); err != nil {
			return b, err
		}
	}
	sealed, err := fleet.Snapshots(ctx, node, o.cluster, backup.MaxSealed)
	if err != nil {
		return b, err
	}
	key, err := a.askRecoveryKey(d, o)
	if err != nil {
		return b, err
	}
	for _, s := range sealed {
		var content []byte
		content, err = backup.Open(key, s)
		if err == nil {
			if b, err = backup.Decode(content); err == nil {
				return b, nil
			}
		}
		fmt.Fprintf(a.err, "a snapshot on %s cannot be used: %s\n", o.from, wire.Plain(err.Error()))
	}
	return b, fmt.Errorf("no snapshot on %s can be used: try another node", o.from)
}

// askRecoveryKey takes the recovery key from a file, from this directory, or from
// the person in front of it.
func (a *app) askRecoveryKey(d stateDir, o restoreOptions) (backup.Key, error) {
	if o.recoveryKeyFile != "" {
		b, err := os.ReadFile(o.recoveryKeyFile)
		if err != nil {
			return backup.Key{}, err
		}
		return backup.ParseKey(string(b))
	}
	if k, err := d.recoveryKey(); !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if !isTerminal(a.in) {
		return backup.Key{}, errors.New(
			"the snapshot is sealed: run this in a terminal to be asked for the recovery key, or pass --recovery-key-file",
		)
	}
	fmt.Fprint(a.err, "Recovery key: ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return backup.Key{}, err
	}
	return backup.ParseKey(line)
}

// wantedFor is what the otto.yaml here wants; nil without one.
func (a *app) wantedFor(b backup.Backup) (*otto.Wanted, error) {
	if _, err := os.Stat(a.config); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f, err := a.load()
	if err != nil {
		return nil, err
	}
	if f.Name != b.Cluster {
		return nil, fmt.Errorf("%s is of the cluster %s, and the backup is of %s: restore it in another directory",
			a.config, f.Name, b.Cluster)
	}
	built, err := control.Built(b)
	if err != nil {
		return nil, err
	}
	for _, of := range f.Builds { // nothing is built here, and what runs is kept
		if s, was := built[of.Services[0]]; was {
			f.SetBuilt(of, s.Spec.Image, s.Platform)
		}
	}
	return &f.Wanted, nil
}

// lookAt looks at all nodes at once.
func lookAt(ctx context.Context, fleet *bootstrap.Fleet, nodes []otto.Node, cluster string) map[string]control.Sight {
	sights := map[string]control.Sight{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(16)
	for _, n := range nodes {
		g.Go(func() error {
			look, err := fleet.Look(ctx, n, cluster)
			mu.Lock()
			defer mu.Unlock()
			sights[n.ID] = control.Sight{Look: look, Err: err}
			return nil
		})
	}
	_ = g.Wait() // they return none
	return sights
}

func (a *app) showRestore(b backup.Backup, r control.Restored, o restoreOptions) error {
	if a.json() {
		return a.printJSON(
			map[string]any{"cluster": b.Cluster, "made": b.Made, "dry_run": o.dryRun, "findings": r.Findings},
		)
	}
	fmt.Fprintf(a.out, "Backup of %s of %s, %s ago, by otto %s.\n\n", b.Cluster, b.Made.Local().Format(time.DateTime),
		age(time.Now(), b.Made), b.By)
	rows := [][]string{{"NODE", "SERVICE", "THEN", "WHY"}}
	for _, f := range r.Findings {
		rows = append(rows, []string{dash(f.Node), dash(f.Instance), verdictText(f.Verdict), f.Reason})
	}
	if len(rows) > 1 {
		table(a.out, false, 0, rows)
		fmt.Fprintln(a.out)
	}
	return nil
}

// verdictText says what happens now, and what `otto cluster start` would do.
func verdictText(v control.Verdict) string {
	switch v {
	case control.Starts, control.Changes, control.Stops, control.Joins, control.Leaves:
		return "would " + strings.TrimSuffix(string(v), "s")
	case control.Unseen:
		return "not seen"
	case control.Lacks:
		return "has no data"
	default:
		return string(v)
	}
}

// lacking is an error if a service would start on empty data and nobody wants that.
func lacking(findings []control.Finding, o restoreOptions) error {
	var names []string
	for _, f := range findings {
		if f.Verdict == control.Lacks {
			names = append(names, f.Instance)
		}
	}
	if len(names) == 0 || o.startEmpty {
		return nil
	}
	return fmt.Errorf(
		"%s would start on empty data: bring the data back to its node, correct the node in otto.yaml, or pass --start-empty",
		strings.Join(names, ", "),
	)
}

// leaveConfig writes the otto.yaml of a backup that could not be restored, for a
// person to correct.
func (a *app) leaveConfig(b backup.Backup, o restoreOptions) error {
	if o.dryRun {
		return nil
	}
	written, err := a.writeConfig(b)
	if written {
		fmt.Fprintf(a.err, "the otto.yaml of the backup is at %s now: correct it there and run this again\n", a.config)
	}
	return err
}

// writeConfig writes the backup's otto.yaml if there is none here.
func (a *app) writeConfig(b backup.Backup) (written bool, err error) {
	text, ok := b.Files[keptConfig]
	if _, err := os.Stat(a.config); !ok || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, durable.Replace(a.config, []byte(text), 0o600)
}

// agreed asks whether to go on; an error says that nobody wants that.
func (a *app) agreed(cluster string, o restoreOptions) error {
	if o.yes {
		return nil
	}
	return a.agree(fmt.Sprintf("Restore %s like this?", cluster), "nothing was restored")
}

// writeRestored writes everything; the store last and in one step. Killed before
// that, there is a cluster that has been started and has no store, which starts
// nothing and can be restored again.
func (a *app) writeRestored(ctx context.Context, d stateDir, b backup.Backup, r control.Restored) error {
	if _, err := a.writeConfig(b); err != nil {
		return err
	}
	if _, err := os.Stat(a.config); err != nil {
		return fmt.Errorf("the backup has no otto.yaml: write one first: %w", err)
	}
	var c clusterFile
	if err := backedUp(b, fileCluster, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the backup's %s: %w", fileCluster, err)
	}
	path, err := filepath.Abs(a.config)
	if err != nil {
		return err
	}
	c.ConfigPath, c.ClusterName = path, b.Cluster
	if c.StartedAt.IsZero() {
		c.StartedAt = b.Made
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	if c.Place, err = d.place(); err != nil {
		return err
	}
	if err := d.write(fileCluster, c); err != nil {
		return err
	}
	if key, ok := b.Files[fileRecoveryKey]; ok {
		if _, err := d.recoveryKey(); errors.Is(err, fs.ErrNotExist) {
			if err := durable.Replace(d.path(fileRecoveryKey), []byte(key), 0o600); err != nil {
				return err
			}
		}
	}
	if err := d.folders().Restore(b.Folders); err != nil {
		return err
	}
	if err := journal.Restore(d.path(fileEvents), append(slices.Clone(b.Events), restoredEvent(b))); err != nil {
		return err
	}
	fresh := d.path(dirStore + ".restore")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	err = withStore(ctx, fresh, true, func(s *store.Store) error { return control.Restore(ctx, s, r.Documents) })
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(d.path(dirStore)), os.Rename(fresh, d.path(dirStore)),
		os.Remove(fresh+".lock")); err != nil {
		return err
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func restoredEvent(b backup.Backup) otto.Event {
	e := otto.Event{
		Seq:     1,
		Time:    time.Now().UTC(),
		Kind:    "restored",
		By:      whoami(),
		Message: "restored from a backup of " + b.Made.Format(time.RFC3339),
	}
	if n := len(b.Events); n > 0 {
		e.Seq = b.Events[n-1].Seq + 1
	}
	return e
}
