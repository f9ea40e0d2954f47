package docker

import (
	"testing"

	"github.com/moby/moby/api/types/events"
)

func TestWhatWasAskedToStopIsToldFromWhatHasEnded(t *testing.T) {
	var k killCount
	say := func(action events.Action, value string) {
		k.take(
			events.Message{
				Action: action,
				Actor:  events.Actor{ID: "1", Attributes: map[string]string{"signal": value, "exitCode": value}},
			},
		)
	}
	for _, step := range []struct {
		action  events.Action
		value   string // signal or exit code
		stopped bool
		exit    int // -1: none is known
	}{
		{events.ActionStart, "", false, -1},
		{events.ActionKill, "1", false, -1}, // it reads its configuration again
		{events.ActionDie, "7", false, 7},
		{events.ActionStart, "", false, 7},
		{events.ActionKill, "15", true, 7},
		{events.ActionDie, "2", true, 7}, // as it was stopped
		{events.ActionStart, "", false, 7},
		{events.ActionDestroy, "", false, -1},
	} {
		say(step.action, step.value)
		_, stopped, code := k.count("1")
		exit := -1
		if code != nil {
			exit = *code
		}
		if stopped != step.stopped || exit != step.exit {
			t.Errorf("after %s %s: stopped %t, exit code %d", step.action, step.value, stopped, exit)
		}
	}
}
