package sampler

import (
	"errors"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
)

// cpuTimes are seconds since boot, summed over the cores that count.
type cpuTimes struct {
	cores       int
	busy, total float64
}

// readCPU sums the cores that this process may use, as its cpuset and its
// affinity say: inside LXC, or where a machine is shared by cpusets, the others
// are not this node's.
func (s *Sampler) readCPU() (cpuTimes, error) {
	cores, err := cpu.TimesWithContext(s.ctx, true)
	if err != nil {
		return cpuTimes{}, err
	}
	allowed := allowedCores(s.contents(&s.node.status))
	// Who shows us no more cores than we may use, as lxcfs does, has chosen them
	// already, and numbered them anew.
	all := allowed.Count() == 0 || len(cores) <= allowed.Count()
	var sum cpuTimes
	for _, c := range cores {
		n, err := strconv.Atoi(strings.TrimPrefix(c.CPU, "cpu"))
		if all || err == nil && allowed.IsSet(n) {
			sum.add(c)
		}
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
