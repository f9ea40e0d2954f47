package otto

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Service is something the user wants to run: one or more containers of the
// same spec.
type Service struct {
	Name string `json:"name"`
	// Node is the service's home; empty means that Otto chooses.
	Node      string       `json:"node,omitempty"`
	Mode      string       `json:"mode,omitempty"` // ModeGlobal, or empty for Replicas
	Replicas  int          `json:"replicas"`
	DependsOn []Dependency `json:"depends_on,omitempty"`
	// Failover says whether it may be started elsewhere when its node is lost:
	// FailoverMove or FailoverStay. Empty means that a service stays if it has a
	// home and moves if it has none.
	Failover string `json:"failover,omitempty"`
	// Rejoin says what happens when its home is back: RejoinHome or RejoinKeep,
	// which is the default.
	Rejoin string `json:"rejoin,omitempty"`
	// Data is DataDisposable if a stateful service may start anew without its data.
	Data  string `json:"data,omitempty"`
	Probe *Probe `json:"probe,omitempty"` // beside the engine's own health check
	// Placement, Platform and Reserve are about the choice of a node. They are no
	// part of ContainerSpec: another place does not make another container.
	Placement PlacementRules `json:"placement,omitzero"`
	Platform  string         `json:"platform,omitempty"` // such as linux/arm64; "" means any
	Reserve   Resources      `json:"reserve,omitzero"`   // that a node must have free for each instance
	Update    Update         `json:"update,omitzero"`    // how a new version comes
	Spec      ContainerSpec  `json:"spec"`
	// Requirements are its own; Wanted.RequirementsOf has all that concern it.
	Requirements []Requirement `json:"requirements,omitempty"`
	// Decisions is how far Otto acts by itself for this service; empty means as for
	// all: see Decisions.Mode.
	Decisions string `json:"decisions,omitempty"`
	// Unit is what it is placed with: all services with the same one are on one node.
	// Tied says why it stays there although it could leave itself: another one cannot.
	// Shares is what its stack has in common with another one of the unit, such as the
	// network proxy of stack traefik.
	Unit   string `json:"unit,omitempty"`
	Tied   string `json:"tied,omitempty"`
	Shares string `json:"shares,omitempty"`
	// Implied are its volumes that the file gives no name of their own, by what the
	// engine calls them: that changes with the service's place in the file.
	Implied map[string]ImpliedVolume `json:"implied_volumes,omitempty"`
	// Seeds are the data of its project, by the name of the volume that has it on another
	// node than this machine, where it is used in place.
	Seeds Seeds `json:"seeds,omitempty"`
}

// ImpliedVolume is where the file has a volume that it gives no name.
type ImpliedVolume struct {
	Key string `json:"key"` // under volumes
	At  string `json:"at"`  // where the service mounts it, as file:line:column
}

// Values of a Service's Mode, Failover, Rejoin and Data.
const (
	ModeGlobal     = "global" // an instance on every node that fits
	FailoverMove   = "move"
	FailoverStay   = "stay"
	RejoinKeep     = "keep" // it stays where it is
	RejoinHome     = "home" // it goes home once home has been stable for a while
	DataDisposable = "disposable"
)

// Stateful reports whether the service keeps data on its node. A stateful
// service runs at most once in the cluster and never starts away from its data.
func (s Service) Stateful() bool { return s.Spec.Stateful() }

// Mobile reports whether the service may be started on another node when its
// own is lost or emptied.
func (s Service) Mobile() bool { return s.Stays() == "" }

// Stays says why the service may not be started on another node; empty if it
// may. A service with data may not, unless it needs none of it.
func (s Service) Stays() string {
	switch {
	case s.Global():
		return "it runs on every node that fits"
	case s.Tied != "":
		return s.Tied
	case s.Failover == FailoverStay:
		return "it has failover: stay"
	case s.Failover == "" && s.Node != "":
		return "its home is " + s.Node + ", and it has no failover: move"
	case s.Stateful() && s.Data != DataDisposable:
		return "its data is there, and it is not data: disposable"
	}
	return ""
}

