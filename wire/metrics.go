package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/otto-edge/otto"
)

// The public contract. A bare JSON object; every field of the first block is
// always there and never null; percentages of a node and memory percentages are
// within 0..100, a container's CPU may exceed 100; the timestamp is RFC 3339 in
// UTC with six fractional digits; MB and GB are 1024-based. A subscriber of the
// first prototype drops the whole message over one null or missing field.
// Fields after the first block are Otto's own additions, which such a
// subscriber ignores.

// NodeMetrics is the message on metrics/node.
type NodeMetrics struct {
	NodeID           string  `json:"node_id"`
	Timestamp        string  `json:"timestamp"`
	CPUPercent       float64 `json:"cpu_percent"`
	MemoryPercent    float64 `json:"memory_percent"`
	MemoryUsedMB     float64 `json:"memory_used_mb"`
	MemoryTotalMB    float64 `json:"memory_total_mb"`
	DiskPercent      float64 `json:"disk_percent"`
	DiskUsedGB       float64 `json:"disk_used_gb"`
	DiskTotalGB      float64 `json:"disk_total_gb"`
	NetworkBytesSent uint64  `json:"network_bytes_sent"`
	NetworkBytesRecv uint64  `json:"network_bytes_recv"`

	UptimeSeconds float64        `json:"uptime_seconds"`
	Load          *otto.Load     `json:"load,omitempty"`
	Temperature   *float64       `json:"temperature_celsius,omitempty"`
	Pressure      *otto.Pressure `json:"pressure_percent,omitempty"`
	Throttle      *otto.Throttle `json:"throttled,omitempty"`

	RoundTripMS map[string]float64 `json:"round_trip_ms,omitempty"` // by node
	// Watched are probes from here, of instances of any node, since the message before.
	Watched map[string][]ProbeResult `json:"watched,omitempty"`
}

// ContainerMetrics is the message on metrics/containers.
type ContainerMetrics struct {
	NodeID     string           `json:"node_id"`
	Timestamp  string           `json:"timestamp"`
	Containers []ContainerUsage `json:"containers"`
}

// ContainerUsage is one container in a ContainerMetrics.
type ContainerUsage struct {
	ContainerID     string  `json:"container_id"`
	ContainerName   string  `json:"container_name"`
	CPUPercent      float64 `json:"cpu_percent"`
	MemoryPercent   float64 `json:"memory_percent"`
	MemoryUsageMB   float64 `json:"memory_usage_mb"`
	MemoryLimitMB   float64 `json:"memory_limit_mb"`
	NetworkRxBytes  uint64  `json:"network_rx_bytes"`
	NetworkTxBytes  uint64  `json:"network_tx_bytes"`
	BlockReadBytes  uint64  `json:"block_read_bytes"`
	BlockWriteBytes uint64  `json:"block_write_bytes"`

	CPUThrottledPercent *float64 `json:"cpu_throttled_percent,omitempty"`
	OOMKills            uint64   `json:"oom_kills,omitempty"` // since it started

	Probes []ProbeResult `json:"probes,omitempty"` // since the message before, oldest first
}

// ProbeResult is one probe in a ContainerUsage.
type ProbeResult struct {
	AgoMS  float64 `json:"ago_ms"`  // before the message's timestamp
	TookMS float64 `json:"took_ms"` // until the answer, or until it was given up
	Failed bool    `json:"failed"`
}

// MaxProbes are in one ContainerUsage at most, the newest ones.
const MaxProbes = 32

const timestampLayout = "2006-01-02T15:04:05.000000Z07:00"

// EncodeNodeSample is the message on metrics/node.
func EncodeNodeSample(node string, s otto.NodeSample) ([]byte, error) {
	m := NodeMetrics{
		NodeID:           node,
		Timestamp:        timestamp(s.Time),
		CPUPercent:       percent(s.CPUPercent),
		MemoryPercent:    percent(s.MemoryPercent()),
		MemoryUsedMB:     round(float64(s.MemoryUsed) / otto.MB),
		MemoryTotalMB:    round(float64(s.MemoryTotal) / otto.MB),
		DiskPercent:      percent(s.DiskPercent()),
		DiskUsedGB:       round(float64(s.DiskUsed) / otto.GB),
		DiskTotalGB:      round(float64(s.DiskTotal) / otto.GB),
		NetworkBytesSent: s.NetSent,
		NetworkBytesRecv: s.NetRecv,
		UptimeSeconds:    round(finite(s.Uptime)),
		Load:             s.Load,
		Temperature:      s.Temperature,
		Pressure:         s.Pressure,
		Throttle:         s.Throttle,
	}
	for id, seconds := range s.RTT {
		if m.RoundTripMS == nil {
			m.RoundTripMS = map[string]float64{}
		}
		m.RoundTripMS[id] = round(1000 * max(finite(seconds), 0))
	}
	for instance, list := range s.Watched {
		if m.Watched == nil {
			m.Watched = map[string][]ProbeResult{}
		}
		m.Watched[instance] = encodeProbes(list)
	}
	return Encode(m)
}

