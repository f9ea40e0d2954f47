package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/otto-edge/otto"
)

// files are the secrets and configs of containers on this node: a directory for each spec,
// by its hash, with the files in it by their number. It comes whole by a rename, so that
// an agent killed at any point leaves nothing that looks like all of it. Nobody else may
// enter: the engine binds single files, and who sees them is up to their modes.
type files struct {
	dir string
	why string // there can be none

	mu sync.Mutex
}

const newFiles = ".new-" // how the name of a directory begins that is being made

// place has the files of a spec be there, and returns their paths. It does nothing where
// they are.
func (f *files) place(spec otto.ContainerSpec, hash string, contents otto.Contents) (paths []string, err error) {
	if len(spec.Files) == 0 {
		return nil, nil
	}
	if f.dir == "" {
		return nil, fmt.Errorf("this node cannot have secrets and configs: %s", f.why)
	}
	if why := contents.Lack(spec); why != "" {
		return nil, fmt.Errorf("%w: %s", errNotNow, why)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ensure(); err != nil {
		return nil, fmt.Errorf("directory for secrets and configs: %w", err)
	}
	dir := filepath.Join(f.dir, hash)
	for i := range spec.Files {
		paths = append(paths, filepath.Join(dir, strconv.Itoa(i)))
	}
	there := func(file otto.File, path string) bool { return is(path, contents[file.Content]) }
	if slices.EqualFunc(spec.Files, paths, there) {
		return paths, nil
	}
	temp, err := os.MkdirTemp(f.dir, newFiles)
	if err != nil {
		return nil, err
	}
	for i, file := range spec.Files {
		if err := write(filepath.Join(temp, strconv.Itoa(i)), file, contents[file.Content]); err != nil {
			return nil, errors.Join(err, os.RemoveAll(temp))
		}
	}
	if err := os.RemoveAll(dir); err != nil { // somebody has changed it
		return nil, err
	}
	if err := os.Rename(temp, dir); err != nil && !slices.EqualFunc(spec.Files, paths, there) {
		return nil, err
	}
	return paths, nil // a run of the service may have put them there meanwhile
}

// Place has the files of a spec be there for a run beside the agent, in its directory for
// them. They go with those of the service.
func Place(dir, why string, spec otto.ContainerSpec, contents otto.Contents) (paths []string, err error) {
	return (&files{dir: dir, why: why}).place(spec, spec.Hash(), contents)
}

// ensure makes the directory, and finds one that another user has put there.
func (f *files) ensure() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(f.dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is there and somebody else's: remove it", f.dir)
	}
	return os.Chmod(f.dir, 0o700)
}

// is reports whether a file has this content.
func is(path string, content otto.Secret) bool {
	b, err := os.ReadFile(path)
	return err == nil && bytes.Equal(b, content.Plain())
}

// write writes a file with its owner and mode.
func write(path string, file otto.File, content otto.Secret) error {
	if err := os.WriteFile(path, content.Plain(), 0o600); err != nil {
		return fmt.Errorf("%s: %w", file, reasonOf(err))
	}
	uid, gid := idOf(file.UID), idOf(file.GID)
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(path, uid, gid); err != nil {
			return fmt.Errorf("%s cannot belong to %s:%s, as the agent on this node is not root: take uid and gid out; "+
				"with its usual mode all in the container can read it", file, file.UID, file.GID)
		}
	}
	return os.Chmod(path, fs.FileMode(file.Permissions()))
}

// idOf is a user or group, -1 for none.
func idOf(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return -1
	}
	return n
}

// reasonOf is an error about a file without the path.
func reasonOf(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// tidy removes the files of all specs but some.
func (f *files) tidy(keep map[string]bool) error {
	if f.dir == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if !keep[e.Name()] || strings.HasPrefix(e.Name(), newFiles) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.dir, e.Name())))
		}
	}
	return err
}

// tidyFiles removes the files that no container and no wanted instance has. The engine has
// just said what there is.
func (c *converger) tidyFiles() {
	keep := map[string]bool{}
	for i := range c.containers {
		keep[c.containers[i].SpecHash] = true
	}
	for _, w := range c.work {
		keep[w.hash] = true
	}
	if c.assignment == nil {
		return
	}
	for i := range c.assignment.Instances {
		if inst := &c.assignment.Instances[i]; len(inst.Spec.Files) > 0 {
			keep[inst.Hash()] = true
		}
	}
	if err := c.files.tidy(keep); err != nil {
		c.Log.Warn("files of secrets that nobody uses are not removed", "err", reasonOf(err))
	}
}

// replaceMisplaced has containers that do not run be made anew if their files were
// somewhere else when they were made, as the node has another directory for them now.
func (c *converger) replaceMisplaced() {
	for i := range c.containers {
		ctr := &c.containers[i]
		inst := c.wanted(ctr.Instance)
		if inst == nil || alive(*ctr) || ctr.SpecHash != inst.Hash() {
			continue
		}
		for k, f := range inst.Spec.Files {
			at := filepath.Join(c.files.dir, ctr.SpecHash, strconv.Itoa(k))
			elsewhere := func(m otto.Mount) bool { return m.Target == f.Target && m.Source != at }
			if slices.ContainsFunc(ctr.Mounts, elsewhere) {
				ctr.SpecHash = ""
				break
			}
		}
	}
}
