package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Screen is what is to be seen: so many lines, each as wide as the screen.
type Screen struct {
	lines    []entry
	selected item
	// Nodes and Services are those whose past is on it.
	Nodes, Services []string
}

// String is the screen without colours.
func (s Screen) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(s.signed(l).String(), " ") + "\n")
	}
	return b.String()
}

// Render is the screen for a terminal.
func (s Screen) Render() string {
	var b strings.Builder
	p := newPalette()
	for i, l := range s.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.signed(l).render(&b, p, s.isSelected(l))
	}
	return b.String()
}

func (s Screen) isSelected(e entry) bool { return e.item.kind != kindNone && e.item == s.selected }

// signed puts a sign in front of what is selected, for who sees no colours.
func (s Screen) signed(e entry) line {
	if !s.isSelected(e) || len(e.line) == 0 || e.line[0].text == "" {
		return e.line
	}
	l := slices.Clone(e.line)
	if l[0].text == markSign {
		l[0].text = markSelected
	} else {
		l[0].text = ">" + l[0].text[1:]
	}
	return l
}

// Plain is all that there is, for what is no terminal.
func (m *Model) Plain(width int) Screen {
	const enough = 1 << 20 // lines
	s := Screen{}
	for _, stack := range m.Index.stacks() {
		m.unfold(stack, true)
	}
	list := append([]entry{m.head(width)}, m.troubleEntries(enough, width)...)
	if len(m.Index.nodes) > 0 {
		list = append(append(list, entry{}, m.nodeHeader(width)), m.nodeEntries(enough, width)...)
	}
	list = append(append(list, entry{}), m.serviceBlock(width, enough)...)
	for _, e := range list {
		e.line = e.line.fit(width)
		s.lines = append(s.lines, e)
		s.note(e.item, m)
	}
	return s
}

// Screen draws the model for a terminal of a size.
func (m *Model) Screen(width, height int) Screen {
	width, height = max(width, 1), max(height, 1)
	s := Screen{selected: m.current(height)}
	foot := m.foot()
	if height < low && m.input.mode == 0 && m.message == "" {
		foot = nil
	}
	body := m.body(width, height-len(foot))
	for len(body) < height-len(foot) {
		body = append(body, entry{})
	}
	for _, e := range append(body[:max(height-len(foot), 0)], foot...)[:height] {
		e.line = e.line.fit(width)
		s.lines = append(s.lines, e)
		s.note(e.item, m)
	}
	return s
}

func (m *Model) body(width, height int) []entry {
	head := m.head(width)
	switch {
	case m.ask != nil:
		return append([]entry{head}, m.ask.entries(height-1)...)
	case m.page != nil:
		return append([]entry{head}, m.page.entries(width, height-1)...)
	}
	switch m.view {
	case viewTrouble:
		return append([]entry{head}, m.window(m.troubleEntries(len(m.Index.trouble), width), height-1)...)
	case viewNodes:
		return append([]entry{head, m.nodeHeader(width)}, m.window(m.nodeEntries(1<<20, width), height-2)...)
	case viewServices:
		return append([]entry{head}, m.serviceBlock(width, height-1)...)
	case viewEvents:
		return append([]entry{head}, m.eventEntries(height-1)...)
	}
	return m.top(head, width, height)
}

// at is what is on a line.
func (s Screen) at(y int) item {
	if y < 0 || y >= len(s.lines) {
		return item{}
	}
	return s.lines[y].item
}

// note remembers whose past is on the screen.
func (s *Screen) note(of item, m *Model) {
	switch of.kind {
	case kindNode:
		s.Nodes = append(s.Nodes, of.name)
	case kindService:
		s.Services = append(s.Services, of.name)
	case kindStack:
		for _, g := range m.Index.groups {
			if g.members != nil && g.row.stack == of.name {
				s.Services = append(s.Services, g.row.members...)
			}
		}
	}
}

// room is how the lines of the first view are shared out.
type room struct {
	nodes    int // at most, without the line for those that are left; 0 for none at all
	services int // with their header
	events   int // with their header
}

// share gives trouble its place always. Services get what nodes and events leave; where that
// is little, nodes make room.
func (m *Model) share(height int) (r room) {
	left := height - 1 - min(len(m.troubleRows()), mostTrouble)
	if height >= tall && len(m.Events) > 0 {
		r.events = 1 + min(len(m.Events), mostEvents)
	}
	left -= r.events
	if n := len(m.nodeRows(0)); n > 0 && left > 5 {
		r.nodes = min(mostNodes, max(left-6, 1))
		left -= min(n, r.nodes) + 1
		if n > r.nodes {
			left--
		}
	}
	r.services = max(left, 0)
	return r
}

// top is the first view.
func (m *Model) top(head entry, width, height int) []entry {
	r := m.share(height)
	list := append([]entry{head}, m.troubleEntries(mostTrouble, width)...)
	if r.nodes > 0 {
		list = append(append(list, m.nodeHeader(width)), m.nodeEntries(r.nodes, width)...)
	}
	list = append(list, m.serviceBlock(width, r.services)...)
	if r.events == 0 {
		return list
	}
	for len(list) < height-r.events {
		list = append(list, entry{})
	}
	return append(append(list, entry{line: text(" EVENTS", dim)}), m.eventEntries(r.events-1)...)
}

