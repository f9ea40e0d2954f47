package otto

import "time"

// MB and GB in names of measurements are 1024-based, as docker stats and the
// first prototype count.
const (
	MB = 1 << 20
	GB = 1 << 30
)

// NodeSample is one reading of a node.
type NodeSample struct {
	Time        time.Time `json:"time"`         // by the node's clock
	CPUPercent  float64   `json:"cpu_percent"`  // of all cores, 0..100
	MemoryUsed  uint64    `json:"memory_used"`  // bytes, total less available
	MemoryTotal uint64    `json:"memory_total"` // bytes
	DiskUsed    uint64    `json:"disk_used"`    // bytes of the file system that holds the engine's data, else of /
	DiskTotal   uint64    `json:"disk_total"`   // bytes, without what is reserved for root
	NetSent     uint64    `json:"net_sent"`     // bytes since boot, all interfaces but loopback
	NetRecv     uint64    `json:"net_recv"`
	// The rest is not there on every node; nil then.
	Load        *Load     `json:"load,omitempty"`
	Temperature *float64  `json:"temperature,omitempty"` // degrees Celsius, the hottest CPU or SoC zone
	Pressure    *Pressure `json:"pressure,omitempty"`
	Throttle    *Throttle `json:"throttle,omitempty"`
	Uptime      float64   `json:"uptime"` // seconds
	// RTT are round-trip times, in seconds, to other nodes by their ids, of those that
	// requirements name and that answer; to itself it is 0.
	RTT map[string]float64 `json:"rtt,omitempty"`
	// Watched is what probes of instances of any node, done from here, have found since
	// the sample before.
	Watched map[string][]Probed `json:"watched,omitempty"`
}

// MemoryPercent is 0..100, 0 when the total is unknown.
func (s NodeSample) MemoryPercent() float64 { return percent(s.MemoryUsed, s.MemoryTotal) }

// DiskPercent is 0..100, 0 when the total is unknown.
func (s NodeSample) DiskPercent() float64 { return percent(s.DiskUsed, s.DiskTotal) }

// Load is the kernel's load average over 1, 5 and 15 minutes.
type Load struct {
	One     float64 `json:"1m"`
	Five    float64 `json:"5m"`
	Fifteen float64 `json:"15m"`
}

// Pressure is the share of the last 10 s, in percent, in which some task had to
// wait for a resource (the kernel's PSI, "some avg10").
type Pressure struct {
	CPU    float64 `json:"cpu"`
	Memory float64 `json:"memory"`
	IO     float64 `json:"io"`
}

// Throttle is whether the processor was held back, at the moment of the sample or
// shortly before it.
type Throttle struct {
	Heat    bool `json:"heat"`    // because it was too hot
	Voltage bool `json:"voltage"` // the supply voltage was too low, which holds it back too
}

// ContainerSample is one reading of a running container.
type ContainerSample struct {
	ID          string  `json:"id"`           // the engine's, 64 hex digits
	Name        string  `json:"name"`         // without the leading slash
	CPUPercent  float64 `json:"cpu_percent"`  // of one core: 200 is two cores busy
	MemoryUsed  uint64  `json:"memory_used"`  // bytes as docker stats counts: without inactive file cache
	MemoryLimit uint64  `json:"memory_limit"` // bytes; the node's memory where there is no limit
	NetRecv     uint64  `json:"net_recv"`     // bytes since the container started, all its interfaces but loopback
	NetSent     uint64  `json:"net_sent"`
	BlockRead   uint64  `json:"block_read"` // bytes since the container started
	BlockWrite  uint64  `json:"block_write"`
	// Throttled is the share of time, in percent, in which it had used its CPU limit
	// up and had to wait, since the sample before; nil without a limit.
	Throttled *float64 `json:"throttled,omitempty"`
	// OOMKills are its processes that were killed for want of memory since it started.
	OOMKills uint64 `json:"oom_kills,omitempty"`
	// Probes are what its probe found since the sample before, oldest first.
	Probes []Probed `json:"probes,omitempty"`
}

// Probed is how one probe of a container went.
type Probed struct {
	Ago    time.Duration `json:"ago_ns"`  // before the sample, when it ended
	Took   time.Duration `json:"took_ns"` // until the answer, or until it was given up
	Failed bool          `json:"failed,omitempty"`
}

// MemoryPercent is the share of the limit in use, 0 when the limit is unknown.
func (s ContainerSample) MemoryPercent() float64 { return percent(s.MemoryUsed, s.MemoryLimit) }

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return min(100*float64(part)/float64(whole), 100)
}
