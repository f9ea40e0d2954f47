package broker

import (
	"fmt"
	"strings"
)

// Permissions are lists of MQTT topic filters that a client may publish and
// subscribe to. Whatever is not in them is forbidden; there is no list of
// exceptions.
//
// A filter starts with a plain level, so that neither "#" nor "+/x" can reach
// the broker's own "$" topics.
type Permissions struct {
	Publish, Subscribe []string
	// ReadAll allows all subscriptions. It is for who holds the broker anyway, and
	// learns while connected what there is to be read.
	ReadAll bool
	// Class says how much of the broker the client may take.
	Class Class
}

func (p Permissions) mayPublish(topic string) bool { return anyCovers(p.Publish, topic) }

func (p Permissions) maySubscribe(filter string) bool {
	if p.ReadAll {
		return filter != "" && filter[0] != '$'
	}
	return anyCovers(p.Subscribe, filter)
}

// check fails for a filter that must not be granted.
func (p Permissions) check() error {
	for _, list := range [][]string{p.Publish, p.Subscribe} {
		for _, f := range list {
			if !grantable(f) {
				return fmt.Errorf("%q is not a filter that can be granted", f)
			}
		}
	}
	return nil
}

func grantable(filter string) bool {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		wild := level == "+" && i > 0 || level == "#" && i > 0 && i == len(levels)-1
		if !wild && !plainLevel(level) {
			return false
		}
	}
	return true
}

// plainLevel reports whether a level means itself.
func plainLevel(level string) bool {
	if level == "" || level[0] == '$' {
		return false
	}
	return !strings.ContainsFunc(level, func(r rune) bool {
		return r < ' ' || strings.ContainsRune("+#\x7f\uFFFD", r)
	})
}

func anyCovers(granted []string, wanted string) bool {
	for _, g := range granted {
		if covers(g, wanted) {
			return true
		}
	}
	return false
}

// covers reports whether all topics that match wanted match granted, too. A topic is
// a filter that matches itself alone.
func covers(granted, wanted string) bool {
	for {
		g, moreGranted := next(&granted)
		if g == "#" {
			return true
		}
		w, moreWanted := next(&wanted)
		switch {
		case w == "#", w == "+" && g != "+", g != "+" && g != w:
			return false
		case !moreWanted:
			return !moreGranted || granted == "#"
		case !moreGranted:
			return false
		}
	}
}

// next cuts the first level off a filter.
func next(filter *string) (level string, more bool) {
	level, *filter, more = strings.Cut(*filter, "/")
	return level, more
}
