package api

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/shell"
)

// plane records what it is asked for.
type plane struct {
	mu     sync.Mutex
	view   *otto.Cluster
	more   chan struct{}
	calls  []string
	events []otto.Event
	logs   []logs.Entry
	node   shell.Conn
	err    error
}

func newPlane() *plane { return &plane{view: &otto.Cluster{Name: "home"}, more: make(chan struct{})} }

func (p *plane) Cluster() *otto.Cluster { c, _ := p.Next(); return c }

func (p *plane) Next() (*otto.Cluster, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view, p.more
}

func (p *plane) become(c *otto.Cluster) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view = c
	close(p.more)
	p.more = make(chan struct{})
}

func (p *plane) called(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
	return p.err
}

func (p *plane) Apply(_ context.Context, w otto.Wanted, base uint64, dry bool) ([]otto.Change, error) {
	changes := []otto.Change{}
	for _, n := range w.Nodes {
		changes = append(changes, otto.Change{Kind: "add", Noun: "node", Name: n.ID})
	}
	return changes, p.called("apply base=%d dry=%t", base, dry)
}

func (p *plane) Plan(_ context.Context, w otto.Wanted) (otto.Plan, error) {
	return otto.Plan{ID: "abc", Changes: []otto.Change{{Name: w.Nodes[0].ID}}}, p.called("plan")
}

func (p *plane) Refresh(_ context.Context, service string) error {
	return p.called("refresh %s", service)
}

func (p *plane) Restart(_ context.Context, service string) error {
	return p.called("restart %s", service)
}

func (p *plane) AcceptData(_ context.Context, service string) error {
	return p.called("accept data of %s", service)
}

func (p *plane) AdoptVolume(_ context.Context, node, volume string) error {
	return p.called("adopt %s of %s", volume, node)
}

func (p *plane) Adopt(_ context.Context, of otto.Adoption) error {
	return p.called("adopt stack %s of %s", of.Stack, of.Node)
}

func (p *plane) Release(_ context.Context, ask otto.ReleaseRequest) error {
	return p.called("release stack %s", ask.Stack)
}
func (p *plane) Stop(context.Context) error { return p.called("stop") }
func (p *plane) Uninstall(_ context.Context, volumes bool) error {
	return p.called("uninstall volumes=%t", volumes)
}

func (p *plane) Intend(ctx context.Context, node string, i otto.Intent) error {
	return p.called("intend %s %+v by %s", node, i, otto.By(ctx))
}

func (p *plane) AcceptMachine(_ context.Context, node string) error {
	return p.called("accept the machine of %s", node)
}

func (p *plane) Rotate(ctx context.Context, compromised bool) error {
	return p.called("rotate %t by %s", compromised, otto.By(ctx))
}

func (p *plane) Rekey(ctx context.Context, node string) error {
	return p.called("rekey %s by %s", node, otto.By(ctx))
}

func (p *plane) Move(ctx context.Context, name, to string, advised bool) (otto.Decision, error) {
	return otto.Decision{
		Instance: name,
		To:       to,
	}, p.called("move %s to %q advised=%t by %s", name, to, advised, otto.By(ctx))
}

func (p *plane) ExplainService(_ context.Context, name string) (otto.Explanation, error) {
	return otto.Explanation{Service: &otto.ServiceExplanation{Name: name}}, p.called("explain service %s", name)
}

func (p *plane) ExplainNode(_ context.Context, id string) (otto.Explanation, error) {
	return otto.Explanation{Node: &otto.NodeExplanation{ID: id}}, p.called("explain node %s", id)
}
func (p *plane) Remove(_ context.Context, node string) error { return p.called("remove %s", node) }
func (p *plane) LackFolders(_ context.Context, manifests map[string][]byte) ([]string, error) {
	return []string{"b"}, p.called("lack folders %s", slices.Sorted(maps.Keys(manifests)))
}

func (p *plane) PutFolder(_ context.Context, pack io.Reader) error {
	b, err := io.ReadAll(pack)
	if err != nil {
		return p.called("half a folder")
	}
	return p.called("put folder %s", b)
}

func (p *plane) Backup(context.Context) ([]byte, error) {
	return []byte("backup\n"), p.called("backup")
}
func (p *plane) TakeOver(context.Context) error { return p.called("take over") }
func (p *plane) Events(after uint64) ([]otto.Event, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if after > uint64(len(p.events)) {
		after = uint64(len(p.events))
	}
	return p.events[after:], p.more
}

func (p *plane) Note(ctx context.Context, e otto.Event) error {
	return p.called("note %s of %s by %s: %s", e.Kind, e.Service, otto.By(ctx), e.Message)
}

// Exec gives the end of a pipe whose other end is p.node.
func (p *plane) Exec(_ context.Context, q shell.Query) (shell.Conn, error) {
	if err := p.called("exec in %s: %s", q.Name, q.Command.Args); err != nil {
		return nil, err
	}
	return p.node, nil
}

// Once is Exec with other words.
func (p *plane) Once(_ context.Context, q shell.Query) (shell.Conn, error) {
	if err := p.called("run %s: %s", q.Name, q.Command.Args); err != nil {
		return nil, err
	}
	return p.node, nil
}

// Logs gives the entries, and with Follow goes on until the client goes.
func (p *plane) Logs(ctx context.Context, q logs.Query, take func(logs.Entry) error, idle func() error) error {
	if err := p.called("logs of %s", q.Name); err != nil {
		return err
	}
	for _, e := range p.logs {
		if err := take(e); err != nil {
			return err
		}
	}
	if !q.Follow {
		return nil
	}
	if err := idle(); err != nil {
		return err
	}
	<-ctx.Done()
	return p.called("the client of the logs is gone")
}

// serve runs a server until the test ends.
func serve(t *testing.T, p *plane) (c *Client, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "control.sock")
	l, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := NewServer(p, p, "", cancel).Run(ctx, l); err != nil {
			t.Error(err)
		}
	})
	c = NewClient(socket, "me")
	t.Cleanup(func() { cancel(); c.http.CloseIdleConnections(); wg.Wait() })
	return c, socket
}
