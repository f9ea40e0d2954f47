// Package doctor judges whether machines are fit for a cluster. What was found
// out about them is data (Exam, Here); what follows from it is data too, a list
// of findings, each of which says what to do. Nothing here looks at a machine:
// package doctor/examine does that, on the node itself.
//
// A problem is something that does not work, or that will hurt without a word: a
// memory limit that is taken and ignored. A warning is something that works and
// should be mended. What a machine does not have is no finding: one without Wi-Fi
// has no power save to be warned of. What it does not answer is one.
package doctor

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Level is how bad a finding is.
type Level string

// The levels of a finding, from good to bad.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Problem Level = "problem"
)

func (l Level) rank() int { return slices.Index([]Level{Problem, Warning, OK}, l) }

// Finding is one thing that was checked, and how it is.
type Finding struct {
	Node  string `json:"node,omitempty"` // empty: the machine that otto runs on
	Check string `json:"check"`          // such as disk or clock
	Level Level  `json:"level"`
	What  string `json:"what"`          // is so
	Try   string `json:"try,omitempty"` // to mend it; empty where it is ok
}

// Count is how many of the findings are of a level.
func Count(list []Finding, l Level) (n int) {
	for _, f := range list {
		if f.Level == l {
			n++
		}
	}
	return n
}

// chart collects the findings of one machine.
type chart struct {
	node string
	list []Finding
}

func (c *chart) add(l Level, check, what, try string) {
	c.list = append(c.list, Finding{Node: c.node, Check: check, Level: l, What: printable(what), Try: printable(try)})
}

// printable leaves out what a node could play on a terminal with.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s))
}

func (c *chart) ok(check, what string) { c.add(OK, check, what, "") }

// complaint adds what another part of Otto said in one line, with its advice, or
// with another if it has none.
func (c *chart) complaint(check, said, otherwise string) {
	what, try := advice(said)
	c.add(Problem, check, what, or(try, otherwise))
}

// sorted are the findings, the worst first, and else as they were made.
func (c *chart) sorted() []Finding {
	slices.SortStableFunc(c.list, func(a, b Finding) int { return cmp.Compare(a.Level.rank(), b.Level.rank()) })
	return c.list
}

// advice divides an error of Otto's, "what: try", where the advice begins.
func advice(said string) (what, try string) {
	said = strings.Join(strings.Split(strings.TrimSpace(said), "\n"), "; ")
	at := regexp.MustCompile(`[:;] (run|set|open|start|install|correct|stop|leave|look at|is it|is the|is an|if its|try|add) `).FindStringIndex(said)
	if at == nil {
		return said, ""
	}
	return said[:at[0]], said[at[0]+2:]
}
