package tui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/chart"
)

// most is how many of something the first view shows.
const (
	mostTrouble = 4
	mostNodes   = 5
	mostEvents  = 6
	tall        = 40 // lines from which on there are events
	low         = 10 // lines below which keys are not named
)

// entry is a line of the screen, and what is selected with it.
type entry struct {
	item item
	line line
}

func padded(s string, width int) string {
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}

func (m *Model) nodeColumns() []column {
	return []column{
		{head: "NODE", min: 8, max: max(8, m.Index.nodeWidth), grows: 2},
		{head: "CPU", min: 4, max: 17, leaves: 5, grows: 1},
		{head: "MEM", min: 4, max: 17, leaves: 4, grows: 1},
		{head: "DISK", min: 4, max: 17, leaves: 2, grows: 4},
		{head: "TEMP", min: 4, max: 17, leaves: 1, grows: 4},
		{head: "SVC", min: 3, max: 3, right: true, leaves: 3},
		{head: "STATE", min: 9, max: 18, grows: 3},
	}
}

func (m *Model) serviceColumns() []column {
	return []column{
		{head: "SERVICE", min: 12, max: max(12, m.Index.serviceWidth), grows: 2},
		{head: "NODE", min: 9, max: max(9, m.Index.placeWidth), leaves: 5, grows: 1},
		{head: "STATE", min: 9, max: 18, grows: 3},
		{head: "CPU", min: 4, max: 4, right: true, leaves: 3},
		{head: "MEM", min: 5, max: 5, right: true, leaves: 2},
		{head: "REQUIREMENT", min: 12, max: 26, leaves: 4, grows: 4},
		{head: "24H", min: 6, max: 24, leaves: 1, grows: 5},
	}
}

// nodeEntries are the lines of nodes: at most so many, and one for those that are left.
func (m *Model) nodeEntries(most int, screen int) (list []entry) {
	cols := m.nodeColumns()
	width := widths(cols, screen)
	rows := m.nodeRows(most)
	for _, n := range rows[:min(most, len(rows))] {
		sign := span{" ", normal}
		if n.style == bad {
			sign = span{"!", bad}
		}
		of := item{kindNode, n.ID}
		list = append(list, entry{of, row(cols, width, m.marking(sign, of, nil), m.nodeCells(n))})
	}
	if len(rows) > most {
		list = append(list, entry{item{kindMoreNodes, ""}, text(" … "+summary(rows[most:]), dim)})
	}
	return list
}

// marking puts the sign of what is marked into the place of another one.
func (m *Model) marking(sign span, of item, members []string) span {
	if m.isMarked(of, members) {
		sign = span{markSign, max(sign.style, warn)}
	}
	return sign
}

// The signs of what is marked, and what is selected too.
const (
	markSign     = "*"
	markSelected = "»"
)

// summary counts nodes by their states.
func summary(rows []nodeRow) string {
	count := map[string]int{}
	var states []string
	for _, r := range rows {
		if count[r.state]++; count[r.state] == 1 {
			states = append(states, r.state)
		}
	}
	for i, s := range states {
		states[i] = fmt.Sprintf("%d %s", count[s], s)
	}
	return fmt.Sprintf("%d more: %s", len(rows), strings.Join(states, ", "))
}

func (m *Model) nodeCells(n nodeRow) []cell {
	t := m.Trends[n.ID]
	none := word("-", dim)
	cpu, memory, disk, temperature := none, none, none, none
	if s := n.Sample; s != nil && n.heard() {
		cpu = m.gauge(t.CPU, s.CPUPercent, 0, 100, "%.0f%%", s.CPUPercent >= 90)
		memory = m.gauge(t.Memory, s.MemoryPercent(), 0, 100, "%.0f%%", s.MemoryPercent() >= 90)
		disk = m.gauge(t.Disk, s.DiskPercent(), 0, 100, "%.0f%%", s.DiskPercent() >= 90)
		if c := s.Temperature; c != nil {
			temperature = m.gauge(t.Temperature, *c, 20, 90, "%.0f°", *c >= 80)
		}
	}
	return []cell{
		word(n.ID, strong), cpu, memory, disk, temperature, word(fmt.Sprint(n.instances), normal), word(n.state, n.style),
	}
}

