package health

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func TestJudge(t *testing.T) {
	const second = time.Second
	heard := Evidence{Was: otto.NodeReady, Watching: start, Heard: at(60 * second), Patience: second}
	with := func(change func(*Evidence)) Evidence {
		e := heard
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		e      Evidence
		now    time.Duration
		want   otto.NodeState
		reason string
	}{
		"heard":                        {heard, 60500 * time.Millisecond, otto.NodeReady, ""},
		"silent":                       {heard, 62 * second, otto.NodeSuspect, "its agent is silent"},
		"silent, host reached":         {with(func(e *Evidence) { e.Reached = "b reaches its host" }), 600 * second, otto.NodeSuspect, "b reaches its host"},
		"silent, host not reached":     {with(func(e *Evidence) { e.Unreachable = "no route to host" }), 62 * second, otto.NodeLost, "silent for 2s, and no route to host"},
		"not reached, but heard":       {with(func(e *Evidence) { e.Unreachable = "refused" }), 60500 * time.Millisecond, otto.NodeReady, ""},
		"silent with many others":      {with(func(e *Evidence) { e.Unreachable, e.Doubt = "no route", "we hear nobody" }), 62 * second, otto.NodeSuspect, "we hear nobody"},
		"will":                         {with(func(e *Evidence) { e.Goodbye = at(60100 * time.Millisecond) }), 60200 * time.Millisecond, otto.NodeSuspect, "goodbye"},
		"will, and host gone":          {with(func(e *Evidence) { e.Goodbye = at(60100 * time.Millisecond); e.Unreachable = "no route" }), 62 * second, otto.NodeLost, "no route"},
		"will of before":               {with(func(e *Evidence) { e.Goodbye = at(30 * second) }), 60200 * time.Millisecond, otto.NodeReady, ""},
		"not connected":                {with(func(e *Evidence) { e.Watching = time.Time{}; e.Unreachable = "no route" }), 900 * second, otto.NodeReady, "not connected"},
		"never heard":                  {Evidence{Watching: start, Patience: second}, 600 * second, otto.NodeJoining, "has not reported"},
		"never heard and no host":      {Evidence{Watching: start, Patience: second, Unreachable: "no route"}, 600 * second, otto.NodeLost, "no route"},
		"just begun to listen":         {with(func(e *Evidence) { e.Watching = at(100 * second); e.Unreachable = "no route" }), 110 * second, otto.NodeReady, ""},
		"has listened for long enough": {with(func(e *Evidence) { e.Watching = at(100 * second); e.Unreachable = "no route" }), 116 * second, otto.NodeLost, "no route"},
		"lost stays lost":              {with(func(e *Evidence) { e.Was = otto.NodeLost; e.Doubt = "we hear nobody" }), 900 * second, otto.NodeLost, ""},
		"lost, listening anew":         {with(func(e *Evidence) { e.Was = otto.NodeLost; e.Watching = at(899 * second) }), 900 * second, otto.NodeLost, ""},
		"lost, host back":              {with(func(e *Evidence) { e.Was = otto.NodeLost; e.Reached = "its SSH port answers" }), 900 * second, otto.NodeSuspect, "its SSH port answers"},
		"lost, heard again":            {with(func(e *Evidence) { e.Was = otto.NodeLost }), 60500 * time.Millisecond, otto.NodeReady, ""},
		"its kernel alone answers":     {with(func(e *Evidence) { e.Mute, e.Asked = "refuses", 3 }), 67 * second, otto.NodeUnresponsive, "none of its programs does (refuses)"},
		"the same, asked twice":        {with(func(e *Evidence) { e.Mute, e.Asked = "refuses", 2 }), 67 * second, otto.NodeSuspect, "silent"},
		"the same, not for long":       {with(func(e *Evidence) { e.Mute, e.Asked = "refuses", 3 }), 65 * second, otto.NodeSuspect, "silent"},
		"the same, after a goodbye": {with(func(e *Evidence) {
			e.Mute, e.Asked, e.Goodbye, e.Patience = "refuses", 3, at(60100*time.Millisecond), 20*second
		}), 67 * second, otto.NodeUnresponsive, "refuses"},
		"the same on a slow link":      {with(func(e *Evidence) { e.Mute, e.Asked, e.Patience = "refuses", 3, 20*second }), 67 * second, otto.NodeReady, ""},
		"the same of many":             {with(func(e *Evidence) { e.Mute, e.Asked, e.Doubt = "refuses", 3, "we hear nobody" }), 67 * second, otto.NodeSuspect, "we hear nobody"},
		"the same, never heard":        {Evidence{Watching: start, Patience: second, Mute: "refuses", Asked: 3}, 16 * second, otto.NodeUnresponsive, "refuses"},
		"never heard, for a moment":    {Evidence{Watching: start, Patience: second, Mute: "refuses", Asked: 3}, 14 * second, otto.NodeJoining, "not reported"},
		"unresponsive stays so":        {with(func(e *Evidence) { e.Was, e.Doubt = otto.NodeUnresponsive, "we hear nobody" }), 900 * second, otto.NodeUnresponsive, ""},
		"unresponsive, heard anew":     {with(func(e *Evidence) { e.Was, e.Watching = otto.NodeUnresponsive, at(899*second) }), 900 * second, otto.NodeUnresponsive, ""},
		"unresponsive, works again":    {with(func(e *Evidence) { e.Was, e.Reached = otto.NodeUnresponsive, "it answers" }), 900 * second, otto.NodeSuspect, "it answers"},
		"unresponsive, then no power":  {with(func(e *Evidence) { e.Was, e.Unreachable = otto.NodeUnresponsive, "no route" }), 900 * second, otto.NodeLost, "no route"},
		"lost, and its kernel is back": {with(func(e *Evidence) { e.Was, e.Mute, e.Asked = otto.NodeLost, "refuses", 1 }), 900 * second, otto.NodeUnresponsive, "refuses"},
		"its agent cannot be ended":    {with(func(e *Evidence) { e.Reached, e.Stuck = "it answers", "state D" }), 67 * second, otto.NodeUnresponsive, "state D"},
		"the same, and stays so":       {with(func(e *Evidence) { e.Was, e.Reached, e.Stuck = otto.NodeUnresponsive, "it answers", "state D" }), 900 * second, otto.NodeUnresponsive, "state D"},
		"the same, and no power":       {with(func(e *Evidence) { e.Unreachable, e.Stuck = "no route", "state D" }), 67 * second, otto.NodeLost, "no route"},
		"the same, heard":              {with(func(e *Evidence) { e.Stuck = "state D" }), 60500 * time.Millisecond, otto.NodeReady, ""},
		"unresponsive, heard":          {with(func(e *Evidence) { e.Was = otto.NodeUnresponsive }), 60500 * time.Millisecond, otto.NodeReady, ""},
		"stopped":                      {with(func(e *Evidence) { e.Stopped = true }), 62 * second, otto.NodeLeft, "stopped"},
		"draining":                     {with(func(e *Evidence) { e.Draining = true }), 60500 * time.Millisecond, otto.NodeDraining, ""},
		"draining, and silent":         {with(func(e *Evidence) { e.Draining = true }), 62 * second, otto.NodeSuspect, ""},
	} {
		state, reason := Judge(c.e, DefaultLimits(), at(c.now))
		if state != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, state, reason, c.want, c.reason)
		}
	}
}

