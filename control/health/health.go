// Package health judges whether a node is alive, from when it was last heard
// and whether another way to it works. It is pure arithmetic on evidence; all
// times are by the clock of the one who listens.
package health

import (
	"fmt"
	"time"

	"github.com/otto-edge/otto"
)

// Limits are how long a node may be silent.
type Limits struct {
	Suspect time.Duration // before it is suspect
	Lost    time.Duration // before it can be lost
}

// DefaultLimits suit heartbeats every half second on a home network.
func DefaultLimits() Limits { return Limits{Suspect: 2500 * time.Millisecond, Lost: 10 * time.Second} }

// Evidence is what is known about one node.
type Evidence struct {
	// Watching is since when the control plane has been able to hear at all.
	Watching time.Time
	// Heard is when the node's agent was last heard; zero if never.
	Heard time.Time
	// Goodbye is when its will or its goodbye came after that; zero if it did not.
	Goodbye time.Time
	// Unreachable says why the second channel, SSH, does not reach the host; empty
	// when it does or has not been tried.
	Unreachable string
	// Stopped says that the node was asked to stop.
	Stopped bool
}

// Judge returns the node's state and the reason for it.
func Judge(e Evidence, l Limits, now time.Time) (otto.NodeState, string) {
	if e.Watching.IsZero() {
		return otto.NodeJoining, "the control plane is not connected to the broker"
	}
	if e.Heard.IsZero() {
		if e.Stopped {
			return otto.NodeLeft, "stopped"
		}
		if e.Unreachable != "" && now.Sub(e.Watching) > l.Lost {
			return otto.NodeLost, e.Unreachable
		}
		return otto.NodeJoining, "its agent has not reported yet"
	}
	silent := now.Sub(later(e.Heard, e.Watching))
	gone := e.Goodbye.After(e.Heard)
	switch {
	case !gone && silent <= l.Suspect:
		return otto.NodeReady, ""
	case e.Stopped:
		return otto.NodeLeft, "stopped"
	case e.Unreachable != "" && silent > l.Lost:
		return otto.NodeLost, fmt.Sprintf("silent for %s, and %s", silent.Round(time.Second), e.Unreachable)
	case gone:
		return otto.NodeSuspect, "its agent said goodbye or its connection broke"
	default:
		return otto.NodeSuspect, fmt.Sprintf("silent for %s", silent.Round(100*time.Millisecond))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
