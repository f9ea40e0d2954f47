package config

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// form is how a value may be written: what reads it, and the same for an editor.
type form[V any] struct {
	schema schema
	read   func(*reader, value) (V, bool) // false after it has rejected the value
}

// key is what may stand under one name of a mapping.
type key[T any] struct {
	doc    string // one line, for an editor
	schema schema
	read   func(r *reader, v value, into *T)
}

// as is a key whose value becomes one field.
func as[T, V any](doc string, f form[V], of func(*T) *V) key[T] {
	return key[T]{doc, f.schema, func(r *reader, v value, into *T) {
		if val, ok := f.read(r, v); ok {
			*of(into) = val
		}
	}}
}

// object is a mapping with known keys.
type object[T any] struct {
	noun     string // with its article, such as "a node"
	keys     map[string]key[T]
	required map[string]string // what to write for those that must be there
	later    []string          // keys that Compose has and Otto does not yet support
	idle     []string          // keys that Compose has and that mean nothing here, nor to Compose outside of Swarm
}

func (o object[T]) read(r *reader, v value, into *T) bool {
	if v.broken {
		return false
	}
	if v.kind != mapping {
		r.reject(v.pos, "write it as `key: value` lines", "%s is a mapping, not %s", o.noun, v.kind)
		return false
	}
	given := map[string]bool{}
	for _, f := range v.fields {
		k, known := o.keys[f.name]
		switch {
		case known && f.broken:
			given[f.name] = true
		case known && (f.kind == null || f.filled && f.text == ""): // as in Compose: as if it were not there
		case known:
			given[f.name] = true
			k.read(r, f.value, into)
		case f.name == xOtto:
			r.reject(f.pos, "in otto.yaml, write its keys themselves", "x-otto is for the top, the services and the volumes of a Compose file")
		case strings.HasPrefix(f.name, "x-"): // the user's own, as in Compose
		case slices.Contains(o.idle, f.name), slices.Contains(o.later, f.name) && asksForNothing(f.value):
		case slices.Contains(o.later, f.name):
			r.refuse(f.pos, f.name)
		default:
			r.rejectKey(f.pos, f.name, o.noun, slices.Sorted(maps.Keys(o.keys)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.required)) {
		if !given[name] && !o.instead(name, v) {
			r.reject(v.pos, "write "+o.required[name], "%s needs %s", o.noun, name)
		}
	}
	return true
}

// instead reports whether another key makes up for one that is required.
func (o object[T]) instead(name string, v value) bool {
	return name == "image" && slices.ContainsFunc(v.fields, func(f field) bool {
		return f.name == "build" && !asksForNothing(f.value) && o.keys["build"].read != nil
	})
}

// asksForNothing reports whether a value is what a key means that is not there.
func asksForNothing(v value) bool {
	return !v.broken && len(v.items) == 0 && len(v.fields) == 0 &&
		(v.kind != scalar || v.text == "false" || v.filled && v.text == "")
}

func (r *reader) rejectKey(at pos, name, noun string, known []string) {
	try := "known are " + strings.Join(known, ", ")
	if n := nearest(name, known); n != "" {
		try = "did you mean " + n + "?"
	}
	r.reject(at, try, "%s has no key %.60q", noun, name)
}

// one is the form of a whole object.
func (o object[T]) one() form[T] {
	return form[T]{o.schema(), func(r *reader, v value) (T, bool) {
		var t T
		ok := o.read(r, v, &t)
		return t, ok
	}}
}

// wants rejects a value that is not of the kind a form is for.
func (r *reader) wants(v value, k kind, example string) bool {
	if v.broken {
		return false
	}
	if v.kind != k {
		r.reject(v.pos, "write "+example, "%s is expected here, not %s", k, v.kind)
		return false
	}
	return true
}

// text is any single value, as it stands in the file; example shows one.
func text(example string) form[string] {
	return checked(example, func(string) bool { return true })
}

// checked is a text that ok accepts.
func checked(example string, ok func(string) bool) form[string] {
	return form[string]{oneOfKinds("string", "number", "boolean"), func(r *reader, v value) (string, bool) {
		switch {
		case !r.wants(v, scalar, example):
			return "", false
		case strings.TrimSpace(v.text) == "":
			r.reject(v.pos, "write "+example, "this is blank")
			return "", false
		case !ok(v.text):
			r.reject(v.pos, "write "+example, "%.60q is not valid here", v.text)
			return "", false
		}
		return v.text, true
	}}
}

// choice is one of a few words.
func choice(words ...string) form[string] {
	return form[string]{schema{"enum": words}, func(r *reader, v value) (string, bool) {
		all := strings.Join(words, ", ")
		if !r.wants(v, scalar, "one of "+all) {
			return "", false
		}
		if !slices.Contains(words, v.text) {
			try := "write one of " + all
			if n := nearest(v.text, words); n != "" {
				try = "did you mean " + n + "?"
			}
			r.reject(v.pos, try, "%.60q is not one of %s", v.text, all)
			return "", false
		}
		return v.text, true
	}}
}

func boolean() form[bool] {
	return form[bool]{schema{"type": "boolean"}, func(r *reader, v value) (bool, bool) {
		if !r.wants(v, scalar, "true or false") {
			return false, false
		}
		switch strings.ToLower(v.text) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
		r.reject(v.pos, "write true or false", "%.60q is neither true nor false", v.text)
		return false, false
	}}
}

// integer is a whole number from least to most.
func integer(least, most int) form[int] {
	s := oneOf(schema{"type": "integer", "minimum": least, "maximum": most}, schema{"type": "string"})
	return form[int]{s, func(r *reader, v value) (int, bool) {
		if !r.wants(v, scalar, "a number") {
			return 0, false
		}
		n, err := strconv.Atoi(v.text)
		if err != nil || n < least || n > most {
			r.reject(v.pos, "write a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most),
				"%.60q is out of range", v.text)
			return 0, false
		}
		return n, true
	}}
}

// duration is a time with its unit, from least to most.
func duration(least, most time.Duration) form[time.Duration] {
	return form[time.Duration]{schema{"type": "string"}, func(r *reader, v value) (time.Duration, bool) {
		if !r.wants(v, scalar, "a duration such as 1m30s") {
			return 0, false
		}
		var parsed types.Duration
		if err := parsed.DecodeMapstructure(v.text); err != nil {
			r.reject(v.pos, "write a number and its unit, such as 500ms, 10s or 1m30s", "%.60q is not a duration",
				v.text)
			return 0, false
		}
		d := time.Duration(parsed)
		if d < least || d > most {
			r.reject(v.pos, "write a duration from "+least.String()+" to "+most.String(), "%.60q is out of range",
				v.text)
			return 0, false
		}
		return d, true
	}}
}

// size is a number of bytes, at least the given one.
func size(least int64) form[int64] {
	return form[int64]{oneOfKinds("string", "integer"), func(r *reader, v value) (int64, bool) {
		if !r.wants(v, scalar, "a size such as 256m") {
			return 0, false
		}
		var n types.UnitBytes
		if err := n.DecodeMapstructure(v.text); err != nil || int64(n) < 0 || int64(n) > 1<<60 {
			r.reject(v.pos, "write a number and its unit, such as 512k, 256m or 1.5g", "%.60q is not a size", v.text)
			return 0, false
		}
		if int64(n) < least {
			r.reject(v.pos, "write a size such as 256m", "%.60q is less than the %d bytes that Docker needs", v.text,
				least)
			return 0, false
		}
		return int64(n), true
	}}
}

// cores is a number of processors.
func cores() form[float64] {
	return form[float64]{oneOfKinds("number", "string"), func(r *reader, v value) (float64, bool) {
		if !r.wants(v, scalar, "a number such as 0.5") {
			return 0, false
		}
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil || math.IsNaN(n) || n < 0.01 || n > 4096 {
			r.reject(v.pos, "write a number such as 0.5 or 2", "%.60q is not a number of processor cores", v.text)
			return 0, false
		}
		return n, true
	}}
}

// listOf is a list whose items have one form. Items that are wrong are left out.
func listOf[V any](of form[V]) form[[]V] {
	return form[[]V]{schema{"type": "array", "items": of.schema}, func(r *reader, v value) ([]V, bool) {
		if !r.wants(v, list, "each item on a line of its own after a dash") {
			return nil, false
		}
		out := make([]V, 0, len(v.items))
		for _, item := range v.items {
			if val, ok := of.read(r, item); ok {
				out = append(out, val)
			}
		}
		return out, true
	}}
}

// oneOrMore is a list that may be written as its only item.
func oneOrMore[V any](of form[V]) form[[]V] {
	many := listOf(of)
	return form[[]V]{oneOf(of.schema, many.schema), func(r *reader, v value) ([]V, bool) {
		if v.kind == list {
			return many.read(r, v)
		}
		val, ok := of.read(r, v)
		return []V{val}, ok
	}}
}

// given is a key whose field another key may set too: setting it again to
// something else is a mistake.
func given[T any, V comparable](doc string, f form[V], of func(*T) *V) key[T] {
	return key[T]{doc, f.schema, func(r *reader, v value, into *T) {
		val, ok := f.read(r, v)
		if !ok {
			return
		}
		var unset V
		if field := of(into); *field == unset || *field == val {
			*field = val
			return
		}
		r.reject(v.pos, "keep one of them", "another key of this service has already set this to something else")
	}}
}
