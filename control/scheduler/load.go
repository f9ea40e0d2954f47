package scheduler

import (
	"math"
	"time"
)

// Load is the mean of a measurement and how far it varies, the last minutes
// weighing most. Its zero value has seen nothing.
type Load struct {
	Mean     float64
	Variance float64
	Samples  int
	Span     time.Duration // from the first of them to the last
}

// loadMemory is the time in which a sample's weight falls to 1/e.
const loadMemory = 2 * time.Minute

// Add takes in a measurement that was made some time after the last one; after a
// long gap, in which the machine may have been started anew, it begins anew. Mean and
// variance are exponentially weighted, as in T. Finch, Incremental calculation of
// weighted mean and variance (2009), section 9.
func (l Load) Add(x float64, after time.Duration) Load {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return l
	}
	if l.Samples == 0 || after > loadMemory {
		return Load{Mean: x, Samples: 1}
	}
	alpha := 1 - math.Exp(-max(after, 0).Seconds()/loadMemory.Seconds())
	step := alpha * (x - l.Mean)
	return Load{
		Mean:     l.Mean + step,
		Variance: (1 - alpha) * (l.Variance + (x-l.Mean)*step),
		Samples:  min(l.Samples+1, math.MaxInt32),
		Span:     min(l.Span+max(after, 0), loadMemory),
	}
}

// steady reports whether the mean is more than that of a passing moment, such as
// the start of what has just been placed.
func (l Load) steady() bool { return l.Span >= loadMemory }

// Dev is the standard deviation.
func (l Load) Dev() float64 { return math.Sqrt(max(l.Variance, 0)) }
