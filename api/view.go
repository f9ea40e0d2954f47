package api

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/bundle"
)

// views are the last view as it is sent, for all who ask: it is written out once.
type views struct {
	mu   sync.Mutex
	last map[bool]encoded // by whether what may be secret is left out
}

// encoded is a view as one line of JSON.
type encoded struct {
	of   *otto.Cluster
	json []byte
	etag string
}

// etags differs between processes, and so do their tags.
var etags = maphash.MakeSeed() //nolint:gochecknoglobals // drawn once

// encode returns a view as who asks may see it. Nobody changes the bytes.
func (v *views) encode(ctx context.Context, c *otto.Cluster) (encoded, error) {
	closed := !roleOf(ctx).may(Operate)
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.last[closed]; ok && e.of == c {
		return e, nil
	}
	shown := c
	if closed {
		s := bundle.Cluster(*c)
		shown = &s
	}
	b, err := json.Marshal(shown)
	if err != nil {
		return encoded{}, err
	}
	e := encoded{c, append(b, '\n'), fmt.Sprintf("%q", fmt.Sprintf("%x", maphash.Bytes(etags, b)))}
	if v.last == nil {
		v.last = map[bool]encoded{}
	}
	v.last[closed] = e
	return e, nil
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Has("watch") {
		s.watch(w, r)
		return
	}
	e, err := s.views.encode(r.Context(), s.plane.Cluster())
	if answerError(w, err) {
		return
	}
	w.Header().Set("ETag", e.etag)
	if r.Header.Get("If-None-Match") == e.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(e.json)
}

// watch sends each view, and leaves out those that come while a slow reader takes one.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w)
	for {
		c, more := s.plane.Next()
		e, err := s.views.encode(r.Context(), c)
		if err != nil {
			return
		}
		if _, err := w.Write(e.json); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