func TestWeigh(t *testing.T) {
	own := func(r otto.Reply) *otto.Sign { return &otto.Sign{Reply: r, Why: "found"} }
	none, kernel, program := Claim{
		Node: "b",
	}, Claim{
		Node:  "c",
		Reply: otto.ReplyKernel,
	}, Claim{
		Node:  "d",
		Reply: otto.ReplyProgram,
	}
	proof := Claim{Node: "e", Reply: otto.ReplyProgram, Proven: true}
	said, long := "node d says that it reaches its host, this machine does not", claimHolds+1
	for name, c := range map[string]struct {
		check                      Check
		reached, mute, unreachable string
	}{
		"nothing is known":          {Check{}, "", "", ""},
		"we found nothing":          {Check{Own: own(otto.ReplyNone)}, "", "", "found"},
		"nor did another":           {Check{Own: own(otto.ReplyNone), Claims: []Claim{none}}, "", "", "found; b cannot reach it either"},
		"another did, we do not":    {Check{Claims: []Claim{none}}, "", "", ""},
		"a kernel":                  {Check{Own: own(otto.ReplyKernel), Claims: []Claim{none, program}}, "", "found", ""},
		"a program":                 {Check{Own: own(otto.ReplyProgram), Claims: []Claim{none}}, "found", "", ""},
		"a program, by another":     {Check{Own: own(otto.ReplyNone), Claims: []Claim{none, kernel, program}}, said, "", ""},
		"a kernel, by another":      {Check{Own: own(otto.ReplyNone), Claims: []Claim{none, kernel}}, "", "as node c says, which reaches it; this machine does not", ""},
		"a program, before our try": {Check{Claims: []Claim{program}}, said, "", ""},
		"claimed for too long": {
			Check{Own: own(otto.ReplyNone), Claims: []Claim{none, kernel, program}, Claimed: long},
			"", "", "found; b cannot reach it either; c and d claims to, but the host has not proven it",
		},
		"proven, however long": {
			Check{Own: own(otto.ReplyNone), Claims: []Claim{none, program, proof}, Claimed: long},
			"its host has proven through node e that it works, this machine does not reach it", "", "",
		},
	} {
		if r, m, u := c.check.Weigh(); r != c.reached || m != c.mute || u != c.unreachable {
			t.Errorf("%s: %q, %q, %q", name, r, m, u)
		}
	}
}

