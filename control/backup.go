package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/backup"
	"github.com/otto-edge/otto/folder"
)

// Backup is everything that this control plane keeps, as the content of a
// backup's file.
func (p *Plane) Backup(ctx context.Context) (content []byte, err error) {
	var b backup.Backup
	var keys map[string]bool
	err = p.call(ctx, func() error {
		b, err = p.backup()
		keys = p.desired.folderKeys()
		return err
	})
	if err == nil {
		err = p.addFolders(&b, keys, maxBackupFolders)
	}
	if err != nil {
		return nil, err
	}
	b.Made = time.Now().UTC()
	return backup.Encode(b)
}

// How many bytes of files of projects a backup has, and a snapshot on a node: those of
// most clusters are far less.
const (
	maxBackupFolders   = 256 << 20
	maxSnapshotFolders = 4 << 20
)

// addFolders adds the files with some keys to a backup.
func (p *Plane) addFolders(b *backup.Backup, keys map[string]bool, most int64) error {
	if p.Folders == nil || len(keys) == 0 {
		return nil
	}
	packs, without, err := p.Folders.All(keys, most)
	b.Folders = packs
	if len(without) > 0 {
		p.Log.Warn("files of stacks are too large for a backup, or missing", "folders", len(without), "limit_bytes", most)
	}
	return err
}

// backup has no time, so that two of the same state are the same.
func (p *Plane) backup() (backup.Backup, error) {
	documents, err := encodeDocuments(p.documents)
	if err != nil {
		return backup.Backup{}, err
	}
	b := backup.Backup{Cluster: p.Name, By: p.Version, Documents: documents}
	b.Events, _ = p.Journal.After(0)
	if p.Files != nil {
		b.Files, err = p.Files()
	}
	return b, err
}

// StoredBackup is the backup of a store that no control plane has open, with the files of
// projects beside it.
func StoredBackup(ctx context.Context, s Store, folders *folder.Store) (backup.Backup, error) {
	b := backup.Backup{Documents: map[string]json.RawMessage{}}
	for _, key := range []string{keyIdentity, keyEpoch, keyDesired, keyEnrolled, keyDeposed, keyData, keyTakeovers} {
		var raw json.RawMessage
		found, err := s.Get(ctx, key, &raw)
		switch {
		case err != nil:
			return b, err
		case found:
			b.Documents[key] = raw
		}
	}
	d, err := decodeDocuments(b.Documents)
	switch {
	case errors.Is(err, errNewerState):
		return b, err
	case err != nil:
		return b, otto.ErrStateLost
	}
	b.Cluster = d.identity.Name
	b.Folders, _, err = folders.All(d.desired.folderKeys(), maxBackupFolders)
	return b, err
}

// Restore writes the documents of a backup to an empty store.
func Restore(ctx context.Context, s Store, documents map[string]json.RawMessage) error {
	for key, value := range documents {
		if err := s.Put(ctx, key, value); err != nil {
			return err
		}
	}
	return nil
}
