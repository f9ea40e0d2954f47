package wire

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// plainText makes the texts in a JSON document harmless for a terminal: what moves the
// cursor, changes colours or the direction of writing becomes a question mark. Line ends
// and tabs stay. It works on the encoded form, so no field of any message is forgotten,
// and changes no document that has nothing of it.
func plainText(b []byte) []byte {
	if !slices.Contains(b, '\\') && !strings.ContainsFunc(string(b), terminal) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] == '\\' && i+1 < len(b) {
			n, r := escaped(b[i:])
			if terminal(r) {
				out = append(out, '?')
			} else {
				out = append(out, b[i:i+n]...)
			}
			i += n
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if terminal(r) && r != '\r' { // which is white space here: texts only have it escaped
			out = append(out, '?')
		} else {
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	return slices.Clip(out)
}

// Unmarshal reads what a machine of a node says in JSON. Its texts are harmless for a
// terminal then.
func Unmarshal(b []byte, into any) error { return json.Unmarshal(plainText(b), into) }

// escaped is the length of the escape that b begins with, and what it stands for.
func escaped(b []byte) (int, rune) {
	switch b[1] {
	case 'b', 'f', 'r':
		return 2, '\r'
	case 'u':
		var two [2]byte
		if len(b) >= 6 {
			if _, err := hex.Decode(two[:], b[2:6]); err == nil {
				return 6, rune(binary.BigEndian.Uint16(two[:]))
			}
		}
	}
	return 2, ' ' // a quote, a backslash, a line end: nothing to a terminal
}

// terminal reports whether a character does something to a terminal, or to the order in
// which others are shown.
func terminal(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r < ' ',
		r >= 0x7f && r <= 0x9f,
		r >= 0x202a && r <= 0x202e,
		r >= 0x2066 && r <= 0x2069,
		r == 0x2028,
		r == 0x2029:
		return true
	}
	return false
}

// Plain is a text that is harmless for a terminal, as those in messages of nodes are.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if terminal(r) {
			return '?'
		}
		return r
	}, text)
}
