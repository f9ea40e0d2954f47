// Package tui is Otto's face on a terminal: otto top.
//
// A Model is what is known of a cluster and what a person has chosen to see of it. What is
// on the screen follows from a Model and a size alone (Model.Screen), and what a key does
// from a Model and the key (Model.Press). Program, around it, waits for the control plane
// and the keyboard, and draws.
package tui

import (
	"time"

	"github.com/otto-edge/otto"
)

// Model is everything that a screen is made of.
type Model struct {
	Index *Index
	Now   time.Time
	// Received is when the newest state has come. Away says why none comes now: what is
	// shown is what was known last.
	Received time.Time
	Away     string
	// Trends are the last hour of nodes, Days the last day of services, by their names.
	Trends map[string]Trend
	Days   map[string][]otto.Span
	Events []otto.Event // the last ones, the oldest first

	choice
}

// choice is what a person has chosen.
type choice struct {
	view          view
	selected      item
	unfolded      map[string]bool // stacks
	stack         string          // the only one that is shown, if any
	marked        map[item]bool   // nodes and services
	filter        string          // with a ! in front for what does not have it
	sort          sortKey
	reverse       bool
	input         input
	page          *page
	ask           *question
	message       string // of what has just been done, until the next key
	readOnly      bool
	width, height int // of the terminal
}

// view is what the screen is filled with.
type view int

// The views.
const (
	viewTop      view = iota // trouble, nodes, services
	viewTrouble              // all of the trouble
	viewNodes                // all nodes
	viewServices             // all services
	viewEvents
)

// item is something that can be selected.
type item struct {
	kind kind
	name string
}

type kind int

// The kinds of items; kindNone is that of a line that is none.
const (
	kindNone kind = iota
	kindTrouble
	kindMoreTrouble // the line for trouble that has none of its own
	kindNode
	kindMoreNodes // likewise
	kindStack
	kindService
)

// Trend is what was measured of a node in the last hour, a point a minute.
type Trend struct {
	CPU, Memory, Disk, Temperature []otto.Point
}

// trendTime is how far back a Trend goes, dayTime how far a day.
const (
	trendTime = time.Hour
	dayTime   = 24 * time.Hour
)

// stale is how old a state may become before that is said, in intervals of samples.
const stale = 4
