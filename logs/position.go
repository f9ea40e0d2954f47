package logs

import "time"

// Positions is how far the logs of containers have been read, by their ids.
type Positions map[string]Position

// Position is how far one log has been read. Each stream has its own: an engine
// stamps the lines of either in order, but not those of both.
type Position struct {
	From time.Time `json:"from,omitzero"` // nothing from before is wanted
	Out  Seen      `json:"out,omitzero"`
	Err  Seen      `json:"err,omitzero"`
}

// Seen is the last line of a stream that was read: its time, and how many lines
// had exactly that time.
type Seen struct {
	Time  time.Time `json:"time"`
	Count int       `json:"count"`
}

// Take notes a line.
func (p Positions) Take(e Entry) {
	if e.Mark != "" || e.Container == "" {
		return
	}
	at := p[e.Container]
	at.Take(e.Stream, e.Time)
	p[e.Container] = at
}

// Take notes a line.
func (p *Position) Take(stream string, t time.Time) {
	seen := p.of(stream)
	if seen.Time.Equal(t) {
		seen.Count++
		return
	}
	*seen = Seen{Time: t, Count: 1}
}

func (p *Position) of(stream string) *Seen {
	if stream == Stderr {
		return &p.Err
	}
	return &p.Out
}

// disorder is how much earlier than the line before it a line may be stamped that
// is of the other stream.
const disorder = 100 * time.Millisecond

// Since is the time from which a log has to be read to go on; zero for all of it.
func (p Position) Since() time.Time {
	first := p.first()
	if first.IsZero() {
		return p.From
	}
	if since := first.Add(-disorder); since.After(p.From) {
		return since
	}
	return p.From
}

func (p Position) first() time.Time {
	switch {
	case p.Out.Time.IsZero():
		return p.Err.Time
	case p.Err.Time.IsZero() || p.Out.Time.Before(p.Err.Time):
		return p.Out.Time
	}
	return p.Err.Time
}

// Resume takes out of a log that is read again from Since what was read before.
type Resume struct {
	at    Position
	began bool
}

// NewResume returns a Resume of a log that was read up to p.
func NewResume(p Position) *Resume { return &Resume{at: p} }

// Look reports whether a line is new. missing says that lines before it are gone:
// the engine no longer has the one that was read last.
func (r *Resume) Look(stream string, t time.Time) (fresh, missing bool) {
	first, began := r.at.first(), r.began
	r.began = true
	seen := r.at.of(stream)
	switch {
	case t.Before(r.at.From):
	case seen.Time.IsZero() || t.After(seen.Time):
		fresh = true
	case t.Equal(seen.Time) && seen.Count == 0:
		fresh = true
	case t.Equal(seen.Time):
		seen.Count--
	}
	return fresh, fresh && !began && !first.IsZero() && t.After(first)
}
