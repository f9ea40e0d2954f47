package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// An edit changes an otto.yaml where the parser says that something is: bytes are put in or taken
// out there and nowhere else, so comments, order, anchors, indentation and line ends stay as they
// are. The same change is made to the parser's tree, and the new text is parsed again: unless it
// means just that tree the edit is refused, and the error says what to write by hand.
type edit struct {
	text    []byte // without a byte order mark
	mark    []byte // the byte order mark, if it has one
	starts  []int  // offsets of its lines
	newline string // how its lines end
	root    *yaml.Node
	shared  map[*yaml.Node]bool // what an alias stands for

	splices []splice
}

// splice replaces the bytes from start up to end.
type splice struct {
	start, end int
	text       string
}

// span is lines from start up to end, counted from 0.
type span struct{ start, end int }

var errNotAsWanted = errors.New("it would mean something else than is wanted afterwards")

// newEdit reads a file that is to be changed.
func newEdit(data []byte) (*edit, error) {
	e := &edit{newline: "\n", shared: map[*yaml.Node]bool{}}
	e.text, _ = bytes.CutPrefix(data, []byte("\ufeff"))
	e.mark = data[:len(data)-len(e.text)]
	r := &reader{}
	if !r.readable(e.text) {
		return nil, r.problems.sorted()
	}
	docs, err := documents(e.text)
	switch {
	case err != nil:
		r.rejectSyntax(e.text, err)
		return nil, r.problems.sorted()
	case len(docs) > 1:
		return nil, errors.New("it holds more than one document")
	case len(docs) == 0:
		e.root = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	case docs[0].Kind != yaml.MappingNode || docs[0].Style&yaml.FlowStyle != 0:
		return nil, errors.New("it does not have one key a line")
	default:
		e.root = docs[0]
	}

	for at := 0; at < len(e.text); {
		e.starts = append(e.starts, at)
		line := bytes.IndexByte(e.text[at:], '\n') + 1
		if line == 0 {
			break
		}
		at += line
	}
	if i := bytes.IndexByte(e.text, '\n'); i > 0 && e.text[i-1] == '\r' {
		e.newline = "\r\n"
	}
	e.share(e.root)
	return e, nil
}

// changed is a file with a change, if that can be made safely.
func changed(data []byte, change func(*edit) error) ([]byte, error) {
	e, err := newEdit(data)
	if err != nil {
		return nil, err
	}
	if err := change(e); err != nil {
		return nil, err
	}
	return e.done()
}

// share notes what aliases stand for.
func (e *edit) share(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		e.shared[n.Alias] = true
		return
	}
	for _, c := range n.Content {
		e.share(c)
	}
}

// done is the file with all splices, if it means what the tree has become.
func (e *edit) done() ([]byte, error) {
	slices.SortFunc(e.splices, func(a, b splice) int { return a.start - b.start })
	out, at := bytes.Clone(e.mark), 0
	for _, s := range e.splices {
		if s.start < at || s.end < s.start || s.end > len(e.text) {
			return nil, errNotAsWanted
		}
		out = append(append(out, e.text[at:s.start]...), s.text...)
		at = s.end
	}
	out = append(out, e.text[at:]...)

	docs, err := documents(bytes.TrimPrefix(out, e.mark))
	switch {
	case err != nil:
		return nil, errNotAsWanted
	case len(docs) == 0 && len(e.root.Content) == 0:
		return out, nil
	case len(docs) != 1 || !(&comparison{}).same(e.root, docs[0]):
		return nil, errNotAsWanted
	}
	return out, nil
}

// comparison of two trees: which node of the one is which of the other.
type comparison struct{ counterparts map[*yaml.Node]*yaml.Node }

// same reports whether two trees mean the same, in the same order and by the same anchors.
func (c *comparison) same(a, b *yaml.Node) bool {
	switch {
	case a.Kind != b.Kind || a.Anchor != b.Anchor || a.ShortTag() != b.ShortTag():
		return false
	case a.Kind == yaml.AliasNode:
		return c.counterparts[a.Alias] == b.Alias
	case len(a.Content) != len(b.Content) || a.Value != b.Value && !isNull(a):
		return false
	}
	if a.Anchor != "" {
		if c.counterparts == nil {
			c.counterparts = map[*yaml.Node]*yaml.Node{}
		}
		c.counterparts[a] = b
	}
	for i := range a.Content {
		if !c.same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// find is the index of a key's value in a mapping, 0 if it has none.
func find(mapping *yaml.Node, key string) int {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if k := mapping.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key {
			return i + 1
		}
	}
	return 0
}

// valueOf is the value of a key in a mapping, nil if it has none.
func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	if i := find(mapping, key); i > 0 {
		return mapping.Content[i]
	}
	return nil
}

