package retry

import (
	"testing"
	"time"
)

func TestWaitsDoubleUpToTheMostAndBeginAgain(t *testing.T) {
	steady, spread := Steadily(time.Second, 5*time.Second), Doubling(time.Second, 5*time.Second)
	for round := range 2 {
		for i, want := range []time.Duration{1, 2, 4, 5, 5} {
			want *= time.Second
			if got := steady.NextBackOff(); got != want {
				t.Errorf("round %d: wait %d is %s, want %s", round, i, got, want)
			}
			if got := spread.NextBackOff(); got < want/2 || got > want*3/2 {
				t.Errorf("round %d: wait %d is %s, want about %s", round, i, got, want)
			}
		}
		steady.Reset()
		spread.Reset()
	}
}