// TestAskAgain is the promise to servers that take notice of who comes too often.
func TestAskAgain(t *testing.T) {
	closes, frozen, works, none := otto.Sign{
		Reply: otto.ReplyProgram,
	}, otto.Sign{
		Reply: otto.ReplyKernel,
		Free:  true,
	}, otto.Sign{
		Reply: otto.ReplyProgram,
		Free:  true,
	}, otto.Sign{}
	for name, c := range map[string]struct {
		sign  otto.Sign
		asked int
		was   otto.NodeState
		want  time.Duration
	}{
		"the second time":        {closes, 1, otto.NodeSuspect, time.Second},
		"the third time":         {closes, 2, otto.NodeSuspect, time.Second},
		"the fourth time":        {closes, 3, otto.NodeSuspect, 2 * time.Second},
		"later":                  {closes, 6, otto.NodeSuspect, 16 * time.Second},
		"much later":             {closes, 1000, otto.NodeUnresponsive, time.Minute},
		"where it is free":       {works, 1000, otto.NodeSuspect, time.Second},
		"of an unresponsive one": {frozen, 1000, otto.NodeUnresponsive, 5 * time.Second},
		"where nothing answers":  {none, 1000, otto.NodeSuspect, time.Second},
		"of a lost one":          {none, 3, otto.NodeLost, 5 * time.Second},
	} {
		if got := AskAgain(c.sign, c.asked, c.was); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestNeverLostWithoutASecondChannel is the promise itself: whatever else is
// the case, a node is not judged lost while nobody has failed to reach its host,
// while we doubt ourselves, or while it is heard.
func TestNeverLostWithoutASecondChannel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		when := func(name string) time.Time {
			if rapid.Bool().Draw(t, name+" is zero") {
				return time.Time{}
			}
			return at(time.Duration(rapid.Int64Range(0, 1e12).Draw(t, name)))
		}
		e := Evidence{
			Was: rapid.SampledFrom(
				[]otto.NodeState{"", otto.NodeJoining, otto.NodeReady, otto.NodeSuspect, otto.NodeDraining},
			).Draw(t, "was"),
			Watching:    when("watching"),
			Heard:       when("heard"),
			Goodbye:     when("goodbye"),
			Patience:    time.Duration(rapid.Int64Range(1e9, 2e10).Draw(t, "patience")),
			Doubt:       rapid.SampledFrom([]string{"", "doubt"}).Draw(t, "doubt"),
			Stopped:     rapid.Bool().Draw(t, "stopped"),
			Unreachable: rapid.SampledFrom([]string{"", "no route"}).Draw(t, "unreachable"),
			Mute:        rapid.SampledFrom([]string{"", "refuses"}).Draw(t, "mute"),
			Asked:       rapid.IntRange(0, 5).Draw(t, "asked"),
		}
		now := at(1e12 * time.Nanosecond)
		state, _ := Judge(e, DefaultLimits(), now)
		heard := !e.Heard.IsZero() && now.Sub(e.Heard) < e.Patience && !e.Goodbye.After(e.Heard)
		if state == otto.NodeLost &&
			(e.Unreachable == "" || e.Doubt != "" || e.Watching.IsZero() || heard || now.Sub(e.Watching) <= time.Second) {
			t.Errorf("lost by %+v", e)
		}
		if state == otto.NodeUnresponsive &&
			(e.Mute == "" || e.Asked < 3 || e.Doubt != "" || e.Watching.IsZero() || heard) {
			t.Errorf("unresponsive by %+v", e)
		}
	})
}

func TestDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		silent []time.Duration
		all    int
		doubt  bool
	}{
		"nobody":                  {nil, 3, false},
		"one of two":              {[]time.Duration{0}, 2, false},
		"the only one":            {[]time.Duration{0}, 1, false},
		"two of three at once":    {[]time.Duration{0, time.Second}, 3, true},
		"two of three, far apart": {[]time.Duration{0, time.Hour}, 3, false},
		"two of four at once":     {[]time.Duration{0, 0}, 4, false},
		"one before, three now":   {[]time.Duration{0, time.Hour, time.Hour, time.Hour}, 5, true},
	} {
		var silent []time.Time
		for _, d := range c.silent {
			silent = append(silent, at(d))
		}
		if got := Doubt(silent, c.all); (got != "") != c.doubt {
			t.Errorf("%s: doubt %q, want %v", name, got, c.doubt)
		}
	}
}

// hears feeds a link with n heartbeats whose delays are drawn by delay.
func hears(l *Link, n int, interval time.Duration, delay func() time.Duration) {
	last := time.Duration(0)
	for i := 1; i <= n; i++ {
		arrives := max(time.Duration(i)*interval+delay(), last) // one connection: in order
		l.Heard(arrives-last, l.Patience(interval, DefaultLimits()))
		last = arrives
	}
}

func TestPatienceFollowsTheLink(t *testing.T) {
	const half = 500 * time.Millisecond
	random := rand.New(rand.NewPCG(1, 2))
	var fresh, wired, wifi Link
	hears(&wired, 200, half, func() time.Duration { return time.Duration(random.IntN(5)) * time.Millisecond })
	hears(&wifi, 200, half, func() time.Duration {
		if random.IntN(10) == 0 {
			return time.Duration(random.IntN(2500)) * time.Millisecond // power save
		}
		return 20 * time.Millisecond
	})
	if p := fresh.Patience(half, DefaultLimits()); p != 3*time.Second {
		t.Errorf("patience with an unknown link: %s", p)
	}
	if p := wired.Patience(half, DefaultLimits()); p != time.Second {
		t.Errorf("patience with a wired link: %s, want the floor", p)
	}
	if p := wifi.Patience(half, DefaultLimits()); p < 2*time.Second || p > 8*time.Second {
		t.Errorf("patience with bad Wi-Fi: %s", p)
	}
	if p := fresh.Patience(30*time.Second, DefaultLimits()); p != 180*time.Second {
		t.Errorf("patience with a metered link: %s", p)
	}
}

// TestPatienceIsPhi checks the shortcut against the definition: within the
// limits, patience ends where phi reaches the threshold.
func TestPatienceIsPhi(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(100, 2000).Draw(t, "interval ms")) * time.Millisecond
		var l Link
		for range rapid.IntRange(enough, 300).Draw(t, "heartbeats") {
			l.Heard(time.Duration(rapid.IntRange(0, 3000).Draw(t, "gap ms"))*time.Millisecond, time.Hour)
		}
		p := l.Patience(interval, Limits{Ceiling: time.Hour})
		if p == 2*interval {
			return
		}
		if phi := l.Phi(p, interval); phi < suspicion-0.05 || phi > suspicion+0.05 {
			t.Errorf("phi is %.3f after %s", phi, p)
		}
	})
}

func TestFlapsAreDamped(t *testing.T) {
	var f Flaps
	now := start
	for i := range 3 {
		if f.Suppressed(now) {
			t.Errorf("suppressed after %d flaps", i)
		}
		f.Add(now)
		now = now.Add(time.Second)
	}
	if f.Suppressed(now) {
		t.Error("suppressed although the penalty has fallen below the limit")
	}
	f.Add(now)
	if !f.Suppressed(now) {
		t.Error("four flaps in three seconds are not damped")
	}
	if now = now.Add(time.Minute); !f.Suppressed(now) {
		t.Error("trusted again above the lower limit")
	}
	if now = now.Add(2 * time.Minute); f.Suppressed(now) {
		t.Error("never trusted again")
	}
	for range 100 {
		f.Add(now)
	}
	if now = now.Add(3*halfLife + time.Second); f.Suppressed(now) {
		t.Error("many flaps are held against it for longer than three half-lives")
	}
}
