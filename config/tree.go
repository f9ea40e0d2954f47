package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
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
	anchors   map[string]value
	size      int // of all values so far
	cost      int // of filling in variables so far
	exhausted bool
}

func (t *tree) value(n ast.Node, depth int) value {
	v := t.node(n, depth)
	if v.size == 0 {
		v.size = 1
	}
	t.size++
	return v
}

func (t *tree) node(n ast.Node, depth int) value {
	if n == nil {
		return value{}
	}
	at := position(n.GetToken())
	if depth > 3*maxDepth {
		t.exhaust(at, "indent less", "the file is nested more than %d levels deep", maxDepth)
		return value{pos: at}
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return value{pos: at}
	case *ast.MappingNode:
		return t.mapping(at, n.Values, depth)
	case *ast.MappingValueNode:
		return t.mapping(at, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		v := value{pos: at, kind: list, size: 1}
		for _, item := range n.Values {
			child := t.value(item, depth+1)
			v.items = append(v.items, child)
			v.size += child.size
		}
		return v
	case *ast.AnchorNode:
		v := t.value(n.Value, depth+1)
		if n.Name != nil {
			t.anchors[n.Name.GetToken().Value] = v
		}
		return v
	case *ast.AliasNode:
		return t.alias(at, n)
	case *ast.TagNode:
		return t.tag(at, n, depth)
	case *ast.LiteralNode:
		return t.scalar(value{pos: at, kind: scalar, text: n.Value.Value})
	case *ast.StringNode:
		return t.scalar(value{pos: at, kind: scalar, text: n.Value, plain: n.Token.Type == token.StringType})
	case ast.ScalarNode:
		return t.scalar(value{pos: at, kind: scalar, text: n.GetToken().Value, plain: true})
	default:
		t.reject(at, "write a value, a list or a mapping", "this cannot be read here")
		return value{pos: at}
	}
}

func (t *tree) alias(at pos, n *ast.AliasNode) value {
	name := ""
	if n.Value != nil {
		name = n.Value.GetToken().Value
	}
	v, ok := t.anchors[name]
	if !ok {
		t.reject(at, fmt.Sprintf("write &%s at the value it stands for, further up", name), "alias *%s stands for nothing", name)
		return value{pos: at, broken: true}
	}
	t.size += v.size
	if t.size > maxValues {
		t.exhaust(at, "write out less by aliases", "the aliases of this file stand for more than %d values", maxValues)
		return value{pos: at}
	}
	return v
}

// tag takes YAML's own tags as a word about quoting: only !!str changes what
// Otto reads.
func (t *tree) tag(at pos, n *ast.TagNode, depth int) value {
	v := t.value(n.Value, depth+1)
	name := n.Start.Value
	switch {
	case name == "!!str":
		v.plain = false
		if v.kind == null {
			v.kind = scalar
		}
	case !strings.HasPrefix(name, "!!"):
		t.reject(at, "take it out", "the tag %.40s means nothing to Otto", name)
		v.broken = true
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

func (t *tree) mapping(at pos, nodes []*ast.MappingValueNode, depth int) value {
	v := value{pos: at, kind: mapping, size: 1}
	if len(nodes) > 0 {
		v.pos = position(nodes[0].Key.GetToken())
	}
	seen := make(map[string]int, len(nodes)) // line of each key
	var merged []value
	for _, n := range nodes {
		child := t.value(n.Value, depth+1)
		v.size += child.size
		keyAt := position(n.Key.GetToken())
		if n.Key.IsMergeKey() {
			merged = append(merged, child)
			continue
		}
		name, ok := keyText(n.Key)
		if !ok {
			t.reject(keyAt, "write a name", "a key must be a single word")
			continue
		}
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

func keyText(k ast.MapKeyNode) (string, bool) {
	var n ast.Node = k
	for {
		switch k := n.(type) {
		case *ast.MappingKeyNode:
			n = k.Value
		case *ast.StringNode:
			return k.Value, true
		case *ast.LiteralNode:
			return k.Value.Value, true
		case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
			return "", false
		case ast.ScalarNode:
			return k.GetToken().Value, true
		default:
			return "", false
		}
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