// gauge is a number, with its past in front of it where there is room.
func (m *Model) gauge(past []otto.Point, now, low, high float64, format string, much bool) cell {
	in := normal
	if much {
		in = warn
	}
	return func(width int) line {
		number := text(fmt.Sprintf(format, now), in).fitRight(4)
		room := width - 5
		if room < 3 {
			return number
		}
		var b strings.Builder
		for _, c := range chart.Columns(past, time.Minute, m.Now.Add(-trendTime), m.Now, room) {
			if c.N == 0 {
				b.WriteRune(' ')
				continue
			}
			b.WriteRune(chart.Block(max((c.Mean-low)/(high-low), 0.125)))
		}
		return append(line{{b.String() + " ", good}}, number...)
	}
}

// serviceEntries are the lines of services and stacks.
func (m *Model) serviceEntries(rows []serviceRow, screen int) (list []entry) {
	cols := m.serviceColumns()
	width := widths(cols, screen)
	for _, r := range rows {
		sign := span{" ", normal}
		if r.style == bad || r.nearest.style == bad {
			sign = span{"!", bad}
		}
		list = append(list, entry{itemOf(r), row(cols, width, m.marking(sign, itemOf(r), r.members), m.serviceCells(r))})
	}
	return list
}

func (m *Model) serviceCells(r serviceRow) []cell {
	cpu, memory := word("-", dim), word("-", dim)
	if r.sampled {
		cpu, memory = word(fmt.Sprintf("%.0f%%", r.cpu), normal), word(amount(r.memory), normal)
	}
	place := word(cmp.Or(r.place, "-"), normal)
	return []cell{
		word(r.label(m.isOpen(r.stack)), strong), place, word(r.state, r.style), cpu, memory, requirement(r.nearest),
		func(width int) line { return m.day(r.members, width) },
	}
}

// requirement shows how near a requirement is to its limit: as a bar where there is room.
func requirement(n nearest) cell {
	return func(width int) line {
		switch {
		case n.label == "":
			return text("-", dim)
		case !n.known:
			return text(n.label+" ?", warn)
		}
		number := fmt.Sprintf("%.0f%%", n.use*100)
		if n.use >= 9.99 {
			number = ">999%"
		}
		room := width - ansi.StringWidth(n.label) - len(number) - 2
		bar := ""
		if room >= 4 {
			full := min(int(n.use*float64(room)+0.5), room)
			bar = strings.Repeat("▓", full) + strings.Repeat("░", room-full) + " "
		}
		return line{{n.label + " ", normal}, {bar + number, n.style}}
	}
}

// day is the last day of services: for each part of it the worst of them.
func (m *Model) day(services []string, width int) (l line) {
	var cells []rune
	for _, s := range services {
		spans, ok := m.Days[s]
		if !ok {
			continue
		}
		these, _ := chart.StateBar(spans, m.Now.Add(-dayTime), m.Now, width)
		if cells == nil {
			cells = these
			continue
		}
		for i, c := range these {
			if strings.IndexRune(worseLast, c) > strings.IndexRune(worseLast, cells[i]) {
				cells[i] = c
			}
		}
	}
	for _, c := range cells {
		in := normal
		switch c {
		case '▮':
			in = good
		case '▯', '?':
			in = warn
		case 'x':
			in = bad
		}
		if n := len(l); n > 0 && l[n-1].style == in {
			l[n-1].text += string(c)
			continue
		}
		l = append(l, span{string(c), in})
	}
	return l
}

// worseLast are the characters of a bar of states.
const worseLast = "·-▮?▯x"
