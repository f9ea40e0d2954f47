package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// editedList is a list under a key at the top of a file, with an item a line.
type editedList struct {
	*edit
	key   int // index of its value in the root
	node  *yaml.Node
	items []span // lines of each item
	dash  int    // column of the dashes
}

// list finds a list under a key at the top, if it has items and each begins a line.
func (e *edit) list(key string) (*editedList, error) {
	l := &editedList{edit: e, key: find(e.root, key)}
	if l.key == 0 {
		return nil, fmt.Errorf("it has no list of %s", key)
	}
	l.node = e.root.Content[l.key]
	switch {
	case l.node.Kind != yaml.SequenceNode || l.node.Style&yaml.FlowStyle != 0 || len(l.node.Content) == 0:
		return nil, fmt.Errorf("its %s are not a list with one item a line", key)
	case e.shared[l.node]:
		return nil, fmt.Errorf("its list of %s is used elsewhere in it, too", key)
	}

	end := e.below(l.key)
	for i, item := range l.node.Content {
		line, column := e.dash(item)
		if column < 0 || i > 0 && (column != l.dash || line <= l.items[i-1].start) {
			return nil, fmt.Errorf("its %s are not a list with one item a line", key)
		}
		l.dash = column
		if i > 0 {
			l.items[i-1] = e.content(span{l.items[i-1].start, line}, l.node.Content[i-1])
		}
		l.items = append(l.items, span{line, line + 1})
	}
	last := &l.items[len(l.items)-1]
	*last = e.content(span{last.start, max(end, last.start+1)}, l.node.Content[len(l.items)-1])
	return l, nil
}

// below is the line at which that ends which is below a key of the root.
func (e *edit) below(key int) int {
	if key+1 < len(e.root.Content) {
		return e.root.Content[key+1].Line - 1
	}
	return len(e.starts)
}

// dash is the line and the column of the dash of an item, -1 if no line begins with it.
func (e *edit) dash(item *yaml.Node) (line, column int) {
	at := e.offset(item)
	if at < 0 {
		return -1, -1
	}
	line = item.Line - 1
	text := string(e.text[e.starts[line]:at])
	for strings.TrimSpace(text) == "" && line > 0 { // the dash is in a line of its own
		line--
		text, _, _ = strings.Cut(e.line(line), "#")
	}
	column = strings.Index(text, "-")
	if strings.TrimSpace(text) != "-" || strings.TrimLeft(text[:column], " ") != "" {
		return -1, -1
	}
	return line, column
}

// add puts an item behind the last one, indented as that is.
func (l *editedList) add(v any) error {
	lines, err := asLines(v)
	if err != nil {
		return err
	}
	var item yaml.Node
	if err := item.Encode(v); err != nil {
		return err
	}
	gap, last := 1, l.node.Content[len(l.node.Content)-1]
	if last.Kind == yaml.MappingNode && last.Style&yaml.FlowStyle == 0 && last.Anchor == "" &&
		last.Line-1 == l.items[len(l.items)-1].start {
		gap = max(last.Column-l.dash-2, 1)
	}
	lead := strings.Repeat(" ", l.dash) + "-" + strings.Repeat(" ", gap)
	l.insertLines(l.items[len(l.items)-1].end, indented(lead, lines))
	l.node.Content = append(l.node.Content, &item)
	return nil
}

// remove takes an item out, and the key of the list with the last one if that is wanted.
func (l *editedList) remove(i int, whole bool) {
	lines := l.items[i]
	switch {
	case len(l.node.Content) > 1:
		l.node.Content = append(l.node.Content[:i:i], l.node.Content[i+1:]...)
	case whole:
		lines.start = l.root.Content[l.key-1].Line - 1
		l.root.Content = append(l.root.Content[:l.key-1:l.key-1], l.root.Content[l.key+1:]...)
	default:
		*l.node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	l.removeLines(lines)
}

// named is the item of a list whose key is this, -1 if there is none.
func named(list *yaml.Node, key, name string) int {
	for i, item := range list.Content {
		if v := valueOf(item, key); v != nil && v.Kind == yaml.ScalarNode && v.Value == name {
			return i
		}
	}
	return -1
}
