package sampler

import (
	"errors"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/otto-edge/otto"
)

// containerFiles are the files of one container, by what they tell. Those of a
// controller that is off have no path.
type containerFiles struct {
	pid   int
	sweep uint64 // the last one it was in

	cpu, memory, memoryStat, memoryLimit, io, net file
	oom, quota                                    file // quota only of version 1, where cpu does not have it

	cpuV2, memoryV2, ioV2 bool
	hostNetwork           bool

	used, cache uint64 // bytes of memory, and of the inactive file cache in it
	kills       uint64 // for want of memory
	cacheSweep  uint64 // when cache and kills were read; 0 never

	lastUsage time.Duration // of CPU
	lastRead  time.Time     // zero before the first reading
	percent   float64

	periods, throttled uint64 // of its CPU quota, when they were read last
}

// find returns the files of a container, those of its present process: one that
// was restarted has new ones. It is nil if the container has ended.
func (s *Sampler) find(rc otto.RunningContainer) *containerFiles {
	if c, ok := s.containers[rc.ID]; ok {
		if c.pid == rc.Pid {
			return c
		}
		s.forget(rc.ID)
	}
	if s.mounts == nil {
		b, err := os.ReadFile(s.path("/proc/self/mountinfo"))
		if err != nil {
			return nil
		}
		s.mounts = parseMounts(string(b))
	}
	process := path.Join("/proc", strconv.Itoa(rc.Pid))
	b, err := os.ReadFile(s.path(path.Join(process, "cgroup")))
	if err != nil {
		return nil
	}
	c := s.layout(parseMemberships(string(b)))
	c.pid = rc.Pid
	c.hostNetwork = rc.HostNetwork
	c.net.path = s.path(path.Join(process, "net/dev"))
	s.containers[rc.ID] = c
	return c
}

// layout names the files of a process that is in these cgroups.
func (s *Sampler) layout(of []membership) *containerFiles {
	c := &containerFiles{}
	in := func(dir, name string) file {
		if dir == "" {
			return file{}
		}
		return file{path: s.path(path.Join(dir, name))}
	}
	var dir string
	if dir, c.cpuV2 = locate("cpuacct", s.mounts, of); c.cpuV2 {
		c.cpu = in(dir, "cpu.stat")
	} else {
		c.cpu = in(dir, "cpuacct.usage")
		dir, _ = locate("cpu", s.mounts, of)
		c.quota = in(dir, "cpu.stat")
	}
	if dir, c.memoryV2 = locate("memory", s.mounts, of); c.memoryV2 {
		c.memory, c.memoryLimit, c.oom = in(dir, "memory.current"), in(dir, "memory.max"), in(dir, "memory.events")
	} else {
		c.memory, c.memoryLimit, c.oom = in(dir, "memory.usage_in_bytes"), in(dir, "memory.limit_in_bytes"), in(dir, "memory.oom_control")
	}
	c.memoryStat = in(dir, "memory.stat")
	if dir, c.ioV2 = locate("blkio", s.mounts, of); c.ioV2 {
		c.io = in(dir, "io.stat")
	} else {
		c.io = in(dir, "blkio.throttle.io_service_bytes")
		if _, err := os.Stat(c.io.path); err != nil {
			c.io = in(dir, "blkio.io_service_bytes_recursive")
		}
	}
	return c
}

// cacheSweeps is for how many sweeps the inactive file cache of a container, and
// what was killed in it, are not read again while its memory stays the same to the
// byte: the kernel adds up all of memory.stat for it, which costs as much as
// everything else together.
const cacheSweeps = 10

