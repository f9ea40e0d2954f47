package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/otto-edge/otto"
)

// wantedBody is what is wanted as it is sent to a control plane: with the contents of its
// secrets, over a socket that is its owner's alone or over TLS.
type wantedBody struct {
	otto.Wanted
	Contents map[string][]byte `json:"contents,omitempty"`
	Folders  map[string][]byte `json:"folders,omitempty"`
}

func asked(w otto.Wanted) wantedBody { return wantedBody{w, w.Contents.Plain(), w.Folders} }

func (b wantedBody) whole() otto.Wanted {
	b.Wanted.Contents, b.Wanted.Folders = otto.NewContents(b.Contents), b.Folders
	return b.Wanted
}

// nodesChanged refuses changes of nodes by somebody on another machine: they are reached with
// keys of this one, and a stranger's key is a question to its owner.
func nodesChanged(changes []otto.Change) error {
	for _, c := range changes {
		if c.Noun == "node" {
			return fmt.Errorf("node %s: nodes are added, changed and removed on the machine of the control plane alone: "+
				"do that there, and write the same here", c.Name)
		}
	}
	return nil
}

// foreignData refuses data that the control plane would read from its own machine for
// somebody on another one, who might name any file of it.
func foreignData(w otto.Wanted) error {
	for _, s := range w.Services {
		for _, name := range slices.Sorted(maps.Keys(s.Seeds)) {
			if !s.Seeds[name].Empty {
				return fmt.Errorf("service %s: data of projects (%s) is copied from the machine of the control plane alone: "+
					"apply it there", s.Name, s.Seeds[name].Name)
			}
		}
	}
	return nil
}
