// Package reader reads the logs of a node's containers from its engine, through
// restarts and updates, and sends them to whoever asks over a pair of pipes.
package reader

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
)

const (
	beatEvery   = 2 * time.Second
	askerWithin = 30 * time.Second // without a word of who asks it is gone
	retryAfter  = time.Second
)

// Engine is what logs are read from.
type Engine interface {
	Containers(ctx context.Context) ([]otto.Container, error)
	Watch(ctx context.Context, changed func(images bool)) error
	// ReadLog calls take with each line of a container's log, until that ends or
	// take returns an error.
	ReadLog(ctx context.Context, id string, w logs.Window, take func(logs.Line) error) error
}

// Options are what a reading depends on beside the query.
type Options struct {
	Engine Engine
	// SameClock says that the engine's clock is ours. Without it nothing is left out
	// of a log that is followed: it cannot be told how late a line is.
	SameClock bool
}

// Run answers one logs.NodeQuery, which is the first line of in, on out. The other
// lines of in say how many bytes of out have arrived; it ends when in does.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer) error {
	asker := bufio.NewReader(in)
	text, err := asker.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("no query: %w", err)
	}
	var q logs.NodeQuery
	if err := json.Unmarshal(text, &q); err != nil {
		return fmt.Errorf("no query: %w", err)
	}
	grep, err := regexp.Compile(q.Grep)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := newWindow(out)
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	go func() { // it ends with in, which is closed by whoever has made it
		defer cancel()
		w.listen(asker)
	}()
	r := &reading{
		Options: o, query: q, grep: grep, stream: logs.NewStream(q.Follow), enc: make(chan *logs.Encoder, 1),
		logs: map[string]*log{}, began: time.Now(), ended: make(chan struct{}, 1),
	}
	r.enc <- logs.NewEncoder(w)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.beat(ctx) })
	g.Go(func() error {
		defer r.readers.Wait()
		defer r.stream.Done()
		if q.Follow {
			return r.follow(ctx)
		}
		return r.refresh(ctx)
	})
	g.Go(func() error { return r.send(ctx) })
	if err := g.Wait(); !errors.Is(err, errEnd) {
		return err
	}
	return nil
}

// errEnd ends a reading that is complete.
var errEnd = errors.New("end")

// reading is one query under way.
type reading struct {
	Options
	query  logs.NodeQuery
	grep   *regexp.Regexp
	began  time.Time
	stream *logs.Stream

	enc chan *logs.Encoder // of whoever takes it

	logs    map[string]*log // by container; of the goroutine that refreshes
	trouble string          // of the engine, as it was told; likewise
	ended   chan struct{}   // a log was read to its end
	readers sync.WaitGroup
}

func (r *reading) encode(f func(*logs.Encoder) error) error {
	enc := <-r.enc
	defer func() { r.enc <- enc }()
	return f(enc)
}

func (r *reading) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.encode((*logs.Encoder).Beat); err != nil {
			return err
		}
	}
}

func (r *reading) send(ctx context.Context) error {
	flush := func() error { return r.encode((*logs.Encoder).Flush) }
	for {
		e, err := r.stream.Next(ctx, flush)
		if errors.Is(err, io.EOF) {
			if err := r.encode((*logs.Encoder).End); err != nil {
				return err
			}
			return errEnd
		}
		if err == nil {
			err = r.encode(func(enc *logs.Encoder) error { return enc.Entry(e) })
		}
		if err != nil {
			return err
		}
	}
}

// follow reads what is there and what comes, until ctx ends.
func (r *reading) follow(ctx context.Context) error {
	for {
		text := r.watch(ctx).Error()
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if text != r.trouble {
			r.trouble = text
			r.mark(logs.MarkTrouble, text+"; trying again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// watch follows logs until the engine does not answer.
func (r *reading) watch(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	changed := make(chan struct{}, 1)
	g.Go(func() error {
		err := r.Engine.Watch(ctx, func(bool) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		if err == nil {
			err = errors.New("the engine tells nothing any more")
		}
		return err
	})
	g.Go(func() error {
		defer r.readers.Wait() // they end with ctx, and are started again after
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			case <-r.ended:
			}
			if err := r.refresh(ctx); err != nil {
				return err
			}
			if r.trouble != "" {
				r.trouble = ""
				r.mark(logs.MarkNote, "the engine answers again")
			}
		}
	})
	return g.Wait()
}

// refresh begins to read all logs that are not being read and may have changed.
func (r *reading) refresh(ctx context.Context) error {
	list, err := r.Engine.Containers(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	present := r.present(list)
	for _, c := range list {
		if r.query.Service != "" && c.Service != r.query.Service ||
			r.query.Instance != "" && c.Instance != r.query.Instance ||
			r.query.Stack != "" && !strings.HasPrefix(c.Service, r.query.Stack+"/") {
			continue
		}
		there[c.ID] = true
		l := r.logs[c.ID]
		if l == nil {
			l = r.newLog(c)
			if r.query.Previous && present[c.Instance] == c.ID {
				l.before = c.Started
			}
			r.logs[c.ID] = l
			if err := r.encode(func(enc *logs.Encoder) error { return enc.Container(l.about) }); err != nil {
				return err
			}
		}
		l.refresh(ctx, c)
	}
	for id, l := range r.logs {
		if !there[id] && !l.busy.Load() {
			delete(r.logs, id)
		}
	}
	return nil
}

// present are the containers of instances whose run is not the previous one, if that is asked
// for: those that were started last.
func (r *reading) present(list []otto.Container) map[string]string {
	ids, started := map[string]string{}, map[string]time.Time{}
	if !r.query.Previous {
		return ids
	}
	for _, c := range list {
		if c.Started.After(started[c.Instance]) {
			ids[c.Instance], started[c.Instance] = c.ID, c.Started
		}
	}
	return ids
}

// mark sends a mark at once.
func (r *reading) mark(kind, text string) {
	e := logs.Entry{Time: time.Now().UTC(), Mark: kind, Text: text}
	_ = r.encode(func(enc *logs.Encoder) error { return errors.Join(enc.Entry(e), enc.Flush()) })
}

// window bounds what is under way to who asks: what waits there in buffers is what
// the next line of any container has to wait for.
type window struct {
	w       io.Writer
	mu      sync.Mutex
	changed *sync.Cond
	sent    int64
	arrived int64
	closed  bool
}

const maxUnderWay = 256 << 10 // bytes

func newWindow(w io.Writer) *window {
	o := &window{w: w}
	o.changed = sync.NewCond(&o.mu)
	return o
}

// Write implements io.Writer.
func (o *window) Write(p []byte) (int, error) {
	o.mu.Lock()
	for o.sent-o.arrived >= maxUnderWay && !o.closed {
		o.changed.Wait()
	}
	o.sent += int64(len(p))
	closed := o.closed
	o.mu.Unlock()
	if closed {
		return 0, io.ErrClosedPipe
	}
	return o.w.Write(p)
}

func (o *window) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
}

// listen hears how much has arrived, until who asks is gone.
func (o *window) listen(asker *bufio.Reader) {
	gone := time.AfterFunc(askerWithin, o.close)
	defer gone.Stop()
	for {
		line, err := asker.ReadString('\n')
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return
		}
		gone.Reset(askerWithin)
		o.mu.Lock()
		o.arrived = max(o.arrived, n)
		o.changed.Broadcast()
		o.mu.Unlock()
	}
}
