package health

import (
	"math"
	"time"
)

// Constants of damping. The shape is RFC 2439's: each flap adds to a penalty that
// halves with time; above one limit the node is not trusted with anything new,
// until the penalty has fallen below a second, lower one.
const (
	flapPenalty = 1000.0
	suppress    = 3000.0
	reuse       = 1000.0
	most        = 8000.0 // bounds the time after the last flap to three half-lives
	halfLife    = time.Minute
)

// Flaps counts how often a node came and went. The zero value has none.
type Flaps struct {
	penalty    float64
	at         time.Time // when penalty was true
	suppressed bool
}

// Add notes that the node has come back once more.
func (f *Flaps) Add(now time.Time) {
	f.decay(now)
	f.penalty = min(f.penalty+flapPenalty, most)
}

// Suppressed reports whether the node comes and goes too often to be given
// anything new.
func (f *Flaps) Suppressed(now time.Time) bool {
	f.decay(now)
	switch {
	case f.penalty >= suppress:
		f.suppressed = true
	case f.penalty < reuse:
		f.suppressed = false
	}
	return f.suppressed
}

func (f *Flaps) decay(now time.Time) {
	if f.penalty > 0 {
		f.penalty *= math.Exp2(-now.Sub(f.at).Seconds() / halfLife.Seconds())
	}
	f.at = now
}
