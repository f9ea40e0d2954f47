package config

import (
	"strings"
	"unicode/utf8"
)

// A requirement in its short form is words in this order:
//
//	METRIC [AGGREGATE] OPERATOR NUMBER[UNIT] [of limit | of reserve] [over D] [for D] [clear NUMBER[UNIT]] [-> ACTION]
//
// The parts after the number may come in any order.

// part is a piece of a requirement as it is written, with its place in the file.
type part struct {
	pos
	text  string
	given bool
}

// written is a requirement as it is written, in either form.
type written struct {
	pos
	metric, aggregate, operator, limit,
	over, lasting, clear, severity, action part
	ofLimit, ofReserve bool
}

// slip is where the short form is not one.
type slip struct {
	pos
	what, try string
}

const shortExample = `"node.cpu < 80% for 30s", with -> and an action at the end if there is one`

// readShort takes the short form apart; what the parts mean is not judged here.
func readShort(v value) (w written, wrong *slip) {
	words := shortWords(v)
	w.pos = v.pos
	next := func() part {
		if len(words) == 0 {
			return part{pos: v.pos}
		}
		p := words[0]
		words = words[1:]
		return p
	}
	w.metric, w.operator = next(), next()
	if !isOperator(w.operator.text) {
		w.aggregate, w.operator = w.operator, next()
	}
	if w.limit = next(); !isOperator(w.operator.text) || !w.limit.given {
		return w, &slip{w.operator.pos, "this is not a metric, an operator (<, <=, > or >=) and a limit", "write " + shortExample}
	}
	for len(words) > 0 {
		keyword := next()
		into := w.keyword(keyword.text)
		argument := next()
		switch {
		case keyword.text == "of" && argument.text == "limit" && !w.ofLimit:
			w.ofLimit = true
		case keyword.text == "of" && argument.text == "reserve" && !w.ofReserve:
			w.ofReserve = true
		case into == nil:
			return w, &slip{keyword.pos, "this cannot be read from here on", "write " + shortExample}
		case into.given:
			return w, &slip{keyword.pos, keyword.text + " is here twice", "keep one of them"}
		case !argument.given:
			return w, &slip{keyword.pos, "after " + keyword.text + " something is missing", "write " + shortExample}
		default:
			*into = argument
		}
	}
	return w, nil
}

func (w *written) keyword(word string) *part {
	switch word {
	case "over":
		return &w.over
	case "for":
		return &w.lasting
	case "clear":
		return &w.clear
	case "->":
		return &w.action
	}
	return nil
}

func isOperator(s string) bool { return s == "<" || s == "<=" || s == ">" || s == ">=" }

// shortWords splits at blanks and around operators. The place of a word is
// known only in text that stands in the file as it is.
func shortWords(v value) (words []part) {
	rest, column := v.text, v.col
	for {
		trimmed := strings.TrimLeft(rest, " \t\r\n")
		column += utf8.RuneCountInString(rest[:len(rest)-len(trimmed)])
		if rest = trimmed; rest == "" {
			return words
		}
		n := wordLength(rest)
		p := part{pos: v.pos, text: rest[:n], given: true}
		if v.plain {
			p.col = column
		}
		words = append(words, p)
		column += utf8.RuneCountInString(rest[:n])
		rest = rest[n:]
	}
}

// wordLength is the length of the word that s, which is not empty, begins with.
func wordLength(s string) int {
	for _, operator := range []string{"->", "<=", ">=", "<", ">"} {
		if strings.HasPrefix(s, operator) {
			return len(operator)
		}
	}
	for i := range s {
		if strings.ContainsRune(" \t\r\n<>", rune(s[i])) || strings.HasPrefix(s[i:], "->") {
			return i
		}
	}
	return len(s)
}
