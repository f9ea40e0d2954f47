package tui

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/otto-edge/otto/logs/show"
)

// maxLines are the lines of a log that are kept to look back.
const maxLines = 5000

// page is a text that fills the screen: a description, an explanation, a log, help.
type page struct {
	title  string
	lines  []string
	offset int // of its first line on the screen
	log    bool
	follow bool // its end stays on the screen
	wrap   bool
	filter string
	number int // tells pages apart
	// of is whose log it is, and previous that it is of before the present run.
	of       string
	previous bool
	// left are the lines of a log that are not kept any more.
	left int
}

func newPage(title, content string) *page {
	p := &page{title: title}
	for l := range strings.SplitSeq(strings.TrimRight(content, "\n"), "\n") {
		p.lines = append(p.lines, clean(l))
	}
	return p
}

// clean is a line of text as it may be shown: with spaces for tabs, and without anything
// that a terminal obeys.
func clean(s string) string {
	s = show.Clean(s, false)
	if !strings.Contains(s, "\t") {
		return s
	}
	var b strings.Builder
	for i, part := range strings.Split(s, "\t") {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", 8-ansi.StringWidth(b.String())%8))
		}
		b.WriteString(part)
	}
	return b.String()
}

// add appends lines of a log.
func (p *page) add(lines []string) {
	for _, l := range lines {
		p.lines = append(p.lines, clean(l))
	}
	if n := len(p.lines) - maxLines; n > 0 {
		p.lines = append([]string(nil), p.lines[n:]...)
		p.left += n
		p.offset = max(0, p.offset-n)
	}
}

// shown are the lines that pass the filter, folded where that is asked for.
func (p *page) shown(width int) (list []string) {
	want, inverse := strings.CutPrefix(strings.ToLower(p.filter), "!")
	for _, l := range p.lines {
		if want != "" && strings.Contains(strings.ToLower(l), want) == inverse {
			continue
		}
		if !p.wrap || ansi.StringWidth(l) < width {
			list = append(list, l)
			continue
		}
		list = append(list, strings.Split(ansi.Hardwrap(l, max(width-1, 1), true), "\n")...)
	}
	return list
}

// first is the first line on a screen.
func (p *page) first(length, height int) int {
	if p.follow {
		return max(0, length-height)
	}
	return max(0, min(p.offset, length-height))
}

// entries are the title and the lines that have room below it.
func (p *page) entries(width, height int) []entry {
	list := p.shown(width)
	room := max(height-1, 0)
	from := p.first(len(list), room)
	title := p.title
	if p.filter != "" {
		title += "  /" + p.filter
	}
	if p.left > 0 {
		title += fmt.Sprintf("  (%d older lines are not kept)", p.left)
	}
	entries := []entry{{line: text(title, strong)}}
	for _, l := range list[from:min(from+room, len(list))] {
		entries = append(entries, entry{line: text(" "+l, normal)})
	}
	return entries
}

// turn moves a page by so many lines.
func (p *page) turn(by, width, height int) {
	length := len(p.shown(width))
	p.offset = max(0, min(p.first(length, height)+by, length-height))
	p.follow = p.log && by > 0 && p.offset >= length-height
}
