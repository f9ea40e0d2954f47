package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/durable"
)

// seeds are the data of projects on this node: a directory for each volume, by its name, with
// the data in it and a mark that says which one it is. It comes whole by a rename: what has a
// name that does not begin with a dot is there for good, and nothing writes it anew.
type seeds struct{ dir, clusterID string }

const (
	markFile   = "seed.json"
	seedTree   = "tree"
	newSeed    = ".new-"
	lockOfSeed = ".lock-"
)

// mark tells a seeded volume from another one of its name.
type mark struct {
	ClusterID string `json:"cluster_id"`
	ID        string `json:"id"`
}

// tree is where the data of a volume is.
func (s seeds) tree(volume string) string { return filepath.Join(s.dir, volume, seedTree) }

// in reports whether a path of this node leads to data of a project.
func (s seeds) in(path string) bool {
	return s.dir != "" && strings.HasPrefix(filepath.Clean(path), filepath.Clean(s.dir)+"/")
}

// look says what there is of a volume.
func (s seeds) look(volume string) found {
	if s.dir == "" {
		return found{unclear: "the container engine is on another machine than the agent"}
	}
	b, err := os.ReadFile(filepath.Join(s.dir, volume, markFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Lstat(filepath.Join(s.dir, volume)); there == nil {
			return found{unclear: markFile + " in " + filepath.Join(s.dir, volume) + " is missing"}
		}
		return found{}
	}
	var m mark
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return found{unclear: reasonOf(err).Error()}
	}
	f := found{there: true, id: otto.DataID{Volume: m.ID}}
	if m.ClusterID != s.clusterID {
		f.others = "of another cluster"
	}
	return f
}

// names are the volumes that are there.
func (s seeds) names() (names []string) {
	list, _ := os.ReadDir(s.dir) // none if there is no directory
	for _, d := range list {
		if f := s.look(d.Name()); !strings.HasPrefix(d.Name(), ".") && f.there && f.others == "" {
			names = append(names, d.Name())
		}
	}
	return names
}

// Seeded are the volumes with data of projects below dir, of the agent of a cluster.
func Seeded(dir, clusterID string) []string { return seeds{dir, clusterID}.names() }

// paths are where the data of a spec is.
func (s seeds) paths(spec otto.ContainerSpec) map[string]string {
	var paths map[string]string
	for _, m := range spec.Seeded() {
		if paths == nil {
			paths = map[string]string{}
		}
		paths[m.Source] = s.tree(m.Source)
	}
	return paths
}

// use is paths for a container that is about to be made: what comes of a power cut from now on
// must not be that the data has never come, and no part that a service has made a link of may
// lead out of it.
func (s seeds) use(spec otto.ContainerSpec) (map[string]string, error) {
	for _, m := range spec.Seeded() {
		if err := durable.SyncDir(s.dir); err != nil {
			return nil, reasonOf(err)
		}
		if m.Subpath == "" {
			continue
		}
		root, err := os.OpenRoot(s.tree(m.Source))
		if errors.Is(err, fs.ErrPermission) {
			continue // nor may this user look, and the engine says what is wrong
		} else if err != nil {
			return nil, reasonOf(err)
		}
		_, err = root.Stat(m.Subpath)
		root.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%q in the data %s cannot be mounted: %w", m.Subpath, m.Seed, reasonOf(err))
		}
	}
	return s.paths(spec), nil
}

// lack says which data of a spec has not come; empty if none is missing.
func (s seeds) lack(spec otto.ContainerSpec) string {
	for _, m := range spec.Seeded() {
		if f := s.look(m.Source); f.unclear != "" {
			return m.Seed + " cannot be had: " + f.unclear
		} else if !f.there {
			return m.Seed + " has not come from the control plane's machine yet"
		}
	}
	return ""
}

