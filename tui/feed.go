package tui

import (
	"context"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/otto-edge/otto"
)

// feed sends a program what it shows, at a pace that people can follow.
type feed struct {
	source Source
	send   func(tea.Msg)
}

// pause waits; it reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// states sends the newest state, whenever there is another one. All are read, so that none
// that is old waits in between.
func (f feed) states(ctx context.Context) {
	var newest atomic.Pointer[otto.Cluster]
	more := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var pace pacer
		for pace.wait(ctx, more) {
			if c := newest.Swap(nil); c != nil {
				f.send(stateMsg{NewIndex(c), time.Now()})
			}
		}
	}()
	for ctx.Err() == nil {
		_ = f.source.Watch(ctx, func(c *otto.Cluster) bool {
			newest.Store(c)
			poke(more)
			return ctx.Err() == nil
		})
		if ctx.Err() != nil {
			break
		}
		newest.Store(nil)
		away := awayMsg{why: "control plane down"}
		if c, err := f.source.Last(); err == nil {
			away.last = NewIndex(c)
		}
		f.send(away)
		pause(ctx, retry)
	}
	<-done
}

// poke says that there is more, if that was not said yet.
func poke(more chan struct{}) {
	select {
	case more <- struct{}{}:
	default:
	}
}

// pacer lets the first ones pass at once, and then so many as its pace allows: what changes
// seldom is seen at once.
type pacer struct {
	passed [ahead]time.Time // when the last ones have
	n      int
}

// wait waits until there is more and the pace allows it. It reports whether to go on.
func (p *pacer) wait(ctx context.Context, more <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-more:
		return p.due(ctx)
	}
}

// due waits until the pace allows it. It reports whether to go on.
func (p *pacer) due(ctx context.Context) bool {
	last := &p.passed[p.n%ahead]
	if left := time.Until(last.Add(ahead * pace)); left > 0 && !pause(ctx, left) {
		return false
	}
	*last = time.Now()
	p.n++
	return true
}

// clock sends the time.
func (f feed) clock(ctx context.Context) {
	for pause(ctx, tick) {
		f.send(clockMsg(time.Now()))
	}
}

// events sends those that are kept, and then what comes, in batches.
func (f feed) events(ctx context.Context) {
	list := make(chan otto.Event, maxEvents)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var pace pacer
		for {
			var batch eventsMsg
			select {
			case <-ctx.Done():
				return
			case e := <-list:
				batch = append(batch, e)
			}
			if !pace.due(ctx) {
				return
			}
			for len(list) > 0 && len(batch) < maxEvents {
				batch = append(batch, <-list)
			}
			f.send(batch)
		}
	}()
	var after uint64
	for ctx.Err() == nil {
		_ = f.source.Events(ctx, after, func(e otto.Event) bool {
			after = e.Seq
			select {
			case list <- e:
				return true
			case <-ctx.Done():
				return false
			}
		})
		pause(ctx, retry)
	}
	<-done
}

// How old what is shown of the past may be.
const (
	trendAge = 15 * time.Second
	dayAge   = 5 * time.Minute
)

// The metrics of a Trend.
const (
	metricCPU         = "node.cpu"
	metricMemory      = "node.memory"
	metricDisk        = "node.disk"
	metricTemperature = "node.temperature"
)

// past asks for the past of what is on the screen, for one thing after the other.
func (f feed) past(ctx context.Context, screen *atomic.Pointer[Screen]) {
	asked := map[item]time.Time{}
	for pause(ctx, pace) {
		s := screen.Load()
		if s == nil {
			continue
		}
		msg := pastMsg{map[string]Trend{}, map[string][]otto.Span{}}
		now := time.Now()
		for _, n := range s.Nodes {
			if of := (item{kindNode, n}); now.Sub(asked[of]) > trendAge {
				asked[of] = now
				if t, err := Trending(ctx, f.source, n, now); err == nil {
					msg.trends[n] = t
				}
			}
		}
		for _, name := range s.Services {
			if of := (item{kindService, name}); now.Sub(asked[of]) > dayAge && time.Since(now) < time.Second {
				asked[of] = now
				if d, err := Day(ctx, f.source, name, now); err == nil {
					msg.days[name] = d
				}
			}
		}
		if len(msg.trends)+len(msg.days) > 0 {
			f.send(msg)
		}
	}
}

// Past is who knows what was.
type Past interface {
	Past(ctx context.Context, q otto.HistoryQuery) (otto.History, error)
}

// Trending asks for the last hour of a node.
func Trending(ctx context.Context, past Past, node string, now time.Time) (t Trend, err error) {
	h, err := past.Past(ctx, otto.HistoryQuery{
		Node: node, Metrics: []string{metricCPU, metricMemory, metricDisk, metricTemperature},
		Since: now.Add(-trendTime), Resolution: otto.HistoryMinute,
	})
	for _, s := range h.Series {
		switch s.Metric {
		case metricCPU:
			t.CPU = s.Points
		case metricMemory:
			t.Memory = s.Points
		case metricDisk:
			t.Disk = s.Points
		case metricTemperature:
			t.Temperature = s.Points
		}
	}
	return t, err
}

// Day asks for the last day of a service.
func Day(ctx context.Context, past Past, service string, now time.Time) ([]otto.Span, error) {
	h, err := past.Past(ctx, otto.HistoryQuery{
		Service: service, Metrics: []string{otto.HistoryMetricState}, Since: now.Add(-dayTime),
		Resolution: otto.HistoryMinute,
	})
	for _, s := range h.States {
		if s.Instance == "" && s.Requirement == "" {
			return s.Spans, err
		}
	}
	return nil, err
}
