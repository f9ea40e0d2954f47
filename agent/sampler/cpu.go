package sampler

import (
	"errors"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"golang.org/x/sys/unix"
)

// cpuTimes are seconds since boot, summed over the cores that count.
type cpuTimes struct {
	cores       int
	busy, total float64
}

// readCPU sums the cores this process may use: inside LXC, or on a machine that
// is shared by cpusets, the others are not this node's.
func (s *Sampler) readCPU() (cpuTimes, error) {
	cores, err := cpu.TimesWithContext(s.ctx, true)
	if err != nil {
		return cpuTimes{}, err
	}
	mine := func(int) bool { return true }
	if s.root == "/" {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err == nil {
			mine = set.IsSet
		}
	}
	var sum cpuTimes
	for _, c := range cores {
		n, err := strconv.Atoi(strings.TrimPrefix(c.CPU, "cpu"))
		if err != nil || !mine(n) {
			continue
		}
		sum.add(c)
	}
	if sum.cores == 0 {
		return sum, errors.New("/proc/stat names no core of this process")
	}
	return sum, nil
}

// add counts a core. Time of guests is already in user and nice.
func (t *cpuTimes) add(c cpu.TimesStat) {
	busy := c.User + c.Nice + c.System + c.Irq + c.Softirq + c.Steal
	t.cores++
	t.busy += busy
	t.total += busy + c.Idle + c.Iowait
}

// percentSince is the share of busy time since an earlier reading, 0..100. It is
// 0 without one, and when cores came or went in between.
func (t cpuTimes) percentSince(earlier cpuTimes) float64 {
	total := t.total - earlier.total
	if earlier.cores != t.cores || total <= 0 {
		return 0
	}
	return min(100, max(0, 100*(t.busy-earlier.busy)/total))
}
