package reader

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/logs"
)

// A log that is followed by a reader who is too slow is brought up to date when it
// is behind by more than tooLate: lines are left out until it is behind by less
// than upToDate. That they were is said at least every sayEvery.
const (
	tooLate  = 10 * time.Second
	upToDate = time.Second
	sayEvery = 2 * time.Second
)

// Bounds of what is kept of a log to find the last lines that match.
const maxTail = 1 << 20 // bytes

// log is the log of one container, while it is read and between.
type log struct {
	*reading
	id    string
	about logs.Container
	key   key         // of the container when it was read last; of the goroutine that refreshes
	busy  atomic.Bool // it is being read, by a goroutine that has what follows

	before time.Time // lines from then on are not wanted; zero wants all
	source *logs.Source
	again  bool // it has been read before, up to at
	at     logs.Position
	fresh  bool // the container is newer than the reading
	left   leftOut
	later  *time.Timer // says what was left out
	told   string      // the trouble that was told last
}

// key is different whenever a container may have written something since.
type key struct {
	state             otto.ContainerState
	started, finished time.Time
}

func (r *reading) newLog(c otto.Container) *log {
	l := &log{
		reading: r,
		id:      c.ID,
		about:   logs.Container{ID: c.ID[:min(len(c.ID), 12)], Name: c.Name, Service: c.Service, Instance: c.Instance},
	}
	at, resumed := r.query.After[l.about.ID]
	l.fresh = c.Started.After(r.began.Add(-r.query.Age))
	switch {
	case resumed:
		l.again, l.at = true, at
	case r.query.Tail != nil && !l.fresh:
		l.at.From = r.began // what is older comes by Tail alone
	default:
		l.at.From = r.query.Since
	}
	l.about.From = l.at.From
	return l
}

// refresh begins to read, unless that is under way or there is nothing new.
func (l *log) refresh(ctx context.Context, c otto.Container) {
	k := key{c.State, c.Started, c.Finished}
	runs := c.State == otto.ContainerRunning || c.State == otto.ContainerPaused || c.State == otto.ContainerRestarting
	if l.busy.Load() || k == l.key && !(runs && l.query.Follow) {
		return
	}
	l.key = k
	l.about.Name = c.Name
	l.source = l.stream.Open()
	l.stream.Greet(l.source)
	l.busy.Store(true)
	l.readers.Go(func() {
		began := time.Now()
		err := l.read(ctx, l.query.Follow && runs)
		if err != nil && ctx.Err() == nil {
			l.trouble(ctx, err)
		}
		l.stream.Close(l.source)
		if runs && l.query.Follow && time.Since(began) < retryAfter {
			select {
			case <-ctx.Done():
			case <-time.After(retryAfter):
			}
		}
		l.busy.Store(false)
		select {
		case l.ended <- struct{}{}:
		default:
		}
	})
}

// trouble says once why a log cannot be read.
func (l *log) trouble(ctx context.Context, err error) {
	if text := err.Error(); text != l.told {
		l.told = text
		_, _ = l.stream.Push(ctx, l.source, l.markOf(logs.MarkTrouble, time.Now(), text))
	}
}

func (l *log) markOf(mark string, t time.Time, text string) logs.Entry {
	e := logs.Line{Time: t.UTC(), Text: []byte(text)}.Entry(l.about)
	e.Mark = mark
	return e
}

// read reads from where it ended the last time.
func (l *log) read(ctx context.Context, follow bool) error {
	w := logs.Window{Follow: follow, Since: l.query.Since, Until: l.query.Until}
	if !l.before.IsZero() && (w.Until.IsZero() || l.before.Before(w.Until)) {
		w.Until = l.before
	}
	if !l.again && !l.fresh {
		w.Tail = l.query.Tail
	}
	if w.Tail != nil && (l.query.Grep != "" || !l.before.IsZero()) {
		if err := l.lastMatches(ctx, w); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		w.Tail = nil
	}
	var resume *logs.Resume
	if l.again {
		resume = logs.NewResume(l.at)
		w.Since = l.at.Since()
	}
	l.again = true
	defer func() {
		if l.later != nil {
			l.later.Stop()
		}
	}()
	err := l.Engine.ReadLog(ctx, l.id, w, func(line logs.Line) error {
		if resume != nil {
			fresh, missing := resume.Look(line.Stream, line.Time)
			if missing {
				m := l.markOf(logs.MarkMissing, line.Time, "lines may be missing here: the engine no longer has them")
				if _, err := l.stream.Push(ctx, l.source, m); err != nil {
					return err
				}
			}
			if !fresh {
				return nil
			}
		}
		return l.take(ctx, line, follow)
	})
	if err == nil {
		err = l.sayLeftOut(ctx)
	}
	return err
}

