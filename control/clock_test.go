package control

import (
	"testing"
	"time"
)

func TestClockThatIsSetIsASleep(t *testing.T) {
	const decade = 10 * 365 * 24 * time.Hour
	since1970 := 56 * 365 * 24 * time.Hour
	for name, tc := range map[string]struct {
		monotonic, wall time.Duration
		want            bool
	}{
		"nothing special":            {tick, tick, false},
		"a slow disk":                {time.Second, time.Second, false},
		"the process was stopped":    {5 * time.Minute, 5 * time.Minute, true},
		"the machine was suspended":  {tick, 5 * time.Minute, true}, // its clock stood still
		"from 1970 to now":           {tick, since1970, true},
		"ten years ahead":            {tick, decade, true},
		"and back again":             {tick, -decade, true},
		"set back while it was slow": {time.Second, -time.Minute, true},
		"a second's correction":      {tick, tick - time.Second, false},
	} {
		if got := overslept(tc.monotonic, tc.wall); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
