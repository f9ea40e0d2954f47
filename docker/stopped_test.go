package docker

import (
	"testing"

	"github.com/moby/moby/api/types/events"
)

func TestWhatWasAskedToStopIsToldFromWhatHasEnded(t *testing.T) {
	var k killCount
	say := func(action events.Action, signal string) {
		k.take(events.Message{Action: action, Actor: events.Actor{ID: "1", Attributes: map[string]string{"signal": signal}}})
	}
	for _, step := range []struct {
		action  events.Action
		signal  string
		stopped bool
	}{
		{events.ActionStart, "", false},
		{events.ActionKill, "1", false}, // it reads its configuration again
		{events.ActionDie, "", false},
		{events.ActionStart, "", false},
		{events.ActionKill, "15", true},
		{events.ActionDie, "", true},
		{events.ActionStart, "", false},
	} {
		say(step.action, step.signal)
		if _, stopped := k.count("1"); stopped != step.stopped {
			t.Errorf("after %s %s: stopped %t", step.action, step.signal, stopped)
		}
	}
}
