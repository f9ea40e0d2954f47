package otto

import (
	"fmt"
	"strings"
)

// Revision orders assignments. The epoch rises with every start of a control
// plane and the number with every assignment it makes, so that a message from
// the past is known as such after any crash.
type Revision struct {
	Epoch  uint64 `json:"epoch"`
	Number uint64 `json:"number"`
}

// Before reports whether r is older than o.
func (r Revision) Before(o Revision) bool {
	return r.Epoch < o.Epoch || r.Epoch == o.Epoch && r.Number < o.Number
}

// String is epoch and number as people read them, such as 3.17.
func (r Revision) String() string { return fmt.Sprintf("%d.%d", r.Epoch, r.Number) }

// Assignment is everything that one node should run. It is never a verb: what
// is not in it and is Otto's is removed, what is in it is made so.
type Assignment struct {
	ClusterID string     `json:"cluster_id"`
	Node      string     `json:"node"`
	Revision  Revision   `json:"revision"`
	Warrant   []byte     `json:"warrant,omitempty"` // of the control plane that made it
	Stopped   bool       `json:"stopped,omitempty"` // keep the containers, but none running
	Instances []Instance `json:"instances"`
	// Devices are paths that services ask for: the node is to say which of them it
	// has, so that they go where they are.
	Devices []string `json:"devices,omitempty"`
	// Peers are the nodes to which the node is to measure the round-trip time.
	Peers []Peer `json:"peers,omitempty"`
	// Watches are instances, of any node, that the node is to probe.
	Watches []Watch `json:"watches,omitempty"`
	// Data is with what its instances have run on the node before, for an agent that
	// has lost its own record.
	Data []Data `json:"data,omitempty"`
	// Taken is what is the cluster's there although no label says so.
	Taken Taken `json:"taken,omitzero"`
	// Covered says that of its instances only the names are here and all else is sealed.
	Covered bool `json:"covered,omitempty"`
	// Since is an assignment of the same node, this or an older one: what proves that its
	// sender had not got it yet counts for nothing. Where it is a newer one than before, the
	// node says everything once more. Zero where nothing has to be proven.
	Since Revision `json:"since,omitzero"`
	// Sealed are the contents of the files of its instances, for nobody but the node.
	Sealed []byte `json:"sealed,omitempty"`
	// Contents are the same, opened.
	Contents Contents `json:"-"`
}

// Watch is an instance that is probed from where it may not run.
type Watch struct {
	Instance string `json:"instance"`
	Probe    Probe  `json:"probe"` // of HTTP or TCP
	// Address is host:port. Without a host it is the machine of the broker.
	Address string `json:"address"`
}

// Peer is how a node reaches another one.
type Peer struct {
	Node string `json:"node"`
	// Address is host:port, for TCP; empty if nothing but the broker's address leads to it.
	Address string `json:"address,omitempty"`
}

// Instance is one container of a service on one node.
type Instance struct {
	Name    string        `json:"name"`
	Service string        `json:"service"`
	Spec    ContainerSpec `json:"spec"`
	Probe   *Probe        `json:"probe,omitempty"`
	// DependsOn are dependencies on services of the same node; the agent sees to them.
	DependsOn []Dependency `json:"depends_on,omitempty"`
	// Hold says why the instance must not be started yet, because of services of
	// other nodes. It never stops one that runs.
	Hold string `json:"hold,omitempty"`
	// StartFirst has the former container serve until the one that replaces it is
	// up; otherwise it is stopped first.
	StartFirst bool `json:"start_first,omitempty"`
	// Keep is the hash of a spec that has failed: its container is kept, stopped,
	// for its logs, under the name of the instance with SuffixKept.
	Keep string `json:"keep,omitempty"`
	// Restart is how often a restart of it has been asked for. It is no part of the
	// spec: the same container is stopped and started.
	Restart uint64 `json:"restart,omitempty"`
	// Pull has its image be asked for in the registry before a container is made, also if
	// it is there.
	Pull bool `json:"pull,omitempty"`
	// ImageID is the image that its container is made from while its node has that,
	// whatever the name of the image means by now: an update that failed goes back to it.
	ImageID string `json:"image_id,omitempty"`
	// Fenced says that the instance may be started on another node when this one
	// is not heard: it must not run here without a lease.
	Fenced bool `json:"fenced,omitempty"`
	// Disposable says that the instance may start without the data that it had.
	Disposable bool `json:"disposable,omitempty"`
	// Release gives it back to Compose: its container gets Compose's labels and none of Otto's.
	Release *Release `json:"release,omitempty"`
	// Lent are the containers of the services from which it borrows, by service. The agent
	// finds them.
	Lent map[string]string `json:"-"`
	// Beside are the networks of all services of its stack on its node. They are made before
	// any of their containers. The agent finds them.
	Beside []Network `json:"-"`
	// Present are host directories that are there when its container is made: no engine
	// is to make one anew that is missing later. The agent finds them.
	Present []string `json:"-"`
	// Once is a run for somebody beside the instances of the service: it is not found by
	// the service's name, and no agent takes its container for one of its own.
	Once bool `json:"-"`
	// Contents are those of the assignment, for the values of Spec.SecretEnvironment.
	Contents Contents `json:"-"`
	// FilePaths are where the node has Spec.Files, in their order. The agent writes them.
	FilePaths []string `json:"-"`
	// FolderPaths are where the node has Spec.Folders(), by their Content. The agent finds
	// them.
	FolderPaths map[string]string `json:"-"`
	// SeedPaths are where the node has the volumes of Spec.Seeded(), by their name. The
	// agent finds them.
	SeedPaths map[string]string `json:"-"`
	// SpecHash is Spec.Hash(), for whoever asks Hash often; empty if nobody has noted it.
	SpecHash string `json:"-"`
}

// Hash is the hash of the instance's spec; another one for a container that is given back.
func (i *Instance) Hash() string {
	if i.SpecHash != "" {
		return i.SpecHash
	}
	if i.Release != nil {
		return ReleasedHash + i.Spec.Hash()
	}
	return i.Spec.Hash()
}

// ContainerName is the name of the instance's container: the one that its spec asks
// for, the instance's own, or in a stack that of Compose, such as immich-db-1.
func (i Instance) ContainerName() string {
	if i.Spec.ContainerName != "" {
		return i.Spec.ContainerName
	}
	if !strings.Contains(i.Service, "/") {
		return i.Name
	}
	number, _ := strings.CutPrefix(i.Name, i.Service)
	if number == "" {
		number = "-1"
	}
	return strings.ReplaceAll(i.Service, "/", "-") + number
}

// SuffixKept is behind the name of a container that an update has left for its
// logs.
const SuffixKept = ".kept"

// ContainerState is a container's state in the engine's own words.
type ContainerState string

// The engine's states of a container.
const (
	ContainerCreated    ContainerState = "created"
	ContainerRunning    ContainerState = "running"
	ContainerPaused     ContainerState = "paused"
	ContainerRestarting ContainerState = "restarting"
	ContainerRemoving   ContainerState = "removing"
	ContainerExited     ContainerState = "exited"
	ContainerDead       ContainerState = "dead"
)
