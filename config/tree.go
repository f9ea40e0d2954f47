package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

type kind int

const (
	null kind = iota
	scalar
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a list", "a mapping"}[k]
}

// value is a YAML value with its place in the file: aliases, merge keys and
// variables are already resolved.
type value struct {
	pos
	kind kind
	text string // of a scalar, as the user wrote it
	// plain says that the scalar has neither quotes nor variables, so that
	// YAML may have taken it for something else than its text.
	plain  bool
	filled bool    // of a scalar: variables were filled in
	broken bool    // already rejected; nothing more is said about it
	items  []value // of a list
	fields []field // of a mapping, in the file's order
	size   int     // number of values in it, itself included
}

type field struct {
	pos  // of the key
	name string
	value
}

// tree turns the parser's nodes into values.
type tree struct {
	*reader
	anchors   map[*yaml.Node]value
	size      int // of all values so far
	cost      int // of filling in variables so far
	exhausted bool
}

func (t *tree) value(n *yaml.Node, depth int) value {
	v := t.node(n, depth)
	if v.size == 0 {
		v.size = 1
	}
	t.size++
	if n.Anchor != "" {
		t.anchors[n] = v
	}
	return v
}

func (t *tree) node(n *yaml.Node, depth int) value {
	at := position(n)
	switch {
	case t.exhausted:
		return value{pos: at}
	case depth > maxDepth:
		t.exhaust(at, "indent less", "the file is nested more than %d levels deep", maxDepth)
		return value{pos: at}
	case t.size > maxValues:
		t.exhaust(at, "divide it into several clusters", "the file holds more than %d values", maxValues)
		return value{pos: at}
	}
	var v value
	switch n.Kind {
	case yaml.MappingNode:
		v = t.mapping(at, n.Content, depth)
	case yaml.SequenceNode:
		v = value{pos: at, kind: list, size: 1}
		for _, item := range n.Content {
			child := t.value(item, depth+1)
			v.items = append(v.items, child)
			v.size += child.size
		}
	case yaml.AliasNode:
		return t.alias(at, n)
	case yaml.ScalarNode:
		if isNull(n) {
			return value{pos: at}
		}
		const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
		v = t.scalar(
			value{
				pos:   at,
				kind:  scalar,
				text:  n.Value,
				plain: n.Style&quoted == 0 && (n.Style&yaml.TaggedStyle == 0 || n.Tag != "!!str"),
			},
		)
	default:
		t.reject(at, "write a value, a list or a mapping", "this cannot be read here")
		return value{pos: at}
	}
	if n.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(n.ShortTag(), "!!") && !t.stack { // Compose has some
		t.reject(at, "take it out", "the tag %.40s means nothing to Otto", n.Tag)
		v.broken = true
	}
	return v
}

func (t *tree) alias(at pos, n *yaml.Node) value {
	v, ok := t.anchors[n.Alias]
	if !ok {
		t.reject(at, fmt.Sprintf("write &%s at the value it stands for, further up", n.Value),
			"alias *%s stands for nothing", n.Value)
		return value{pos: at, broken: true}
	}
	t.size += v.size
	if t.size > maxValues {
		t.exhaust(at, "write out less by aliases", "the aliases of this file stand for more than %d values", maxValues)
		return value{pos: at}
	}
	return v
}

// exhaust reports that the file is too large to go on; once is enough.
func (t *tree) exhaust(at pos, try, format string, args ...any) {
	if !t.exhausted {
		t.reject(at, try, format, args...)
	}
	t.exhausted = true
}

// mapping reads keys and values, which alternate.
func (t *tree) mapping(at pos, nodes []*yaml.Node, depth int) value {
	v := value{pos: at, kind: mapping, size: 1}
	if len(nodes) > 0 {
		v.pos = position(nodes[0])
	}
	seen := make(map[string]int, len(nodes)/2) // line of each key
	var merged []value
	for i := 0; i+1 < len(nodes); i += 2 {
		key := nodes[i]
		child := t.value(nodes[i+1], depth+1)
		v.size += child.size
		keyAt := position(key)
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merged = append(merged, child)
			continue
		}
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			t.reject(keyAt, "write a name", "a key must be a single word")
			continue
		}
		name := key.Value
		if line, twice := seen[name]; twice {
			t.reject(keyAt, "keep one of them", "%.60q is here already, in line %d", name, line)
			continue
		}
		seen[name] = keyAt.line
		if child.kind == null {
			child.pos = keyAt
		}
		v.fields = append(v.fields, field{pos: keyAt, name: name, value: child})
	}
	for _, m := range merged {
		t.merge(&v, m, seen)
	}
	return v
}

// merge adds what << brings in; what the mapping says itself goes first.
func (t *tree) merge(v *value, from value, seen map[string]int) {
	switch from.kind {
	case list:
		for _, item := range from.items {
			t.merge(v, item, seen)
		}
	case mapping:
		for _, f := range from.fields {
			if _, own := seen[f.name]; !own {
				seen[f.name] = f.pos.line
				v.fields = append(v.fields, f)
			}
		}
	default:
		if from.broken {
			return
		}
		t.reject(from.pos, "write <<: *name, where &name is at a mapping", "<< merges mappings, not %s", from.kind)
	}
}

// scalar fills in the variables of a scalar.
func (t *tree) scalar(v value) value {
	if !strings.Contains(v.text, "$") {
		return v
	}
	v.plain = false
	t.cost += strings.Count(v.text, "$") * len(v.text)
	if t.cost > maxSubstitution {
		t.exhaust(v.pos, "put long texts into files", "there are too many variables in long texts up to here")
		return v
	}
	text, ok := t.substitute(v.pos, v.text)
	v.text, v.filled, v.broken = text, true, !ok
	return v
}
