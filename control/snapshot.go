package control

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/wire"
)

// The disk of the control plane's machine may die with it. So a sealed backup, a
// snapshot, is left with two nodes on other machines, soon after each change of
// the documents. It goes over SSH and never over MQTT, where others listen. That
// it fails disturbs nothing: it is an event, and tried again.

// Snapshots seals backups and leaves them with nodes.
type Snapshots interface {
	Seal(content []byte) ([]byte, error)
	Put(ctx context.Context, n otto.Node, by wire.Authority, sealed []byte) error
}

const (
	snapshotNodes = 2                // that keep one
	snapshotAfter = 5 * time.Second  // of the first change that is not in one
	snapshotEvery = 10 * time.Minute // for events and files, if there are new ones
	snapshotAgain = time.Minute      // after one that failed
)

// snapshots is what the loop knows of them.
type snapshots struct {
	stored  uint64 // writes to the store that have been noticed
	due     time.Time
	busy    bool
	kept    map[string]keptSnapshot // by node
	problem string                  // why none could be made
}

// keptSnapshot is what a node has, as far as this control plane knows.
type keptSnapshot struct {
	content [sha256.Size]byte // hash of it
	at      time.Time         // zero if none has arrived
	tried   time.Time
	problem string // why the last one did not arrive
}

// noting counts what is written to a store.
type noting struct {
	Store
	writes uint64
}

// Put implements Store.
func (s *noting) Put(ctx context.Context, key string, value any) error {
	s.writes++ // also if it fails: it may have been written
	return s.Store.Put(ctx, key, value)
}

// snapshot begins snapshots when they are due. The loop calls it all the time.
func (p *Plane) snapshot(now time.Time) {
	s := &p.snapshots
	if p.Snapshots == nil || s.busy {
		return
	}
	maps.DeleteFunc(s.kept, func(id string, _ keptSnapshot) bool { return p.nodes[id] == nil })
	if s.stored != p.stored.writes {
		s.stored = p.stored.writes
		s.due = earliest(s.due, now.Add(snapshotAfter))
	}
	nodes := chooseSnapshotNodes(p.snapshotCandidates(now))
	for _, id := range nodes {
		if k := s.kept[id]; k.at.IsZero() && k.problem == "" {
			s.due = earliest(s.due, now.Add(snapshotAfter))
		}
	}
	if now.Before(s.due) || len(nodes) == 0 {
		return
	}
	s.due = now.Add(snapshotEvery)
	b, err := p.backup()
	if err != nil {
		p.Log.Error("no snapshot", "err", err)
		s.problem, p.dirty = err.Error(), true
		return
	}
	s.problem = ""
	content := contentHash(b)
	nodes = slices.DeleteFunc(nodes, func(id string) bool { return s.kept[id].content == content })
	if len(nodes) == 0 {
		return
	}
	b.Made = now.UTC()
	s.busy = true
	var to []otto.Node
	for _, id := range nodes {
		to = append(to, p.nodes[id].Node)
	}
	by, keys := p.authority(), p.desired.folderKeys()
	p.background.Go(func() {
		if err := p.addFolders(&b, keys, maxSnapshotFolders); err != nil {
			p.Log.Warn("a snapshot has no files of stacks", "err", err)
		}
		p.leave(b, content, to, by)
	})
}

// leave leaves a snapshot with nodes, one after the other.
func (p *Plane) leave(b backup.Backup, hash [sha256.Size]byte, to []otto.Node, by wire.Authority) {
	plain, err := backup.Encode(b)
	var sealed []byte
	if err == nil {
		sealed, err = p.Snapshots.Seal(plain)
	}
	results := map[string]error{}
	for _, n := range to {
		results[n.ID] = err
		if err == nil {
			results[n.ID] = p.Snapshots.Put(p.ctx, n, by, sealed)
		}
	}
	p.tell(p.ctx, func() { p.left(b.Made, hash, results) })
}

// left takes in which snapshots have arrived.
func (p *Plane) left(made time.Time, content [sha256.Size]byte, results map[string]error) {
	s := &p.snapshots
	s.busy = false
	now := time.Now()
	for id, err := range results {
		k := s.kept[id]
		k.tried = now
		switch {
		case err == nil:
			k.content, k.at, k.problem = content, made, ""
		default:
			s.due = earliest(s.due, now.Add(snapshotAgain))
			if k.problem == "" {
				p.event("snapshot-failed", id, "", "no snapshot of the control plane could be left there: "+err.Error())
			}
			k.problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if s.kept == nil {
			s.kept = map[string]keptSnapshot{}
		}
		s.kept[id] = k
	}
}

// contentHash tells states apart. The event of a failed snapshot is no reason
// for another one.
func contentHash(b backup.Backup) [sha256.Size]byte {
	b.Events = slices.DeleteFunc(slices.Clone(b.Events), func(e otto.Event) bool { return e.Kind == "snapshot-failed" })
	content, err := json.Marshal(b)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(content)
}

// earliest is the earlier of two times; a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// snapshotCandidate is a node as a place for snapshots.
type snapshotCandidate struct {
	id    string
	ready bool
	keeps bool // it has one already
	fails bool // the last one did not arrive
}

func (p *Plane) snapshotCandidates(now time.Time) (list []snapshotCandidate) {
	for _, n := range p.desired.Wanted.Nodes {
		known := p.nodes[n.ID]
		if n.IsLocal() || known == nil || known.leaving {
			continue
		}
		k := p.snapshots.kept[n.ID]
		list = append(list, snapshotCandidate{
			id: n.ID, ready: known.state == otto.NodeReady, keeps: !k.at.IsZero(),
			fails: k.problem != "" && now.Sub(k.tried) < snapshotEvery,
		})
	}
	return list
}

// chooseSnapshotNodes chooses the nodes to leave a snapshot with: ready ones,
// those where it works, those that have one already, and then by name.
func chooseSnapshotNodes(list []snapshotCandidate) (ids []string) {
	list = slices.DeleteFunc(slices.Clone(list), func(c snapshotCandidate) bool { return !c.ready })
	slices.SortFunc(list, func(a, b snapshotCandidate) int {
		if c := compareBool(a.fails, b.fails); c != 0 {
			return c
		}
		if c := compareBool(b.keeps, a.keeps); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	for _, c := range list[:min(len(list), snapshotNodes)] {
		ids = append(ids, c.id)
	}
	return ids
}

// view is where the snapshots are, for readers.
func (s snapshots) view() (list []otto.Snapshot) {
	for id, k := range s.kept {
		list = append(list, otto.Snapshot{Node: id, Time: k.at, Problem: k.problem})
	}
	slices.SortFunc(list, func(a, b otto.Snapshot) int { return strings.Compare(a.Node, b.Node) })
	return list
}
