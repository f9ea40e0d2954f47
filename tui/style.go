package tui

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/otto-edge/otto/wire"
)

// style is what a text means. Colours only repeat what signs and words say.
type style int

// The styles.
const (
	normal style = iota
	strong
	dim
	good
	warn
	bad
	styles // how many there are
)

// span is a text in one style.
type span struct {
	text  string
	style style
}

// line is a line of the screen.
type line []span

func text(s string, in style) line { return line{{s, in}} }

// String is the line without colours.
func (l line) String() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

func (l line) width() (n int) {
	for _, s := range l {
		n += ansi.StringWidth(s.text)
	}
	return n
}

// plain is the line without anything that does something to a terminal: names and reasons
// come from nodes.
func (l line) plain() line {
	for i, s := range l {
		if clean := plain(s.text); clean != s.text {
			l = slices.Clone(l)
			l[i].text = clean
		}
	}
	return l
}

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, wire.Plain(s))
}

// fit makes a line so wide: it is cut with an ellipsis, or filled with spaces.
func (l line) fit(width int) line {
	l = l.plain()
	left := width
	if l.width() > width {
		left = max(width-1, 0)
	}
	var cut line
	for _, s := range l {
		w := ansi.StringWidth(s.text)
		if w <= left {
			cut, left = append(cut, s), left-w
			continue
		}
		s.text = ansi.Truncate(s.text, left, "")
		cut, left = append(cut, s), left-ansi.StringWidth(s.text)
		if width > 0 {
			cut = append(cut, span{"…", s.style})
		}
		break
	}
	if left > 0 {
		cut = append(cut, span{strings.Repeat(" ", left), normal})
	}
	return cut
}

// fitRight is fit with the spaces in front.
func (l line) fitRight(width int) line {
	l = l.plain()
	if n := l.width(); n < width {
		return append(line{{strings.Repeat(" ", width-n), normal}}, l...)
	}
	return l.fit(width)
}

// render is the line with the codes of a terminal of 16 colours, which are those that a
// person has chosen for it.
func (l line) render(b *strings.Builder, p *palette, selected bool) {
	in := &p[0]
	if selected {
		in = &p[1]
	}
	for i := 0; i < len(l); {
		style := l[i].style
		b.WriteString(in[style][0])
		for ; i < len(l) && l[i].style == style; i++ {
			b.WriteString(l[i].text)
		}
		b.WriteString(in[style][1])
	}
}

// palette is what comes before and after a text in a style: of what is selected, and of what
// is not.
type palette [2][styles][2]string

func newPalette() *palette {
	p := &palette{}
	for i, selected := range []bool{false, true} {
		for s := range styles {
			const mark = "x"
			p[i][s][0], p[i][s][1], _ = strings.Cut(styleOf(s, selected).Render(mark), mark)
		}
	}
	return p
}

func styleOf(s style, selected bool) lipgloss.Style {
	st := lipgloss.NewStyle().Reverse(selected)
	switch s {
	case strong:
		return st.Bold(true)
	case dim:
		return st.Faint(true)
	case good:
		return st.Foreground(lipgloss.Green)
	case warn:
		return st.Foreground(lipgloss.Yellow)
	case bad:
		return st.Foreground(lipgloss.Red).Bold(true)
	}
	return st
}
