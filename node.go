package otto

import (
	"net/netip"
	"time"
)

// Node is a machine as the user describes it.
type Node struct {
	ID   string `json:"id"`
	Host string `json:"host"`
	// User and Port are for SSH; empty means what the user's ssh config says.
	User string `json:"user,omitempty"`
	Port int    `json:"port,omitempty"`
	// DockerURL is the engine's address as seen from the node: unix:// or tcp://.
	DockerURL    string            `json:"docker_url"`
	IdentityFile string            `json:"identity_file,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	// Heartbeat is the time between two of its heartbeats; 0 means the cluster's.
	Heartbeat time.Duration `json:"heartbeat_ns,omitempty"`
	// Requirements are its own; Wanted.RequirementsOn has all that concern it.
	Requirements []Requirement `json:"requirements,omitempty"`
}

// IsLocal reports whether the node is the machine that Otto itself runs on,
// which is reached without SSH.
func (n Node) IsLocal() bool {
	if n.Host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(n.Host)
	return err == nil && addr.IsLoopback()
}

// NodeState is how the control plane judges a node.
type NodeState string

// The states of a node, in the order of a normal life.
const (
	NodeJoining NodeState = "joining" // its agent has not reported yet
	NodeReady   NodeState = "ready"   // its agent reports
	NodeSuspect NodeState = "suspect" // its agent is silent; the host may be alive
	// NodeUnresponsive is one whose kernel answers and none of whose programs does:
	// frozen, starved or dead. What runs there may still do so, and nobody can stop it.
	NodeUnresponsive NodeState = "unresponsive"
	NodeLost         NodeState = "lost"     // silent, and a second channel cannot reach the host either
	NodeDraining     NodeState = "draining" // being emptied, on request or because it is taken out
	NodeLeft         NodeState = "left"     // stopped on request
)

// Intent is what a person wants of a node, beside what the file says.
type Intent struct {
	Cordoned bool   `json:"cordoned,omitempty"` // takes nothing new
	Draining bool   `json:"draining,omitempty"` // and gives away what it can
	By       string `json:"by,omitempty"`       // who wants it; ByOtto if no person does
	Why      string `json:"why,omitempty"`
}

// ByOtto is who wants what no person has asked for.
const ByOtto = "otto"

// NodeFacts are what an agent finds out about its node once, at its start.
type NodeFacts struct {
	Hostname     string `json:"hostname"`
	OS           string `json:"os"`   // PRETTY_NAME of /etc/os-release
	Arch         string `json:"arch"` // as Go and Docker name it: amd64, arm64, arm
	Kernel       string `json:"kernel"`
	CPUs         int    `json:"cpus"`
	MemoryBytes  uint64 `json:"memory_bytes"`
	AgentVersion string `json:"agent_version"`
	AgentHash    string `json:"agent_hash"` // SHA-256 of the agent's binary, hex
	Engine       Engine `json:"engine"`
}

// Engine is a container engine as it describes itself.
type Engine struct {
	Name    string `json:"name,omitempty"` // Docker or Podman
	Version string `json:"version,omitempty"`
	API     string `json:"api,omitempty"` // negotiated API version
	// Problem says why the engine cannot be used now; empty when it can.
	Problem string `json:"problem,omitempty"`
	// Warnings are what the engine lacks, such as "no memory limit support".
	Warnings []string `json:"warnings,omitempty"`
}

// NodeStatus is everything known about a node at one moment.
type NodeStatus struct {
	Node
	State  NodeState `json:"state"`
	Reason string    `json:"reason,omitempty"` // why it is in this state
	Since  time.Time `json:"since"`
	Intent Intent    `json:"intent,omitzero"`
	// Step is what Otto is doing to bring the node up, while it is joining.
	Step string `json:"step,omitempty"`
	// Problem is what keeps the node from being ready, with what to try.
	Problem  string    `json:"problem,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
	Facts    NodeFacts `json:"facts"`
	// LastSeen is when the control plane last heard the agent, by its own clock.
	LastSeen time.Time   `json:"last_seen,omitzero"`
	Sample   *NodeSample `json:"sample,omitempty"`
	// SampleReceived is by the control plane's clock; the sample has the node's.
	SampleReceived time.Time `json:"sample_received,omitzero"`
	// Revision is the newest revision of the assignment that the node has reached.
	Revision Revision `json:"revision"`
	// Current says that it is the newest there is, and that nothing runs on the
	// node that is not in it.
	Current bool `json:"current"`
	// Verdicts are on its own requirements, not on those of services that name it.
	Verdicts []Verdict `json:"verdicts,omitempty"`
	// Next is as in ServiceStatus.
	Next []Decision `json:"next,omitempty"`
	// Lost are volumes and directories that services have run with there, and that are
	// missing or others now.
	Lost []Data `json:"lost_data,omitempty"`
}
