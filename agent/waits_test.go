package agent

import (
	"testing"
	"time"

	"github.com/otto-edge/otto"
)

// TestWaitIsToldOnceAndNotAtOnce follows instances that wait, each for something.
func TestWaitIsToldOnceAndNotAtOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	var w waits
	see := func(after time.Duration, state otto.InstanceState, reason string, want int) {
		t.Helper()
		now = now.Add(after)
		list := []otto.InstanceStatus{
			{Name: "db", State: otto.InstanceRunning, Reason: "x"},
			{Name: "web", State: state, Reason: reason},
		}
		if got := w.take(list, now); len(got) != want {
			t.Errorf("at %s: told of %v, want %d", now.Sub(time.Unix(1000, 0)), got, want)
		}
	}
	see(0, otto.InstanceWaiting, "waiting: db is starting for 1 s", 0)
	if left := w.left(now, time.Minute); left != waitSaid {
		t.Errorf("it looks again after %s", left)
	}
	see(9*time.Second, otto.InstanceWaiting, "waiting: db is starting for 10 s", 0)
	see(time.Second, otto.InstanceWaiting, "waiting: db is starting for 11 s", 1)
	see(time.Hour, otto.InstanceWaiting, "waiting: db is starting for 3611 s", 0)
	if left := w.left(now, time.Minute); left != time.Minute {
		t.Errorf("it looks again after %s", left)
	}
	see(time.Second, otto.InstanceWaiting, "waiting: db is unhealthy", 0)
	see(waitSaid, otto.InstanceWaiting, "waiting: db is unhealthy", 1)
	see(time.Second, otto.InstanceRunning, "", 0)
	see(time.Second, otto.InstanceWaiting, "waiting: db is unhealthy", 0)
	see(time.Second, otto.InstanceWaiting, "waiting: db is starting for 1 s", 0)
}
