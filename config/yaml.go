package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of a file. They are far above what people write and keep the time to
// read any file below a second; aliases count with all they stand for.
const (
	maxBytes  = 1 << 20
	maxDepth  = 100
	maxValues = 50_000
)

// parse turns a file into a value. It returns false after a mistake that makes
// all others meaningless; that one is reported.
func (r *reader) parse(data []byte) (root value, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.readable(data) {
		return value{}, false
	}
	docs, err := documents(data)
	if err != nil {
		r.rejectSyntax(data, err)
		return value{}, false
	}
	switch {
	case len(docs) == 0:
		r.reject(pos{}, "`otto cluster init --example` writes a starter", "the file is empty")
		return value{}, false
	case len(docs) > 1:
		r.reject(r.divided(data), "put all of it into one document, with one services:",
			"a second document begins here")
		return value{}, false
	}
	t := tree{reader: r, anchors: map[*yaml.Node]value{}}
	root = t.value(docs[0], 0)
	return root, !t.exhausted
}

// documents are those of a file that hold anything. It is read by the library by which
// Compose reads.
func documents(data []byte) (docs []*yaml.Node, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, err
		}
		if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
			docs = append(docs, doc.Content[0])
		}
	}
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// divided is where a second document of a file begins.
func (r *reader) divided(data []byte) pos {
	begun := false
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "---" || strings.HasPrefix(line, "--- ") {
			if begun {
				return pos{line: i + 1, col: 1}
			}
			continue
		}
		begun = begun || strings.TrimSpace(line) != "" && line[0] != '#' && line[0] != '%'
	}
	return pos{}
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
				r.reject(at, "take it out, or write it as an escape in double quotes",
					"there is a control character here")
				return false
			}
			text = text[size:]
		}
	}
	return true
}

// errorPlace is how the library says where a mistake is.
var errorPlace = regexp.MustCompile(`line (\d+)(?:, column (\d+))?`)

func (r *reader) rejectSyntax(data []byte, err error) {
	text, at := strings.TrimPrefix(err.Error(), "yaml: "), pos{}
	if all := errorPlace.FindAllStringSubmatch(text, -1); len(all) > 0 {
		place := all[len(all)-1]
		if strings.HasSuffix(text, "end of stream") { // where it began says more than where the file ends
			place = all[0]
		}
		at.line, _ = strconv.Atoi(place[1])
		at.col, _ = strconv.Atoi(cmp.Or(place[2], "1"))
		if !strings.HasPrefix(text, "while scanning") && !strings.HasPrefix(text, "line") {
			at.line++ // its parser counts from 0
		}
	}
	message, try := text[strings.LastIndex(text, ": ")+1:], "check indentation, quotes and brackets here and in the line above"
	message = strings.TrimSpace(message)
	if strings.HasPrefix(text, "while scanning a quoted scalar") && strings.HasSuffix(text, "end of stream") {
		message = "the quotes that begin here do not end"
	}
	if name, unknown := strings.CutPrefix(message, "unknown anchor '"); unknown {
		name, _, _ = strings.Cut(name, "'")
		r.reject(at, fmt.Sprintf("write &%s at the value it stands for, further up", name),
			"alias *%s stands for nothing", name)
		return
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	at.line = min(at.line, len(lines))
	if at.line > 0 && at.line <= len(lines) && strings.Contains(message, "cannot start any token") &&
		bytes.Contains(lines[at.line-1], []byte("\t")) {
		message, try = "there is a tab here", "indent with spaces"
	}
	r.reject(at, try, "not valid YAML: %.120s", message)
}

// position is where a node begins.
func position(n *yaml.Node) pos { return pos{line: max(n.Line, 1), col: max(n.Column, 1)} }
