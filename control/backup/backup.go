// Package backup is a cluster's state in one value, to be kept elsewhere: what
// the store holds, the events, and the files beside it. Encode makes a file of
// it, Seal makes one that strangers can keep, because only who has the recovery
// Key can read it.
//
// A backup holds the cluster's signing key and the environments of all services.
// It says what was so when it was made; what is so now is looked at by who
// restores it.
package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/otto-edge/otto"
)

// Backup is a cluster's state.
type Backup struct {
	Cluster string    `json:"cluster"` // its name
	Made    time.Time `json:"made"`
	By      string    `json:"by"` // version of Otto
	// Documents are those of the store, as they are there.
	Documents map[string]json.RawMessage `json:"documents"`
	// Files are what is kept beside the store, by name.
	Files  map[string]string `json:"files"`
	Events []otto.Event      `json:"events"`
	// Folders are the files of projects, as packs of package folder, by their keys.
	Folders map[string][]byte `json:"folders,omitempty"`
}

// format is the version of the file. One that only adds fields is the same.
const format = 1

// file is a Backup as it is written. The checksum is of the very bytes of it.
type file struct {
	Format   int             `json:"otto_backup"`
	Checksum string          `json:"sha256"`
	Backup   json.RawMessage `json:"backup"`
}

// Encode is the content of a backup's file.
func Encode(b Backup) ([]byte, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(file{format, checksum(body), body})
	return append(content, '\n'), err
}

// Decode reads the content of a backup's file. Its error says in one line why it
// is none, or not whole.
func Decode(content []byte) (b Backup, err error) {
	var f file
	if err := json.Unmarshal(content, &f); err != nil {
		if begins := []byte(`{"otto_backup":`); bytes.HasPrefix(content, begins) {
			return b, errors.New("the backup is not whole: take another copy of it")
		}
		return b, errors.New("this is not a backup of Otto")
	}
	switch {
	case f.Format == 0:
		return b, errors.New("this is not a backup of Otto")
	case f.Format != format:
		return b, fmt.Errorf("the backup is of a newer Otto (format %d, this one reads %d): use that version", f.Format, format)
	case f.Checksum != checksum(f.Backup):
		return b, errors.New("the backup is damaged, its checksum is wrong: take another copy of it")
	}
	if err := json.Unmarshal(f.Backup, &b); err != nil {
		return b, fmt.Errorf("the backup is unreadable: %w", err)
	}
	if b.Cluster == "" || len(b.Documents) == 0 {
		return b, errors.New("the backup holds no cluster")
	}
	return b, nil
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
