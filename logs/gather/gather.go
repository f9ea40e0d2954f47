// Package gather brings together the logs of a service from the nodes that have
// its containers, wherever those go.
package gather

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
	"github.com/otto-edge/otto/retry"
	"github.com/otto-edge/otto/target"
)

const (
	silentWithin = 8 * time.Second // a node that says nothing for so long is out of reach
	ackEvery     = 5 * time.Second
	ackBytes     = 64 << 10
	firstRetry   = time.Second
	slowestRetry = 10 * time.Second
)

// Conn is a connection to an agent that reads logs.
type Conn interface {
	io.ReadWriteCloser
	Wait() error // says why it has ended
}

// Cluster is what is known and reached.
type Cluster interface {
	// Next returns everything known, and what is closed when more is.
	Next() (*otto.Cluster, <-chan struct{})
	// OpenLogs asks a node's agent to read logs.
	OpenLogs(ctx context.Context, node otto.Node) (Conn, error)
}

// Read answers a query: take is called with one entry after the other, and idle
// whenever there is none for the moment. It ends when all is read, and of logs that
// are followed when ctx does.
func Read(ctx context.Context, c Cluster, q logs.Query, take func(logs.Entry) error, idle func() error) error {
	if q.Previous && q.Follow {
		return errors.New("what was written before the present run cannot be followed")
	}
	view, more := c.Next()
	t, err := target.FindAll(view, q.Name)
	if err != nil {
		return err
	}
	if _, ok := nodeOf(view, q.Node); q.Node != "" && !ok {
		_, err := target.Find(view, q.Node)
		if err == nil {
			err = fmt.Errorf("%s is no node", q.Node)
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &gathering{
		cluster: c,
		query:   q,
		target:  t,
		began:   time.Now(),
		stream:  logs.NewStream(q.Follow),
		nodes:   map[string]bool{},
	}
	defer g.running.Wait()
	defer cancel()
	g.start(ctx, view, true)
	if q.Follow {
		g.running.Go(func() { g.watch(ctx, more) })
	} else {
		g.stream.Done()
	}
	nothing := true
	for {
		e, err := g.stream.Next(ctx, idle)
		if errors.Is(err, io.EOF) {
			if q.Previous && nothing && g.found.Load() {
				return take(logs.Entry{Time: time.Now().UTC(), Mark: logs.MarkNote, Text: "nothing is there from before the present run"})
			}
			return g.sayNone(view, take)
		}
		if err == nil {
			nothing = false
			err = take(e)
		}
		if err != nil {
			return err
		}
	}
}

// gathering is one query under way.
type gathering struct {
	cluster Cluster
	query   logs.Query
	target  target.Target
	began   time.Time
	stream  *logs.Stream
	nodes   map[string]bool // that are being read; of the goroutine that starts
	running sync.WaitGroup
	found   atomic.Bool // there is a container, or a node where nobody could look
	unread  atomic.Bool // there is a node where nobody could look
	seen    sync.Map    // instances that have a container
}

// start begins to read the nodes of view that may have containers and are not read yet.
func (g *gathering) start(ctx context.Context, view *otto.Cluster, first bool) {
	for _, id := range g.wanted(view) {
		if g.nodes[id] {
			continue
		}
		g.nodes[id] = true
		n := &node{gathering: g, id: id, positions: maps.Clone(g.query.After), late: !first}
		if n.positions == nil {
			n.positions = logs.Positions{}
		}
		source := g.stream.Open()
		g.running.Go(func() { n.run(ctx, source) })
	}
}

// wanted are the nodes that have containers of the target, by all that is known.
func (g *gathering) wanted(view *otto.Cluster) (ids []string) {
	add := func(id string) {
		if id != "" && (g.query.Node == "" || g.query.Node == id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(g.target.Node)
	for _, s := range view.Services {
		for _, i := range s.Instances {
			if g.target.Node == "" && g.target.Has(s.Name, i.Name) {
				add(i.Node)
			}
		}
	}
	return ids
}

// watch begins to read the nodes that containers come to.
func (g *gathering) watch(ctx context.Context, more <-chan struct{}) {
	view, _ := g.cluster.Next()
	if why := g.none(view); why != "" && len(g.wanted(view)) == 0 {
		g.say(ctx, logs.Entry{Mark: logs.MarkNote, Text: why + "; waiting for one"})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
		view, more = g.cluster.Next()
		g.start(ctx, view, false)
	}
}

// say puts a mark into the stream, as of now.
func (g *gathering) say(ctx context.Context, e logs.Entry) {
	s := g.stream.Open()
	defer g.stream.Close(s)
	e.Time = time.Now().UTC()
	_, _ = g.stream.Push(ctx, s, e)
}

// sayNone says why there was nothing to read, if there was no container. Of a stack that
// is said of each service that has none.
func (g *gathering) sayNone(view *otto.Cluster, take func(logs.Entry) error) error {
	texts := g.withoutContainer(view)
	if len(texts) == 0 && !g.found.Load() {
		texts = []string{g.none(view)}
	}
	for _, text := range texts {
		if err := take(logs.Entry{Time: time.Now().UTC(), Mark: logs.MarkTrouble, Text: text}); err != nil {
			return err
		}
	}
	return nil
}

// withoutContainer says of the instances of a stack that no container was found of why that
// is, as far as their nodes could be read.
func (g *gathering) withoutContainer(view *otto.Cluster) (texts []string) {
	if g.target.Stack == "" || g.unread.Load() {
		return nil
	}
	for _, s := range view.Services {
		for _, i := range s.Instances {
			if _, seen := g.seen.Load(i.Name); seen || !g.target.Has(s.Name, i.Name) ||
				g.query.Node != "" && g.query.Node != i.Node {
				continue
			}
			texts = append(texts, noContainer(i.Name, "", whyNot(i)))
		}
	}
	return texts
}

// none says why there is no container.
func (g *gathering) none(view *otto.Cluster) string {
	if g.target.Node != "" {
		return "no container of the cluster is on " + g.target.Node
	}
	name, why := cmp.Or(g.target.Service, g.target.Stack), ""
	for _, s := range view.Services {
		for _, i := range s.Instances {
			if !g.target.Has(s.Name, i.Name) ||
				g.query.Node != "" && g.query.Node != i.Node {
				continue
			}
			name, why = i.Name, whyNot(i)
		}
	}
	where := ""
	if g.query.Node != "" {
		where = " on " + g.query.Node
	}
	return noContainer(name, where, why)
}

// whyNot is an instance's state, and what it says of that.
func whyNot(i otto.PlacedInstance) string {
	if said := cmp.Or(i.Error, i.Reason); said != "" {
		return string(i.State) + ": " + said
	}
	return string(i.State)
}

func noContainer(name, where, why string) string {
	if why == "" {
		return name + " has no container" + where
	}
	return name + " has no container" + where + " yet: it is " + why
}

func nodeOf(view *otto.Cluster, id string) (otto.NodeStatus, bool) {
	i := slices.IndexFunc(view.Nodes, func(n otto.NodeStatus) bool { return n.ID == id })
	if i < 0 {
		return otto.NodeStatus{}, false
	}
	return view.Nodes[i], true
}

// node is a node whose containers' logs are read.
type node struct {
	*gathering
	id        string
	late      bool           // it was not among the first ones
	positions logs.Positions // how far they were read
	troubled  bool           // and that was said
	again     bool           // it has been read before
}

// run reads the node until all is read, and if it is followed until ctx ends or the
// node has left. The first attempt uses source.
func (n *node) run(ctx context.Context, source *logs.Source) {
	for wait := retry.Steadily(firstRetry, slowestRetry); ; {
		began := time.Now()
		err := n.reachable()
		if err == nil {
			err = n.read(ctx, source)
		}
		n.trouble(ctx, source, err)
		if source != nil {
			n.stream.Close(source)
			source = nil
		}
		if err == nil || !n.query.Follow || errors.Is(err, errLeft) {
			return
		}
		if time.Since(began) > slowestRetry {
			wait.Reset()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// errLeft is of a node that is no longer in the cluster.
var errLeft = errors.New("it has left the cluster")

// reachable says why nobody need try to reach the node.
func (n *node) reachable() error {
	view, _ := n.cluster.Next()
	status, ok := nodeOf(view, n.id)
	switch {
	case !ok:
		return errLeft
	case status.State == otto.NodeLost:
		return errors.New("the node is lost")
	}
	return nil
}

// trouble says once that a node cannot be read.
func (n *node) trouble(ctx context.Context, source *logs.Source, err error) {
	if err == nil || ctx.Err() != nil || n.troubled {
		return
	}
	n.troubled = true
	n.found.Store(true)
	n.unread.Store(true)
	text := fmt.Sprintf("%s cannot be read: %v", n.id, err)
	if n.query.Follow && !errors.Is(err, errLeft) {
		text += "; it goes on when the node is back"
	}
	e := logs.Entry{Time: time.Now().UTC(), Node: n.id, Mark: logs.MarkTrouble, Text: text}
	if source == nil {
		n.say(ctx, e)
		return
	}
	_, _ = n.stream.Push(ctx, source, e)
}

// read reads until the end, or until the connection breaks.
func (n *node) read(ctx context.Context, source *logs.Source) error {
	view, _ := n.cluster.Next()
	status, _ := nodeOf(view, n.id)
	conn, err := n.cluster.OpenLogs(ctx, status.Node)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if source == nil {
		source = n.stream.Open()
		defer n.stream.Close(source)
	}
	question, err := json.Marshal(n.question())
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(question, '\n')); err != nil {
		return why(conn, err)
	}
	var silent atomic.Bool
	late := time.AfterFunc(silentWithin, func() {
		silent.Store(true)
		conn.Close()
	})
	defer late.Stop()
	d, err := logs.NewDecoder(conn)
	if err != nil {
		if silent.Load() {
			return errSilent
		}
		return why(conn, err)
	}
	n.stream.Greet(source)
	if n.troubled {
		n.troubled = false
		n.say(ctx, logs.Entry{Node: n.id, Mark: logs.MarkNote, Text: n.id + " is read again"})
	}
	acks := newAcks(conn)
	defer acks.end()
	n.again = true
	for {
		late.Reset(silentWithin)
		e, size, err := d.Next()
		late.Stop()
		switch {
		case err == nil:
			err = n.take(ctx, source, e)
		case errors.Is(err, io.EOF):
			return nil
		case silent.Load():
			return errSilent
		default:
			err = why(conn, err)
		}
		if err != nil {
			return err
		}
		acks.arrived(size)
	}
}

var errSilent = fmt.Errorf("no word from it for %s", silentWithin)

// why is the better one of two reasons why a connection has ended.
func why(conn Conn, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if said := conn.Wait(); said != nil {
			return said
		}
		return errors.New("the agent there ended")
	}
	return err
}

// question is what the node is asked.
func (n *node) question() logs.NodeQuery {
	q := logs.NodeQuery{
		Service:  n.target.Service,
		Instance: n.target.Instance,
		Stack:    n.target.Stack,
		Filter:   n.query.Filter,
	}
	q.After = n.positions
	if n.again || n.late {
		q.Age = time.Since(n.began)
	}
	return q
}

// take passes an entry on.
func (n *node) take(ctx context.Context, source *logs.Source, e logs.Entry) error {
	e.Node = n.id
	switch {
	case e.Mark == logs.MarkContainer:
		if n.target.Has(e.Service, e.Instance) {
			n.found.Store(true)
			n.seen.Store(e.Instance, true)
		}
		if _, known := n.positions[e.Container]; !known {
			n.positions[e.Container] = logs.Position{From: e.Time}
		}
		return nil
	case e.Mark == "" && e.Container == "":
		return nil // a beat
	case e.Service != "" && !n.target.Has(e.Service, e.Instance):
		return nil // an agent of a former build knows no stacks
	}
	_, err := n.stream.Push(ctx, source, e)
	n.positions.Take(e)
	return err
}

// acks tells a node how much of what it sent has arrived, and that somebody is
// still there.
type acks struct {
	conn    io.WriteCloser
	bytes   atomic.Int64
	told    int64 // of the goroutine that reads
	due     chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

func newAcks(conn io.WriteCloser) *acks {
	a := &acks{conn: conn, due: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	go a.run()
	return a
}

func (a *acks) run() {
	defer close(a.stopped)
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
		case <-a.due:
		}
		if _, err := fmt.Fprintln(a.conn, a.bytes.Load()); err != nil {
			return
		}
	}
}

func (a *acks) arrived(size int) {
	n := a.bytes.Add(int64(size))
	if n-a.told < ackBytes {
		return
	}
	a.told = n
	select {
	case a.due <- struct{}{}:
	default:
	}
}

// end closes the connection, on which something may wait to be written.
func (a *acks) end() {
	a.conn.Close()
	close(a.stop)
	<-a.stopped
}
