package otto

import (
	"slices"
	"time"
)

// Resolutions of what is kept of the past, and for how long each is kept at least.
const (
	HistoryFull   = time.Second      // for an hour
	HistoryMinute = time.Minute      // for a day
	HistoryLong   = 10 * time.Minute // for a month
)

// Bounds of what one answer to a HistoryQuery holds: points of all its series together,
// and events.
const (
	HistoryPoints    = 20_000
	HistoryMaxPoints = 200_000
	HistoryEvents    = 200
)

// HistoryQuery asks what was kept of one node or of one service.
type HistoryQuery struct {
	Node    string // or
	Service string
	Metrics []string // nil means all; a requirement is a metric by its text
	// Since and Until bound what is asked for; without an Until it is now.
	Since, Until time.Time
	// Resolution is HistoryFull, HistoryMinute or HistoryLong; 0 takes the finest one
	// that is kept since Since.
	Resolution time.Duration
	// Limit is how many points the answer may have; 0 means HistoryPoints.
	Limit int
}

// HistoryMetricState is the name by which states are asked for, beside metrics.
const HistoryMetricState = "state"

// History is what was kept of a node or a service. Where nothing was measured there is no
// point and no span.
type History struct {
	Node       string        `json:"node,omitempty"`
	Service    string        `json:"service,omitempty"`
	Since      time.Time     `json:"since"`
	Until      time.Time     `json:"until"` // the end of the answer; later points are left out
	Resolution time.Duration `json:"resolution_ns"`
	Series     []Series      `json:"series"`
	States     []States      `json:"states"`
	// Events are the last ones of that time that are kept, at most HistoryEvents.
	Events []Event `json:"events"`
	// Next is the Since to ask with for the rest; zero if this is all.
	Next time.Time `json:"next,omitzero"`
	// Dropped is how much was not kept since the control plane started, as there was too
	// much of it or the disk was full.
	Dropped uint64 `json:"dropped,omitempty"`
	// Problem says why nothing is kept at this moment.
	Problem string `json:"problem,omitempty"`
}

// Series is a metric of a node or an instance. What only rises, such as bytes received, is
// there as a rate.
type Series struct {
	Instance string  `json:"instance,omitempty"`
	Metric   string  `json:"metric"` // of Metrics, or a requirement as text: what it was judged by
	Unit     string  `json:"unit,omitempty"`
	Points   []Point `json:"points"`
}

// Point sums up what was measured from Time on, for as long as the resolution says. Values
// have three significant digits at least.
type Point struct {
	Time time.Time `json:"time"`
	Min  float64   `json:"min"`
	Mean float64   `json:"mean"`
	Max  float64   `json:"max"`
}

// States are the states of a node, a service, one of its instances or a requirement.
type States struct {
	Instance    string `json:"instance,omitempty"`
	Requirement string `json:"requirement,omitempty"`
	Spans       []Span `json:"spans"`
}

// The states of a service as a whole.
const (
	ServiceUp      = "up"      // all of its instances run, or have completed
	ServicePartly  = "partly"  // some of them
	ServiceDown    = "down"    // none of them
	ServiceUnknown = "unknown" // none of them, as far as is known: nodes are silent
	ServiceStopped = "stopped" // as somebody wants it
)

// Span is a time in which states were alike.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Known is how many seconds of it are known: less than all where the control plane
	// did not run all the time.
	Known float64 `json:"known"`
	// Shares are the shares, from 0 to 1, of what is known.
	Shares map[string]float64 `json:"shares"`
}

// AddEvents adds those of a list, in order of time, that are of what h is about: the last
// HistoryEvents of them.
func (h *History) AddEvents(list []Event) {
	for _, e := range list {
		of := h.Node != "" && e.Node == h.Node || h.Service != "" && e.Service == h.Service
		if of && !e.Time.Before(h.Since) && e.Time.Before(h.Until) {
			h.Events = append(h.Events, e)
		}
	}
	h.Events = h.Events[max(0, len(h.Events)-HistoryEvents):]
}

// Add appends the answer for the time after h, the next page.
func (h *History) Add(next History) {
	for _, s := range next.Series {
		i := slices.IndexFunc(h.Series, func(o Series) bool {
			return o.Instance == s.Instance && o.Metric == s.Metric && o.Unit == s.Unit
		})
		if i < 0 {
			h.Series = append(h.Series, s)
			continue
		}
		h.Series[i].Points = append(h.Series[i].Points, s.Points...)
	}
	for _, s := range next.States {
		i := slices.IndexFunc(h.States, func(o States) bool {
			return o.Instance == s.Instance && o.Requirement == s.Requirement
		})
		if i < 0 {
			h.States = append(h.States, s)
			continue
		}
		h.States[i].Spans = append(h.States[i].Spans, s.Spans...)
	}
	h.Events = append(h.Events, next.Events...)
	h.Events = h.Events[max(0, len(h.Events)-HistoryEvents):]
	h.Until, h.Next, h.Dropped, h.Problem = next.Until, next.Next, next.Dropped, next.Problem
}
