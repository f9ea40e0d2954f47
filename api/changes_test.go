package api

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tmaxmax/go-sse"

	"github.com/otto-edge/otto"
)

// drawn is a view of some nodes and services in any order.
func drawn(r *rand.Rand, n int) *otto.Cluster {
	c := &otto.Cluster{Name: "home", Revision: uint64(n), Nodes: []otto.NodeStatus{}, Services: []otto.ServiceStatus{}}
	for _, i := range r.Perm(4)[:r.IntN(5)] {
		c.Nodes = append(c.Nodes, otto.NodeStatus{
			Node: otto.Node{ID: fmt.Sprint("node-", i)}, Reason: fmt.Sprint(r.IntN(2)),
		})
	}
	for _, i := range r.Perm(6)[:r.IntN(7)] {
		s := otto.ServiceStatus{Service: otto.Service{Name: fmt.Sprint("service-", i)}, Instances: []otto.PlacedInstance{}}
		for range r.IntN(3) {
			s.Instances = append(s.Instances, otto.PlacedInstance{Node: fmt.Sprint("node-", r.IntN(4))})
		}
		c.Services = append(c.Services, s)
	}
	return c
}

// TestFollowedIsWhatIsThere follows views with batches from any version on, to the end of each.
func TestFollowedIsWhatIsThere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	p, f := newPlane(), newFollow()
	type reader struct {
		watched
		at string
	}
	readers := []*reader{}
	for n := range 300 {
		p.become(drawn(r, n))
		if n%50 == 0 {
			readers = append(readers, &reader{watched: watched{
				nodes: map[string]otto.NodeStatus{}, services: map[string]otto.ServiceStatus{},
			}})
		}
		for i, reader := range readers {
			if r.IntN(2) == 0 {
				continue // it is slow
			}
			batch, id, _, err := f.batch(t.Context(), p, reader.at)
			if err != nil {
				t.Fatal(err)
			}
			if reader.at == id {
				t.Fatalf("seed %d: view %d has the id of the one before", seed, n)
			}
			var got *otto.Cluster
			for e, err := range sse.Read(strings.NewReader(string(batch)), nil) {
				if err != nil {
					t.Fatal(err)
				}
				if got, err = reader.take(e.Type, []byte(e.Data)); err != nil {
					t.Fatal(err)
				}
				if (got != nil) != (e.LastEventID == id && e.Type == partCluster) {
					t.Fatalf("the batch does not end with its id: %+v", e)
				}
			}
			if d := cmp.Diff(p.Cluster(), got); d != "" {
				t.Fatalf("seed %d, view %d, reader %d:\n%s", seed, n, i, d)
			}
			reader.at = id
			if again, _, _, _ := f.batch(t.Context(), p, id); len(again) > 0 {
				t.Fatalf("nothing has changed, and it says %s", again)
			}
		}
	}
}

// TestChangesSayWhatHasChanged is about what is sent, and from where on.
func TestChangesSayWhatHasChanged(t *testing.T) {
	p, f := newPlane(), newFollow()
	kinds := func(since string) (list []string, id string) {
		t.Helper()
		batch, id, _, err := f.batch(t.Context(), p, since)
		if err != nil {
			t.Fatal(err)
		}
		for e := range sse.Read(strings.NewReader(string(batch)), nil) {
			list = append(list, e.Type)
		}
		return list, id
	}
	first := populated()
	p.become(first)
	everything := []string{partNames, partNode, partService, partCluster}
	got, one := kinds("")
	if !slices.Equal(got, everything) {
		t.Error(got)
	}
	second := *first
	second.Nodes = slices.Clone(first.Nodes)
	second.Nodes[0].Reason = "another"
	p.become(&second)
	if got, _ := kinds(one); !slices.Equal(got, []string{partNode, partCluster}) {
		t.Error("since the first one:", got)
	}
	third := second
	third.Nodes = nil
	p.become(&third)
	if got, _ := kinds(one); !slices.Equal(got, []string{partNames, partCluster}) {
		t.Error("a node is gone:", got)
	}
	for _, unknown := range []string{"other.1", f.process + ".99", f.process, "x", f.process + ".-1"} {
		if got, _ := kinds(unknown); !slices.Equal(got, []string{partNames, partService, partCluster}) {
			t.Errorf("since %s: %v", unknown, got)
		}
	}
}

// TestChangesGoOnWhereTheyEnded is over the socket.
func TestChangesGoOnWhereTheyEnded(t *testing.T) {
	p := newPlane()
	p.become(populated())
	c, _ := serve(t, p)
	read := func(since string) (types []string, id string) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		resp, err := c.stream(ctx, http.MethodGet, "/v1/changes", nil, "Last-Event-ID", since)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for e, err := range sse.Read(resp.Body, nil) {
			if err != nil {
				t.Fatal(err)
			}
			types, id = append(types, e.Type), e.LastEventID
			if e.Type == partCluster {
				break
			}
		}
		return types, id
	}
	if types, id := read(""); len(types) != 4 || id == "" {
		t.Fatal(types, id)
	} else {
		next := *populated()
		next.Services[0].Name = "api"
		p.become(&next)
		if types, _ := read(id); !slices.Equal(types, []string{partNames, partService, partCluster}) {
			t.Error(types)
		}
	}
}

