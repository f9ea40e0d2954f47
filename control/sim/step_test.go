package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is one line of a history: when, counted from its beginning, what, and to
// whom. These are all there are:
//
//	apply SERVICE...         ask for these services, all of them: see menu
//	cut HOST [in|out]        pull its cable, or break one direction of its link
//	heal HOST                the cable is back
//	off HOST, on HOST        its power
//	tear HOST                what it wrote last is torn, when its power was cut
//	kill HOST                kill -9 its agent
//	pause HOST TIME          its agent is stopped for that time
//	freeze HOST              every process of it is stopped, its kernel answers
//	halt HOST                its agent alone is stopped
//	thaw HOST                either goes on
//	suspend INSTANCE         its container is paused
//	continue INSTANCE
//	lie HOST                 its agent says that it reaches everybody
//	honest HOST
//	engine HOST down|hung|slow|up
//	disk HOST full|ok
//	unmount HOST             its engine's disk is not there at its next boot: it has no power
//	mount HOST               it is there again
//	prune VOLUME             somebody removes it, with its container, wherever that ran first
//	recover VOLUME           it is put back as it was
//	accept SERVICE           a person says that it may begin with the data that is there, or none
//	disconnect INSTANCE      its container is taken out of its network
//	ssh HOST refused|ok      nor does another node reach it
//	clock HOST TIME          its wall clock is set off by that
//	twin HOST                a second agent starts from a copy of its disk, on another machine
//	address HOST new|old     it gets another address: nobody reaches it by the one that is known
//	load HOST PERCENT        its CPU is so busy
//	exit INSTANCE            its container ends by itself, wherever it runs
//	drain HOST, undrain HOST
//	net slow|lossy|doubled|shuffled|ok
//	replay HOST              an assignment of before comes again, and is retained
//	forge HOST               assignments come that nobody has signed, or not for it
//	die WHO POINT [#N]       WHO, a host or control, is killed at its next, or Nth, such effect
//
// and for the control plane, with the same meaning:
//
//	cut, heal, pause, disk control
//	kill control             it is started again a second later
//	lose DOCUMENT            the store loses it: nothing must stop, nothing start
//	rotate [stolen]          a person has all keys renewed, which ends those of before at once if stolen
//	keep, restore            what it has stored is copied; the copy is put back, and takes over
//
// In scenarios only:
//
//	nameless HOST                at the beginning: it says nothing of its hardware
//	runs INSTANCE HOST|nowhere   fails unless it does
//	started INSTANCE TIMES       fails unless its containers were started so often
//	speak HOST TIME              somebody at the broker speaks for it for that time: see speak
//	occupy HOST VOLUME           somebody makes a volume of that name
//	wipe HOST                    it has no power: all that its agent has kept is gone
type step struct {
	at   time.Duration
	verb string
	args []string
}

func (s step) String() string {
	return strings.TrimSpace(fmt.Sprintf("%-9s %s %s", s.at, s.verb, strings.Join(s.args, " ")))
}

// arg is the nth argument, or empty.
func (s step) arg(n int) string {
	if n < len(s.args) {
		return s.args[n]
	}
	return ""
}

// history is everything that happens to a cluster from outside.
type history struct {
	seed  uint64 // of what is random in the network
	steps []step
	many  bool // one of thousands, whose logs nobody wants to read
}

func (h history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", h.seed)
	for _, s := range h.steps {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// lasts is how long it takes until its last step.
func (h history) lasts() time.Duration {
	if len(h.steps) == 0 {
		return 0
	}
	return h.steps[len(h.steps)-1].at
}

// parse reads a history; "#" begins a comment.
func parse(text string) (h history, err error) {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
			continue
		case f[0] == "seed" && len(f) == 2:
			if _, err := fmt.Sscan(f[1], &h.seed); err != nil {
				return h, fmt.Errorf("line %d: seed %s: %w", n+1, f[1], err)
			}
			continue
		case len(f) < 2:
			return h, fmt.Errorf("line %d: no step: %s", n+1, line)
		}
		at, err := time.ParseDuration(f[0])
		if err != nil {
			return h, fmt.Errorf("line %d: %w", n+1, err)
		}
		h.steps = append(h.steps, step{at, f[1], f[2:]})
	}
	if !slices.IsSortedFunc(h.steps, func(a, b step) int { return int(a.at - b.at) }) {
		return h, fmt.Errorf("steps are not in the order of their times")
	}
	return h, nil
}