// read takes one reading; ok is false if the container has ended, or could not
// be read for want of file descriptors: no sample is better than a wrong zero.
func (s *Sampler) read(c *containerFiles, now time.Time) (sample otto.ContainerSample, ok bool) {
	contents := func(f *file) []byte {
		b, err := s.files.read(f)
		switch {
		case errors.Is(err, unix.ENOENT) && f != &c.net:
			f.path = "" // a controller that is off
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ESRCH),
			errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
			ok = false
		}
		return b
	}
	ok = true
	quota := contents(&c.cpu)
	if usage, found := cpuUsage(quota, c.cpuV2); found {
		sample.CPUPercent = c.cpuPercent(usage, now)
	}
	if !c.cpuV2 {
		quota = contents(&c.quota)
	}
	sample.Throttled = c.throttledPercent(quota)
	if used, found := number(contents(&c.memory)); found {
		if used != c.used || c.cacheSweep == 0 || s.sweep-c.cacheSweep >= cacheSweeps {
			key := "total_inactive_file"
			if c.memoryV2 {
				key = "inactive_file"
			}
			c.cache, _ = field(contents(&c.memoryStat), key)
			c.kills, _ = field(contents(&c.oom), "oom_kill")
			c.used, c.cacheSweep = used, s.sweep
		}
		sample.MemoryUsed = used
		if c.cache < used {
			sample.MemoryUsed = used - c.cache
		}
	}
	sample.OOMKills = c.kills
	sample.MemoryLimit = memoryLimit(contents(&c.memoryLimit), s.memory)
	if b := contents(&c.io); c.ioV2 {
		sample.BlockRead, sample.BlockWrite = ioStat(b)
	} else {
		sample.BlockRead, sample.BlockWrite = blkio(b)
	}
	// Read in any case: that there is no such file tells that the process has ended.
	if b := contents(&c.net); !c.hostNetwork {
		sample.NetRecv, sample.NetSent = netDev(b)
	}
	return sample, ok
}

// cpuUsage is in microseconds in version 2 and in nanoseconds in version 1.
func cpuUsage(b []byte, v2 bool) (time.Duration, bool) {
	if v2 {
		n, ok := field(b, "usage_usec")
		return time.Duration(n) * time.Microsecond, ok
	}
	n, ok := number(b)
	return time.Duration(n), ok
}

// cpuPercent is what was used of one core since the last reading; 0 in the
// first one.
func (c *containerFiles) cpuPercent(usage time.Duration, now time.Time) float64 {
	elapsed := now.Sub(c.lastRead)
	if !c.lastRead.IsZero() && elapsed <= 0 {
		return c.percent
	}
	if !c.lastRead.IsZero() {
		c.percent = max(0, 100*float64(usage-c.lastUsage)/float64(elapsed))
	}
	c.lastUsage, c.lastRead = usage, now
	return c.percent
}

// throttledPercent is the share of the periods of its CPU quota since the last
// reading in which it had used the quota up and had to wait. It is nil of a
// container that has no quota, which has no periods either.
func (c *containerFiles) throttledPercent(stat []byte) *float64 {
	periods, ok := field(stat, "nr_periods")
	throttled, _ := field(stat, "nr_throttled")
	if !ok || periods == 0 {
		return nil
	}
	share := 0.0
	if c.periods > 0 && periods > c.periods && throttled >= c.throttled {
		share = min(100, 100*float64(throttled-c.throttled)/float64(periods-c.periods))
	}
	c.periods, c.throttled = periods, throttled
	return &share
}

// memoryLimit is the node's memory where the limit is "max" in version 2 or a
// number beyond all memory in version 1.
func memoryLimit(b []byte, node uint64) uint64 {
	limit, ok := number(b)
	if !ok || node > 0 && limit > node {
		return node
	}
	return limit
}

// forget closes the files of a container.
func (s *Sampler) forget(id string) {
	c, ok := s.containers[id]
	if !ok {
		return
	}
	for _, f := range []*file{&c.cpu, &c.memory, &c.memoryStat, &c.memoryLimit, &c.io, &c.net, &c.oom, &c.quota} {
		s.files.close(f)
	}
	delete(s.containers, id)
}
