package agent

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/folder"
)

// folders are the files of projects that were brought to this node: a directory for each
// content, by its key. They come over SSH, past the agent, by Bring. What counts is the
// key in the signed assignment: the agent uses what that says, and nothing else.
type folders struct{ dir string }

// foldersEvery is between two looks at whether files have come that are waited for.
const foldersEvery = time.Second

var errSpoiled = errors.New("its files had changed on this node, and are brought again")

// Bring takes in the files with a key, as a pack, for the agent whose directory for them
// is dir.
func Bring(dir, key string, pack io.Reader) error {
	err := folder.Unpack(dir, key, pack)
	if err != nil {
		return fmt.Errorf("take in files: %w", err)
	}
	_, _ = io.Copy(io.Discard, pack) // they were there: whoever sends them is not cut off
	return nil
}

// lack says which files of a spec have not come; empty if none is missing.
func (f folders) lack(spec otto.ContainerSpec) string {
	for _, m := range spec.Folders() {
		switch {
		case f.dir == "":
			return m.Source + " cannot be brought, as the container engine is on another machine than the agent"
		case !folder.There(f.dir, m.Content):
			return m.Source + " has not come from the control plane yet"
		}
	}
	return ""
}

// verify says which files of a spec are not what they should be. They are put aside, so
// that they are brought again.
func (f folders) verify(spec otto.ContainerSpec) error {
	if why := f.lack(spec); why != "" {
		return fmt.Errorf("%w: waiting for its files: %s", errNotNow, why)
	}
	for _, m := range spec.Folders() {
		why := folder.Verify(f.dir, m.Content)
		if why == nil {
			continue
		}
		if err := folder.Reject(f.dir, m.Content); err != nil {
			return fmt.Errorf("its files %s have changed on this node (%w), and cannot be put aside: %w", m.Source, why, err)
		}
		return fmt.Errorf("%w: %w: %s (%w)", errNotNow, errSpoiled, m.Source, why)
	}
	return nil
}

// paths are where the files of a spec are.
func (f folders) paths(spec otto.ContainerSpec) map[string]string {
	var paths map[string]string
	for _, m := range spec.Folders() {
		if paths == nil {
			paths = map[string]string{}
		}
		paths[m.Content] = folder.Path(f.dir, m.Content)
	}
	return paths
}

// in is the key of the files that a path of this node leads to, if it does.
func (f folders) in(path string) string {
	if f.dir == "" {
		return ""
	}
	return folder.InPath(f.dir, filepath.Clean(path))
}

// FolderPaths are where the files of a spec are for a run beside the agent.
func FolderPaths(dir string, spec otto.ContainerSpec) (map[string]string, error) {
	f := folders{dir}
	return f.paths(spec), f.verify(spec)
}

// lacks are the keys of the files that are waited for.
func (c *converger) lacks() (keys []string) {
	if c.assignment == nil || c.assignment.Stopped || c.folders.dir == "" {
		return nil
	}
	for i := range c.assignment.Instances {
		for _, m := range c.assignment.Instances[i].Spec.Folders() {
			if !slices.Contains(keys, m.Content) && !folder.There(c.folders.dir, m.Content) {
				keys = append(keys, m.Content)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// tidyFolders removes the files that no container and no wanted instance has. The engine
// has just said what there is.
func (c *converger) tidyFolders() {
	if c.assignment == nil || c.folders.dir == "" {
		return
	}
	keep := map[string]bool{}
	for i := range c.containers {
		for _, m := range c.containers[i].Mounts {
			keep[c.folders.in(m.Source)] = true
		}
	}
	for _, inst := range c.assignment.Instances {
		for _, m := range inst.Spec.Folders() {
			keep[m.Content] = true
		}
	}
	for _, w := range c.work {
		for _, key := range w.folders {
			keep[key] = true
		}
	}
	if err := folder.Tidy(c.folders.dir, keep, time.Now()); err != nil {
		c.Log.Warn("files of projects that nobody uses are not removed", "err", reasonOf(err))
	}
}
