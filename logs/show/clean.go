package show

import (
	"strings"
	"unicode/utf8"
)

// Clean returns text as it may be written to a terminal: without control
// characters, without escape sequences but, with colour, those that set colours,
// and without characters that turn the direction of writing. Bytes that are no
// UTF-8 become replacement characters. Colours end with the text.
func Clean(text string, colour bool) string {
	if !strings.ContainsFunc(text, suspicious) {
		return text
	}
	var b strings.Builder
	coloured := false
	for text != "" {
		if text[0] == escape {
			sequence, isColour := sequenceAt(text)
			if colour && isColour {
				b.WriteString(sequence)
				coloured = true
			}
			text = text[len(sequence):]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == csi8 || r == osc8 || r == dcs8:
			// The 8-bit form of a sequence: without its beginning the rest is mere text.
		case r == '\t':
			b.WriteRune(r)
		case r == '\r':
			if text != "" {
				b.WriteByte(' ') // else what was written before would be written over
			}
		case !suspicious(r) || r == utf8.RuneError:
			b.WriteRune(r)
		}
	}
	if coloured {
		b.WriteString(plain)
	}
	return b.String()
}

const (
	escape = '\x1b'
	csi8   = '\u009b'
	osc8   = '\u009d'
	dcs8   = '\u0090'
)

func suspicious(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError:
		return true
	case r == '\u200e', r == '\u200f', r == '\u061c', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return false
}

// sequenceAt is the escape sequence at the beginning of text, and whether it sets
// colours. One that does not end is all of the text.
func sequenceAt(text string) (sequence string, colour bool) {
	if len(text) < 2 {
		return text, false
	}
	switch text[1] {
	case '[':
		return controlSequence(text)
	case ']', 'P', 'X', '^', '_': // strings, up to BEL or ST
		for i := 2; i < len(text); i++ {
			if text[i] == '\a' {
				return text[:i+1], false
			}
			if text[i] == escape {
				return text[:min(i+2, len(text))], false
			}
		}
		return text, false
	}
	i := 1
	for i < len(text) && text[i] >= 0x20 && text[i] <= 0x2f {
		i++
	}
	if i < len(text) && text[i] >= 0x30 && text[i] <= 0x7e {
		i++
	}
	return text[:i], false
}

func controlSequence(text string) (sequence string, colour bool) {
	const longest = 64
	plainParameters := true
	for i := 2; i < min(len(text), longest); i++ {
		c := text[i]
		switch {
		case c >= 0x40 && c <= 0x7e:
			return text[:i+1], c == 'm' && plainParameters
		case c < 0x20 || c > 0x7e:
			return text[:i], false // it is broken off
		case (c < '0' || c > '9') && c != ';' && c != ':':
			plainParameters = false
		}
	}
	return text[:min(len(text), longest)], false
}
