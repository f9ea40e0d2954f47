package otto

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metric is something that can be required of a service or a node.
type Metric struct {
	Name string
	Unit Unit
	// Node says that it is of a node: of the one that the service runs on.
	Node bool
	// Counter says that it only rises; its rate or its count in a window matters.
	Counter bool
	// Probe says that the service needs a probe for it.
	Probe bool
	// From is from where the service is probed: a node's id or FromControl; empty for
	// the agent of its own node.
	From string
	// Windowed says that one sample says nothing: a window must be given.
	Windowed bool
	Doc      string // in a few words
	Reads    string // where it is from, such as NodeSample.CPUPercent

	// FromNode or FromContainer reads it from a sample; false where the sample
	// has none. Both are nil for what the control plane finds out itself.
	FromNode      func(NodeSample) (float64, bool)
	FromContainer func(ContainerSample, Share) (float64, bool)
}

// Share is what a container's use is measured by: its own limits or what it
// reserves, or without them all of its node.
type Share struct {
	Cores  float64
	Memory uint64 // bytes; 0: as the sample says
}

// MetricThrottled needs a CPU limit.
const MetricThrottled = "cpu.throttled"

// Names of metrics that the control plane feeds itself.
const (
	MetricLatency      = "latency"
	MetricAvailability = "availability"
	MetricRestarts     = "restarts"
	MetricOOMKills     = "oom_kills"
	MetricHeartbeat    = "node.heartbeat"
	MetricClock        = "node.clock"
)

// Metrics are all there are, beside those that applications publish.
func Metrics() []Metric {
	return append(serviceMetrics(), NodeMetrics()...)
}

func serviceMetrics() []Metric {
	return []Metric{
		{
			Name: "cpu", Unit: UnitPercent, Doc: "its own share of its CPU limit, or without one of its node's cores", Reads: "ContainerSample.CPUPercent",
			FromContainer: func(s ContainerSample, of Share) (float64, bool) { return s.CPUPercent / of.Cores, of.Cores > 0 },
		},
		{
			Name: "memory", Unit: UnitPercent, Doc: "its own share of its memory limit, or without one of its node's memory", Reads: "ContainerSample.MemoryUsed",
			FromContainer: func(s ContainerSample, of Share) (float64, bool) {
				limit := cmp.Or(of.Memory, s.MemoryLimit)
				return 100 * float64(s.MemoryUsed) / max(float64(limit), 1), limit > 0
			},
		},
		{
			Name: "memory.used", Unit: UnitBytes, Doc: "memory it uses, without inactive file cache", Reads: "ContainerSample.MemoryUsed",
			FromContainer: func(s ContainerSample, _ Share) (float64, bool) { return float64(s.MemoryUsed), true },
		},
		{
			Name: MetricThrottled, Unit: UnitPercent, Doc: "time in which it had used its CPU limit up and had to wait; it needs one", Reads: "ContainerSample.Throttled",
			FromContainer: func(s ContainerSample, _ Share) (float64, bool) { return known(s.Throttled) },
		},
		bytesOf(
			"network.received",
			"what it receives",
			"ContainerSample.NetRecv",
			func(s ContainerSample) uint64 { return s.NetRecv },
		),
		bytesOf(
			"network.sent",
			"what it sends",
			"ContainerSample.NetSent",
			func(s ContainerSample) uint64 { return s.NetSent },
		),
		bytesOf(
			"disk.read",
			"what it reads from disks",
			"ContainerSample.BlockRead",
			func(s ContainerSample) uint64 { return s.BlockRead },
		),
		bytesOf(
			"disk.written",
			"what it writes to disks",
			"ContainerSample.BlockWrite",
			func(s ContainerSample) uint64 { return s.BlockWrite },
		),
		{
			Name:     MetricRestarts,
			Counter:  true,
			Windowed: true,
			Doc:      "restarts of its container, by the engine or by Otto",
			Reads:    "InstanceStatus.Restarts and Started",
		},
		{
			Name:     MetricOOMKills,
			Counter:  true,
			Windowed: true,
			Doc:      "its processes that were killed for want of memory",
			Reads:    "InstanceStatus.OOMKills",
		},
		{
			Name:  MetricLatency,
			Unit:  UnitSeconds,
			Probe: true,
			Doc:   "how long probes took that passed",
			Reads: "ContainerSample.Probes",
		},
		{
			Name:     MetricAvailability,
			Unit:     UnitPercent,
			Probe:    true,
			Windowed: true,
			Doc:      "share of probes that passed; none does while it does not run",
			Reads:    "ContainerSample.Probes",
		},
	}
}

