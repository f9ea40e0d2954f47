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
	closed := isClosed(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.last[closed]; ok && e.of == c {
		return e, nil
	}
	b, err := json.Marshal(visible(ctx, c))
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

// isClosed reports whether what may be secret is left out for who asks.
func isClosed(ctx context.Context) bool { return !roleOf(ctx).may(Operate) }

// visible is what who asks may see of a view.
func visible(ctx context.Context, c *otto.Cluster) *otto.Cluster {
	if !isClosed(ctx) {
		return c
	}
	shown := bundle.Cluster(*c)
	return &shown
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
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
