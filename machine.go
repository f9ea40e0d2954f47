package otto

import "context"

// MachineFacts are what placement depends on of a node's machine, as SSH finds them out.
// What is not known is empty.
type MachineFacts struct {
	Hostname    string `json:"hostname,omitempty"`
	Arch        string `json:"arch,omitempty"` // as NodeFacts.Arch
	CPUs        int    `json:"cpus,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
}

// Bringing is told how an agent is brought to a node.
type Bringing struct {
	// Floor is the oldest assignment that an agent which has none takes.
	Floor  Revision
	Step   func(string)                // what is being done, in a few words
	Found  func(MachineFacts)          // what the machine is, before anything is changed there
	Verify func(context.Context) error // waits until the agent has reported
}
