package bundle

import (
	"encoding/json"

	"github.com/otto-edge/otto"
)

// Node is what an agent gathers of its node. It is scrubbed there, so that no
// secret travels.
type Node struct {
	Log        string           `json:"log"`
	Files      string           `json:"files"`
	Assignment *otto.Assignment `json:"assignment,omitempty"`
	Containers []otto.Container `json:"containers,omitempty"`
	Notes      []string         `json:"notes,omitempty"` // what could not be had, and why
}

// maxNodeLog keeps the whole of a Node below what is read of a node's answer.
const maxNodeLog = 256 << 10

// Gather fills in what is in the node directory dir.
func (n *Node) Gather(s *Secrets, dir, log string) {
	n.Files = string(Files(dir))
	b, err := Tail(log, maxNodeLog)
	if err != nil {
		n.Notes = append(n.Notes, err.Error())
	}
	n.Log = string(s.Text(b))
}

// Encode is n as it travels, scrubbed as a whole.
func (n Node) Encode(s *Secrets) ([]byte, error) {
	if n.Assignment != nil {
		a := Assignment(*n.Assignment)
		n.Assignment = &a
	}
	for i := range n.Containers {
		n.Containers[i].SpecHash = brief(n.Containers[i].SpecHash)
		if n.Containers[i].Ailment != "" {
			n.Containers[i].Ailment = Redacted // a program's own words
		}
	}
	log := n.Log // scrubbed line by line, as it is no string of JSON
	n.Log = ""
	b, err := s.JSON(n)
	if err != nil {
		return nil, err
	}
	var scrubbed Node
	if err := json.Unmarshal(b, &scrubbed); err != nil {
		return nil, err
	}
	scrubbed.Log = log
	return json.Marshal(scrubbed)
}
