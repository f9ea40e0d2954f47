package gather

import (
	stdcmp "cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/logs/reader"
)

// engine has containers with logs, as an engine on a disk: they outlast a power cut.
type engine struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and made anew with each change
	containers []otto.Container
	lines      map[string][]logs.Line
	broken     error
	lists      int
}

func newEngine() *engine {
	return &engine{changed: make(chan struct{}), lines: map[string][]logs.Line{}}
}

func (e *engine) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *engine) put(id string, state otto.ContainerState) {
	e.change(func() {
		i := slices.IndexFunc(e.containers, func(c otto.Container) bool { return c.ID == id })
		if i < 0 {
			service, _, _ := strings.Cut(id, ":")
			e.containers = append(e.containers,
				otto.Container{ID: id, Name: service, Service: service, Instance: service})
			i = len(e.containers) - 1
		}
		c := &e.containers[i]
		if c.State = state; state == otto.ContainerRunning {
			c.Started = time.Now()
		} else {
			c.Finished = time.Now()
		}
	})
}

func (e *engine) remove(id string) {
	e.change(func() {
		e.containers = slices.DeleteFunc(e.containers, func(c otto.Container) bool { return c.ID == id })
		delete(e.lines, id)
	})
}

func (e *engine) write(id, text string) {
	e.change(func() {
		e.lines[id] = append(e.lines[id], logs.Line{Time: time.Now(), Stream: logs.Stdout, Text: []byte(text)})
	})
}

func (e *engine) Containers(context.Context) ([]otto.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists++
	return slices.Clone(e.containers), e.broken
}