// NodeMetrics are those of nodes.
func NodeMetrics() []Metric {
	always := func(f func(NodeSample) float64) func(NodeSample) (float64, bool) {
		return func(s NodeSample) (float64, bool) { return f(s), true }
	}
	return []Metric{
		{
			Name:     "node.cpu",
			Unit:     UnitPercent,
			Node:     true,
			Doc:      "of all cores that the node may use",
			Reads:    "NodeSample.CPUPercent",
			FromNode: always(func(s NodeSample) float64 { return s.CPUPercent }),
		},
		{
			Name: "node.memory", Unit: UnitPercent, Node: true, Doc: "memory that is not available", Reads: "NodeSample.MemoryUsed",
			FromNode: func(s NodeSample) (float64, bool) { return s.MemoryPercent(), s.MemoryTotal > 0 },
		},
		{
			Name: "node.memory.available", Unit: UnitBytes, Node: true, Doc: "memory that is available", Reads: "NodeSample.MemoryTotal",
			FromNode: func(s NodeSample) (float64, bool) {
				return float64(s.MemoryTotal - min(s.MemoryUsed, s.MemoryTotal)), s.MemoryTotal > 0
			},
		},
		{
			Name: "node.disk", Unit: UnitPercent, Node: true, Doc: "use of the file system with the engine's data", Reads: "NodeSample.DiskUsed",
			FromNode: func(s NodeSample) (float64, bool) { return s.DiskPercent(), s.DiskTotal > 0 },
		},
		{
			Name: "node.disk.free", Unit: UnitBytes, Node: true, Doc: "what is free on it", Reads: "NodeSample.DiskTotal",
			FromNode: func(s NodeSample) (float64, bool) {
				return float64(s.DiskTotal - min(s.DiskUsed, s.DiskTotal)), s.DiskTotal > 0
			},
		},
		loadOf("node.load", "load average of 1 minute", "NodeSample.Load.One", func(l Load) float64 { return l.One }),
		loadOf("node.load.5m", "of 5 minutes", "NodeSample.Load.Five", func(l Load) float64 { return l.Five }),
		loadOf("node.load.15m", "of 15 minutes", "NodeSample.Load.Fifteen", func(l Load) float64 { return l.Fifteen }),
		pressureOf(
			"node.pressure.cpu",
			"time in which something waited for a core",
			"NodeSample.Pressure.CPU",
			func(p Pressure) float64 { return p.CPU },
		),
		pressureOf(
			"node.pressure.memory",
			"for memory",
			"NodeSample.Pressure.Memory",
			func(p Pressure) float64 { return p.Memory },
		),
		pressureOf(
			"node.pressure.io",
			"for a disk",
			"NodeSample.Pressure.IO",
			func(p Pressure) float64 { return p.IO },
		),
		{
			Name: "node.temperature", Unit: UnitCelsius, Node: true, Doc: "the hottest zone of CPU or SoC", Reads: "NodeSample.Temperature",
			FromNode: func(s NodeSample) (float64, bool) { return known(s.Temperature) },
		},
		throttleOf(
			"node.throttled",
			"time in which its processor was held back, by heat or low voltage",
			"NodeSample.Throttle",
			func(t Throttle) bool { return t.Heat || t.Voltage },
		),
		throttleOf(
			"node.undervoltage",
			"time in which its supply voltage was too low",
			"NodeSample.Throttle.Voltage",
			func(t Throttle) bool { return t.Voltage },
		),
		{
			Name: "node.network.received", Unit: UnitBytes, Node: true, Counter: true, Windowed: true, Doc: "what the node receives", Reads: "NodeSample.NetRecv",
			FromNode: always(func(s NodeSample) float64 { return float64(s.NetRecv) }),
		},
		{
			Name: "node.network.sent", Unit: UnitBytes, Node: true, Counter: true, Windowed: true, Doc: "what the node sends", Reads: "NodeSample.NetSent",
			FromNode: always(func(s NodeSample) float64 { return float64(s.NetSent) }),
		},
		{
			Name: "node.uptime", Unit: UnitSeconds, Node: true, Doc: "time since it has booted", Reads: "NodeSample.Uptime",
			FromNode: func(s NodeSample) (float64, bool) { return s.Uptime, s.Uptime > 0 },
		},
		{
			Name:  MetricHeartbeat,
			Unit:  UnitSeconds,
			Node:  true,
			Doc:   "time since its agent was heard",
			Reads: "NodeStatus.LastSeen",
		},
		{
			Name:  MetricClock,
			Unit:  UnitSeconds,
			Node:  true,
			Doc:   "how far its clock is off, either way",
			Reads: "NodeSample.Time",
		},
	}
}

func bytesOf(name, doc, reads string, of func(ContainerSample) uint64) Metric {
	return Metric{
		Name: name, Unit: UnitBytes, Counter: true, Windowed: true, Doc: doc, Reads: reads,
		FromContainer: func(s ContainerSample, _ Share) (float64, bool) { return float64(of(s)), true },
	}
}

func loadOf(name, doc, reads string, of func(Load) float64) Metric {
	return Metric{Name: name, Node: true, Doc: doc, Reads: reads, FromNode: func(s NodeSample) (float64, bool) {
		if s.Load == nil {
			return 0, false
		}
		return of(*s.Load), true
	}}
}

func pressureOf(name, doc, reads string, of func(Pressure) float64) Metric {
	return Metric{
		Name:  name,
		Unit:  UnitPercent,
		Node:  true,
		Doc:   doc,
		Reads: reads,
		FromNode: func(s NodeSample) (float64, bool) {
			if s.Pressure == nil {
				return 0, false
			}
			return of(*s.Pressure), true
		},
	}
}

