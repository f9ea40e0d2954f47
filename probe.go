package otto

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Probe is how an agent finds out, from outside the container, whether an
// instance works. Exactly one of HTTP, TCP and Exec is set; ports are the
// container's. It is no part of ContainerSpec, so that another probe does not
// make another container.
type Probe struct {
	HTTP *HTTPProbe `json:"http,omitempty"`
	TCP  uint16     `json:"tcp,omitempty"`  // a port that accepts connections
	Exec []string   `json:"exec,omitempty"` // a command in the container that ends with 0
	// Interval is the time between two probes, and Timeout how long one may take.
	// For each of the three, 0 means the default.
	Interval time.Duration `json:"interval_ns,omitempty"`
	Timeout  time.Duration `json:"timeout_ns,omitempty"`
	Retries  int           `json:"retries,omitempty"` // failures in a row that make it unhealthy
	// StartPeriod is how long failures after a start do not count.
	StartPeriod time.Duration `json:"start_period_ns,omitempty"`
}

// HTTPProbe is a GET request that is answered with a status from 200 to 399.
type HTTPProbe struct {
	Port uint16 `json:"port"`
	Path string `json:"path,omitempty"` // with its slash, and perhaps a query; "" means /
}

// Defaults of a Probe.
const (
	DefaultProbeInterval = 10 * time.Second
	DefaultProbeTimeout  = 3 * time.Second
	DefaultProbeRetries  = 3
)

// Port is the container's port that it asks at; 0 if it runs a command.
func (p Probe) Port() uint16 {
	if p.HTTP != nil {
		return p.HTTP.Port
	}
	return p.TCP
}

// WithDefaults is the probe with its defaults filled in.
func (p Probe) WithDefaults() Probe {
	p.Interval = cmp.Or(p.Interval, DefaultProbeInterval)
	p.Timeout = cmp.Or(p.Timeout, DefaultProbeTimeout)
	p.Retries = cmp.Or(p.Retries, DefaultProbeRetries)
	return p
}

// String is the probe as a person would write it, such as http :8080/healthz.
func (p Probe) String() string {
	switch {
	case p.HTTP != nil:
		return fmt.Sprintf("http :%d%s", p.HTTP.Port, cmp.Or(p.HTTP.Path, "/"))
	case p.TCP != 0:
		return fmt.Sprintf("tcp :%d", p.TCP)
	default:
		return "exec " + strings.Join(p.Exec, " ")
	}
}
