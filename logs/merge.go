package logs

import "time"

// Bounds of a Merger. A line of a log that is followed is on the screen after hold
// at the latest, or after late where lines from before it are still coming.
const (
	hold        = 150 * time.Millisecond // for lines of others that are under way
	quiet       = 300 * time.Millisecond // without a line a source has none that is older
	late        = 500 * time.Millisecond
	connectTime = 4 * time.Second // that a source may take until its first line
	queueLines  = 512             // of a source
	queueBytes  = 128 << 10       // of a source, more by one line at most
)

// Merger puts the entries of several sources in order of time. Within a source they
// are in order already.
//
// A log that is read to its end is in perfect order: no line is given out before
// every source has one or has ended. Where logs are followed that may be never, so
// sources are waited for only so long.
type Merger struct {
	follow  bool
	began   time.Time
	sources []*Source
}

// Source is one of the streams that a Merger merges.
type Source struct {
	queue   []queued
	bytes   int
	from    time.Time // when it was opened, or gave its last line
	greeted bool      // it has given something
	closed  bool
}

type queued struct {
	Entry
	arrived time.Time
}

// NewMerger returns a Merger whose sources are followed, or read to their ends.
func NewMerger(follow bool, now time.Time) *Merger { return &Merger{follow: follow, began: now} }

// Open adds a source.
func (m *Merger) Open(now time.Time) *Source {
	s := &Source{from: now}
	m.sources = append(m.sources, s)
	return s
}

// Full reports whether a source must wait before it gives more.
func (s *Source) Full() bool { return len(s.queue) >= queueLines || s.bytes >= queueBytes }

// Push adds an entry to those of a source.
func (s *Source) Push(e Entry, now time.Time) {
	s.queue = append(s.queue, queued{e, now})
	s.bytes += weight(e)
	s.Greet(now)
}

// Greet says that a source is there and gives what it has.
func (s *Source) Greet(now time.Time) { s.from, s.greeted = now, true }

// Close says that a source gives no more.
func (s *Source) Close() { s.closed = true }

func weight(e Entry) int {
	const fields = 200
	return fields + len(e.Text) + len(e.Raw)
}

// Next takes the entry that is next in order. Without one, wait is after what time
// to ask again even if no source has changed; 0 for never.
func (m *Merger) Next(now time.Time) (e Entry, ok bool, wait time.Duration) {
	best := m.pick(now)
	if best == nil {
		return e, false, 0
	}
	if !m.overdue(best.queue[0], now) {
		for _, s := range m.sources {
			if len(s.queue) > 0 || s.closed {
				continue
			}
			if !m.follow {
				return e, false, 0
			}
			if left := s.expected(best.queue[0].arrived).Sub(now); left > 0 {
				wait = max(wait, left)
			}
		}
		if wait > 0 {
			return e, false, wait
		}
	}
	return m.take(best), true, 0
}

// pick is the source whose entry is next: the one with the oldest entry, unless
// another one has waited for too long.
func (m *Merger) pick(now time.Time) *Source {
	var oldest, waiting *Source
	kept := m.sources[:0]
	for _, s := range m.sources {
		if len(s.queue) == 0 {
			if !s.closed {
				kept = append(kept, s)
			}
			continue
		}
		kept = append(kept, s)
		head := s.queue[0]
		if oldest == nil || head.Time.Before(oldest.queue[0].Time) {
			oldest = s
		}
		if m.overdue(head, now) && (waiting == nil || head.arrived.Before(waiting.queue[0].arrived)) {
			waiting = s
		}
	}
	clear(m.sources[len(kept):])
	m.sources = kept
	if waiting != nil {
		return waiting
	}
	return oldest
}

// overdue reports whether an entry was written while the log is followed and has
// waited for older ones of others for long enough.
func (m *Merger) overdue(q queued, now time.Time) bool {
	return m.follow && q.Time.After(m.began) && now.Sub(q.arrived) >= late
}

// expected is until when a source may still give an entry that is older than one
// that has arrived.
func (s *Source) expected(arrived time.Time) time.Time {
	if !s.greeted {
		return s.from.Add(connectTime)
	}
	until := arrived.Add(hold)
	if still := s.from.Add(quiet); still.After(until) {
		return still
	}
	return until
}

func (m *Merger) take(s *Source) Entry {
	e := s.queue[0].Entry
	s.queue[0] = queued{}
	s.queue = s.queue[1:]
	s.bytes -= weight(e)
	return e
}
