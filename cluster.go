package otto

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Wanted is what a user asks of a cluster: the contents of otto.yaml that
// concern what runs where. It is one value in the store, replaced whole.
type Wanted struct {
	Revision uint64    `json:"revision"` // rises with every change
	Stopped  bool      `json:"stopped,omitempty"`
	Nodes    []Node    `json:"nodes"`
	Services []Service `json:"services"`
	// Interval is how often agents sample; 0 means DefaultInterval.
	Interval time.Duration `json:"interval_ns,omitempty"`
	Health   Health        `json:"health,omitzero"`
	// Scheduler is how nodes are chosen for what has no home.
	Scheduler Scheduler `json:"scheduler,omitzero"`
	// Requirements are those of all services, or of all nodes.
	Requirements []Requirement `json:"requirements,omitempty"`
	Decisions    Decisions     `json:"decisions,omitzero"`
	// Contents come with what is newly wanted, and are kept apart from it.
	Contents Contents `json:"-"`
	// Folders are the manifests of the files that are newly wanted, by the key that their
	// mounts have as Content; see package folder.
	Folders map[string][]byte `json:"-"`
}

// IntervalOf is the time between two samples of a node and its containers.
func (w Wanted) IntervalOf() time.Duration { return cmp.Or(w.Interval, DefaultInterval) }

// RequirementsOf are all that concern a service: its own, and those for all
// services that it can be held to.
func (w Wanted) RequirementsOf(s Service) []Requirement {
	list := slices.Clone(s.Requirements)
	for _, r := range w.Requirements {
		m, _ := FindMetric(r.Metric)
		if !m.Node && (!m.Probe || s.Probe != nil) && s.bounds(r) {
			list = append(list, r)
		}
	}
	return list
}

// RequirementsOn are all that concern a node: its own, and those for all nodes.
func (w Wanted) RequirementsOn(n Node) []Requirement {
	list := slices.Clone(n.Requirements)
	for _, r := range w.Requirements {
		if m, _ := FindMetric(r.Metric); m.Node {
			list = append(list, r)
		}
	}
	return list
}

// Health is how the nodes of a cluster are watched. Each zero means its default.
type Health struct {
	Heartbeat time.Duration `json:"heartbeat_ns,omitempty"`
	// SuspectMin and SuspectMax bound how long a node may be silent before it is
	// suspect; between them the rhythm of its link decides.
	SuspectMin time.Duration `json:"suspect_min_ns,omitempty"`
	SuspectMax time.Duration `json:"suspect_max_ns,omitempty"`
	// Lease is how long a node that nobody hears may keep a stateful service
	// running that could be started elsewhere.
	Lease time.Duration `json:"lease_ns,omitempty"`
}

// HeartbeatOf is the time between two heartbeats of a node.
func (w Wanted) HeartbeatOf(n Node) time.Duration {
	return cmp.Or(n.Heartbeat, w.Health.Heartbeat, DefaultHeartbeat)
}

// LeaseOf is how long a lease is that a node is granted: several heartbeats at least.
func (w Wanted) LeaseOf(n Node) time.Duration {
	return max(cmp.Or(w.Health.Lease, DefaultLease), 4*w.HeartbeatOf(n))
}

// Defaults of what agents send, and of what keeps a service from running twice.
const (
	DefaultInterval  = 5 * time.Second        // between two samples
	DefaultHeartbeat = 500 * time.Millisecond // between two heartbeats
	DefaultLease     = 10 * time.Second
)

