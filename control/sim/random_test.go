package sim

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// draw makes a history from a seed: an order, changes of it, and faults that come
// alone and together, for about two minutes; so many times as many as -sim.harsh says.
func draw(seed uint64) history {
	d := drawing{Rand: rand.New(rand.NewPCG(seed, 0)), history: history{seed: seed}}
	d.order()
	d.at(15 * time.Second)
	for range *simHarsh * (6 + d.IntN(10)) {
		d.event()
		d.at(time.Duration(d.Int64N(int64(12*time.Second)))/time.Duration(*simHarsh) + time.Millisecond)
	}
	slices.SortStableFunc(d.steps, func(a, b step) int { return int(a.at - b.at) })
	return d.history
}

// spoilt draws a history; in every third one some of the versions do not start, and in
// every fourth there is one of two stacks, in others keys are renewed.
func spoilt(seed uint64) history {
	h := draw(seed)
	if stack := [][]string{1: {"shelf", "till"}, 2: {"safe", "door"}, 3: nil}[seed%4]; stack != nil {
		for i, s := range h.steps {
			if s.verb == "apply" {
				h.steps[i].args = append(s.args, stack...)
			}
		}
	}
	if keys := []string{1: "keys", 3: "stolen", 4: ""}[seed%5]; keys != "" { // renewed at some time
		at := time.Duration(seed*7919%uint64(h.lasts()/time.Second+1)) * time.Second
		h.steps = append(h.steps, step{at, "rotate", []string{keys}})
		slices.SortStableFunc(h.steps, func(a, b step) int { return int(a.at - b.at) })
	}
	if seed%3 != 0 {
		return h
	}
	for _, s := range h.steps {
		for i, arg := range s.args {
			if name, version, ok := strings.Cut(arg, "@"); ok && s.verb == "apply" && strings.HasSuffix(version, "2") {
				s.args[i] = name + "@" + badVersion
			}
		}
	}
	return h
}

type drawing struct {
	*rand.Rand
	history
	now      time.Duration
	versions int
}

func (d *drawing) at(later time.Duration) { d.now += later.Truncate(time.Millisecond) }

// do adds a step now, or after a while.
func (d *drawing) do(after time.Duration, line string) {
	f := strings.Fields(line)
	d.steps = append(d.steps, step{(d.now + after).Truncate(time.Millisecond), f[0], f[1:]})
}

// some is a time up to a limit; most are much shorter.
func (d *drawing) some(limit time.Duration) time.Duration {
	x := d.Float64()
	return 50*time.Millisecond + time.Duration(x*x*float64(limit))
}

func (d *drawing) host() string { return hosts()[d.IntN(len(hosts()))] }

// order asks for about half of the menu, in some versions.
func (d *drawing) order() {
	var names []string
	for _, name := range []string{"web", "pair", "home", "guest", "data", "kept", "cache", "lone", "calm", "pond", squat} {
		switch d.IntN(6) {
		case 0, 1, 2:
			names = append(names, name)
		case 3:
			d.versions++
			names = append(names, name+"@"+strconv.Itoa(d.versions))
		}
	}
	if len(names) == 0 {
		names = []string{"cache"}
	}
	d.do(0, "apply "+strings.Join(names, " "))
}

