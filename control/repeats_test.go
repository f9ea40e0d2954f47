package control

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// TestEventsThatRepeatAreCounted tells the same of a service for an hour, with something
// else in between.
func TestEventsThatRepeatAreCounted(t *testing.T) {
	r, now := repeats{}, time.Unix(0, 0)
	var written []string
	write := func(list []otto.Event) {
		for _, e := range list {
			written = append(written, now.Sub(time.Unix(0, 0)).String()+" "+e.Message)
		}
	}
	tell := func(service, message, by string) {
		write(
			r.take(otto.Event{Kind: "instance-unhealthy", Node: "n1", Service: service, Message: message, By: by}, now),
		)
	}
	for range 15 {
		tell("web", "restarted", "")
		tell("db", "asked for", "eve") // whatever people want is written
		now = now.Add(time.Minute)
		write(r.due(now))
	}
	tell("web", "restarted", "")
	tell("web", "up", "")
	now = now.Add(time.Minute)
	tell("web", "restarted", "")
	now = now.Add(2 * repeatWithin)
	tell("web", "restarted", "") // that is another time
	written = slices.DeleteFunc(written, func(s string) bool { return strings.HasSuffix(s, "asked for") })
	want := []string{
		"0s restarted",
		"11m0s restarted (again, 10 times)",
		"15m0s restarted (again, 5 times)",
		"15m0s up",
		"16m0s restarted",
		"36m0s restarted",
	}
	if !slices.Equal(written, want) {
		t.Errorf("got  %q\nwant %q", written, want)
	}
	tell("web", "restarted", "")
	written = nil
	write(r.rest())
	write(r.rest())
	if want := []string{"36m0s restarted (again)"}; !slices.Equal(written, want) {
		t.Errorf("at the end: got %q, want %q", written, want)
	}
	write(r.due(now.Add(time.Hour)))
	if len(r) != 0 {
		t.Errorf("left: %v", r)
	}
}

// TestChangeNamesWhatChanges: the event of a change says of what, and is bounded.
func TestChangeNamesWhatChanges(t *testing.T) {
	changes := []otto.Change{
		{Kind: "add", Noun: "service", Name: "web"},
		{Kind: "change", Noun: "service", Name: "db", Detail: "image: a -> b"},
		{Kind: "remove", Noun: "node", Name: "pi"},
	}
	if got, want := named(changes), ": + service web, ~ service db, - node pi"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := named(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if got := named(slices.Repeat(changes, 4)); !strings.HasSuffix(got, ", ~ service db, and 4 more") {
		t.Errorf("of many: %q", got)
	}
}
