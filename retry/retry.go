// Package retry says how long to wait before something that failed is tried again, where real time
// passes and chance may decide. What is decided from the state and the time alone, as in control and
// agent, computes its waits itself: see docs/adr/0032-waits.md.
package retry

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Doubling returns waits that begin at about least and double up to about most: each is drawn from
// half of that to one and a half, so that what failed together is not tried again together.
func Doubling(least, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = least, most, 2
	b.Reset()
	return b
}

// Steadily is Doubling without chance, for what has nothing to keep apart from.
func Steadily(least, most time.Duration) *backoff.ExponentialBackOff {
	b := Doubling(least, most)
	b.RandomizationFactor = 0
	return b
}
