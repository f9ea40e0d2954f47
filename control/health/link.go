package health

import (
	"math"
	"time"
)

// Constants of suspicion. It is phi accrual detection (Hayashibara, Défago, Yared,
// Katayama: The phi accrual failure detector, SRDS 2004): phi is -log10 of the
// probability that a link with this rhythm is silent for so long by chance.
const (
	suspicion = 8.0 // phi: once in 10^8 heartbeats
	window    = 100 // gaps between heartbeats that are remembered
	enough    = 8   // gaps before they count
	untaught  = 3   // times the least patience, before that
)

// Link learns the rhythm in which a node's heartbeats arrive. The zero value
// knows nothing.
type Link struct {
	gaps [window]float64 // seconds, a ring
	n    int             // heartbeats so far

	mean, deviation float64 // of the gaps, in seconds
}

// Heard takes in the gap before a heartbeat. A gap longer than the patience of
// the time counts as twice that: an outage is no rhythm, but a link that has many
// such gaps gets the patience it needs.
func (l *Link) Heard(gap, patience time.Duration) {
	l.gaps[l.n%window] = min(gap, 2*patience).Seconds()
	l.n++
	l.mean, l.deviation = l.rhythm()
}

// Forget forgets the rhythm, as after a restart of the node.
func (l *Link) Forget() { *l = Link{} }

func (l *Link) rhythm() (mean, deviation float64) {
	n := min(l.n, window)
	for _, g := range l.gaps[:n] {
		mean += g / float64(n)
	}
	for _, g := range l.gaps[:n] {
		deviation += (g - mean) * (g - mean) / float64(n)
	}
	return mean, math.Sqrt(deviation)
}

// Phi is how suspicious a silence is on this link, for heartbeats that are sent
// every interval.
func (l *Link) Phi(silent, interval time.Duration) float64 {
	deviation := max(l.deviation, interval.Seconds()/10)
	p := math.Erfc((silent.Seconds()-l.mean)/(deviation*math.Sqrt2)) / 2
	return -math.Log10(max(p, math.SmallestNonzeroFloat64))
}

// Patience is how long the node may be silent: until phi reaches the threshold,
// within the limits.
func (l *Link) Patience(interval time.Duration, limits Limits) time.Duration {
	floor, ceiling := max(limits.Floor, 2*interval), max(limits.Ceiling, 6*interval)
	if l.n < enough {
		return min(untaught*floor, ceiling)
	}
	deviation := max(l.deviation, interval.Seconds()/10)
	seconds := l.mean + deviations*deviation
	return min(max(time.Duration(seconds*float64(time.Second)), floor), ceiling)
}

// deviations is how many standard deviations from the mean phi is 8: the inverse
// of Phi.
const deviations = 5.612
