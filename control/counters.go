package control

import (
	"time"

	"github.com/otto-edge/otto"
)

// counted is what a report says of one of the two counters of an instance.
func (f *feed) counted(boot string, s otto.InstanceStatus) float64 {
	if f.Name == otto.MetricOOMKills {
		return f.counts.kills.take(boot, s.OOMKills)
	}
	return f.counts.starts.take(s)
}

// counts are what those two add up.
type counts struct {
	starts restarts
	kills  oomKills
}

// oomKills adds up what agents count from their starts on.
type oomKills struct {
	boot  string
	last  int
	total float64
}

// take returns the count, from 1 on as that of restarts. What there was before the
// first report does not count.
func (k *oomKills) take(boot string, n int) float64 {
	switch {
	case k.boot == boot:
		k.total += float64(max(n-k.last, 0))
	case k.boot != "":
		k.total += float64(n)
	}
	k.boot, k.last = boot, n
	return k.total + 1
}

// restarts counts the starts of an instance after the first one that is seen.
type restarts struct {
	started  time.Time
	spec     string
	byEngine int
	total    float64
}

// take returns the count, from 1 on: it never stands still at 0, which a counter
// could not be told from one that begins anew.
func (r *restarts) take(s otto.InstanceStatus) float64 {
	again := r.spec == s.SpecHash && !r.started.IsZero() && s.Started.After(r.started)
	if again {
		r.total += float64(max(1, s.Restarts-r.byEngine))
	}
	if !s.Started.IsZero() {
		r.started, r.spec, r.byEngine = s.Started, s.SpecHash, s.Restarts
	}
	return r.total + 1
}