// Cluster is everything known at one moment. It is immutable: the control
// plane makes a new one for every change that matters.
type Cluster struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"`
	Version  string    `json:"version"` // of the control plane
	Time     time.Time `json:"time"`
	Started  time.Time `json:"started"` // the control plane
	Epoch    uint64    `json:"epoch"`
	Broker   string    `json:"broker"` // host:port, and who serves it
	Revision uint64    `json:"revision"`
	Stopped  bool      `json:"stopped,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why the control plane does not decide
	// Warnings are what is wrong with the control plane although it decides.
	Warnings []string `json:"warnings,omitempty"`
	// What is wanted of all nodes and services alike; as in Wanted.
	Interval     time.Duration   `json:"interval_ns"`
	Requirements []Requirement   `json:"requirements,omitempty"`
	Decisions    Decisions       `json:"decisions,omitzero"`
	Scheduler    Scheduler       `json:"scheduler,omitzero"`
	Nodes        []NodeStatus    `json:"nodes"`
	Services     []ServiceStatus `json:"services"`
	// Snapshots are where sealed backups of the control plane are.
	Snapshots []Snapshot `json:"snapshots,omitempty"`
	// Refused is what the broker that Otto serves has refused, what was most often lately
	// first.
	Refused []Refused `json:"refused,omitempty"`
	// Rotation is how far a renewal of the cluster's keys has come; nil if all nodes have
	// those in force.
	Rotation *Rotation `json:"rotation,omitempty"`
}

// Rotation is a renewal of the keys of a cluster and of its nodes.
type Rotation struct {
	// Since is when it began; zero if it is over and nodes that were away do not have the
	// new keys yet.
	Since time.Time `json:"since,omitzero"`
	By    string    `json:"by,omitempty"`
	// Compromised says that the former keys have ended already.
	Compromised bool      `json:"compromised,omitempty"`
	Lacking     []Lacking `json:"lacking"` // nodes that do not have the new keys yet
}

// Lacking is a node that does not have the new keys of its cluster yet.
type Lacking struct {
	Node   string `json:"node"`
	Why    string `json:"why"`
	Absent bool   `json:"absent,omitempty"` // it is not waited for
}

// Refused is something that clients of the broker did and may not.
type Refused struct {
	What   string    `json:"what"`
	Total  uint64    `json:"total"`  // since the control plane started
	Recent uint64    `json:"recent"` // in the last ten minutes
	Last   time.Time `json:"last"`
	From   string    `json:"from,omitempty"` // the address, or the network, of the last one
}

// refusedOften is how often something is refused within ten minutes that somebody should
// look at: a device that tries again and again comes to that in five.
const refusedOften = 100

// Often reports whether somebody should look at it.
func (r Refused) Often() bool { return r.Recent >= refusedOften }

// String says it for people.
func (r Refused) String() string {
	return fmt.Sprintf("%s (%d times in the last ten minutes, last from %s)", r.What, r.Recent,
		cmp.Or(r.From, "an address that is not known"))
}

// Snapshot is a sealed backup of the control plane on one of its nodes.
type Snapshot struct {
	Node    string    `json:"node"`
	Time    time.Time `json:"time"`              // when it was made; zero if none has arrived
	Problem string    `json:"problem,omitempty"` // why the newest one has not arrived
}

// ServiceStatus is a service with the instances it should have.
type ServiceStatus struct {
	Service
	Instances []PlacedInstance `json:"instances"`
	Verdicts  []Verdict        `json:"verdicts,omitempty"` // on its requirements, of each instance
	// Next is what comes of those of them that are violated, as far as it is decided.
	// What is foreseen, and why other nodes refuse, is left out.
	Next []Decision `json:"next,omitempty"`
	// Rollout is its update or restart, while one is under way or has failed.
	Rollout *UpdateStatus `json:"rollout,omitempty"`
}

// PlacedInstance is an instance on the node it was given to.
type PlacedInstance struct {
	Node string `json:"node,omitempty"` // empty while there is no place for it
	InstanceStatus
	// UpToDate says that what runs is what is wanted.
	UpToDate bool             `json:"up_to_date"`
	Sample   *ContainerSample `json:"sample,omitempty"`
	Moving   *InstanceMove    `json:"moving,omitempty"` // nil unless a move of it is under way
}

// InstanceMove is a move that is under way. Until the instance is up on the other node it is
// served where it was, if it may run twice.
type InstanceMove struct {
	From  string    `json:"from"`
	To    string    `json:"to"`
	Since time.Time `json:"since"`
}

// Up reports whether the instance is as wanted: running what is wanted, or
// completed when its restart policy allows that.
func (p PlacedInstance) Up() bool {
	return p.UpToDate && (p.State == InstanceRunning || p.State == InstanceCompleted)
}

// Change is one difference between what is wanted and what was.
type Change struct {
	Kind   string `json:"kind"` // add, change or remove
	Noun   string `json:"noun"` // node or service
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"` // such as "image: a -> b"; never a value of the environment
}
