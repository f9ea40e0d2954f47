package otto

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Update is how the instances of a service get a new version. Each zero means
// its default.
type Update struct {
	// Order is StartFirst or StopFirst; empty means start-first where two
	// instances can be on a node at once.
	Order       string        `json:"order,omitempty"`
	Parallelism int           `json:"parallelism,omitempty"` // instances at a time
	Delay       time.Duration `json:"delay_ns,omitempty"`    // before the next ones
	Monitor     time.Duration `json:"monitor_ns,omitempty"`  // for which a new one must stay up
	OnFailure   string        `json:"on_failure,omitempty"`
}

// Values of an Update's Order and OnFailure.
const (
	StartFirst = "start-first"
	StopFirst  = "stop-first"

	FailureRollback = "rollback" // all go back to the former version
	FailurePause    = "pause"    // those that are left keep the former version
	FailureContinue = "continue"
)

// DefaultMonitor is for how long a new instance must stay up.
const DefaultMonitor = 5 * time.Second

// WithDefaults is u without zeros, but for Order and Delay.
func (u Update) WithDefaults() Update {
	u.Parallelism = max(u.Parallelism, 1)
	u.Monitor = cmp.Or(u.Monitor, DefaultMonitor)
	u.OnFailure = cmp.Or(u.OnFailure, FailureRollback)
	return u
}

// Alone says why two containers of a spec cannot run on one node at once; empty
// if they can.
func (s ContainerSpec) Alone() string {
	if s.Stateful() {
		return "there must never be two of it"
	}
	for _, p := range s.Ports {
		if p.Host != 0 {
			return fmt.Sprintf("it publishes port %d", p.Host)
		}
	}
	switch {
	case s.NetworkMode != "":
		return "it has network_mode: " + s.NetworkMode
	case len(s.Devices) > 0:
		return "it uses a device of its node"
	case slices.ContainsFunc(s.Networks, func(n Network) bool { return n.IPv4 != "" || n.IPv6 != "" || n.MACAddress != "" }),
		s.Engine != nil && s.Engine.MACAddress != "":
		return "it has an address of its own"
	}
	return ""
}

// UpdateOrder is the order in which an instance of a service is replaced, and why
// it is not start-first.
func (s Service) UpdateOrder() (order, why string) {
	if s.Update.Order == StopFirst {
		return StopFirst, "the file says so"
	}
	if why := s.Spec.Alone(); why != "" {
		return StopFirst, why
	}
	return StartFirst, ""
}

// UpdateStatus is how far the update or restart of a service has come, or how the
// last one has failed.
type UpdateStatus struct {
	State UpdateState `json:"state"`
	// Left is how many instances have still to be updated or restarted, or to go back.
	Left int `json:"left"`
	// Failed is what went wrong.
	Failed *UpdateFailure `json:"failed,omitempty"`
}

// UpdateState is where an update is.
type UpdateState string

// The states of an update.
const (
	UpdateGoing    UpdateState = "updating"
	UpdatePaused   UpdateState = "paused"      // it has failed, and the rest is left as it was
	UpdateBack     UpdateState = "going-back"  // it has failed, and the former version comes back
	UpdateReverted UpdateState = "rolled-back" // the former version is back until the file changes
)

// UpdateFailure is why an update has failed.
type UpdateFailure struct {
	Instance string    `json:"instance"`
	Node     string    `json:"node"`
	Why      string    `json:"why"`
	Tail     []string  `json:"tail,omitempty"` // last lines of its output
	Time     time.Time `json:"time"`
	Version  string    `json:"version"` // hash of the spec that failed
}

// String is where and why it has failed, in one line.
func (f UpdateFailure) String() string {
	return fmt.Sprintf("%s on %s: %s", f.Instance, f.Node, f.Why)
}
