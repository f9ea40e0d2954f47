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
		r.reject(position(docs[1].Start), "put all of it into one document, with one services:", "a second document begins here")
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
			at := pos{line: line + 1, col: col + 1}
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
	return pos{line: max(t.Position.Line, 1), col: max(t.Position.Column, 1)}
}