func (e *engine) Watch(ctx context.Context, changed func(images bool)) error {
	for {
		e.mu.Lock()
		more := e.changed
		e.mu.Unlock()
		changed(false)
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *engine) ReadLog(ctx context.Context, id string, w logs.Window, take func(logs.Line) error) error {
	next := -1
	for {
		e.mu.Lock()
		lines, more := slices.Clone(e.lines[id]), e.changed
		i := slices.IndexFunc(e.containers, func(c otto.Container) bool { return c.ID == id })
		runs := i >= 0 && e.containers[i].State == otto.ContainerRunning
		e.mu.Unlock()
		if next < 0 {
			next = 0
			if w.Tail != nil {
				next = max(0, len(lines)-*w.Tail)
			}
		}
		for ; next < len(lines); next++ {
			if lines[next].Time.Before(w.Since) {
				continue
			}
			if err := take(lines[next]); err != nil {
				return err
			}
		}
		if !w.Follow || !runs {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// cluster is nodes with engines, reached over pipes.
type cluster struct {
	mu      sync.Mutex
	view    *otto.Cluster
	more    chan struct{}
	engines map[string]*engine
	readers reader.Engine // instead of those, if it is there
	conns   map[string]*pipes
	down    map[string]error
}

func newCluster(services map[string]string, ids ...string) *cluster {
	c := &cluster{
		more:    make(chan struct{}),
		engines: map[string]*engine{},
		conns:   map[string]*pipes{},
		down:    map[string]error{},
	}
	for _, id := range ids {
		c.engines[id] = newEngine()
	}
	c.place(services, nil)
	return c
}

// place says where services are, and which nodes are lost.
func (c *cluster) place(services map[string]string, lost []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	view := &otto.Cluster{}
	for id := range c.engines {
		n := otto.NodeStatus{Node: otto.Node{ID: id}, State: otto.NodeReady}
		if slices.Contains(lost, id) {
			n.State = otto.NodeLost
		}
		view.Nodes = append(view.Nodes, n)
	}
	for name, node := range services {
		s := otto.ServiceStatus{Service: otto.Service{Name: name}}
		s.Instances = []otto.PlacedInstance{
			{
				Node: node,
				InstanceStatus: otto.InstanceStatus{
					Name:   name,
					State:  otto.InstanceWaiting,
					Reason: "no node has room",
				},
			},
		}
		view.Services = append(view.Services, s)
	}
	c.view = view
	close(c.more)
	c.more = make(chan struct{})
}

func (c *cluster) Next() (*otto.Cluster, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view, c.more
}

func (c *cluster) OpenLogs(_ context.Context, n otto.Node) (Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.down[n.ID]; err != nil {
		return nil, err
	}
	p := &pipes{done: make(chan struct{})}
	inner, in := io.Pipe()
	out, outer := io.Pipe()
	p.in, p.out, p.ends = in, out, []io.Closer{inner, outer}
	from := c.readers
	if from == nil {
		from = c.engines[n.ID]
	}
	go func() {
		defer close(p.done)
		p.err = reader.Run(context.Background(), reader.Options{Engine: from, SameClock: true}, inner, outer)
		outer.Close()
		inner.Close()
	}()
	c.conns[n.ID] = p
	return p, nil
}

// cut breaks the connection to a node, and further ones fail with err; nil mends it.
func (c *cluster) cut(node string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[node] = err
	if p := c.conns[node]; p != nil && err != nil {
		p.lost = errors.New("the SSH connection was lost")
		for _, end := range p.ends {
			end.Close()
		}
	}
}

type pipes struct {
	in   *io.PipeWriter
	out  *io.PipeReader
	ends []io.Closer
	done chan struct{}
	err  error
	lost error
}

func (p *pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *pipes) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *pipes) Wait() error                 { <-p.done; return stdcmp.Or(p.lost, p.err) }
func (p *pipes) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }

// reading collects what a query gives, lines as text and marks as <text>.
type reading struct {
	mu   sync.Mutex
	got  []string
	err  error
	done chan struct{}
}

func read(ctx context.Context, c *cluster, q logs.Query) *reading {
	r := &reading{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = Read(ctx, c, q, func(e logs.Entry) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			text := e.Text
			if e.Mark != "" {
				text = "<" + text + ">"
			}
			r.got = append(r.got, text)
			return nil
		}, func() error { return nil })
	}()
	return r
}

func (r *reading) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func followed(name string, tail int) logs.Query {
	return logs.Query{Name: name, Filter: logs.Filter{Follow: true, Tail: &tail}}
}

func TestLogsOfSeveralNodesAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": "a"}, "a", "b")
		c.view.Services[0].Instances = append(c.view.Services[0].Instances,
			otto.PlacedInstance{Node: "b", InstanceStatus: otto.InstanceStatus{Name: "web-2"}})
		c.engines["a"].put("web:1", otto.ContainerRunning)
		c.engines["b"].put("web:2", otto.ContainerExited)
		c.engines["b"].put("other:1", otto.ContainerRunning)
		c.engines["b"].write("other:1", "of another service")
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
			node := string("ab"[i%2])
			c.engines[node].write("web:"+fmt.Sprint(i%2+1), want[i])
			time.Sleep(time.Millisecond)
		}
		r := read(t.Context(), c, logs.Query{Name: "web"})
		<-r.done
		if diff := cmp.Diff(want, r.lines()); diff != "" || r.err != nil {
			t.Error(r.err, diff)
		}
		r = read(t.Context(), c, logs.Query{Name: "web", Filter: logs.Filter{Grep: "^1.$", Tail: new(2)}})
		<-r.done
		if diff := cmp.Diff([]string{"16", "17", "18", "19"}, r.lines()); diff != "" || r.err != nil {
			t.Error(r.err, diff)
		}
	})
}

