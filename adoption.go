package otto

import "slices"

// Labels that Compose puts on what it creates.
const (
	ComposeLabels  = "com.docker.compose." // how all of them begin
	ComposeProject = ComposeLabels + "project"
	ComposeService = ComposeLabels + "service"
)

// Project is what an engine has of a Compose project that is not this cluster's.
type Project struct {
	Name  string   `json:"name"`
	Dir   string   `json:"dir,omitempty"`   // its folder, on the node
	Files []string `json:"files,omitempty"` // its Compose files, likewise
	// Containers are those of its services, running or not, by name.
	Containers []ProjectContainer `json:"containers"`
	Volumes    []ProjectVolume    `json:"volumes"`
	Networks   []ProjectNetwork   `json:"networks"`
}

// ProjectContainer is a container of a Compose project.
type ProjectContainer struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Service string         `json:"service"`
	Number  int            `json:"number"`
	OneOff  bool           `json:"one_off,omitempty"` // of docker compose run
	State   ContainerState `json:"state"`
	Image   string         `json:"image"`
	ImageID string         `json:"image_id,omitempty"`
	// ImageNow is what the image's name means now, if that is another one.
	ImageNow string            `json:"image_now,omitempty"`
	Mounts   []ProjectMount    `json:"mounts,omitempty"`
	Networks map[string]string `json:"networks,omitempty"` // fixed address by network, empty for a chosen one
	Ports    []Port            `json:"ports,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`  // Compose's own
	Restart  string            `json:"restart,omitempty"` // its restart policy; empty for none
	Others   string            `json:"others,omitempty"`  // whose it is, if it is another cluster's
}

// Runs reports whether the container runs, or will again without anybody's help.
func (c ProjectContainer) Runs() bool {
	return c.State == ContainerRunning || c.State == ContainerRestarting || c.State == ContainerPaused
}

// ProjectMount is a mount of such a container, as the engine has it.
type ProjectMount struct {
	Type     string `json:"type"`
	Source   string `json:"source"` // name of a volume, or path on the node
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Nameless says that the engine has drawn the volume's name, and Full that there is, or
	// may be, something in it.
	Nameless bool `json:"nameless,omitempty"`
	Full     bool `json:"full,omitempty"`
}

// ProjectVolume is a named volume that a project has or uses.
type ProjectVolume struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of LabelVolume
	// UsedBy are containers that run with it and are not the project's.
	UsedBy []string `json:"used_by,omitempty"`
	Others string   `json:"others,omitempty"` // whose it is, if it is another cluster's
}

// ProjectNetwork is a network that a project has or uses.
type ProjectNetwork struct {
	Name   string `json:"name"`
	ID     string `json:"id"`
	Others string `json:"others,omitempty"`
}

// Adoption is what a cluster takes over of a Compose project on a node.
type Adoption struct {
	Stack string `json:"stack"`
	Node  string `json:"node"`
	Taken
	Volumes []DataRecord `json:"volumes,omitempty"`
	// Composed is how Compose had made the containers, by instance.
	Composed map[string]Composed `json:"composed,omitempty"`
	// Releasing is how they are given back, by instance.
	Releasing map[string]Release `json:"releasing,omitempty"`
}

// Composed is a container as Compose has made it.
type Composed struct {
	Labels map[string]string `json:"labels"` // Compose's own
	Spec   string            `json:"spec"`   // hash of what the file had of it then
}

// Release is how the container of an instance is given back to Compose.
type Release struct {
	Labels map[string]string `json:"labels"` // Compose's own
	Dir    string            `json:"dir"`    // folder of the project on the node, for its files
}

// ReleaseRequest asks for a stack to be given back to Compose.
type ReleaseRequest struct {
	Stack string `json:"stack"`
	// Specs are the hashes of what the file has of its services: where they are as at the
	// takeover, Compose knows the containers by the labels that it has made itself.
	Specs map[string]string `json:"specs"`
	// Dir and Files are where the project is on its node, for what was not taken over.
	Dir   string   `json:"dir,omitempty"`
	Files []string `json:"files,omitempty"`
}

// ReleasedHash begins the hash of the spec of a container that is given back.
const ReleasedHash = "released-"

// LabelReleased is the label of a container that was given back: the cluster's id, the node,
// the service, the instance and the hash, for as long as it is not all of its stack.
const LabelReleased = "otto.released"

// DataRecord is a volume that was there.
type DataRecord struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"` // of LabelVolume; empty if it has none
}

// Taken is what is a cluster's by its record, although labels say that it is nobody's.
type Taken struct {
	Containers []TakenContainer `json:"containers,omitempty"`
	// Back are those whose service is not wanted any more, before it has followed them: they are
	// Compose's again, and are started if the agent has stopped them.
	Back     []TakenContainer `json:"back,omitempty"`
	Networks []TakenNetwork   `json:"networks,omitempty"`
	// Releasing are instances whose containers are being given back.
	Releasing []string `json:"releasing,omitempty"`
	// Given are volumes and networks that were given back with all of their stack.
	Given []string `json:"given,omitempty"`
}

// TakenContainer is a container of Compose's that an instance follows: it is the former one
// of its first update.
type TakenContainer struct {
	ID       string `json:"id"`
	Service  string `json:"service"`
	Instance string `json:"instance"`
	// Restart is its restart policy, which it has not while it is stopped for its follower: by
	// "always" an engine that starts would start it beside that.
	Restart string `json:"restart,omitempty"`
}

// TakenNetwork is a network of Compose's that stays.
type TakenNetwork struct {
	ID string `json:"id"`
	// As is how the file had it when it was taken over. While the file has it so, it stays.
	As Network `json:"as"`
}

// IsZero reports whether nothing is taken.
func (t Taken) IsZero() bool {
	return len(t.Containers)+len(t.Back)+len(t.Networks)+len(t.Releasing)+len(t.Given) == 0
}

// Container is the record of a container.
func (t Taken) Container(id string) (TakenContainer, bool) {
	for _, list := range [][]TakenContainer{t.Containers, t.Back} {
		if i := slices.IndexFunc(list, func(c TakenContainer) bool { return c.ID == id }); i >= 0 {
			return list[i], true
		}
	}
	return TakenContainer{}, false
}

// Network is the record of a network.
func (t Taken) Network(id string) (TakenNetwork, bool) {
	i := slices.IndexFunc(t.Networks, func(n TakenNetwork) bool { return n.ID == id })
	if i < 0 {
		return TakenNetwork{}, false
	}
	return t.Networks[i], true
}
