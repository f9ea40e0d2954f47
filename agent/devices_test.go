package agent

import (
	"maps"
	"testing"
	"time"
)

func TestDeviceIsGoneWhenItHasBeenForAWhile(t *testing.T) {
	plugged := map[string]bool{}
	d := devices{exists: func(path string) bool { return plugged[path] }}
	start := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		at      time.Duration
		plugged bool
		want    bool
	}{
		{0, false, false}, // never there
		{time.Second, true, true},
		{time.Minute, false, true}, // it may be reset
		{time.Minute + time.Second, true, true},
		{2 * time.Minute, false, true},
		{2*time.Minute + unplugged - time.Second, false, true},
		{2*time.Minute + unplugged, false, false},
		{3 * time.Minute, false, false},
		{4 * time.Minute, true, true},
	} {
		plugged["/dev/ttyUSB0"] = step.plugged
		d.look([]string{"/dev/ttyUSB0", "/dev/other"}, start.Add(step.at))
		if want := map[string]bool{"/dev/ttyUSB0": step.want, "/dev/other": false}; !maps.Equal(d.there, want) {
			t.Errorf("after %s: %v", step.at, d.there)
		}
	}
	d.look(nil, start.Add(5*time.Minute))
	d.look([]string{"/dev/ttyUSB0"}, start.Add(6*time.Minute))
	if len(d.there) != 1 || !d.there["/dev/ttyUSB0"] {
		t.Errorf("asked for again: %v", d.there)
	}
}