// unseeded are the volumes that instances wait for and that may be made: no service has used
// them on this node, or a person has accepted that their data is lost.
func (c *converger) unseeded() (names []string) {
	if c.assignment == nil || c.assignment.Stopped || c.seeds.dir == "" {
		return nil
	}
	for i := range c.assignment.Instances {
		for _, m := range c.assignment.Instances[i].Spec.Seeded() {
			d, remembered := c.ledger.of(m.Source)
			f := c.seeds.look(m.Source)
			if f.there || f.unclear != "" || remembered && !d.Accepted && !c.assignment.Instances[i].Disposable || slices.Contains(names, m.Source) {
				continue
			}
			names = append(names, m.Source)
		}
	}
	slices.Sort(names)
	return names
}

// ownVolumes are the volumes of the cluster here, with the data of projects.
func (c *converger) ownVolumes() []string {
	if c.volumes == nil {
		return nil
	}
	all := append(slices.Clone(c.volumes), c.seeds.names()...)
	slices.Sort(all)
	return slices.Compact(all)
}

// SeedPaths are where the data of a spec is, for a run beside the agent.
func SeedPaths(dir, clusterID string, spec otto.ContainerSpec) (map[string]string, error) {
	s := seeds{dir, clusterID}
	if why := s.lack(spec); why != "" {
		return nil, errors.New("its data " + why)
	}
	return s.use(spec)
}

// Seeding takes in the data of a project, once.
type Seeding struct {
	Dir       string // of all such data
	ClusterID string
	// Unpack makes tree in a directory of a stream of package seed, and fails unless all of it
	// is there and on the disk. Remove removes a directory with what Unpack has made in it.
	// Both have the rights that this needs.
	Unpack func(ctx context.Context, stream io.Reader, dir string) error
	Remove func(ctx context.Context, dir string) error
}

// Take has a volume be there. It asks for the stream only where there is none. A Take that is
// killed leaves nothing under the volume's name, and the next one removes what it has left.
func (s Seeding) Take(ctx context.Context, volume string, stream func() (io.Reader, error)) error {
	if volume == "" || volume != filepath.Base(volume) || strings.HasPrefix(volume, ".") {
		return fmt.Errorf("%.60q is not the name of a volume", volume)
	}
	if err := errors.Join(os.MkdirAll(s.Dir, 0o700), os.Chmod(s.Dir, 0o700)); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(s.Dir, lockOfSeed+volume), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()                                                                     // which unlocks it, as does the end of this process
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		return errors.New("it is being taken in already")
	}
	switch f := (seeds{s.Dir, s.ClusterID}).look(volume); {
	case f.unclear != "":
		return errors.New(f.unclear)
	case f.others != "":
		return fmt.Errorf("%s on this node is %s: move it away", filepath.Join(s.Dir, volume), f.others)
	case f.there:
		return nil
	}
	if err := s.clean(ctx, volume); err != nil {
		return err
	}
	from, err := stream()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(s.Dir, newSeed+volume+"-")
	if err != nil {
		return err
	}
	err = s.Unpack(ctx, from, temp)
	if err == nil {
		err = s.finish(temp, volume)
	}
	if err != nil {
		return errors.Join(err, s.Remove(context.WithoutCancel(ctx), temp))
	}
	return nil
}

// clean removes what was left half by a Take that was killed.
func (s Seeding) clean(ctx context.Context, volume string) error {
	list, err := os.ReadDir(s.Dir)
	for _, d := range list {
		if strings.HasPrefix(d.Name(), newSeed+volume+"-") {
			err = errors.Join(err, s.Remove(ctx, filepath.Join(s.Dir, d.Name())))
		}
	}
	return err
}

// finish marks what is there whole, and gives it its name.
func (s Seeding) finish(temp, volume string) error {
	if _, err := os.Lstat(filepath.Join(temp, seedTree)); err != nil {
		return err
	}
	b, err := json.Marshal(mark{ClusterID: s.ClusterID, ID: rand.Text()})
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(temp, markFile), b, 0o600); err != nil {
		return err
	}
	if err := durable.SyncDir(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(s.Dir, volume)); err != nil {
		return err
	}
	return durable.SyncDir(s.Dir)
}
