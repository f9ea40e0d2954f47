// Package logs puts what containers write into one stream, in order of time.
//
// Lines come from engines as frames (Scanner), travel from a node to the control
// plane in a short text form (Encoder, Decoder), and are merged twice: on the node
// those of its containers, in the control plane those of the nodes (Merger). A
// reading that was interrupted goes on where it ended (Positions), so that no line
// comes twice and none is missing that the engine still has.
//
// Nothing is held whole. Every queue has a bound: a writer that is faster than the
// reader has to wait. Of a log that is followed, lines that fall too far behind are left
// out, and a mark says how many.
package logs

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Streams of a container.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Kinds of a mark.
const (
	MarkContainer = "container" // a container whose log is read from here on
	MarkLeftOut   = "left-out"  // the reader was too slow for these lines
	MarkMissing   = "missing"   // lines may be missing here
	MarkTrouble   = "trouble"   // a node or a container cannot be read
	MarkNote      = "note"      // what else is worth knowing
)

// Entry is a line that a container has written, or a mark between lines.
type Entry struct {
	Time      time.Time `json:"time"` // by the clock of its node
	Node      string    `json:"node,omitempty"`
	Service   string    `json:"service,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	Container string    `json:"container,omitempty"` // its id, 12 digits
	Name      string    `json:"name,omitempty"`      // of the container, if it is not the instance's
	Stream    string    `json:"stream,omitempty"`
	Text      string    `json:"text"`
	Raw       []byte    `json:"raw,omitempty"`   // the line as it is, if it is not valid UTF-8
	Mark      string    `json:"mark,omitempty"`  // empty for a line
	Lines     int       `json:"lines,omitempty"` // that were left out
}

// Filter says which lines are wanted.
type Filter struct {
	Follow bool      `json:"follow,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Tail   *int      `json:"tail,omitempty"` // lines of each container, the last ones; nil for all
	Grep   string    `json:"grep,omitempty"` // a regular expression
	// Previous is for what was written before the present run of each instance: by the same
	// container before it was started last, and by those that an update has left. It is not
	// followed.
	Previous bool      `json:"previous,omitempty"`
	After    Positions `json:"after,omitempty"`
}

// Query is what a client asks of the control plane.
type Query struct {
	Name string `json:"name"`           // of a service, an instance, a stack or a node
	Node string `json:"node,omitempty"` // only what is there
	Filter
}

// NodeQuery is what the control plane asks of a node. Without a service it is for
// all containers of the cluster.
type NodeQuery struct {
	Service  string `json:"service,omitempty"`
	Instance string `json:"instance,omitempty"`
	Stack    string `json:"stack,omitempty"` // all services of it
	Filter
	// Age is how long ago the reading began. A container that was started since then
	// is read from its beginning, whatever Tail is.
	Age time.Duration `json:"age_ns,omitempty"`
}

// Container is a container as a reader of its log sees it.
type Container struct {
	ID       string    `json:"id"` // 12 digits
	Name     string    `json:"name"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"`
	From     time.Time `json:"from,omitzero"` // nothing from before is read
}

// Line is a line as an engine has it, without its end.
type Line struct {
	Time   time.Time
	Stream string
	Text   []byte
}

// Window is the part of a container's log that an engine is asked for.
type Window struct {
	Follow       bool
	Since, Until time.Time
	Tail         *int
}

// Entry is the line as an entry of a container's log.
func (l Line) Entry(c Container) Entry { return c.entry(l.Time, l.Stream, string(l.Text)) }

func (c Container) entry(t time.Time, stream, text string) Entry {
	e := Entry{Time: t, Service: c.Service, Instance: c.Instance, Container: c.ID, Stream: stream, Text: text}
	if c.Name != c.Instance {
		e.Name = c.Name
	}
	if !utf8.ValidString(text) {
		e.Text, e.Raw = strings.ToValidUTF8(text, "\uFFFD"), []byte(text)
	}
	return e
}
