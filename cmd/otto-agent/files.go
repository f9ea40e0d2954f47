package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/agent"
	"github.com/otto-edge/otto/wire"
)

// filesDir is where an agent keeps the files of secrets: a directory of its own, in
// memory. why says that there can be none.
func filesDir(e wire.Enrolment, localEngine bool) (dir, why string) {
	if !localEngine {
		return "", "its container engine is on another machine"
	}
	for _, parent := range memory() {
		if inMemory(parent) && unix.Access(parent, unix.W_OK|unix.X_OK) == nil {
			return filepath.Join(parent, filesName(e)), ""
		}
	}
	return "", "there is no directory in memory (tmpfs) that its agent may write to, as /run or /dev/shm are"
}

func filesName(e wire.Enrolment) string {
	return "otto-" + e.ClusterID[:min(len(e.ClusterID), 12)] + "-" + e.NodeID
}

// memory are the directories that may be in memory. That of a user goes with his last
// session, unless he lingers.
func memory() []string {
	if os.Geteuid() == 0 {
		return []string{"/run", "/dev/shm"}
	}
	var list []string
	if u, err := user.Current(); err == nil {
		if _, err := os.Stat(filepath.Join("/var/lib/systemd/linger", u.Username)); err == nil {
			list = append(list, "/run/user/"+u.Uid)
		}
	}
	return append(list, "/dev/shm")
}

// inMemory reports whether a directory is on a file system that a reboot empties.
func inMemory(dir string) bool {
	const ramfs = 0x858458f6
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return false
	}
	kind := uint32(s.Type) // which has 32 bits on some machines, with a sign
	return kind == unix.TMPFS_MAGIC || kind == ramfs
}

// withSecrets is an instance with its secrets and configs, as the agent's assignment has
// them.
func withSecrets(dir string, localEngine bool, inst otto.Instance) (otto.Instance, error) {
	if !(otto.Assignment{Instances: []otto.Instance{inst}}).WithContents() {
		return inst, nil
	}
	e, err := readEnrolment(dir)
	if err != nil {
		return inst, err
	}
	held, err := heldAssignment(dir, e)
	if err != nil || held == nil {
		return inst, errors.Join(errors.New("the node has no assignment with secrets and configs"), err)
	}
	if inst.Contents, err = wire.OpenContents(e.SealKey, e.ClusterID, e.NodeID, held.Sealed); err != nil {
		return inst, err
	}
	if why := inst.Contents.Lack(inst.Spec); why != "" {
		return inst, errors.New(why)
	}
	in, why := filesDir(e, localEngine)
	inst.FilePaths, err = agent.Place(in, why, inst.Spec, inst.Contents)
	return inst, err
}

// removeFiles removes what an agent has left in memory. A node without an enrolment has
// nothing there.
func removeFiles(dir string) error {
	e, err := readEnrolment(dir)
	if err != nil {
		return nil //nolint:nilerr // as said
	}
	for _, parent := range []string{"/run", "/dev/shm", fmt.Sprint("/run/user/", os.Getuid())} {
		if err := os.RemoveAll(filepath.Join(parent, filesName(e))); err != nil && !os.IsPermission(err) {
			return err
		}
	}
	return nil
}
