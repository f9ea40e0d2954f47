package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/otto-edge/otto"
)

// window is how many points of each series are put together at a time, so that a long answer
// that is cut off takes no more memory than a short one.
const window = 256

// Query returns what is kept, without events. It reads the disk.
func (h *History) Query(q otto.HistoryQuery, now time.Time) (otto.History, error) {
	of := subject{q.Node, q.Service}
	h.mu.Lock()
	present := source{span: minuteAt(now.Unix())}
	if m := h.now.minute; m != nil {
		present = source{span: m.span, chunk: m.chunk(of)}
	}
	var s shelf
	if h.shelf != nil {
		s = *h.shelf
		s.full, s.hours, s.days = slices.Clone(s.full), slices.Clone(s.hours), slices.Clone(s.days)
	}
	dropped := h.now.dropped + h.missed.Load()
	h.mu.Unlock()

	answer, err := s.query(q, now, present)
	answer.Dropped, answer.Problem = dropped, h.Problem()
	return answer, err
}

// Read returns what is kept in a directory that no control plane uses, likewise.
func Read(dir string, q otto.HistoryQuery, now time.Time) (otto.History, error) {
	s, err := openShelf(dir, disk{})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return otto.History{}, err
	}
	return s.query(q, now, source{span: minuteAt(now.Unix())})
}

