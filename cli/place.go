package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// place is where a stateDir is. One that is at another path of the same machine and
// still the same directory was moved; one that is neither was copied.
type place struct {
	Machine string `json:"machine"` // its machine-id, or its name
	Path    string `json:"path"`
	Inode   uint64 `json:"inode"`
}

// place is where the directory is now.
func (d stateDir) place() (place, error) {
	info, err := os.Stat(string(d))
	if err != nil {
		return place{}, err
	}
	p := place{Machine: machine()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		p.Inode = stat.Ino
	}
	p.Path, err = filepath.EvalSymlinks(string(d))
	return p, err
}

func machine() string {
	id, _ := os.ReadFile("/etc/machine-id")
	name, _ := os.Hostname()
	return cmp.Or(strings.TrimSpace(string(id)), name)
}

// copied reports whether what was at p is somewhere else than now: now is a copy of it.
func (p place) copied(now place) bool {
	return p != place{} && (p.Machine != now.Machine || p.Path != now.Path && p.Inode != now.Inode)
}

// mayTakeDown says why a cluster may not be stopped from here: this is a copy of the
// directory that it was started from last.
func (d stateDir) mayTakeDown() error {
	var c clusterFile
	if err := d.read(fileCluster, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now, err := d.place()
	if err != nil || !c.Place.copied(now) {
		return err
	}
	return fmt.Errorf(
		"%s is a copy of %s, from where the cluster was started last: stop it there, or run `otto cluster start` here first if this is the one that counts",
		d,
		c.Place.Path,
	)
}

// holders are the processes that have the locks of the directory open: those of its
// control plane. Gone are the locks of a directory that was removed meanwhile. Only Linux
// tells.
func (d stateDir) holders(gone bool) (pids []int) {
	locks := []string{d.path(fileControlLock), d.path(dirStore) + ".lock"}
	if gone {
		locks = []string{locks[0] + " (deleted)", locks[1] + " (deleted)"}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*") // those of other users cannot be read
	for _, f := range files {
		if to, err := os.Readlink(f); err != nil || !slices.Contains(locks, to) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(f, "/")[2])
		if err == nil && pid != os.Getpid() && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// controllers are the control planes that were started in the directory above d, where
// otto.yaml is. Only Linux tells.
func (d stateDir) controllers() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		words := strings.Split(string(b), "\x00")
		i := slices.Index(words, "--config")
		if err != nil || i < 2 || i+1 >= len(words) || words[1] != "control-plane" {
			continue
		}
		cwd, err := os.Readlink(filepath.Join(filepath.Dir(f), "cwd")) // only of this user's
		config := words[i+1]
		if !filepath.IsAbs(config) {
			config = filepath.Join(cwd, config)
		}
		pid, notPid := strconv.Atoi(strings.Split(f, "/")[2])
		if err == nil && notPid == nil && filepath.Dir(config) == filepath.Dir(string(d)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// orphaned says that a control plane of this directory runs although its .otto is gone.
func (d stateDir) orphaned() error {
	pids := d.holders(true)
	if _, err := os.Stat(d.path(fileCluster)); errors.Is(err, fs.ErrNotExist) {
		pids = append(pids, d.controllers()...)
	}
	if len(pids) == 0 {
		return nil
	}
	slices.Sort(pids)
	return fmt.Errorf(
		"a control plane still runs here (%s) although its %s was removed or moved away: end it, then put that directory back or run `otto cluster restore`; services run on",
		pidList(slices.Compact(pids)),
		d,
	)
}

func pidList(pids []int) string {
	var words []string
	for _, p := range pids {
		words = append(words, strconv.Itoa(p))
	}
	return "pid " + strings.Join(words, ", ")
}
