package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. They are far above what people write and keep the time to
// read any file below a second; aliases count with all they stand for.
const (
	maxBytes  = 1 << 20
	maxTokens = 30_000
	maxDepth  = 100 // levels in flow style, and two columns each in block style
	maxValues = 50_000
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

// parse turns a file into a value. It returns false after a mistake that makes
// all others meaningless; that one is reported.
func (r *reader) parse(data []byte) (root value, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.readable(data) {
		return value{}, false
	}
	tokens := lexer.Tokenize(string(data))
	if !r.bounded(tokens) {
		return value{}, false
	}
	file, err := parseTokens(tokens)
	if err != nil {
		r.rejectSyntax(err)
		return value{}, false
	}
	docs := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil || d.Body.Type() == ast.CommentType })
	switch {
	case len(docs) == 0 || docs[0].Body.Type() == ast.NullType:
		r.reject(pos{}, "`otto cluster init --example` writes a starter", "the file is empty")
		return value{}, false
	case len(docs) > 1:
		r.reject(position(docs[1].Start), "take out the line ---", "a second document begins here")
		return value{}, false
	}
	t := tree{reader: r, anchors: map[string]value{}}
	root = t.value(docs[0].Body, 0)
	return root, !t.exhausted
}

// readable reports whether the bytes can be YAML at all.
func (r *reader) readable(data []byte) bool {
	switch {
	case len(data) > maxBytes:
		r.reject(pos{}, "is it really an otto.yaml?", "the file is larger than 1 MiB")
		return false
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		r.reject(pos{}, "save it as UTF-8", "the file is UTF-16")
		return false
	}
	for line, text := range bytes.Split(data, []byte("\n")) {
		for col := 0; len(text) > 0; col++ {
			c, size := utf8.DecodeRune(text)
			at := pos{line + 1, col + 1}
			switch {
			case c == utf8.RuneError && size == 1:
				r.reject(at, "save the file as UTF-8", "this byte is not UTF-8")
				return false
			case c < ' ' && c != '\t' && c != '\r':
				r.reject(at, "take it out, or write it as an escape in double quotes", "there is a control character here")
				return false
			}
			text = text[size:]
		}
	}
	return true
}

// bounded looks for what would cost the parser too much.
func (r *reader) bounded(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.reject(position(tokens[maxTokens]), "divide it into several clusters", "the file holds more than %d words", maxTokens)
		return false
	}
	flow := 0
	for _, t := range tokens {
		deep := false
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
			deep = flow > maxDepth
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			deep = flow <= 0 && t.Position.Column > 2*maxDepth
		case token.MappingValueType:
			deep = t.Position.IndentNum > 2*maxDepth
		}
		if deep {
			r.reject(position(t), "indent less", "the file is nested more than %d levels deep", maxDepth)
			return false
		}
	}
	return true
}

// parseTokens turns a panic into an error: the parser has known ones on
// malformed input.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("parser: %v", p)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func (r *reader) rejectSyntax(err error) {
	var at interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &at) || at.GetToken() == nil {
		r.reject(pos{}, "check indentation, quotes and brackets", "the file is not valid YAML")
		return
	}
	message, try := at.GetMessage(), "check indentation, quotes and brackets here and in the line above"
	if strings.Contains(message, "'\t'") {
		message, try = "there is a tab here", "indent with spaces"
	}
	message, _, _ = strings.Cut(message, "\n")
	r.reject(position(at.GetToken()), try, "not valid YAML: %.120s", message)
}

// position is where a token begins.
func position(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
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
	v.text, v.broken = text, !ok
	return v
}