// items is what can be selected, in the order of the screen.
func (m *Model) items(height int) (list []item) {
	take := func(entries []entry) {
		for _, e := range entries {
			list = append(list, e.item)
		}
	}
	switch m.view {
	case viewTrouble:
		take(m.troubleEntries(len(m.Index.trouble), 1))
	case viewNodes:
		take(m.nodeEntries(1<<20, 1))
	case viewTop:
		take(m.troubleEntries(mostTrouble, 1))
		if r := m.share(height - len(m.foot())); r.nodes > 0 {
			take(m.nodeEntries(r.nodes, 1))
		}
	}
	if m.view == viewTop || m.view == viewServices {
		for _, r := range m.serviceRows() {
			list = append(list, itemOf(r))
		}
	}
	return list
}

// current is the selected item: the first one if the one that was selected is no longer there.
func (m *Model) current(height int) item {
	list := m.items(height)
	switch {
	case slices.Contains(list, m.selected):
		return m.selected
	case len(list) > 0:
		return list[0]
	}
	return item{}
}

func (m *Model) nodeHeader(width int) entry {
	cols := m.nodeColumns()
	return entry{line: header(cols, widths(cols, width))}
}

// head is the first line: how much of the cluster is well, and how old that is.
func (m *Model) head(width int) entry {
	x := m.Index
	l := line{{"otto ", dim}, {x.Cluster.Name, strong}}
	count := func(n, of int, noun string) {
		in := good
		if n < of {
			in = warn
		}
		l = append(l, span{"   ", normal}, span{fmt.Sprintf("%d/%d %s", n, of, noun), in})
	}
	count(x.nodesReady, len(x.nodes), "nodes")
	count(x.servicesUp, len(x.Cluster.Services), "services")
	if x.moves > 0 {
		l = append(l, span{"   " + counted(x.moves, "move"), warn})
	}
	if n := len(x.trouble); n > 0 {
		l = append(l, span{fmt.Sprintf("   ! %d", n), bad})
	}
	l = append(l, span{"   ", normal})
	clock := text(m.Now.Local().Format("15:04:05"), dim)
	if why := m.age(); why != "" {
		clock = text(why, bad)
	}
	room := width - clock.width()
	if room < 20 {
		return entry{line: append(clock, l...)}
	}
	return entry{line: append(l.fit(room), clock...)}
}

// age says that the cluster is stopped, or how old the state on the screen is; empty if it is up to date.
func (m *Model) age() string {
	c := m.Index.Cluster
	switch old := m.Now.Sub(m.Received); {
	case m.Away != "" && c.Stopped:
		return "stopped " + ago(m.Now, c.Time) + " ago"
	case m.Away != "":
		return m.Away + ", " + ago(m.Now, c.Time) + " ago"
	case c.Stopped:
		return "stopped"
	case !m.Received.IsZero() && old > max(stale*c.Interval, 15*time.Second):
		return "no answer for " + ago(m.Now, m.Received)
	}
	return ""
}

// troubleEntries are the lines of trouble: at most so many, the last of which may be for
// those that are left.
func (m *Model) troubleEntries(most, width int) (list []entry) {
	all := m.troubleRows()
	shown := all
	if len(all) > most {
		shown = all[:most-1]
	}
	name := 0
	for _, t := range shown {
		name = max(name, min(len(t.name), 20))
	}
	for _, t := range shown {
		list = append(list, entry{t.item(), t.line(m.Now, name, width)})
	}
	if n := len(all) - len(shown); n > 0 {
		list = append(list, entry{item{kindMoreTrouble, ""}, text(fmt.Sprintf("  … %d more, see :trouble", n), warn)})
	}
	return list
}

// serviceBlock is the header of services with the part of them that has room, with what is
// selected in it. Only that is drawn.
func (m *Model) serviceBlock(width, height int) []entry {
	if height < 1 {
		return nil
	}
	if len(m.Index.groups) == 0 {
		return []entry{{line: text(" no services yet: write some into otto.yaml, or run `otto apply -f FOLDER`", dim)}}
	}
	cols := m.serviceColumns()
	rows := m.serviceRows()
	at := slices.IndexFunc(rows, func(r serviceRow) bool { return m.selected == itemOf(r) })
	from := first(at, len(rows), height-1)
	head := entry{line: header(cols, widths(cols, width))}
	return append([]entry{head}, m.serviceEntries(rows[from:min(from+height-1, len(rows))], width)...)
}

// window is the part of a list that has room, with what is selected in it.
func (m *Model) window(list []entry, height int) []entry {
	at := slices.IndexFunc(list, func(e entry) bool { return e.item == m.selected })
	from := first(at, len(list), height)
	return list[from:min(from+max(height, 0), len(list))]
}

// first is where a window begins that has what is at a place in its middle.
func first(at, length, height int) int {
	return max(0, min(at-height/2, length-height))
}

func itemOf(r serviceRow) item {
	if r.stack != "" && r.stack == r.name {
		return item{kindStack, r.name}
	}
	return item{kindService, r.name}
}

// eventEntries are the last events, the newest last.
func (m *Model) eventEntries(height int) (list []entry) {
	for _, e := range m.Events[max(0, len(m.Events)-max(height, 0)):] {
		list = append(list, entry{line: eventLine(e)})
	}
	return list
}

func eventLine(e otto.Event) line {
	message := firstLine(e.Message)
	if e.Service != "" && !strings.Contains(message, e.Service) {
		message = e.Service + ": " + message
	}
	if e.By != "" {
		message += " (by " + e.By + ")"
	}
	return line{
		{" " + e.Time.Local().Format("15:04:05") + "  ", dim},
		{padded(e.Node, 10) + "  ", normal},
		{message, normal},
	}
}
