package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tmaxmax/go-sse"

	"github.com/otto-edge/otto"
)

// A view is followed as server-sent events, each of which is a part of it: its names, a
// node, a service, and the rest. What has changed is sent as a batch, whose last event is
// the rest of the cluster and has the id of the batch. Who follows again with that id as
// Last-Event-ID gets what has changed since; without one, or with one of another process,
// everything.

// Kinds of parts, as the events are called.
const (
	partNames   = "names"   // of all nodes and services, in their order; what it does not name is gone
	partNode    = "node"    // an otto.NodeStatus
	partService = "service" // an otto.ServiceStatus
	partCluster = "cluster" // an otto.Cluster without nodes and services
)

// names are those of all that there is.
type names struct {
	Nodes    []string `json:"nodes"`
	Services []string `json:"services"`
}

const (
	changesEvery = 50 * time.Millisecond // in the mean, at most: what changes in between is one batch
	changesAhead = 4                     // batches that are sent without waiting for that
	aliveEvery   = 15 * time.Second      // between two signs of life where nothing changes
	maxChange    = 8 << 20               // bytes of one event
)

// follow is the last view in parts, for all who follow it: each is written out once.
type follow struct {
	process string // of the ids
	mu      sync.Mutex
	shown   map[bool]*parts // by whether what may be secret is left out
}

func newFollow() *follow { return &follow{process: rand.Text()[:8], shown: map[bool]*parts{}} }

// parts are those of a view.
type parts struct {
	of      *otto.Cluster
	version uint64 // rises with each view
	list    []*part
	batch   []byte // what has changed since version from
	from    uint64
}

// part is a part of a view as it was when it changed last.
type part struct {
	kind, name string
	json       []byte
	version    uint64 // of the view that changed it
}

// batch returns what has changed since an id, as events, the id that it ends with, and a
// channel that is closed when there is more.
func (f *follow) batch(ctx context.Context, p Plane, since string) (b []byte, id string, more <-chan struct{}, err error) {
	closed := isClosed(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	c, more := p.Next() // under the lock, so that views come one after the other
	v := f.shown[closed]
	if v == nil {
		v = &parts{}
		f.shown[closed] = v
	}
	if v.of != c {
		if err := v.take(*visible(ctx, c)); err != nil {
			return nil, "", nil, err
		}
		v.of = c
	}
	id = f.process + "." + strconv.FormatUint(v.version, 10)
	if since == id {
		return nil, id, more, nil
	}
	return v.since(f.version(since, v.version), id), id, more, nil
}

// version is that of an id, or 0 if the id is none of this process.
func (f *follow) version(id string, newest uint64) uint64 {
	process, text, _ := strings.Cut(id, ".")
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil || process != f.process || version > newest {
		return 0
	}
	return version
}

// take takes in a newer view.
func (v *parts) take(c otto.Cluster) error {
	former := make(map[[2]string]*part, len(v.list))
	for _, p := range v.list {
		former[[2]string{p.kind, p.name}] = p
	}
	next := parts{version: v.version + 1, list: make([]*part, 0, len(c.Nodes)+len(c.Services)+2)}
	add := func(kind, name string, value any) error {
		b, err := json.Marshal(value)
		if err != nil {
			return err
		}
		p := former[[2]string{kind, name}]
		if p == nil || !bytes.Equal(p.json, b) {
			p = &part{kind, name, b, next.version}
		}
		next.list = append(next.list, p)
		return nil
	}
	all := names{Nodes: make([]string, len(c.Nodes)), Services: make([]string, len(c.Services))}
	for i := range c.Nodes {
		all.Nodes[i] = c.Nodes[i].ID
	}
	for i := range c.Services {
		all.Services[i] = c.Services[i].Name
	}
	if err := add(partNames, "", all); err != nil {
		return err
	}
	for i := range c.Nodes {
		if err := add(partNode, c.Nodes[i].ID, &c.Nodes[i]); err != nil {
			return err
		}
	}
	for i := range c.Services {
		if err := add(partService, c.Services[i].Name, &c.Services[i]); err != nil {
			return err
		}
	}
	c.Nodes, c.Services = nil, nil
	if err := add(partCluster, "", c); err != nil {
		return err
	}
	*v = next
	return nil
}

// since are the events of what has changed since a version. The cluster is sent with each
// batch, as its end.
func (v *parts) since(from uint64, id string) []byte {
	if v.batch != nil && v.from == from {
		return v.batch
	}
	var b bytes.Buffer
	last := len(v.list) - 1
	for i, p := range v.list {
		switch {
		case i == last:
			fmt.Fprintf(&b, "event: %s\nid: %s\ndata: %s\n\n", p.kind, id, p.json)
		case p.version > from:
			fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", p.kind, p.json)
		}
	}
	v.batch, v.from = b.Bytes(), from
	return v.batch
}

// changes sends a batch after every change. What changes while a slow reader takes one is
// in the next.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	at := r.Header.Get("Last-Event-ID")
	var sent pace
	for {
		batch, next, more, err := s.follow.batch(r.Context(), s.plane, at)
		if err != nil {
			return
		}
		if _, err := w.Write(batch); err != nil || flush.Flush() != nil {
			return
		}
		at = next
		sent.note(time.Now())
		if !s.pause(r.Context(), w, flush, more) || !sleep(r.Context(), sent.left(time.Now())) {
			return
		}
	}
}