// event adds something that happens, and when it is over.
func (d *drawing) event() {
	host := d.host()
	lasts := d.some(40 * time.Second)
	switch d.IntN(38) {
	case 0, 1, 2:
		d.order()
	case 3, 4:
		d.do(0, "cut "+host)
		d.do(lasts, "heal "+host)
	case 5:
		d.do(0, "cut "+host+" "+[]string{"in", "out"}[d.IntN(2)])
		d.do(lasts, "heal "+host)
	case 6, 7:
		d.do(0, "off "+host)
		if d.IntN(3) == 0 {
			d.do(time.Millisecond, "tear "+host)
		}
		d.do(lasts, "on "+host)
	case 8:
		d.do(0, "kill "+host)
	case 9:
		d.do(0, "pause "+host+" "+d.some(6*time.Second).Round(time.Millisecond).String())
	case 10:
		d.do(0, "engine "+host+" "+[]string{"down", "hung", "slow"}[d.IntN(3)])
		d.do(lasts, "engine "+host+" up")
	case 11:
		d.do(0, "disk "+host+" full")
		d.do(lasts, "disk "+host+" ok")
	case 12:
		d.do(0, "ssh "+host+" refused")
		d.do(lasts, "ssh "+host+" ok")
	case 13:
		d.do(0, "clock "+host+" "+[]string{"-490000h", "87600h", "3s"}[d.IntN(3)])
		d.do(0, "twin "+host)
	case 14:
		d.do(0, "exit "+[]string{"web", "pair-2", "home", "guest", "data", "kept", "cache", "lone"}[d.IntN(8)])
	case 15:
		d.do(0, "drain "+host)
		d.do(lasts, "undrain "+host)
	case 16:
		d.do(0, "net "+[]string{"slow", "lossy", "doubled", "shuffled"}[d.IntN(4)])
		d.do(lasts, "net ok")
	case 17:
		d.do(0, "replay "+host)
	case 18:
		d.do(0, "forge "+host)
	case 19:
		d.do(0, "kill control")
	case 20:
		d.do(0, "pause control "+d.some(60*time.Second).Round(time.Millisecond).String())
	case 21:
		if d.IntN(2) == 0 {
			d.do(0, "cut control")
			d.do(lasts, "heal control")
			break
		}
		d.do(0, "disk control full")
		d.do(lasts, "disk control ok")
	case 22:
		d.do(0, "lose "+[]string{"all", "identity", "epoch", "desired", "enrolled"}[d.IntN(5)])
	case 23:
		d.do(0, "keep")
		d.do(lasts, "restore")
	case 24, 25, 26: // a requirement is violated for some seconds before anything is done
		d.do(0, "load "+host+" 95")
		d.do(lasts+10*time.Second, "load "+host+" 7")
	case 27:
		d.do(0, "address "+host+" new")
		d.do(lasts, "address "+host+" old")
	case 28:
		d.do(0, "freeze "+host)
		d.do(lasts, "thaw "+host)
	case 29:
		d.do(0, "halt "+host)
		d.do(lasts, "thaw "+host)
	case 30:
		instance := []string{"web", "pair-2", "home", "guest", "data", "kept", "cache", "lone"}[d.IntN(8)]
		d.do(0, "suspend "+instance)
		d.do(lasts, "continue "+instance)
	case 31:
		d.do(0, "lie "+host)
		d.do(lasts, "honest "+host)
	case 32: // of two at the same moment
		other := d.host()
		d.do(0, "cut "+host)
		d.do(0, "cut "+other)
		d.do(lasts, "heal "+host)
		d.do(lasts, "heal "+other)
	case 33:
		d.do(0, "freeze "+host)
		d.do(d.some(8*time.Second), "cut "+host)
		d.do(lasts+8*time.Second, "heal "+host)
		d.do(lasts+9*time.Second, "thaw "+host)
	case 34:
		d.do(0, "off "+host)
		d.do(time.Millisecond, "unmount "+host)
		d.do(d.some(10*time.Second), "on "+host)
		d.do(10*time.Second+lasts, "mount "+host)
	case 35, 36:
		volume := []string{"data", "kept", "cache"}[d.IntN(3)]
		d.do(0, "prune "+volume)
		d.do(lasts, []string{"recover ", "accept "}[d.IntN(2)]+volume)
	case 37:
		d.disconnect()
	}
	if d.IntN(4) == 0 {
		d.do(0, "die "+d.death())
	}
}

// disconnect takes an instance out of its network, each at most once: Otto does not
// fight whoever does it again.
func (d *drawing) disconnect() {
	instance := []string{"web", "pair-2", "home", "guest", "data", "kept", "cache", "lone"}[d.IntN(8)]
	line := "disconnect " + instance
	if !slices.ContainsFunc(d.steps, func(s step) bool { return s.verb == "disconnect" && s.arg(0) == instance }) {
		d.do(0, line)
	}
}

// death is who dies next, and where.
func (d *drawing) death() string {
	when := []string{"before", "after"}[d.IntN(2)]
	if d.IntN(2) == 0 {
		return "control " + when + " " + []string{"store desired", "publish assignment", "publish lease", "publish question", "store enrolled", "store epoch"}[d.IntN(6)]
	}
	return d.host() + " " + when + " " + []string{"create", "start", "stop", "kill", "rename", "remove", "publish instances", "publish status"}[d.IntN(8)]
}
