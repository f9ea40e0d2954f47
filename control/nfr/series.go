// Package nfr judges whether requirements hold.
//
// A Series keeps what was measured of one thing for one window, in a ring that grows
// to a fixed size. Evaluate takes a requirement, its series, the time and the verdict
// before, and returns the verdict now: a state machine of the shape of
// Prometheus' alerting rules, with a threshold of its own for the way back.
//
//	ok ── over the limit ──► pending ── for long enough ──► violated
//	 ▲                                                       │   ▲
//	 └── for long enough ── clearing ◄── beyond clear ───────┘   │
//	                           └── not any more ─────────────────┘
//
// A window is looked at twice, as a whole and its newest part (the multi-window
// alerts of Google's SRE workbook, chapter 5): both must be over, so that a peak
// that has passed does not act. Where data are missing the state is unknown, and
// nothing acts; a violation that stood before stands after it.
//
// Nothing here reads a clock.
package nfr

import (
	"math"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

const (
	// maxParts is into how many cells a window is cut at most.
	maxParts = 96
	// leastSpan is the shortest time that a cell stands for.
	leastSpan = time.Second
	// leastStale is the shortest silence that counts as missing data.
	leastStale = 3 * time.Second
	// leastCells is how many cells there is room for at first.
	leastCells = 4
	// shortPart is how much smaller the newest part of a window is; it is the
	// SRE workbook's.
	shortPart = 12
)

// Series is what was measured of one thing, as far as one window reaches back.
// Times in it count from its first sample, so that no clock that is set matters.
type Series struct {
	over, stale, span time.Duration
	counter           bool

	filled bool // there is a sample
	base   time.Time
	last   time.Duration // of the newest sample
	began  time.Duration // since when samples have come without a gap
	raw    float64       // of a counter, as it was read last
	newest float64
	cells  []cell
	most   int // of them
	head   int // of the newest one
}

// cell is the samples of a part of the window.
type cell struct {
	at, to         time.Duration // of the first and the last of them
	took           time.Duration // from sample to sample, without gaps
	n              int
	sum            float64 // of a counter: by how much it has risen
	min, max, last float64
}

// NewSeries is for windows of the given length, of samples that come about every
// so often. Of a counter it keeps the rises.
func NewSeries(over, every time.Duration, counter bool) *Series {
	s := &Series{over: over, stale: max(3*every, leastStale), span: max(over/maxParts, leastSpan), counter: counter}
	if over > 0 {
		s.most = int(over/s.span) + 2
	}
	return s
}

// Add takes in a sample. What is older than the newest one counts as just after
// it; what is no number is left out.
func (s *Series) Add(value float64, now time.Time) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	if s.counter && value == 0 && s.raw > 0 {
		return // could not be read, or began anew: the next sample will tell
	}
	if s.base.IsZero() {
		s.base = now
	}
	at := max(now.Sub(s.base), s.last)
	took := at - s.last
	fresh := !s.filled || took > s.stale
	if fresh {
		s.began, took = at, 0
	}
	s.last, s.filled = at, true
	if s.counter {
		raw := value
		switch {
		case fresh:
			value = 0
		case raw >= s.raw:
			value = raw - s.raw
		} // else it has begun anew, from 0
		s.raw = raw
	}
	s.newest = value
	if s.most > 0 {
		s.put(value, at, took)
	}
}

func (s *Series) put(value float64, at, took time.Duration) {
	if len(s.cells) == 0 || at-s.cells[s.head].at >= s.span {
		s.next()
		s.cells[s.head] = cell{at: at, min: value, max: value}
	}
	c := &s.cells[s.head]
	c.to, c.took, c.n = at, c.took+took, c.n+1
	c.sum += value
	c.min, c.max, c.last = min(c.min, value), max(c.max, value), value
}

// next makes another cell the newest one: a new one while there are fewer than most,
// and the oldest one from then on.
func (s *Series) next() {
	if len(s.cells) == s.most {
		s.head = (s.head + 1) % s.most
		return
	}
	if len(s.cells) == cap(s.cells) {
		s.cells = append(make([]cell, 0, min(max(2*len(s.cells), leastCells), s.most)), s.cells...)
	}
	s.cells, s.head = s.cells[:len(s.cells)+1], len(s.cells)
}

// Missing reports whether there has been no sample for so long that nothing can
// be judged.
func (s *Series) Missing(now time.Time) bool { return !s.filled || s.silent(now) > s.stale }

// MissingFrom is the time after which data will be missing, if no more come.
func (s *Series) MissingFrom() time.Time { return s.base.Add(s.last + s.stale) }

// silent is how long there has been no sample.
func (s *Series) silent(now time.Time) time.Duration { return now.Sub(s.base) - s.last }

// since reports whether samples have come without a gap from a time on.
func (s *Series) since(t time.Time) bool { return s.filled && s.began <= t.Sub(s.base) }

// short is the length of the newest part of the window: long enough to have a
// sample while they come.
func (s *Series) short() time.Duration { return min(max(s.over/shortPart, s.stale), s.over) }

// covered is for how much of a window that ends now there are samples.
func (s *Series) covered(window time.Duration, now time.Time) (took time.Duration) {
	s.each(window, now, func(c *cell) { took += c.took })
	return took
}

// each calls f with the cells in a window that ends now, newest first.
func (s *Series) each(window time.Duration, now time.Time, f func(*cell)) {
	from := now.Sub(s.base) - window
	for i := range s.cells {
		c := &s.cells[(s.head-i+len(s.cells))%len(s.cells)]
		if c.to <= from {
			return
		}
		f(c)
	}
}

// aggregate puts the samples of a window that ends now together; false if there
// are too few.
func (s *Series) aggregate(how string, window time.Duration, now time.Time) (float64, bool) {
	if how == otto.AggregateLast {
		return s.newest, s.filled
	}
	if p, ok := otto.Percentile(how); ok {
		return s.percentile(p, window, now)
	}
	all := cell{min: math.Inf(1), max: math.Inf(-1)}
	s.each(window, now, func(c *cell) {
		all.n += c.n
		all.sum += c.sum
		all.took += c.took
		all.min, all.max = min(all.min, c.min), max(all.max, c.max)
	})
	switch how {
	case otto.AggregateMin:
		return all.min, all.n > 0
	case otto.AggregateMax:
		return all.max, all.n > 0
	case otto.AggregateCount:
		return all.sum, all.n > 0
	case otto.AggregateRate:
		return all.sum / all.took.Seconds(), all.took > 0
	default:
		return all.sum / float64(all.n), all.n > 0
	}
}

// percentile is by the nearest rank, of the last sample of each cell: of all
// samples if they are a second apart and the window is not longer than a minute
// and a half, and of a systematic sample of them otherwise.
func (s *Series) percentile(p int, window time.Duration, now time.Time) (float64, bool) {
	var space [maxParts + 2]float64
	values := space[:0]
	s.each(window, now, func(c *cell) { values = append(values, c.last) })
	if len(values) == 0 {
		return 0, false
	}
	slices.Sort(values)
	rank := (p*len(values) + 99) / 100
	return values[rank-1], true
}
