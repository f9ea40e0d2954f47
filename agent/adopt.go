package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/durable"
)

// adoptedFile, in an agent's directory, is the record of what is its cluster's
// although no label proves it.
const adoptedFile = "adopted.json"

type adoption struct {
	ClusterID string `json:"cluster_id"`
	otto.Adopted
}

// Adopter is an engine as far as it is told what it has of a cluster.
type Adopter interface {
	// Unproven returns what has the cluster's name and no cluster's id.
	Unproven(ctx context.Context) (otto.Adopted, error)
	// Adopt makes a what is the cluster's although no label proves it.
	Adopt(a otto.Adopted)
	// Take makes t, and nothing of what it was told before, the cluster's.
	Take(t otto.Taken)
}

// Adopt tells rt what is the cluster's although no label proves it, as the record in
// dir says, and returns that. Where there is no record, everything with the cluster's
// name is, if an agent in dir has served this cluster before: it is of a build that
// did not write ids. For an agent that is new nothing is. No record is made.
func Adopt(ctx context.Context, dir, clusterID string, served bool, rt Adopter) (otto.Adopted, error) {
	a, known, err := readAdopted(dir, clusterID)
	if err != nil {
		return a, err
	}
	if !known && served {
		if a, err = rt.Unproven(ctx); err != nil {
			return a, err
		}
	}
	rt.Adopt(a)
	t, err := readJSON[otto.Taken](filepath.Join(dir, takenFile))
	rt.Take(t)
	return a, err
}

func readAdopted(dir, clusterID string) (a otto.Adopted, known bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, adoptedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, false, nil
	}
	if err != nil {
		return a, false, err
	}
	var r adoption
	if !readable(b, &r) || r.ClusterID != clusterID {
		return a, false, nil
	}
	return r.Adopted, true, nil
}

// readable decodes b into a; a torn file is as good as none.
func readable(b []byte, a *adoption) bool { return json.Unmarshal(b, a) == nil }

func writeAdopted(dir, clusterID string, a otto.Adopted) error {
	b, err := json.Marshal(adoption{clusterID, a})
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, adoptedFile), b, 0o600)
}

// adoptFormer decides, once in the life of a state directory, what of a build before
// this one is the cluster's, and writes it down.
func (c *converger) adoptFormer(ctx context.Context) error {
	if c.adopted != nil {
		return nil
	}
	a, err := Adopt(ctx, c.StateDir, c.Enrolment.ClusterID, c.served, c.Runtime)
	if err != nil {
		return err
	}
	c.adopted = &a
	if err := writeAdopted(c.StateDir, c.Enrolment.ClusterID, a); err != nil {
		c.Log.Warn("what is adopted is not on disk", "err", err)
	}
	if n := len(a.Containers); n > 0 {
		c.note(
			"adopted",
			"",
			fmt.Sprintf(
				"%d containers without the id of a cluster are this one's: builds before this one have made them",
				n,
			),
		)
	}
	return nil
}
