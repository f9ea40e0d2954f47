package chart

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/otto-edge/otto"
)

// Wellness is what a state means in a bar.
func Wellness(state string) rune {
	switch state {
	case otto.ServiceUp, string(otto.NodeReady), string(otto.NodeDraining), string(otto.InstanceRunning),
		string(otto.InstanceCompleted), string(otto.RequirementOK), string(otto.RequirementPending):
		return '▮'
	case otto.ServicePartly:
		return '▯'
	case otto.ServiceStopped, string(otto.NodeLeft):
		return '-'
	case otto.ServiceUnknown, string(otto.NodeSuspect):
		return '?'
	}
	return 'x'
}

// StateBar draws states as so many columns, and says how much of what is known was well.
func StateBar(spans []otto.Span, from, to time.Time, width int) (cells []rune, said string) {
	sums := make([][len(kinds)]float64, width)
	each := to.Sub(from).Seconds() / float64(width)
	var known, well float64
	for _, s := range spans {
		length := s.To.Sub(s.From).Seconds()
		begin, end := s.From.Sub(from).Seconds(), s.To.Sub(from).Seconds()
		for at := max(0, int(begin/each)); at < width && float64(at)*each < end; at++ {
			part := min(end, float64(at+1)*each) - max(begin, float64(at)*each)
			if part <= 0 || length <= 0 {
				continue
			}
			for state, share := range s.Shares {
				seconds := s.Known * part / length * share
				kind := kindOf(Wellness(state))
				sums[at][kind] += seconds
				known += seconds
				if kind == 0 {
					well += seconds
				}
			}
		}
	}
	for _, sum := range sums {
		cells = append(cells, cellOf(sum))
	}
	if known == 0 {
		return cells, "nothing is known"
	}
	share := math.Floor(1000*well/known) / 10 // 100 % only if it was all the time
	return cells, fmt.Sprintf("%s%% of %s", trimmed(share), Short(time.Duration(known*float64(time.Second))))
}

func trimmed(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

// kinds are the characters of a bar, one for each known state; the first is for a service that is well.
var kinds = [...]rune{'▮', '▯', 'x', '?', '-'} //nolint:gochecknoglobals // never changed

func kindOf(cell rune) int {
	for i, k := range kinds {
		if k == cell {
			return i
		}
	}
	return 0
}

// cellOf is the column of seconds in states, by their kinds.
func cellOf(sum [len(kinds)]float64) rune {
	var all, most float64
	cell := '·'
	for kind, seconds := range sum {
		all += seconds
		if seconds > most {
			cell, most = kinds[kind], seconds
		}
	}
	if all > 0 && most < all*0.99999 && (cell == '▮' || sum[0] > 0) {
		return '▯'
	}
	return cell
}

// Short is a duration without what does not matter.
func Short(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