func TestWhoLooksFollowsNoSecrets(t *testing.T) {
	p, f := newPlane(), newFollow()
	c := populated()
	c.Services[0].Spec.Environment["TOKEN"] = "hunter2"
	p.become(c)
	for role, sees := range map[Role]bool{Look: false, Operate: true} {
		batch, _, _, err := f.batch(context.WithValue(t.Context(), roleKey{}, role), p, "")
		if err != nil || strings.Contains(string(batch), "hunter2") != sees {
			t.Errorf("%s: %s %v", role, batch, err)
		}
	}
}

func TestPages(t *testing.T) {
	p := newPlane()
	view := populated()
	for _, name := range []string{"media/db", "media/web", "lone"} {
		view.Services = append(view.Services, otto.ServiceStatus{
			Service:   otto.Service{Name: name},
			Instances: []otto.PlacedInstance{{Node: "n2", InstanceStatus: otto.InstanceStatus{State: otto.InstanceFailed}}},
		})
	}
	p.become(view)
	c, _ := serve(t, p)
	for query, want := range map[string]string{
		"":                        "web media/db media/web lone",
		"limit=2":                 "web media/db >media/db",
		"limit=2&after=media/db":  "media/web lone",
		"limit=1&stack=media":     "media/db >media/db",
		"stack=media&after=web":   "media/db media/web",
		"node=n1":                 "web",
		"state=failed&stack=lone": "lone",
		"node=n1&state=failed":    "",
		"limit=1000000":           "web media/db media/web lone",
		"after=gone":              "!",
		"limit=0":                 "!",
	} {
		var got page[otto.ServiceStatus]
		text := "!"
		if c.do(t.Context(), http.MethodGet, "/v1/services?"+query, nil, &got) == nil {
			var list []string
			for _, s := range got.Items {
				list = append(list, s.Name)
			}
			if got.Next != "" {
				list = append(list, ">"+got.Next)
			}
			text = strings.Join(list, " ")
		}
		if text != want {
			t.Errorf("%s: %q, want %q", query, text, want)
		}
	}
}

func TestEventsAreFiltered(t *testing.T) {
	p := newPlane()
	for i, e := range []otto.Event{
		{Kind: "node-ready", Node: "a"},
		{Kind: "node-lost", Node: "b"},
		{Kind: "node-ready", Node: "b"},
		{Kind: "service-failed", Service: "web", Node: "a"},
	} {
		e.Seq = uint64(i + 1)
		p.events = append(p.events, e)
	}
	c, _ := serve(t, p)
	for query, want := range map[string]string{
		"": "1234", "kind=node-ready": "13", "node=b": "23", "service=web": "4", "limit=2": "12", "after=1&limit=2": "23",
		"kind=node-ready&after=1&limit=1": "3", "node=c": "",
	} {
		resp, err := c.send(t.Context(), http.MethodGet, "/v1/events?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			if _, seq, ok := strings.Cut(line, `"seq":`); ok {
				got += seq[:1]
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// BenchmarkFollow is how long it takes until 1,000 who follow 1,000 containers on 50 nodes
// have a change of one of them.
func BenchmarkFollow(b *testing.B) {
	p, f := newPlane(), newFollow()
	view := many()
	p.become(view)
	at := make([]string, 1000)
	all := func() (sent int) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range at {
			wg.Go(func() {
				batch, id, _, err := f.batch(b.Context(), p, at[i])
				if err != nil {
					b.Error(err)
				}
				at[i] = id
				mu.Lock()
				sent += len(batch)
				mu.Unlock()
			})
		}
		wg.Wait()
		return sent
	}
	all()
	sent := 0
	for b.Loop() {
		next := *view
		next.Services = slices.Clone(view.Services)
		next.Services[7].Instances = []otto.PlacedInstance{{Node: fmt.Sprint(sent)}}
		p.become(&next)
		sent += all()
	}
	b.ReportMetric(float64(sent)/float64(b.N)/float64(len(at)), "B/reader")
}

// TestPaceOfChanges: what changes seldom does not wait, and what changes all the time is sent so
// often in the mean.
func TestPaceOfChanges(t *testing.T) {
	var p pace
	now := time.Now()
	for range 50 { // three batches at a time, and then a while without any
		for range 3 {
			if left := p.left(now); left > 0 {
				t.Fatalf("a batch waits for %s", left)
			}
			p.note(now)
		}
		now = now.Add(changesAhead * changesEvery)
	}
	began, sent := now, 0
	for ; now.Sub(began) < 10*time.Second; now = now.Add(time.Millisecond) {
		if p.left(now) <= 0 {
			p.note(now)
			sent++
		}
	}
	if want := int(10 * time.Second / changesEvery); sent < want || sent > want+changesAhead {
		t.Errorf("%d batches in ten seconds, not %d", sent, want)
	}
}
