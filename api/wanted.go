package api

import "github.com/otto-edge/otto"

// wantedBody is what is wanted as it is sent to a control plane: with the contents of its
// secrets, over a socket that is its owner's alone.
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