// Limits reports whether the service has a limit of its own for cpu or memory.
func (s Service) Limits(metric string) bool {
	return metric == "cpu" && s.Spec.Resources.CPU > 0 || metric == "memory" && s.Spec.Resources.MemoryBytes > 0
}

// Reserves reports whether the service reserves cpu or memory.
func (s Service) Reserves(metric string) bool {
	return metric == "cpu" && s.Reserve.CPU > 0 || metric == "memory" && s.Reserve.MemoryBytes > 0
}

// bounds reports whether the service has the limit or reserve that a requirement is
// about, if it is about one.
func (s Service) bounds(r Requirement) bool {
	m, _ := FindMetric(r.Metric)
	return (m.From == "" || s.Watchable()) && (!r.OfLimit || s.Limits(r.Metric)) && (!r.OfReserve || s.Reserves(r.Metric)) && (r.Metric != MetricThrottled || s.Limits("cpu"))
}

// Published is how a TCP port of the service's containers is reached from other
// machines, if it is: at a port of their node that is known beforehand.
func (s Service) Published(port uint16) (Port, bool) {
	if s.Spec.NetworkMode == "host" {
		return Port{Host: port, Container: port, Protocol: "tcp"}, port != 0
	}
	for _, p := range s.Spec.Ports {
		ip, err := netip.ParseAddr(p.HostIP)
		if p.Container == port && p.Host != 0 && p.Protocol == "tcp" && (err != nil || !ip.IsLoopback()) {
			return p, true
		}
	}
	return Port{}, false
}

// Watchable reports whether the service's probe can be done from other machines.
func (s Service) Watchable() bool {
	if s.Probe == nil {
		return false
	}
	_, ok := s.Published(s.Probe.Port())
	return ok
}

// Global reports whether the service has an instance on every node that fits.
func (s Service) Global() bool { return s.Mode == ModeGlobal }

// InstanceOn is the name of a global service's instance on a node. It says where
// it is, so that nothing is renamed when other nodes come and go.
func (s Service) InstanceOn(node string) string { return s.Name + "-" + node }

// Arch is the architecture that the service's platform asks for, as
// NodeFacts.Arch; empty for any.
func (s Service) Arch() string {
	_, arch, _ := strings.Cut(s.Platform, "/")
	arch, _, _ = strings.Cut(arch, "/") // a variant
	return arch
}

// InstanceNames returns the names of a service's instances: name, name-2, name-3
// and so on; of a global one, whether the node fits or not, that of each node.
func (w Wanted) InstanceNames(s Service) []string {
	if s.Global() {
		names := make([]string, 0, len(w.Nodes))
		for _, n := range w.Nodes {
			names = append(names, s.InstanceOn(n.ID))
		}
		return names
	}
	names := make([]string, 0, s.Replicas)
	for i := range s.Replicas {
		name := s.Name
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		names = append(names, name)
	}
	return names
}