// resolve completes a query.
func resolve(q otto.HistoryQuery, now time.Time) (otto.HistoryQuery, error) {
	if (q.Node == "") == (q.Service == "") {
		return q, errors.New("history is of one node or of one service")
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	ago := now.Sub(q.Since)
	kept := 32 * 24 * time.Hour
	switch {
	case q.Resolution == 0 && ago <= time.Hour+time.Minute:
		q.Resolution = otto.HistoryFull
	case q.Resolution == 0 && ago <= 25*time.Hour:
		q.Resolution = otto.HistoryMinute
	case q.Resolution == 0:
		q.Resolution = otto.HistoryLong
	}
	switch q.Resolution {
	case otto.HistoryFull:
		kept = 3 * time.Hour
	case otto.HistoryMinute:
		kept = 27 * time.Hour
	case otto.HistoryLong:
	default:
		return q, fmt.Errorf("a resolution of %s is not kept: ask for 1s, 1m or 10m", q.Resolution)
	}
	if first := now.Add(-kept); q.Since.Before(first) {
		q.Since = first
	}
	if q.Until.After(now.Add(kept)) {
		q.Until = now.Add(kept)
	}
	switch {
	case q.Limit == 0:
		q.Limit = otto.HistoryPoints
	case q.Limit < 0 || q.Limit > otto.HistoryMaxPoints:
		return q, fmt.Errorf("a limit of %d points: ask for 1 to %d", q.Limit, otto.HistoryMaxPoints)
	}
	return q, nil
}

// source is a part of what is kept: a file, or what is in memory.
type source struct {
	span
	file   *file
	chunk  chunk
	frames []framed
	opened *os.File
}

// sources are what has anything between two times at a resolution.
func (s *shelf) sources(q otto.HistoryQuery, from, to int64) (list []*source) {
	add := func(f file) {
		if sp := f.span(); sp.start < to && sp.end() > from {
			list = append(list, &source{span: sp, file: &f})
		}
	}
	if q.Resolution == otto.HistoryLong {
		for _, f := range s.days {
			add(f)
		}
	}
	if q.Resolution >= otto.HistoryMinute {
		for _, f := range s.hours {
			if q.Resolution == otto.HistoryMinute || !s.summed(f.group) {
				add(f)
			}
		}
	}
	for _, f := range s.full {
		if q.Resolution == otto.HistoryFull || !s.together(f) {
			add(f)
		}
	}
	return list
}

// add puts into a sum what a source has of a subject.
func (from *source) add(into *summer, s *shelf, of subject, wanted func(key) bool) error {
	if from.start >= into.end() || from.end() <= into.start {
		return nil
	}
	if from.file == nil {
		into.add(from.span, from.chunk)
		return nil
	}
	if from.opened == nil {
		var err error
		if from.opened, err = os.Open(s.path(*from.file)); errors.Is(err, fs.ErrNotExist) {
			return nil // it has just become too old
		}
		if err != nil {
			return err
		}
		if from.frames, err = framesOf(from.opened); err != nil && !errors.Is(err, errDamaged) {
			return err
		}
	}
	for _, h := range from.frames {
		if h.start >= into.end() || h.end() <= into.start {
			continue
		}
		c, err := h.chunk(from.opened, h.at, of, wanted)
		if errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		into.add(h.span, c)
	}
	return nil
}

// query reads what is wanted, one window after the other, until there are enough points.
func (s *shelf) query(q otto.HistoryQuery, now time.Time, present source) (otto.History, error) {
	q, err := resolve(q, now)
	answer := otto.History{
		Node: q.Node, Service: q.Service, Resolution: q.Resolution,
		Series: []otto.Series{}, States: []otto.States{}, Events: []otto.Event{},
	}
	if err != nil {
		return answer, err
	}
	step := int64(q.Resolution / time.Second)
	from, to := floor(q.Since.Unix(), step), q.Until.Unix()
	if r := to % step; r != 0 || q.Until.Nanosecond() > 0 {
		to += step - r
	}
	of := subject{q.Node, q.Service}
	sources := append(s.sources(q, from, to), &present)
	defer func() {
		for _, o := range sources {
			if o.opened != nil {
				o.opened.Close()
			}
		}
	}()
	b := builder{step: step, left: q.Limit, series: map[key]int{}, states: map[key]int{}, answer: &answer}
	end := to
	for at := from; at < to; at += step * window {
		sum := newSummer(span{at, step, int(min(window, (to-at)/step))})
		for _, o := range sources {
			if err := o.add(sum, s, of, wantedBy(q)); err != nil {
				return answer, err
			}
		}
		c := sum.chunk()
		c.drop(wantedBy(q))
		if n, cut := b.add(sum.span, c); cut {
			end = at + int64(n)*step
			answer.Next = time.Unix(end, 0).UTC()
			break
		}
	}
	b.sort()
	answer.Since, answer.Until = time.Unix(from, 0).UTC(), time.Unix(end, 0).UTC()
	return answer, nil
}

// wantedBy reports which series and tracks are asked for.
func wantedBy(q otto.HistoryQuery) func(key) bool {
	return func(k key) bool {
		if len(q.Metrics) == 0 {
			return true
		}
		name := k.name
		if name == "" {
			name = otto.HistoryMetricState
		}
		return slices.Contains(q.Metrics, name)
	}
}

// drop removes what is not wanted: what is in memory was not looked at yet.
func (c *chunk) drop(wanted func(key) bool) {
	c.series = slices.DeleteFunc(c.series, func(s series) bool { return !wanted(s.key) })
	c.tracks = slices.DeleteFunc(c.tracks, func(t track) bool { return !wanted(t.key) })
}

// builder makes an answer.
type builder struct {
	step           int64
	left           int // points that there may still be
	answer         *otto.History
	series, states map[key]int // where they are in the answer
}

// add takes in a window, or the steps of it for which there is room: then it returns how
// many. The first step of all has room in any case.
func (b *builder) add(s span, c chunk) (steps int, cut bool) {
	count := make([]int, s.steps)
	for _, from := range c.series {
		for _, v := range from.slots {
			count[v.at]++
		}
	}
	first := len(b.answer.Series) == 0
	for at, n := range count {
		if n > b.left && !(first && at == 0) {
			b.take(s, c, at)
			return at, true
		}
		b.left -= n
	}
	b.take(s, c, s.steps)
	return s.steps, false
}

func (b *builder) take(s span, c chunk, steps int) {
	for _, from := range c.series {
		i, ok := b.series[from.key]
		if !ok {
			i = len(b.answer.Series)
			b.series[from.key] = i
			b.answer.Series = append(b.answer.Series,
				otto.Series{Instance: from.instance, Metric: from.name, Unit: from.unit, Points: []otto.Point{}})
		}
		points := &b.answer.Series[i].Points
		for _, v := range from.slots {
			if v.at >= steps {
				break
			}
			*points = append(*points, otto.Point{
				Time: time.Unix(s.start+int64(v.at)*s.step, 0).UTC(),
				Min:  short(v.min),
				Mean: short(v.mean),
				Max:  short(v.max),
			})
		}
	}
	for _, from := range c.tracks {
		i, ok := b.states[from.key]
		if !ok {
			i = len(b.answer.States)
			b.states[from.key] = i
			b.answer.States = append(b.answer.States,
				otto.States{Instance: from.instance, Requirement: from.name, Spans: []otto.Span{}})
		}
		spans := &b.answer.States[i].Spans
		var last []share
		for _, v := range from.slots {
			if v.at >= steps {
				break
			}
			*spans = b.span(*spans, s.start+int64(v.at)*s.step, v.states, slices.Equal(last, v.states))
			last = v.states
		}
	}
}

// span adds a step to what is the same, or begins another span.
func (b *builder) span(list []otto.Span, at int64, states []share, same bool) []otto.Span {
	all := 0
	for _, s := range states {
		all += s.seconds
	}
	known := min(float64(all), float64(b.step))
	from := time.Unix(at, 0).UTC()
	to := from.Add(time.Duration(b.step) * time.Second)
	if n := len(list) - 1; same && n >= 0 && list[n].To.Equal(from) {
		list[n].To = to
		list[n].Known += known
		return list
	}
	shares := make(map[string]float64, len(states))
	for _, s := range states {
		shares[s.state] = short(float32(s.seconds) / float32(max(all, 1)))
	}
	return append(list, otto.Span{From: from, To: to, Known: known, Shares: shares})
}

// sort brings the answer into an order that depends on names alone.
func (b *builder) sort() {
	slices.SortFunc(b.answer.Series, func(x, y otto.Series) int {
		return slices.Compare([]string{x.Instance, x.Metric, x.Unit}, []string{y.Instance, y.Metric, y.Unit})
	})
	slices.SortFunc(b.answer.States, func(x, y otto.States) int {
		return slices.Compare([]string{x.Instance, x.Requirement}, []string{y.Instance, y.Requirement})
	})
	b.answer.Series = slices.DeleteFunc(b.answer.Series, func(s otto.Series) bool { return len(s.Points) == 0 })
	b.answer.States = slices.DeleteFunc(b.answer.States, func(s otto.States) bool { return len(s.Spans) == 0 })
}

// short is a value without the digits that are not kept.
func short(v float32) float64 {
	if v == float32(int32(v)) && v < 2048 && v > -2048 {
		return float64(v)
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', 4, 32), 64)
	if err != nil {
		return float64(v)
	}
	return short
}
