// Package health judges whether a node is alive, from when it was last heard
// and whether another way to it works. It is pure arithmetic on evidence; all
// times are by the monotonic clock of the one who listens.
//
// Three things keep a hiccup from being taken for a death. How long a node may
// be silent follows from the rhythm of its own link (Link). A silent node is
// lost only if a second channel cannot reach its host either (Evidence). And
// one who hears nobody doubts himself first (Doubt).
//
// A host may be neither alive nor dead: its kernel answers, and none of its programs
// does. Such a node is unresponsive. It cannot be told to stop anything, and what runs
// there may still write.
package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

// Limits bound how long a node may be silent before it is suspect.
type Limits struct {
	// Floor and Ceiling bound what is learned from a link's rhythm. A node whose
	// heartbeats are rare has at least two and at most six times their interval.
	Floor, Ceiling time.Duration
	// Grace is how long a node has to be heard at all after the control plane has
	// begun to listen: it may have to connect to the broker first.
	Grace time.Duration
	// Mute is how long a node must be silent at least before it counts that no program
	// of its host answers: its agent and its SSH server may both be starting.
	Mute time.Duration
}

// DefaultLimits suit heartbeats every half second on a home network.
func DefaultLimits() Limits {
	return Limits{Floor: time.Second, Ceiling: 20 * time.Second, Grace: 15 * time.Second, Mute: 6 * time.Second}
}

// Evidence is what is known about one node.
type Evidence struct {
	Was otto.NodeState
	// Watching is since when the control plane has been able to hear at all.
	Watching time.Time
	// Heard is when the node's agent was last heard; zero if never.
	Heard time.Time
	// Goodbye is when its will or its goodbye came after that; zero if it did not.
	Goodbye time.Time
	// Patience is how long the node may be silent.
	Patience time.Duration
	// Unreachable says why the host is not reached by any other way: not from
	// here, and not by another node. Empty when somebody reaches it, or when not
	// everybody has tried since it fell silent.
	Unreachable string
	// Reached says who was answered by a program of the host although its agent is silent.
	Reached string
	// Mute says what answers where no program of the host does; Asked is how often in a
	// row that was found.
	Mute  string
	Asked int
	// Stuck says why the agent does nothing and cannot be ended.
	Stuck string
	// Doubt says why the control plane does not trust its own ears.
	Doubt string
	// Draining says that a person wants the node empty.
	Draining bool
	// Stopped says that the node was asked to stop.
	Stopped bool
}

// Judge returns the node's state and the reason for it.
func Judge(e Evidence, l Limits, now time.Time) (otto.NodeState, string) {
	if e.Watching.IsZero() {
		if e.Was == "" || e.Heard.IsZero() {
			return otto.NodeJoining, "the control plane is not connected to the broker"
		}
		return e.Was, "not heard now: the control plane is not connected to the broker"
	}
	patience, parted := e.Patience, l.Floor // how long it may be silent, and how long after a goodbye
	if e.Heard.Before(e.Watching) {
		patience = max(patience, l.Grace)
		parted = patience
	}
	silent := now.Sub(later(e.Heard, e.Watching))
	gone := e.Goodbye.After(e.Heard)
	overdue := silent > patience
	switch {
	case !e.Heard.IsZero() && !gone && !overdue && e.Draining:
		return otto.NodeDraining, "its services move away"
	case !e.Heard.IsZero() && !gone && !overdue && (!down(e.Was) || !e.Heard.Before(e.Watching)):
		return otto.NodeReady, ""
	case e.Stopped:
		return otto.NodeLeft, "stopped"
	case e.Was == otto.NodeLost && e.Reached == "" && e.Mute == "":
		return otto.NodeLost, cmp.Or(e.Unreachable, "not heard since")
	case e.Unreachable != "" && (overdue || gone && silent > parted) && e.Doubt == "":
		return otto.NodeLost, fmt.Sprintf("silent for %s, and %s", silent.Round(100*time.Millisecond), e.Unreachable)
	case e.Was == otto.NodeLost && e.Mute != "", e.Was == otto.NodeUnresponsive && (e.Reached == "" || e.Stuck != ""):
		return otto.NodeUnresponsive, mute(e)
	case e.Stuck != "" && (overdue || gone && silent > parted) && silent > l.Mute && e.Doubt == "":
		return otto.NodeUnresponsive, mute(e)
	case e.Mute != "" && e.Asked >= muteAsked && (overdue || gone && silent > parted) && silent > l.Mute && e.Doubt == "":
		return otto.NodeUnresponsive, mute(e)
	case e.Heard.IsZero():
		return otto.NodeJoining, "its agent has not reported yet"
	case e.Doubt != "":
		return otto.NodeSuspect, "silent, but not judged: " + e.Doubt
	case gone:
		return otto.NodeSuspect, with("its agent said goodbye or its connection broke", e.Reached)
	default:
		return otto.NodeSuspect, with("its agent is silent", e.Reached)
	}
}

// down reports whether a node in this state has to be heard before it is ready.
func down(was otto.NodeState) bool { return was == otto.NodeLost || was == otto.NodeUnresponsive }

// muteAsked is how often in a row no program may have answered.
const muteAsked = 3

func mute(e Evidence) string {
	if e.Mute == "" {
		return cmp.Or(e.Stuck, "not heard since")
	}
	return fmt.Sprintf("its kernel answers and none of its programs does (%s): if it hangs, restart it", e.Mute)
}

func with(reason, reached string) string {
	if reached == "" {
		return reason
	}
	return reason + "; " + reached
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// together is within what time nodes fall silent that fall silent for one reason.
const together = 15 * time.Second

// Doubt says why the one who listens should doubt himself: when more than half
// of all nodes fell silent at the same time, his own link is the likelier
// cause. silent has, for each node that was heard before and is not now, when it
// was heard last.
func Doubt(silent []time.Time, all int) string {
	times := slices.Clone(silent)
	slices.SortFunc(times, time.Time.Compare)
	end := 0
	for i, first := range times {
		for end < len(times) && times[end].Sub(first) <= together {
			end++
		}
		n := end - i
		if n > 1 && 2*n > all {
			return fmt.Sprintf(
				"%d of %d nodes fell silent at the same time, which is likelier to be this machine's own link",
				n,
				all,
			)
		}
	}
	return ""
}
