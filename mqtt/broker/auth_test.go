package broker

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
)

func TestSubjects(t *testing.T) {
	tests := map[string][]string{
		"a":         {"a"},
		"a/b":       {"a.b"},
		"a/+/c":     {"a.*.c"},
		"a/#":       {"a", "a.>"},
		"a/+/#":     {"a.*", "a.*.>"},
		"a/b_c-1/ä": {"a.b_c-1.ä"},

		"":                 nil,
		"#":                nil,
		"+":                nil,
		"+/a":              nil,
		"/a":               nil,
		"a//b":             nil,
		"a/":               nil,
		"a.b":              nil,
		"a b":              nil,
		"a/b+":             nil,
		"a/#/b":            nil,
		"a/>":              nil,
		"a/*":              nil,
		"$MQTT/rmsgs":      nil,
		"a/$MQTT":          nil,
		"a\x00b":           nil,
		"a/\xff":           nil,
		"a/\u007f":         nil,
		"a/b\n":            nil,
		"$SYS/#":           nil,
		"a/b/c/d/e/f/g/#x": nil,
	}
	for filter, want := range tests {
		got, err := subjects(filter)
		if d := cmp.Diff(want, got); d != "" || (want == nil) != (err != nil) {
			t.Errorf("%q: %v, error %v", filter, got, err)
		}
	}
}

func TestEmptyPermissionsAllowNothing(t *testing.T) {
	got, err := Permissions{}.server()
	if err != nil {
		t.Fatal(err)
	}
	none := &server.SubjectPermission{Allow: []string{nowhere}}
	if d := cmp.Diff(&server.Permissions{Publish: none, Subscribe: none}, got); d != "" {
		t.Error(d)
	}
}

func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"a/b", "a/+/c", "a/#", "#", "+/a", "a//b", "$MQTT/x", "a.b", "a b", "ä/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		got, err := subjects(filter)
		if err != nil {
			return
		}
		for _, s := range got {
			if !server.IsValidSubject(s) {
				t.Errorf("%q becomes the invalid %q", filter, s)
			}
			if strings.HasPrefix(s, "$") || strings.HasPrefix(s, "*") || s == ">" {
				t.Errorf("%q becomes %q, which reaches the broker's own subjects", filter, s)
			}
			if strings.Count(s, ".") > strings.Count(filter, "/") {
				t.Errorf("%q becomes the deeper %q", filter, s)
			}
		}
	})
}