// EncodeContainerSamples is the message on metrics/containers for one sweep.
func EncodeContainerSamples(node string, at time.Time, samples []otto.ContainerSample) ([]byte, error) {
	m := ContainerMetrics{NodeID: node, Timestamp: timestamp(at), Containers: make([]ContainerUsage, len(samples))}
	for i, s := range samples {
		m.Containers[i] = ContainerUsage{
			ContainerID:     s.ID,
			ContainerName:   s.Name,
			CPUPercent:      round(max(finite(s.CPUPercent), 0)),
			MemoryPercent:   percent(s.MemoryPercent()),
			MemoryUsageMB:   round(float64(s.MemoryUsed) / otto.MB),
			MemoryLimitMB:   round(float64(s.MemoryLimit) / otto.MB),
			NetworkRxBytes:  s.NetRecv,
			NetworkTxBytes:  s.NetSent,
			BlockReadBytes:  s.BlockRead,
			BlockWriteBytes: s.BlockWrite,
			OOMKills:        s.OOMKills,
			Probes:          encodeProbes(s.Probes),
		}
		if s.Throttled != nil {
			share := percent(*s.Throttled)
			m.Containers[i].CPUThrottledPercent = &share
		}
	}
	return Encode(m)
}

// DecodeNodeSample reads a message on the metrics/node topic of node.
func DecodeNodeSample(node string, b []byte) (otto.NodeSample, error) {
	var m NodeMetrics
	if err := decode(b, &m); err != nil {
		return otto.NodeSample{}, err
	}
	if m.NodeID != node {
		return otto.NodeSample{}, fmt.Errorf("metrics of %q on the topic of %q", m.NodeID, node)
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	s := otto.NodeSample{
		Time:        at,
		CPUPercent:  percent(m.CPUPercent),
		MemoryUsed:  inBytes(m.MemoryUsedMB, otto.MB),
		MemoryTotal: inBytes(m.MemoryTotalMB, otto.MB),
		DiskUsed:    inBytes(m.DiskUsedGB, otto.GB),
		DiskTotal:   inBytes(m.DiskTotalGB, otto.GB),
		NetSent:     m.NetworkBytesSent,
		NetRecv:     m.NetworkBytesRecv,
		Uptime:      m.UptimeSeconds,
		Load:        m.Load,
		Temperature: m.Temperature,
		Pressure:    m.Pressure,
		Throttle:    m.Throttle,
	}
	for id, ms := range m.RoundTripMS {
		if s.RTT == nil {
			s.RTT = map[string]float64{}
		}
		s.RTT[id] = fromMS(ms).Seconds()
	}
	for instance, list := range m.Watched {
		if s.Watched == nil {
			s.Watched = map[string][]otto.Probed{}
		}
		s.Watched[instance] = decodeProbes(list)
	}
	return s, err
}

// DecodeContainerSamples reads a message on the metrics/containers topic of node.
func DecodeContainerSamples(node string, b []byte) (at time.Time, samples []otto.ContainerSample, err error) {
	var m ContainerMetrics
	if err := decode(b, &m); err != nil {
		return at, nil, err
	}
	if m.NodeID != node {
		return at, nil, fmt.Errorf("metrics of %q on the topic of %q", m.NodeID, node)
	}
	at, err = time.Parse(time.RFC3339, m.Timestamp)
	samples = make([]otto.ContainerSample, len(m.Containers))
	for i, c := range m.Containers {
		samples[i] = otto.ContainerSample{
			ID:          c.ContainerID,
			Name:        c.ContainerName,
			CPUPercent:  c.CPUPercent,
			MemoryUsed:  inBytes(c.MemoryUsageMB, otto.MB),
			MemoryLimit: inBytes(c.MemoryLimitMB, otto.MB),
			NetRecv:     c.NetworkRxBytes,
			NetSent:     c.NetworkTxBytes,
			BlockRead:   c.BlockReadBytes,
			BlockWrite:  c.BlockWriteBytes,
			Throttled:   c.CPUThrottledPercent,
			OOMKills:    c.OOMKills,
			Probes:      decodeProbes(c.Probes),
		}
	}
	return at, samples, err
}

func encodeProbes(list []otto.Probed) (out []ProbeResult) {
	for _, p := range list[max(len(list)-MaxProbes, 0):] {
		out = append(out, ProbeResult{AgoMS: ms(p.Ago), TookMS: ms(p.Took), Failed: p.Failed})
	}
	return out
}

func decodeProbes(list []ProbeResult) (out []otto.Probed) {
	for _, p := range list[max(len(list)-MaxProbes, 0):] {
		out = append(out, otto.Probed{Ago: fromMS(p.AgoMS), Took: fromMS(p.TookMS), Failed: p.Failed})
	}
	return out
}

func ms(d time.Duration) float64 { return round(d.Seconds() * 1000) }

// fromMS is a duration of no less than nothing and no more than a day.
func fromMS(f float64) time.Duration {
	return time.Duration(min(max(f, 0), 24*3600*1000) * float64(time.Millisecond))
}

func timestamp(t time.Time) string { return t.UTC().Format(timestampLayout) }

func percent(p float64) float64 { return round(min(max(finite(p), 0), 100)) }

// round keeps three decimals: a thousandth of a percent or of a megabyte.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// finite turns NaN and infinities, which JSON cannot carry, into 0.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

func inBytes(f, unit float64) uint64 {
	if !(f > 0) || f*unit > math.MaxInt64 {
		return 0
	}
	return uint64(math.Round(f * unit))
}
