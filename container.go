package otto

import (
	"fmt"
	"slices"
	"time"
)

// Container is one of Otto's containers as an engine reports it.
type Container struct {
	ID       string // 64 hex digits
	Name     string // without the leading slash
	Service  string // of LabelService
	Instance string // of LabelInstance
	SpecHash string // of LabelSpec
	Image    string // as asked for
	ImageID  string // what that meant when it was made
	State    ContainerState
	Health   string // starting, healthy, unhealthy, unknown; empty without a health check
	Ailment  string // why it is unhealthy, or why its health is unknown
	Address  string // of IP, as its node reaches it; empty without a network of its own
	ExitCode int
	LastExit *int   // the exit code of its last end that nobody has asked for, as far as the engine has told
	Stopped  bool   // somebody has asked for its end in this run, as far as the engine has told
	OOM      bool   // killed for want of memory
	OOMKills int    // processes of it that were, as far as the engine has told since it is watched
	Error    string // why the engine could not start it
	Restarts int    // by the engine
	Started  time.Time
	Finished time.Time
	Pid      int // 0 when not running
	// Setup is how the engine says that it is set up, by aspect, as far as Otto has
	// asked for it. Ports are in it only while it runs.
	Setup map[string]string
	// Borrows are the ids of the containers whose namespaces it is in, or whose mounts it has.
	Borrows []string
	Mounts  []Mount // named volumes and host paths
	// Taken says that it is of Compose, and an instance's by a record alone.
	Taken bool
}

// How aspects of a Container's Setup begin: the name of a network, a port of the
// container or a path in it follows.
const (
	SetupNetwork = "network "
	SetupPort    = "port "
	SetupMount   = "mount "
)

// Image is a name of an image that is there.
type Image struct {
	Name  string // with its tag, as the engine lists it
	Bytes int64  // unpacked, with what it shares with others; 0 if not known
}

// VolumeUse is a named volume of a cluster on a node, with the data in it.
type VolumeUse struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"` // -1 if that is not known
	Created time.Time `json:"created,omitzero"`
}

// InstanceState is where an instance is on its way to what is wanted.
type InstanceState string

// The states of an instance.
const (
	InstanceWaiting   InstanceState = "waiting"   // for a dependency, or for its next try
	InstancePulling   InstanceState = "pulling"   // its image
	InstanceStarting  InstanceState = "starting"  // being created or started, or its health check has not passed yet
	InstanceRunning   InstanceState = "running"   // and healthy, where there is a health check
	InstanceUnhealthy InstanceState = "unhealthy" // running, but its health check fails
	InstancePaused    InstanceState = "paused"    // somebody has paused its container
	InstanceFailed    InstanceState = "failed"    // cannot be started, or does not stay up
	InstanceCompleted InstanceState = "completed" // ended, and its restart policy leaves it so
	InstanceStopped   InstanceState = "stopped"   // on request
	InstanceUnknown   InstanceState = "unknown"   // its node is silent or has not reported it, or its check cannot run
)

// Runs reports whether there are processes of the instance, whether it works or not.
func (s InstanceState) Runs() bool {
	switch s {
	case InstanceStarting, InstanceRunning, InstanceUnhealthy, InstancePaused, InstanceUnknown:
		return true
	}
	return false
}

// InstanceStatus is what an agent reports of one instance.
type InstanceStatus struct {
	Name    string        `json:"name"`
	Service string        `json:"service"`
	State   InstanceState `json:"state"`
	Image   string        `json:"image,omitempty"`
	ImageID string        `json:"image_id,omitempty"` // that its container runs
	// ImageNow is what the image's name means on the node now, if that is another one.
	ImageNow    string `json:"image_now,omitempty"`
	ContainerID string `json:"container_id,omitempty"`
	// SpecHash is of the container that runs, which during an update is the former one.
	SpecHash string    `json:"spec_hash,omitempty"`
	Health   string    `json:"health,omitempty"`
	ExitCode int       `json:"exit_code,omitempty"`
	Restarts int       `json:"restarts,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	// OOMKills are how often a process of it was killed for want of memory since the
	// agent has started, at least.
	OOMKills int `json:"oom_kills,omitempty"`
	// Reason says what it waits for; Error what went wrong last; Warning what
	// went wrong without harm, such as a pull that failed while an image is there.
	Reason  string   `json:"reason,omitempty"`
	Error   string   `json:"error,omitempty"`
	Warning string   `json:"warning,omitempty"`
	LogTail []string `json:"log_tail,omitempty"` // last lines of a container that does not stay up
	// Failed is the hash of the wanted spec, if Error is of an attempt to run it;
	// GivenUp says that it is not tried again, and the former container runs.
	Failed  string `json:"failed,omitempty"`
	GivenUp bool   `json:"given_up,omitempty"`
	// WrongPlatform says that Error is that its image is for other architectures.
	WrongPlatform bool `json:"wrong_platform,omitempty"`
	// Restart is that of the assignment, once it has been seen to.
	Restart uint64 `json:"restart,omitempty"`
	// Fenced says that it was stopped because its lease has ended, and that no
	// process of it is left.
	Fenced bool `json:"fenced,omitempty"`
}

// Completed reports whether it has ended as it should, and is to stay so.
func (i InstanceStatus) Completed() bool { return i.State == InstanceCompleted && i.ExitCode == 0 }

// Explained reports whether the status says why it is as it is, if it is one that
// people ask that of.
func (i InstanceStatus) Explained() bool {
	switch i.State {
	case InstanceFailed, InstanceUnhealthy, InstancePaused, InstanceWaiting, InstanceUnknown:
		return i.Reason != "" || i.Error != ""
	}
	return true
}

// Unmet returns why dependency d is not met by the instances of the service it
// names, or "" if it is.
func (d Dependency) Unmet(instances []InstanceStatus) string {
	of := func(i InstanceStatus) bool { return i.Service == d.Service }
	i := slices.IndexFunc(instances, of)
	if i < 0 {
		return fmt.Sprintf("%s is not there yet", d.Service)
	}
	for _, inst := range instances[i:] {
		failed := inst.State == InstanceFailed || inst.State == InstanceUnhealthy
		if of(inst) && !d.metBy(inst) && !(d.Optional && failed) {
			return fmt.Sprintf("%s is %s, not yet %s", inst.Name, inst.State, d.wants())
		}
	}
	return ""
}

func (d Dependency) metBy(i InstanceStatus) bool {
	switch d.Condition {
	case ServiceHealthy:
		return i.State == InstanceRunning && (i.Health == "healthy" || i.Health == "")
	case ServiceCompleted:
		return i.Completed()
	default:
		return !i.Started.IsZero()
	}
}

func (d Dependency) wants() string {
	switch d.Condition {
	case ServiceHealthy:
		return "healthy"
	case ServiceCompleted:
		return "completed"
	default:
		return "started"
	}
}

// RunningContainer is what a sampler needs to know of a running container.
type RunningContainer struct {
	ID   string // 64 hex digits
	Name string
	Pid  int // of its first process, in the engine's process namespace
	// HostNetwork says that it has no network of its own; its traffic is the node's, or
	// another container's.
	HostNetwork bool
}