// throttleOf is a share of time of which one sample is all or nothing.
func throttleOf(name, doc, reads string, of func(Throttle) bool) Metric {
	return Metric{
		Name:  name,
		Unit:  UnitPercent,
		Node:  true,
		Doc:   doc,
		Reads: reads,
		FromNode: func(s NodeSample) (float64, bool) {
			if s.Throttle == nil || !of(*s.Throttle) {
				return 0, s.Throttle != nil
			}
			return 100, true
		},
	}
}

func known(value *float64) (float64, bool) {
	if value == nil {
		return 0, false
	}
	return *value, true
}

// FindMetric returns the metric of a name. One that an application publishes is
// known by its topic alone.
func FindMetric(name string) (Metric, bool) {
	if strings.HasPrefix(name, MQTTPrefix) {
		_, err := ParseMQTTMetric(name)
		return Metric{Name: name}, err == nil
	}
	if node, ok := strings.CutPrefix(name, RTTPrefix); ok && node != "" {
		return rtt(name, node), true
	}
	for _, of := range []string{MetricLatency, MetricAvailability} {
		if from, ok := strings.CutPrefix(name, of+"."); ok && from != "" {
			m := byName()[of]
			m.Name, m.From = name, from
			return m, true
		}
	}
	m, ok := byName()[name]
	return m, ok
}

// FromControl is the From of what the control plane probes.
const FromControl = "control"

// Availability reports whether it is the share of probes that passed, and not how
// long they took.
func (m Metric) Availability() bool { return m.Probe && m.Unit == UnitPercent }

// RTTPrefix begins the name of a metric that is the round-trip time to a node, whose
// id is the rest.
const RTTPrefix = "rtt."

// RTTEvery is the time between two measurements of a round-trip time.
const RTTEvery = 10 * time.Second

// rtt is measured by agents, and only of nodes that some requirement names.
func rtt(name, to string) Metric {
	return Metric{
		Name:  name,
		Unit:  UnitSeconds,
		Node:  true,
		Doc:   "round-trip time to " + to,
		Reads: "NodeSample.RTT",
		FromNode: func(s NodeSample) (float64, bool) {
			value, ok := s.RTT[to]
			return value, ok
		},
	}
}

// byName finds a metric without making the whole table again.
var byName = sync.OnceValue(func() map[string]Metric { //nolint:gochecknoglobals // a table that never changes
	all := map[string]Metric{}
	for _, m := range Metrics() {
		all[m.Name] = m
	}
	return all
})

// MQTTPrefix begins the name of a metric that an application publishes itself.
const MQTTPrefix = "mqtt:"

// MQTTMetric is a number that an application publishes: on a topic, as it stands
// or somewhere in a JSON document.
type MQTTMetric struct {
	Topic string
	Path  []Step // empty: the message is the number
}

// Step leads into an object by its key, or into a list by its index.
type Step struct {
	Key   string
	Index int // if Key is empty
}

const (
	maxTopic = 200 // bytes
	maxSteps = 16
	maxIndex = 9999
)

// ParseMQTTMetric reads a name such as mqtt:my/app/topic#.queue[0].length.
func ParseMQTTMetric(name string) (MQTTMetric, error) {
	rest, ok := strings.CutPrefix(name, MQTTPrefix)
	if !ok {
		return MQTTMetric{}, errors.New("it has no mqtt: in front")
	}
	topic, path, pathed := strings.Cut(rest, "#")
	if err := checkTopic(topic); err != nil {
		return MQTTMetric{}, err
	}
	m := MQTTMetric{Topic: topic}
	if pathed && path == "" {
		return m, errors.New("after # there is no path")
	}
	for path != "" {
		step, rest, ok := cutStep(path)
		if !ok || len(m.Path) == maxSteps {
			return m, errors.New("its path is not one such as .field, .a.b or .list[0]")
		}
		m.Path, path = append(m.Path, step), rest
	}
	return m, nil
}

// checkTopic accepts topics of which each level means itself at every broker.
func checkTopic(topic string) error {
	if topic == "" || len(topic) > maxTopic {
		return errors.New("its topic is empty or too long")
	}
	levels := strings.Split(topic, "/")
	if levels[0] == "otto" {
		return errors.New("topics under otto/ are Otto's own")
	}
	for _, level := range levels {
		if level == "" || level[0] == '$' || strings.Trim(level, wordCharacters) != "" {
			return errors.New("a level of its topic is empty or has other characters than a-z, A-Z, 0-9, - and _")
		}
	}
	return nil
}

const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func cutStep(path string) (step Step, rest string, ok bool) {
	if inner, ok := strings.CutPrefix(path, "["); ok {
		digits, rest, closed := strings.Cut(inner, "]")
		n, err := strconv.ParseUint(digits, 10, 16)
		return Step{Index: int(n)}, rest, closed && err == nil && n <= maxIndex && strconv.FormatUint(n, 10) == digits
	}
	inner, ok := strings.CutPrefix(path, ".")
	key := inner[:len(inner)-len(strings.TrimLeft(inner, wordCharacters))]
	return Step{Key: key}, inner[len(key):], ok && key != ""
}
