package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/backup"
)

// Backup is everything that this control plane keeps, as the content of a
// backup's file.
func (p *Plane) Backup(ctx context.Context) (content []byte, err error) {
	err = p.call(ctx, func() error {
		b, err := p.backup()
		if err != nil {
			return err
		}
		b.Made = time.Now().UTC()
		content, err = backup.Encode(b)
		return err
	})
	return content, err
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

// StoredBackup is the backup of a store that no control plane has open.
func StoredBackup(ctx context.Context, s Store) (backup.Backup, error) {
	b := backup.Backup{Documents: map[string]json.RawMessage{}}
	for _, key := range []string{keyIdentity, keyEpoch, keyDesired, keyEnrolled, keyDeposed, keyData} {
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
	return b, nil
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
