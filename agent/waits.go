package agent

import (
	"time"

	"github.com/otto-edge/otto"
)

// waitSaid is for how long an instance must have waited for the same before that is an
// event: most wait for a moment only, until another one is up.
const waitSaid = 10 * time.Second

// waits are the instances that wait, and since when for the same.
type waits struct {
	of   map[string]waiting // by instance
	next time.Time          // when one of them is to be told of; zero for none
}

type waiting struct {
	why   string // without its numbers
	since time.Time
	said  bool
}

// take takes in what is reported, and returns those that have waited for long enough to
// be told of, once for each reason.
func (w *waits) take(list []otto.InstanceStatus, now time.Time) (tell []otto.InstanceStatus) {
	former := w.of
	w.of, w.next = map[string]waiting{}, time.Time{}
	for _, st := range list {
		if st.State != otto.InstanceWaiting || st.Reason == "" {
			continue
		}
		is := former[st.Name]
		if why := otto.Wording(st.Reason); is.why != why {
			is = waiting{why: why, since: now}
		}
		switch at := is.since.Add(waitSaid); {
		case is.said:
		case !now.Before(at):
			is.said = true
			tell = append(tell, st)
		case w.next.IsZero() || at.Before(w.next):
			w.next = at
		}
		w.of[st.Name] = is
	}
	return tell
}

// noteWaits makes events of what waits. That data is missing is told as such.
func (c *converger) noteWaits(list []otto.InstanceStatus, now time.Time) {
	for _, st := range c.waits.take(list, now) {
		if len(c.data.lost[st.Name]) == 0 {
			c.note("instance-waiting", st.Name, st.Reason)
		}
	}
}

// left is how long until there is one to be told of, at most limit.
func (w *waits) left(now time.Time, limit time.Duration) time.Duration {
	if w.next.IsZero() {
		return limit
	}
	return min(limit, max(w.next.Sub(now), 0))
}