// TestLogsOfAStack: all services of it, also one that comes later, and no other's.
func TestLogsOfAStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{
			"shop/web": "a", "shop/db": "b", "shop/job": "b", "shopping/web": "a", "web": "a",
		}, "a", "b")
		for node, names := range map[string][]string{"a": {"shop/web", "shopping/web", "web"}, "b": {"shop/db"}} {
			for _, name := range names {
				c.engines[node].put(name+":1", otto.ContainerRunning)
				c.engines[node].write(name+":1", "of "+name)
				time.Sleep(time.Millisecond)
			}
		}
		all := read(t.Context(), c, logs.Query{Name: "shop"})
		<-all.done
		lines := all.lines()
		slices.Sort(lines)
		if diff := cmp.Diff([]string{"<shop/job has no container yet: it is waiting: no node has room>", "of shop/db", "of shop/web"},
			lines); diff != "" || all.err != nil {
			t.Error(all.err, diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r := read(ctx, c, followed("shop", 10))
		time.Sleep(time.Second)
		c.engines["b"].put("shop/job:1", otto.ContainerRunning)
		c.engines["b"].write("shop/job:1", "of shop/job")
		time.Sleep(time.Second)
		cancel()
		<-r.done
		got := r.lines()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"of shop/db", "of shop/job", "of shop/web"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestFollowedLogsGoOn restarts, updates and moves a service, breaks the connection
// and cuts its node's power, writing all the time.
func TestFollowedLogsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": "a"}, "a", "b")
		a, b := c.engines["a"], c.engines["b"]
		a.put("web:1", otto.ContainerRunning)
		a.write("web:1", "long ago")
		a.write("web:1", "before")
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		r := read(ctx, c, followed("web", 1))
		n := 0
		write := func(e *engine, id string) {
			for range 3 {
				e.write(id, fmt.Sprint(n))
				n++
				time.Sleep(20 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		write(a, "web:1")
		a.put("web:1", otto.ContainerExited) // restarted
		write(a, "web:1")                    // which an engine has after the end was told
		a.put("web:1", otto.ContainerRunning)
		write(a, "web:1")
		a.put("web:2", otto.ContainerRunning) // updated
		write(a, "web:2")
		a.remove("web:1")
		c.cut("a", errors.New("no answer")) // the connection breaks
		write(a, "web:2")
		time.Sleep(5 * time.Second)
		c.cut("a", nil)
		time.Sleep(20 * time.Second)
		c.place(map[string]string{"web": "b"}, nil) // moved
		b.put("web:3", otto.ContainerRunning)
		write(b, "web:3")
		time.Sleep(time.Second)
		a.remove("web:2")
		c.cut("b", errors.New("no answer")) // a power cut
		c.place(map[string]string{"web": "b"}, []string{"b"})
		b.put("web:3", otto.ContainerExited)
		time.Sleep(time.Minute)
		b.put("web:3", otto.ContainerRunning)
		write(b, "web:3")
		c.cut("b", nil)
		c.place(map[string]string{"web": "b"}, nil)
		write(b, "web:3")
		time.Sleep(time.Minute)
		cancel()
		<-r.done
		want := []string{"before"}
		for i := range n {
			want = append(want, fmt.Sprint(i))
		}
		var got, marks []string
		for _, text := range r.lines() {
			if strings.HasPrefix(text, "<") {
				marks = append(marks, text)
			} else {
				got = append(got, text)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{
			"<a cannot be read: the SSH connection was lost; it goes on when the node is back>", "<a is read again>",
			"<b cannot be read: the SSH connection was lost; it goes on when the node is back>", "<b is read again>",
		}, marks); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLostNodeIsSaidAndOthersAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": "a"}, "a", "b")
		c.engines["a"].put("web:1", otto.ContainerRunning)
		c.engines["a"].write("web:1", "here")
		c.view.Services[0].Instances = append(c.view.Services[0].Instances, otto.PlacedInstance{Node: "b"})
		c.view.Nodes[slices.IndexFunc(c.view.Nodes, func(n otto.NodeStatus) bool { return n.ID == "b" })].State = otto.NodeLost
		r := read(t.Context(), c, logs.Query{Name: "web"})
		<-r.done
		got := r.lines()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"<b cannot be read: the node is lost>", "here"}, got); diff != "" || r.err != nil {
			t.Error(r.err, diff)
		}
	})
}

func TestWhyThereIsNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": ""}, "a")
		r := read(t.Context(), c, logs.Query{Name: "web"})
		<-r.done
		if diff := cmp.Diff([]string{"<web has no container yet: it is waiting: no node has room>"},
			r.lines()); diff != "" ||
			r.err != nil {
			t.Error(r.err, diff)
		}
		r = read(t.Context(), c, logs.Query{Name: "wep"})
		<-r.done
		if want := `no service or node "wep": did you mean web?`; r.err == nil || r.err.Error() != want {
			t.Errorf("got %v", r.err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r = read(ctx, c, followed("web", 10))
		time.Sleep(time.Second)
		c.place(map[string]string{"web": "a"}, nil)
		c.engines["a"].put("web:1", otto.ContainerRunning)
		c.engines["a"].write("web:1", "hello")
		time.Sleep(5 * time.Second)
		cancel()
		<-r.done
		want := []string{"<web has no container yet: it is waiting: no node has room; waiting for one>", "hello"}
		if diff := cmp.Diff(want, r.lines()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSlowReaderOfAChattyLog: what falls behind is left out and counted, and what
// waits has a bound.
func TestSlowReaderOfAChattyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": "a"}, "a")
		c.engines["a"].put("web:1", otto.ContainerRunning)
		ctx, cancel := context.WithCancel(t.Context())
		shown, left := 0, 0
		var last atomic.Pointer[time.Time]
		done := make(chan error)
		go func() {
			done <- Read(ctx, c, followed("web", 0), func(e logs.Entry) error {
				time.Sleep(time.Second / 50)
				switch e.Mark {
				case "":
					shown++
					last.Store(&e.Time)
				case logs.MarkLeftOut:
					left += e.Lines
				}
				return nil
			}, func() error { return nil })
		}()
		time.Sleep(time.Second)
		text := strings.Repeat("x", 1000)
		const written = 30_000
		for range written / 100 {
			c.engines["a"].change(func() {
				for range 100 {
					c.engines["a"].lines["web:1"] = append(c.engines["a"].lines["web:1"],
						logs.Line{Time: time.Now(), Stream: logs.Stdout, Text: []byte(text)})
				}
			})
			time.Sleep(200 * time.Millisecond)
		}
		if behind := time.Since(*last.Load()); behind > 40*time.Second {
			t.Errorf("the reader is %s behind", behind)
		}
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if shown+left != written || left < written/2 {
			t.Errorf("%d shown and %d said to be left out of %d", shown, left, written)
		}
	})
}

// TestPreviousLogs are of before the present run: of the container that was started again, and
// of the one that an update has left. What was never started again has none.
func TestPreviousLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]string{"web": "a", "db": "a"}, "a")
		e := c.engines["a"]
		step := func(f func()) { f(); time.Sleep(time.Second) }
		step(func() { e.put("web:0", otto.ContainerRunning) })
		step(func() { e.write("web:0", "of the version before") })
		step(func() { e.put("web:0", otto.ContainerExited) })
		step(func() { e.put("db:1", otto.ContainerRunning) })
		step(func() { e.write("db:1", "of now") })
		step(func() { e.put("web:1", otto.ContainerRunning) })
		for i := range 5 {
			step(func() { e.write("web:1", fmt.Sprint("panic ", i)) })
		}
		step(func() { e.put("web:1", otto.ContainerExited) })
		step(func() { e.put("web:1", otto.ContainerRunning) })
		for i := range 200 {
			step(func() { e.write("web:1", fmt.Sprint("well ", i)) })
		}
		ask := func(name string, f logs.Filter) []string {
			f.Previous = true
			r := read(t.Context(), c, logs.Query{Name: name, Filter: f})
			<-r.done
			if r.err != nil {
				return []string{r.err.Error()}
			}
			return r.lines()
		}
		before := []string{"of the version before", "panic 0", "panic 1", "panic 2", "panic 3", "panic 4"}
		if diff := cmp.Diff(before, ask("web", logs.Filter{})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"of the version before", "panic 3", "panic 4"}, ask("web", logs.Filter{Tail: new(2)})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"panic 1"}, ask("web", logs.Filter{Grep: "1"})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, ask("a", logs.Filter{})); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"<nothing is there from before the present run>"}, ask("db", logs.Filter{})); diff != "" {
			t.Error(diff)
		}
		if got := ask("web", logs.Filter{Follow: true}); !strings.Contains(got[0], "cannot be followed") {
			t.Error(got)
		}
		step(func() { e.put("web:1", otto.ContainerExited) }) // its last run is the present one still
		if diff := cmp.Diff(before, ask("web", logs.Filter{})); diff != "" {
			t.Error(diff)
		}
	})
}
