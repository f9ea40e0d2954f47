package ottotest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// directories are those of an engine's machine, with what tells them apart.
type directories struct {
	at   map[string]otto.DataID
	made []string // by the engine
	hung bool
}

// lookWait is for how long an agent waits for a disk that hangs.
const lookWait = 3 * time.Second

// SetDirectory has a directory be there, in place of another one.
func (r *Runtime) SetDirectory(path string, id otto.DataID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setDirectory(path, id)
}

func (r *Runtime) setDirectory(path string, id otto.DataID) {
	if r.dirs.at == nil {
		r.dirs.at = map[string]otto.DataID{}
	}
	r.dirs.at[path] = id
}

// RemoveDirectory removes a directory.
func (r *Runtime) RemoveDirectory(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.dirs.at, path)
}

// HangDirectories has nobody get an answer from the machine's disks, or ends that.
func (r *Runtime) HangDirectories(hung bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirs.hung = hung
}

// MadeDirectories are the paths at which the engine has made a directory.
func (r *Runtime) MadeDirectories() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.dirs.made)
}

// Directory implements agent.Options.Directory.
func (r *Runtime) Directory(ctx context.Context, path string) (otto.Directory, error) {
	r.mu.Lock()
	id, there := r.dirs.at[path]
	hung := r.dirs.hung
	r.mu.Unlock()
	if hung {
		return otto.Directory{}, errors.Join(pause(ctx, lookWait), errors.New("its disk does not answer"))
	}
	return otto.Directory{There: there, Kept: there, ID: id}, nil
}

// mounted are the mounts of a container as an engine reports them.
func mounted(inst otto.Instance) []otto.Mount {
	if len(inst.FolderPaths)+len(inst.SeedPaths) == 0 {
		return inst.Spec.Mounts
	}
	list := slices.Clone(inst.Spec.Mounts)
	for i, m := range list {
		if m.Seed != "" {
			list[i] = otto.Mount{Type: otto.MountBind, Source: inst.SeedPaths[m.Source], Target: m.Target}
		}
		if m.Type == otto.MountFiles {
			list[i] = otto.Mount{Type: otto.MountBind, Source: inst.FolderPaths[m.Content], Target: m.Target, ReadOnly: true}
		}
	}
	return list
}

// bind makes the directories that a container mounts and that are missing, but for
// those that were there when it was made; the caller holds the lock.
func (r *Runtime) bind(inst otto.Instance) error {
	for i := range inst.Spec.Files {
		if _, err := os.Stat(inst.FilePaths[i]); err != nil {
			return fmt.Errorf("bind source path does not exist: %s", inst.FilePaths[i])
		}
	}
	for _, m := range inst.Spec.Folders() {
		if _, err := os.Stat(inst.FolderPaths[m.Content]); err != nil {
			return fmt.Errorf("bind source path does not exist: %q", inst.FolderPaths[m.Content])
		}
	}
	for _, m := range inst.Spec.Seeded() {
		if _, err := os.Stat(inst.SeedPaths[m.Source]); err != nil {
			return fmt.Errorf("bind source path does not exist: %q", inst.SeedPaths[m.Source])
		}
	}
	for _, m := range inst.Spec.Kept() {
		if _, there := r.dirs.at[m.Source]; there || m.Type != otto.MountBind {
			continue
		}
		if m.MustExist || slices.Contains(inst.Present, m.Source) {
			return fmt.Errorf("bind source path does not exist: %s", m.Source)
		}
		r.dirs.made = append(r.dirs.made, m.Source)
		r.setDirectory(m.Source, otto.DataID{FileSystem: "root", Path: m.Source, Inode: uint64(len(r.dirs.made))})
	}
	return nil
}