// Devices are the paths of all devices that services ask for, in order.
func (w Wanted) Devices() (paths []string) {
	for _, s := range w.Services {
		for _, d := range s.Spec.Devices {
			paths = append(paths, d.Host)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// Peers are the ids of the nodes to which some requirement limits the round-trip
// time, in order.
func (w Wanted) Peers() (ids []string) {
	take := func(list []Requirement) {
		for _, r := range list {
			if id, ok := strings.CutPrefix(r.Metric, RTTPrefix); ok {
				ids = append(ids, id)
			}
		}
	}
	take(w.Requirements)
	for i := range w.Services {
		take(w.Services[i].Requirements)
	}
	for i := range w.Nodes {
		take(w.Nodes[i].Requirements)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// HasInstance reports whether a service has an instance of this name.
func (w Wanted) HasInstance(name string) bool {
	return slices.ContainsFunc(w.Services, func(s Service) bool { return slices.Contains(w.InstanceNames(s), name) })
}

// Dependency is another service that must have reached a condition before a
// service starts. Conditions are Docker Compose's.
type Dependency struct {
	Service   string `json:"service"`
	Condition string `json:"condition"`
	// Optional does not wait for one that has failed: Compose's required: false.
	Optional bool `json:"optional,omitempty"`
	// Restart has the service be restarted after Otto has restarted or replaced the
	// container of the other one.
	Restart bool `json:"restart,omitempty"`
}

// Conditions of a Dependency.
const (
	ServiceStarted   = "service_started"
	ServiceHealthy   = "service_healthy"
	ServiceCompleted = "service_completed_successfully"
)

// ContainerSpec is how a service's containers are made. Names and meaning are
// Docker Compose's. Every field is omitted from JSON when empty, so that a
// field added later does not change the Hash of specs that do not use it.
type ContainerSpec struct {
	Image      string `json:"image"`
	PullPolicy string `json:"pull_policy,omitempty"` // PullMissing when empty
	// Refresh is how often another container was asked for because its image's name means
	// other content now. No file has it; the control plane carries it on.
	Refresh     uint64            `json:"refresh,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	// SecretEnvironment are variables whose values nobody is to see, with the keys of those
	// instead, as in File.Content.
	SecretEnvironment map[string]string `json:"secret_environment,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Ports             []Port            `json:"ports,omitempty"`
	Mounts            []Mount           `json:"mounts,omitempty"`
	Files             []File            `json:"files,omitempty"` // secrets and configs
	Tmpfs             []string          `json:"tmpfs,omitempty"` // "/run" or "/run:size=64m"
	// Restart is no, always, on-failure[:N] or unless-stopped, the default.
	Restart     string       `json:"restart,omitempty"`
	Resources   Resources    `json:"resources,omitzero"`
	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
	Logging     *Logging     `json:"logging,omitempty"` // nil means json-file, 10 MB x 3
	// StopGrace is how long a container may take to stop; 0 means the engine's 10 s.
	StopGrace   time.Duration `json:"stop_grace_ns,omitempty"`
	StopSignal  string        `json:"stop_signal,omitempty"`
	User        string        `json:"user,omitempty"`
	WorkingDir  string        `json:"working_dir,omitempty"`
	Devices     []Device      `json:"devices,omitempty"`
	CapAdd      []string      `json:"cap_add,omitempty"`
	CapDrop     []string      `json:"cap_drop,omitempty"`
	ReadOnly    bool          `json:"read_only,omitempty"`
	NetworkMode string        `json:"network_mode,omitempty"` // "" means the cluster's network
	ExtraHosts  []string      `json:"extra_hosts,omitempty"`  // "name:address"
	// Exclusive makes it stateful although it has no volume: never two at once.
	Exclusive bool `json:"stateful,omitempty"`

	// ContainerName is the container's name instead of the instance's.
	ContainerName string `json:"container_name,omitempty"`
	// Networks are what it is attached to instead of the cluster's network.
	Networks []Network `json:"networks,omitempty"`
	Links    []string  `json:"links,omitempty"`  // "container:alias", in all its networks
	Expose   []string  `json:"expose,omitempty"` // "80/tcp": for whoever reads it, such as a proxy
	// NoEntrypoint takes the image's entrypoint away, which an empty Entrypoint leaves.
	NoEntrypoint bool `json:"no_entrypoint,omitempty"`
	// VolumesFrom are whose mounts it has too: service:NAME or container:NAME, each with
	// :ro behind it if only to read.
	VolumesFrom []string `json:"volumes_from,omitempty"`
	// StopAtOnce kills it without a grace period, which a StopGrace of 0 does not.
	StopAtOnce bool     `json:"stop_at_once,omitempty"`
	Engine     *Options `json:"engine,omitempty"`
}

// Pull policies.
const (
	PullMissing = "missing"
	PullAlways  = "always"
	PullNever   = "never"
)

// Stateful reports whether the spec keeps data in a volume or a writable bind,
// or must not run twice for another reason.
func (s ContainerSpec) Stateful() bool {
	if s.Exclusive {
		return true
	}
	for _, m := range s.Mounts {
		if m.Type == MountVolume && (m.Seed == "" || !m.ReadOnly) || m.Type == MountBind && !m.ReadOnly {
			return true
		}
	}
	return false
}

// Volumes are the names of the named volumes that it mounts.
func (s ContainerSpec) Volumes() (names []string) {
	for _, m := range s.Mounts {
		if m.Type == MountVolume && m.Source != "" {
			names = append(names, m.Source)
		}
	}
	return names
}

// Hash identifies what a container is made from. A container whose LabelSpec
// differs from the wanted spec's hash is recreated. When to pull is not part of
// what a container is made from.
func (s ContainerSpec) Hash() string {
	s.PullPolicy = ""
	b, err := json.Marshal(s) // map keys are sorted
	if err != nil {
		panic(err) // strings, numbers and slices of them: cannot happen
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Port publishes a container's port on its node.
type Port struct {
	HostIP    string `json:"host_ip,omitempty"` // "" means all addresses
	Host      uint16 `json:"host,omitempty"`    // 0 means that the engine chooses
	Container uint16 `json:"container"`
	Protocol  string `json:"protocol"` // tcp, udp or sctp
}

// Types of a Mount.
const (
	MountVolume = "volume"
	MountBind   = "bind"
	MountTmpfs  = "tmpfs"
	MountImage  = "image" // the files of an image, which engines have from API 1.47 on
	// MountFiles are a file or a folder of the user's project that Otto brings to the node.
	// They can only be read there.
	MountFiles = "files"
)

// Mount is a file system inside a container.
type Mount struct {
	Type string `json:"type"`
	// Source is a volume's name or a host path; an anonymous volume has none. Of files it
	// is their path in the project.
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// MustExist keeps a bind's missing host path from being created.
	MustExist   bool   `json:"must_exist,omitempty"`
	Propagation string `json:"propagation,omitempty"` // of a bind
	NoCopy      bool   `json:"no_copy,omitempty"`     // of a volume
	External    bool   `json:"external,omitempty"`    // of a volume: others make it, and may use it too
	SizeBytes   int64  `json:"size_bytes,omitempty"`  // of a tmpfs
	Mode        uint32 `json:"mode,omitempty"`        // of a tmpfs
	SELinux     string `json:"selinux,omitempty"`     // of a bind: z or Z
	Recursive   string `json:"recursive,omitempty"`   // of a bind: disabled, writable or readonly
	Subpath     string `json:"subpath,omitempty"`     // of a volume or an image
	// Driver, DriverOpts and Labels are of a volume that is made for this mount.
	Driver     string            `json:"driver,omitempty"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// Content is the key of what is in files, see package folder. A node uses nothing else.
	Content string `json:"content,omitempty"`
	// Seed is the path in the user's project of what a volume begins with, which see
	// Service.Seeds. Such a volume is the agent's, and not the engine's.
	Seed string `json:"seed,omitempty"`
}

// Resources limit a container; zero means no limit.
type Resources struct {
	CPU         float64 `json:"cpu,omitempty"` // cores
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
}

// Healthcheck is a command that the engine runs inside the container.
type Healthcheck struct {
	Test          []string      `json:"test,omitempty"` // as Docker has it: CMD, CMD-SHELL or NONE first
	Interval      time.Duration `json:"interval_ns,omitempty"`
	Timeout       time.Duration `json:"timeout_ns,omitempty"`
	StartPeriod   time.Duration `json:"start_period_ns,omitempty"`
	StartInterval time.Duration `json:"start_interval_ns,omitempty"`
	Retries       int           `json:"retries,omitempty"`
}

// Logging is the engine's log driver for a container.
type Logging struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// Device gives a host device to a container.
type Device struct {
	Host        string `json:"host"`
	Container   string `json:"container"`
	Permissions string `json:"permissions"` // of r, w, m
}

// String is the port in Docker Compose's short form, such as 8080:80 or
// 127.0.0.1:53:53/udp.
func (p Port) String() string {
	s := strconv.Itoa(int(p.Container))
	if p.Host != 0 {
		s = strconv.Itoa(int(p.Host)) + ":" + s
	}
	if p.HostIP != "" {
		s = p.HostIP + ":" + s
	}
	if p.Protocol != "" && p.Protocol != "tcp" {
		s += "/" + p.Protocol
	}
	return s
}