// lastMatches gives the last lines that match: an engine can only tell the last
// lines of all.
func (l *log) lastMatches(ctx context.Context, w logs.Window) error {
	most := *w.Tail
	w.Follow, w.Tail = false, nil
	var last []logs.Line
	bytes, cut := 0, false
	err := l.Engine.ReadLog(ctx, l.id, w, func(line logs.Line) error {
		l.at.Take(line.Stream, line.Time)
		if !l.wanted(line) {
			return nil
		}
		last = append(last, line)
		bytes += len(line.Text)
		for len(last) > most || bytes > maxTail && len(last) > 0 {
			cut = cut || len(last) <= most
			bytes -= len(last[0].Text)
			last = last[1:]
		}
		return nil
	})
	l.again = true
	if err != nil {
		return err
	}
	if cut && len(last) > 0 {
		m := l.markOf(logs.MarkNote, last[0].Time,
			"earlier lines match too; there is no room for them: use a smaller --tail, or none")
		if _, err := l.stream.Push(ctx, l.source, m); err != nil {
			return err
		}
	}
	for _, line := range last {
		if _, err := l.stream.Push(ctx, l.source, line.Entry(l.about)); err != nil {
			return err
		}
	}
	return nil
}

func (l *log) wanted(line logs.Line) bool {
	q := l.query
	if line.Time.Before(q.Since) || !q.Until.IsZero() && line.Time.After(q.Until) ||
		!l.before.IsZero() && !line.Time.Before(l.before) {
		return false
	}
	return q.Grep == "" || l.grep.Match(line.Text)
}

// take gives a line, unless it is not wanted or has to be left out.
func (l *log) take(ctx context.Context, line logs.Line, follow bool) error {
	l.at.Take(line.Stream, line.Time)
	if !l.wanted(line) {
		return nil
	}
	if l.left.out(line.Time, time.Now()) {
		l.sayLater(ctx)
		return nil
	}
	if err := l.sayLeftOut(ctx); err != nil {
		return err
	}
	held, err := l.stream.Push(ctx, l.source, line.Entry(l.about))
	if held && follow && l.SameClock && line.Time.After(l.began) {
		l.left.behind(line.Time, time.Now())
	}
	return err
}

// sayLater says how many lines were left out even if no other line comes.
func (l *log) sayLater(ctx context.Context) {
	if l.later == nil {
		l.later = time.AfterFunc(2*sayEvery, func() { _ = l.sayLeftOut(ctx) })
		return
	}
	l.later.Reset(2 * sayEvery)
}

func (l *log) sayLeftOut(ctx context.Context) error {
	n, last := l.left.say()
	if n == 0 {
		return nil
	}
	m := l.markOf(logs.MarkLeftOut, last, fmt.Sprintf("%d lines left out: they come faster than they can be shown", n))
	m.Lines = n
	_, err := l.stream.Push(ctx, l.source, m)
	return err
}

// leftOut decides which lines of a log are left out.
type leftOut struct {
	mu    sync.Mutex
	on    bool
	since time.Time // when it was last said how many were
	lines int
	last  time.Time // of the last line that was
}

// behind looks whether a line comes too late.
func (o *leftOut) behind(line, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on && now.Sub(line) > tooLate {
		o.on, o.since = true, now
	}
}

// out reports whether a line is left out, and counts it.
func (o *leftOut) out(line, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on {
		return false
	}
	if now.Sub(line) < upToDate {
		o.on = false
		return false
	}
	if now.Sub(o.since) >= sayEvery {
		o.since = now
		return false // this one is shown, after how many were not
	}
	o.lines++
	o.last = line
	return true
}

// say returns how many lines were left out since it was last asked, and when the
// last one of them was written.
func (o *leftOut) say() (lines int, last time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines, o.lines = o.lines, 0
	return lines, o.last
}
