package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/otto-edge/otto"
)

func TestUnchangedViewIsNotSentAgain(t *testing.T) {
	p := newPlane()
	c, _ := serve(t, p)
	get := func(etag string) (int, string, string) {
		resp, err := c.stream(t.Context(), http.MethodGet, "/v1/cluster", nil, "If-None-Match", etag)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("ETag"), string(b)
	}
	status, etag, first := get("")
	if status != http.StatusOK || etag == "" || first == "" {
		t.Fatal(status, etag, first)
	}
	if status, again, body := get(etag); status != http.StatusNotModified || again != etag || body != "" {
		t.Error(status, again, body)
	}
	p.become(&otto.Cluster{Name: "other"})
	if status, again, body := get(etag); status != http.StatusOK || again == etag || body == first {
		t.Error(status, again, body)
	}
}

// many is a view of 1,000 containers on 50 nodes.
func many() *otto.Cluster {
	view := &otto.Cluster{Name: "home"}
	for i := range 50 {
		view.Nodes = append(view.Nodes, otto.NodeStatus{Node: otto.Node{ID: fmt.Sprintf("node-%d", i)}})
	}
	for i := range 1000 {
		name := fmt.Sprintf("service-%d", i)
		view.Services = append(view.Services, otto.ServiceStatus{
			Service: otto.Service{Name: name, Spec: otto.ContainerSpec{
				Image: "registry/name:1.2.3", Environment: map[string]string{"A": "1", "B": "2"},
			}},
			Instances: []otto.PlacedInstance{{
				Node: fmt.Sprintf("node-%d", i%50), InstanceStatus: otto.InstanceStatus{Name: name, Service: name, State: otto.InstanceRunning},
				Sample: &otto.ContainerSample{},
			}},
		})
	}
	return view
}

// BenchmarkView is that view over the socket.
func BenchmarkView(b *testing.B) {
	view := many()
	p := newPlane()
	p.become(view)
	socket := filepath.Join(b.TempDir(), "s")
	l, err := Listen(b.Context(), socket)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewServer(p, p, "", cancel).Run(ctx, l) }()
	defer func() { cancel(); <-done }()
	c := NewClient(socket, "me")
	defer c.http.CloseIdleConnections()
	etag := ""
	get := func(b *testing.B, header ...string) {
		resp, err := c.stream(b.Context(), http.MethodGet, "/v1/cluster", nil, header...)
		if err != nil {
			b.Fatal(err)
		}
		etag = resp.Header.Get("ETag")
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
	b.Run("sent", func(b *testing.B) {
		for b.Loop() {
			get(b)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			get(b, "If-None-Match", etag)
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			next := *view
			p.become(&next)
			get(b)
		}
	})
	b.Run("decoded", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Cluster(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
