package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What Compose's loader says about filling in values, and about what names itself by way
// of others: it gives no place.
var (
	unfilled  = regexp.MustCompile(`(?m)^error while interpolating (\S+): (.+)$`)
	required  = regexp.MustCompile(`^required variable (\S+) is missing a value(?:: (.*))?$`)
	unextends = regexp.MustCompile(`^cannot extend service "(.+?)" in .+?: service "(.+?)" not found(?: in (.+))?$`)
	depending = regexp.MustCompile(`^dependency cycle detected: (.+)$`)
	extending = regexp.MustCompile(`(?m)^  (?:extends )?(\S+) in `)
	including = regexp.MustCompile(`^include cycle detected:\n`)
)

// rejectFilling reports values that cannot be filled in, or are not of their kind then. It
// returns false if the error is another one.
func (r *reader) rejectFilling(text string, source value) bool {
	all := unfilled.FindAllStringSubmatch(text, -1)
	for _, m := range all {
		found := valueAt(source, m[1])
		if v := required.FindStringSubmatch(m[2]); v != nil {
			at := found.at
			if use := variableAt(found.value, v[1]); use.line > 0 {
				at = use
			}
			r.reject(at, cmp.Or(v[2], "set it in the environment or in .env"), "variable %s is not set", v[1])
			continue
		}
		why := m[2] // with the value of a variable, where it is of another type
		if strings.HasPrefix(why, "failed to cast ") {
			why = "its value has another type"
		}
		r.rejectValue(source, m[1], why)
	}
	return len(all) > 0
}

// rejectCircle reports what depends on itself, extends itself or includes itself by way of
// others, and what extends a service that is not there. It returns false if the error is
// another one.
func (r *reader) rejectCircle(text string, source value) bool {
	if m := depending.FindStringSubmatch(text); m != nil {
		way := strings.Split(m[1], " -> ")
		at := useOf(valueAt(source, "services."+way[0]), "service", way[min(1, len(way)-1)])
		r.reject(at, "take one of them out", "services wait for each other: %.200s", strings.Join(way, " > "))
		return true
	}
	if m := unextends.FindStringSubmatch(text); m != nil {
		var there []string
		if m[3] == "" {
			for _, f := range valueAt(source, "services").value.fields {
				there = append(there, f.name)
			}
		}
		try := "write the name of a service of " + cmp.Or(m[3], "this file")
		if n := nearest(m[2], there); n != "" {
			try = "did you mean " + n + "?"
		}
		r.reject(extendsAt(source, m[1]), try, "service %s extends service %.60s, which is not there", m[1], m[2])
		return true
	}
	if strings.HasPrefix(text, "Circular reference:\n") {
		var way []string // which begins anywhere
		for _, m := range extending.FindAllStringSubmatch(text, -1) {
			way = append(way, m[1])
		}
		if len(way) > 0 {
			first := slices.Min(way)
			r.reject(extendsAt(source, first), "take one of them out", "service %s extends itself by way of others", first)
		}
		return len(way) > 0
	}
	if including.MatchString(text) {
		r.reject(valueAt(source, "include").at, "take one of them out", "the file includes itself by way of others")
		return true
	}
	return false
}

// extendsAt is where a service says which one it extends.
func extendsAt(source value, service string) pos {
	found := valueAt(source, "services."+service+".extends.service")
	if found.value.kind == scalar {
		return found.value.pos
	}
	return found.at
}

// variableAt is where a variable is used first; no line if it is nowhere.
func variableAt(v value, name string) pos {
	if v.kind == scalar && strings.Contains(v.text, "${"+name+"}") {
		return v.pos
	}
	for _, item := range v.items {
		if at := variableAt(item, name); at.line > 0 {
			return at
		}
	}
	for _, f := range v.fields {
		if at := variableAt(f.value, name); at.line > 0 {
			return at
		}
	}
	return pos{}
}

// warnOfUnset names a variable that is set nowhere.
func (r *reader) warnOfUnset(at pos, name string) {
	r.warn(at, fmt.Sprintf("write $$ if a dollar sign is meant, as in the hash of a password; "+
		"or set it in the environment or in .env, or write ${%s:-default}", name),
		"variable %s is not set, it is taken as blank", name)
}
