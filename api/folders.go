package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// LackFolders says of lists of files, by their keys, of which the control plane has no
// files.
func (c *Client) LackFolders(ctx context.Context, manifests map[string][]byte) (lacking []string, err error) {
	return lacking, c.do(ctx, http.MethodPost, "/v1/folders/lacking", manifests, &lacking)
}

// PutFolder sends the files of one list, as write writes them, and holds none of them in
// memory.
func (c *Client) PutFolder(ctx context.Context, write func(io.Writer) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		written <- err
	}()
	resp, err := c.stream(ctx, http.MethodPut, "/v1/folders", r)
	r.Close() // whoever writes is not waited for in vain
	if why := <-written; why != nil && err != nil {
		return why
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (s *Server) lackFolders(w http.ResponseWriter, r *http.Request) {
	var manifests map[string][]byte
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&manifests); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	lacking, err := s.plane.LackFolders(r.Context(), manifests)
	if answerError(w, err) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(lacking)
}

func (s *Server) putFolder(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.PutFolder(r.Context(), r.Body))
}