// offset is where a node begins in the text, -1 if that cannot be said.
func (e *edit) offset(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(e.starts) {
		return -1
	}
	at := e.starts[n.Line-1]
	for range n.Column - 1 {
		if at >= len(e.text) {
			return -1
		}
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

// line is the text of a line, without what it ends with. There is none before or behind the file.
func (e *edit) line(i int) string {
	if i < 0 || i >= len(e.starts) {
		return ""
	}
	return strings.TrimRight(string(e.text[e.starts[i]:e.start(i+1)]), "\r\n")
}

// start is the offset of a line, or of the end of the text.
func (e *edit) start(line int) int {
	if line < len(e.starts) {
		return e.starts[line]
	}
	return len(e.text)
}

// content is the lines of a node without those at their end that are empty or hold a comment: they
// belong to what is above them only if more of it follows.
func (e *edit) content(lines span, n *yaml.Node) span {
	for least := max(lines.start+1, e.bottom(n)); lines.end > least; lines.end-- {
		text := strings.TrimSpace(e.line(lines.end - 1))
		if text != "" && text[0] != '#' && text != "..." {
			break
		}
	}
	return lines
}

// bottom is the line behind the text in which a node ends: what looks like a comment may be part of it.
func (e *edit) bottom(n *yaml.Node) int {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	start := e.offset(n)
	switch {
	case n.Kind != yaml.ScalarNode || start < 0:
		return n.Line
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return e.bottomOfBlock(n.Line)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return n.Line + breaks(e.text[start:], '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return n.Line + breaks(e.text[start:], '\'')
	}
	return n.Line
}

// breaks is how many lines end between two quotes, of which the first one is at or behind the start.
func breaks(text []byte, quote byte) (n int) {
	at := bytes.IndexByte(text, quote) + 1
	for ; at < len(text); at++ {
		switch c := text[at]; {
		case c == '\n':
			n++
		case c == '\\' && quote == '"', c == quote && quote == '\'' && at+1 < len(text) && text[at+1] == quote:
			if at++; at < len(text) && text[at] == '\n' {
				n++
			}
		case c == quote:
			return n
		}
	}
	return n
}

// bottomOfBlock is the line behind a block of text that begins at a line, by its indentation.
func (e *edit) bottomOfBlock(first int) int {
	_, header, _ := strings.Cut(e.line(first-1), ":")
	keep := strings.Contains(header, "|+") || strings.Contains(header, ">+")
	indent, bottom := 0, first
	for i := first; i < len(e.starts); i++ {
		text := e.line(i)
		if strings.TrimSpace(text) == "" {
			if keep {
				bottom = i + 1
			}
			continue
		}
		here := len(text) - len(strings.TrimLeft(text, " "))
		if indent == 0 {
			indent = here
		}
		if here < indent || here == 0 {
			break
		}
		bottom = i + 1
	}
	return bottom
}

// removeLines takes lines out.
func (e *edit) removeLines(lines span) {
	e.splices = append(e.splices, splice{start: e.start(lines.start), end: e.start(lines.end)})
}

// insertLines puts lines of text before a line of the file, or behind the last one.
func (e *edit) insertLines(before int, lines string) {
	at, text := e.start(before), strings.ReplaceAll(lines, "\n", e.newline)
	if at == len(e.text) && at > 0 && e.text[at-1] != '\n' {
		text = e.newline + text
	}
	e.splices = append(e.splices, splice{start: at, end: at, text: text})
}

// asLines is a value as lines of YAML.
func asLines(v any) (string, error) {
	var b strings.Builder
	d := yaml.NewEncoder(&b)
	d.SetIndent(2)
	d.CompactSeqIndent()
	err := errors.Join(d.Encode(v), d.Close())
	return b.String(), err
}

// asWords is a value as YAML in one line.
func asWords(v any) string {
	var n yaml.Node
	if n.Encode(v) != nil {
		return ""
	}
	unstyled(&n)
	n.Style = yaml.FlowStyle
	b, err := yaml.Dump(&n, yaml.WithLineWidth(-1))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// indented is lines of text with something before the first one, and as many spaces before the others.
func indented(lead, lines string) string {
	lines = strings.TrimSuffix(lines, "\n")
	return lead + strings.ReplaceAll(lines, "\n", "\n"+strings.Repeat(" ", len(lead))) + "\n"
}

// byHand says why a file was not changed, and what to do about it.
func byHand(why error, format string, args ...any) error {
	return fmt.Errorf("%w: %s by hand", why, fmt.Sprintf(format, args...))
}
