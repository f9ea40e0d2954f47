package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/otto-edge/otto"
)

// progress shows how a cluster comes up: on a terminal as a list that is drawn
// again in place, elsewhere as one line whenever something changes.
type progress struct {
	w      io.Writer
	live   bool
	colour bool
	width  func() int // of the terminal, in columns
	drawn  int        // lines of the list that stand on the terminal
	seen   map[string]string
}

// row is what is known of one node or instance.
type row struct {
	what, state, text string
	trouble           bool // told at the end, once, if it does not mend itself
}

func newProgress(a *app) *progress {
	return &progress{
		w: a.out, live: isTerminal(a.out), colour: a.colour(), seen: map[string]string{},
		width: func() int {
			if f, ok := a.out.(*os.File); ok {
				if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
					return w
				}
			}
			return 80
		},
	}
}

// show tells what is new in c.
func (p *progress) show(c *otto.Cluster) {
	rows := rows(c)
	if p.live {
		p.draw(rows)
		return
	}
	for _, r := range rows {
		if !r.trouble && r.state != string(otto.InstanceUnknown) && r.state != string(otto.InstanceWaiting) && p.seen[r.what] != r.text {
			p.seen[r.what] = r.text
			fmt.Fprintln(p.w, p.line(r, r.text))
		}
	}
}

// draw replaces the list on the terminal. A line that is longer than the
// terminal is wide would wrap and spoil the count of lines: it is cut.
func (p *progress) draw(rows []row) {
	var page strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&page, "\x1b[%dA", p.drawn)
	}
	width := p.width()
	for _, r := range rows {
		text, _, _ := strings.Cut(r.text, "\n")
		room := width - max(nameWidth, len(r.what)) - 2
		page.WriteString(p.line(r, shorten(text, max(room, len(r.state)))) + "\x1b[K\n")
	}
	page.WriteString("\x1b[J")
	p.drawn = len(rows)
	_, _ = io.WriteString(p.w, page.String())
}

// shorten cuts text to so many characters.
func shorten(text string, room int) string {
	if r := []rune(text); len(r) > room {
		return string(r[:room-1]) + "…"
	}
	return text
}

const nameWidth = 24

func (p *progress) line(r row, text string) string {
	if p.colour {
		text = stateColour(r.state) + r.state + plain + strings.TrimPrefix(text, r.state)
	}
	return fmt.Sprintf("%-*s %s", nameWidth, r.what, text)
}

// stepOf is what is being done to bring a node up; nothing once it is up, although who
// does it may have a moment left to notice.
func stepOf(n otto.NodeStatus) string {
	if settled(n) {
		return ""
	}
	return n.Step
}

// stateOf is the state of a node with what is the matter or being done there.
func stateOf(n otto.NodeStatus) string {
	if why := cmpOr(n.Problem, stepOf(n)); why != "" {
		return string(n.State) + ": " + why
	}
	return string(n.State)
}

// whyNotReady is the same of one that is not ready, which has a reason in any case.
func whyNotReady(n otto.NodeStatus) string {
	if text := stateOf(n); text != string(n.State) || n.Reason == "" {
		return text
	}
	return string(n.State) + ": " + n.Reason
}

// rows are the nodes and then the instances, each with its state and why.
func rows(c *otto.Cluster) []row {
	var list []row
	for _, n := range c.Nodes {
		text := stateOf(n)
		if text == string(otto.NodeReady) && n.Facts.Arch != "" && n.Facts.Engine.Version != "" {
			text += " (" + n.Facts.Arch + ", " + n.Facts.Engine.Name + " " + n.Facts.Engine.Version + ")"
		}
		list = append(list, row{"node " + n.ID, string(n.State), text, n.Problem != ""})
	}
	for _, s := range c.Services {
		hash := s.Spec.Hash()
		for _, i := range s.Instances {
			i.UpToDate = i.UpToDate || i.SpecHash == hash // its node has yet to say that nothing else changed
			list = append(list, row{"service " + i.Name, string(i.State), describe(i), i.Error != ""})
		}
	}
	return list
}