// pace is when the last batches were sent. What changes seldom is sent at once, and what
// changes all the time no more often than changesEvery.
type pace struct {
	sent [changesAhead]time.Time
	n    int
}

func (p *pace) note(now time.Time) {
	p.sent[p.n%changesAhead] = now
	p.n++
}

// left is how long the next one has to wait.
func (p *pace) left(now time.Time) time.Duration {
	return changesAhead*changesEvery - now.Sub(p.sent[p.n%changesAhead])
}

// sleep waits; it reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits for more, with signs of life for as long as there is none. It reports
// whether the reader is still there.
func (s *Server) pause(ctx context.Context, w io.Writer, flush *http.ResponseController, more <-chan struct{}) bool {
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		select {
		case <-more:
			return true
		case <-ctx.Done():
			return false
		case <-alive.C:
			if _, err := io.WriteString(w, ":\n\n"); err != nil || flush.Flush() != nil {
				return false
			}
		}
	}
}

// Watch calls f with everything known, and again after every change, until f
// returns false, ctx ends or the control plane does.
func (c *Client) Watch(ctx context.Context, f func(*otto.Cluster) bool) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/changes", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w := watched{nodes: map[string]otto.NodeStatus{}, services: map[string]otto.ServiceStatus{}}
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxChange}) {
		if err != nil {
			break
		}
		view, err := w.take(e.Type, []byte(e.Data))
		if err != nil {
			return fmt.Errorf("the control plane's answer: %w", err)
		}
		if view != nil && !f(view) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrNotRunning
}

// watched is what is known of a view that is followed.
type watched struct {
	names    names
	nodes    map[string]otto.NodeStatus
	services map[string]otto.ServiceStatus
}

// take takes in a part, and returns the whole view with the last one of a batch.
func (w *watched) take(kind string, data []byte) (view *otto.Cluster, err error) {
	switch kind {
	case partNames:
		w.names = names{}
		return nil, json.Unmarshal(data, &w.names)
	case partNode:
		var n otto.NodeStatus
		err := json.Unmarshal(data, &n)
		w.nodes[n.ID] = n
		return nil, err
	case partService:
		var s otto.ServiceStatus
		err := json.Unmarshal(data, &s)
		w.services[s.Name] = s
		return nil, err
	case partCluster:
		view = &otto.Cluster{}
		if err := json.Unmarshal(data, view); err != nil {
			return nil, err
		}
		view.Nodes = named(w.names.Nodes, w.nodes)
		view.Services = named(w.names.Services, w.services)
		return view, nil
	}
	return nil, nil //nolint:nilnil // of a newer control plane
}

// named are the values of all names, in their order. Those of no name are forgotten.
func named[T any](order []string, of map[string]T) []T {
	list := make([]T, 0, len(order))
	for _, name := range order {
		if v, ok := of[name]; ok {
			list = append(list, v)
		}
	}
	if len(of) > len(list) {
		kept := make(map[string]bool, len(order))
		for _, name := range order {
			kept[name] = true
		}
		for name := range of {
			if !kept[name] {
				delete(of, name)
			}
		}
	}
	return list
}
