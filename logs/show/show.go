// Package show prints log entries for people and programs.
//
// On a terminal what a container writes must do nothing but be seen: control
// characters and sequences are taken out, except those for colours. To a file or a
// pipe lines go as they are, and marks elsewhere.
package show

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/otto-edge/otto/logs"
)

// Printer prints entries.
type Printer struct {
	Out      io.Writer
	Marks    io.Writer // where marks go, if Out is no terminal
	Terminal bool
	Colour   bool
	JSON     bool
	Bare     bool // no prefixes
	Times    bool

	width int // of the longest prefix so far
}

// Print prints one entry.
func (p *Printer) Print(e logs.Entry) error {
	switch {
	case p.JSON:
		enc := json.NewEncoder(p.Out)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	case e.Mark != "":
		return p.mark(e)
	}
	text := e.Text
	if e.Raw != nil {
		text = string(e.Raw)
	}
	if p.Terminal {
		text = Clean(text, p.Colour)
	}
	_, err := io.WriteString(p.Out, p.prefix(e)+text+"\n")
	return err
}

// mark prints a mark between the lines on a terminal, and elsewhere apart from them.
func (p *Printer) mark(e logs.Entry) error {
	text := Clean(e.Text, false)
	if e.Mark == logs.MarkLeftOut {
		text = "... " + thousands(e.Lines) + " lines left out"
	}
	if !p.Terminal {
		about := ""
		if e.Container != "" {
			about = source(e) + ": "
		}
		_, err := fmt.Fprintf(p.Marks, "otto: %s%s\n", about, text)
		return err
	}
	prefix := ""
	if e.Container != "" {
		prefix = p.prefix(e)
	}
	if p.Colour {
		text = dim + text + plain
	}
	_, err := fmt.Fprintf(p.Out, "%s-- %s\n", prefix, text)
	return err
}

const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// colours are for prefixes: what is readable on dark and light.
func colours() []string {
	return []string{
		"\x1b[36m",
		"\x1b[33m",
		"\x1b[32m",
		"\x1b[35m",
		"\x1b[34m",
		"\x1b[31m",
		"\x1b[96m",
		"\x1b[93m",
		"\x1b[92m",
		"\x1b[95m",
	}
}

// source is who has written a line.
func source(e logs.Entry) string {
	name := e.Instance
	if e.Name != "" {
		name = e.Name
	}
	if e.Node != "" {
		name += "@" + e.Node
	}
	return name
}

func (p *Printer) prefix(e logs.Entry) string {
	var b strings.Builder
	if p.Times {
		b.WriteString(e.Time.UTC().Format("2006-01-02T15:04:05.000000Z") + " ")
	}
	if p.Bare {
		return b.String()
	}
	name := Clean(source(e), false)
	p.width = max(p.width, utf8.RuneCountInString(name))
	padding := strings.Repeat(" ", p.width-utf8.RuneCountInString(name))
	if p.Colour {
		h := fnv.New32a()
		_, _ = io.WriteString(h, e.Instance)
		all := colours()
		b.WriteString(all[int(h.Sum32())%len(all)] + name + padding + " |" + plain + " ")
	} else {
		b.WriteString(name + padding + " | ")
	}
	return b.String()
}

// thousands is a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
