// Package sampler reads how a node and its containers are doing, straight from
// the kernel's files.
//
// Asking the engine instead takes one to two seconds a container on engine
// 20.10, and costs the node far more than it tells. The kernel has the same
// figures in a handful of small files for each container: those of its cgroup,
// version 1 or 2, and /proc/PID/net/dev. They are opened once, kept open, and
// read again with one pread each into one buffer, so that a sweep allocates
// nothing but its result: this runs on a Pi Zero.
//
// Figures are those of docker stats, so that both can be compared: memory is
// without the inactive file cache, CPU is in percent of one core, block I/O and
// network count from the container's start, and a container on the node's own
// network has no traffic of its own. A rate needs two readings: CPU is 0 in the
// first one of a node or a container.
//
// What is not there (a controller that is off, a node without a thermometer) is
// left at zero or nil, never an error: a board without a memory controller still
// has a CPU.
package sampler

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/shirou/gopsutil/v4/common"
	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

// Options say where to read.
type Options struct {
	// Root is where /proc and /sys are found; empty means /.
	Root string
	// DiskPath is a directory on the file system to report, which should be the
	// engine's data directory; empty, or one that is not there, means /.
	DiskPath string
}

// Sampler reads one node. It must be used by one goroutine at a time.
type Sampler struct {
	root   string
	disk   string
	ctx    context.Context // tells gopsutil where root is
	files  *opener
	node   nodeFiles
	cpu    cpuTimes
	memory uint64 // bytes of the node

	mounts     []mount // of cgroup hierarchies
	containers map[string]*containerFiles
	sweep      uint64 // number of the current one
}

// New makes a Sampler. It opens nothing yet.
func New(o Options) *Sampler {
	root := o.Root
	if root == "" {
		root = "/"
	}
	disk := o.DiskPath
	if _, err := os.Stat(disk); err != nil {
		disk = "/"
	}
	return &Sampler{
		root: root,
		disk: disk,
		ctx: context.WithValue(context.Background(), common.EnvKey, common.EnvMap{
			common.HostProcEnvKey: filepath.Join(root, "proc"),
			common.HostSysEnvKey:  filepath.Join(root, "sys"),
		}),
		files:      newOpener(openFilesBudget()),
		containers: make(map[string]*containerFiles),
	}
}

// Close closes every file. The Sampler may still be used and opens them again.
func (s *Sampler) Close() {
	for id := range s.containers {
		s.forget(id)
	}
	s.node.close(s.files)
}

// path is an absolute path, inside the root.
func (s *Sampler) path(p string) string { return filepath.Join(s.root, p) }

// openFilesBudget is how many files may be kept open: half of what this process
// may have, so that the rest of it never runs out.
func openFilesBudget() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur/2, 1<<16))
}

// Containers reads the running containers, which need one call to the engine to
// be known. One that has ended since is left out.
func (s *Sampler) Containers(now time.Time, running []otto.RunningContainer) []otto.ContainerSample {
	s.sweep++
	s.ensureMemory()
	samples := make([]otto.ContainerSample, 0, len(running))
	for _, rc := range running {
		c := s.find(rc)
		if c == nil {
			continue
		}
		c.sweep = s.sweep
		sample, ok := s.read(c, now)
		if !ok {
			s.forget(rc.ID)
			continue
		}
		sample.ID, sample.Name = rc.ID, rc.Name
		samples = append(samples, sample)
	}
	for id, c := range s.containers {
		if c.sweep != s.sweep {
			s.forget(id)
		}
	}
	return samples
}
