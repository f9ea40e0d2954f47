package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/otto-edge/otto"
)

// fleet is a service's instances as they come up, in a time of whole seconds.
type fleet struct {
	now     time.Time
	wanted  otto.Wanted
	r       map[string]Rollout
	runs    map[string]string    // image that an instance runs, by name
	since   map[string]time.Time // when that began
	starts  time.Duration        // how long it takes to come up
	bad     string               // image that does not work
	silent  map[string]bool
	onWay   int // most that were not up at once
	restart map[string]int
}

func newFleet(replicas int, image string) *fleet {
	f := &fleet{now: time.Unix(0, 0), runs: map[string]string{}, since: map[string]time.Time{}, silent: map[string]bool{}, restart: map[string]int{}, starts: 2 * time.Second}
	s := service("web", "", replicas)
	s.Spec.Image = image
	f.wanted = otto.Wanted{Services: []otto.Service{s}}
	for _, name := range f.names() {
		f.runs[name], f.since[name] = image, f.now.Add(-time.Hour)
	}
	return f
}

func (f *fleet) service() otto.Service { return f.wanted.Services[0] }
func (f *fleet) names() []string       { return f.wanted.InstanceNames(f.service()) }

// want edits the file.
func (f *fleet) want(edit func(*otto.Service)) {
	next := otto.Wanted{Services: slices.Clone(f.wanted.Services)}
	edit(&next.Services[0])
	f.r = Begin(NewIndex(f.wanted, nil), NewIndex(next, nil), f.r)
	f.wanted = next
}

// tick lets a second pass, in which the control plane is killed, too.
func (f *fleet) tick() (step Step) {
	f.now = f.now.Add(time.Second)
	s := f.service()
	r, rolling := f.r["web"]
	if b, err := json.Marshal(r); err != nil || json.Unmarshal(b, &r) != nil {
		panic(err)
	}
	seen, down := map[string]Seen{}, 0
	for _, name := range f.names() {
		image := r.Of(s, name).Spec.Image
		if image == "" {
			panic("no version of " + name)
		}
		if f.runs[name] != image && !f.silent[name] {
			f.runs[name], f.since[name] = image, f.now.Add(f.starts)
		}
		at := Seen{Node: "n", Silent: f.silent[name], Serving: true}
		up := f.runs[name] == image && !f.since[name].After(f.now)
		switch {
		case at.Silent:
		case up && image == f.bad:
			at.Failed, at.Serving = "it is bad", false
		case up:
			at.Up = f.since[name]
		}
		if f.runs[name] != image || !up || image == f.bad {
			down++
		}
		seen[name] = at
	}
	f.onWay = max(f.onWay, down)
	if !rolling {
		return step
	}
	r, step = r.Next(s, f.names(), seen, f.now)
	f.r["web"] = r
	for _, name := range step.Restarted {
		f.restart[name]++
		f.since[name] = f.now.Add(f.starts)
	}
	if step.Over {
		delete(f.r, "web")
	}
	return step
}

func (f *fleet) pass(seconds int) {
	for range seconds {
		f.tick()
	}
}

func image(to string) func(*otto.Service) { return func(s *otto.Service) { s.Spec.Image = to } }

func TestInstancesAreUpdatedOneAfterTheOther(t *testing.T) {
	f := newFleet(3, "v1")
	f.want(image("v2"))
	var given []string
	for second := range 40 {
		for _, name := range f.tick().Given {
			given = append(given, fmt.Sprint(second, " ", name))
		}
	}
	// It is given, comes up two seconds after the next look, and stays up for five.
	if diff := cmp.Diff([]string{"0 web", "8 web-2", "16 web-3"}, given); diff != "" {
		t.Error(diff)
	}
	if len(f.r) > 0 || f.onWay != 1 {
		t.Errorf("%d were down at once, and left is %+v", f.onWay, f.r)
	}
}

func TestUpdateKeepsToWhatTheFileSays(t *testing.T) {
	for name, c := range map[string]struct {
		update otto.Update
		bad    string
		want   map[string]string
		state  otto.UpdateState // "" if it is over
		onWay  int
	}{
		"two at a time":    {otto.Update{Parallelism: 2}, "", map[string]string{"web": "v2", "web-2": "v2", "web-3": "v2"}, "", 2},
		"it goes back":     {otto.Update{}, "v2", map[string]string{"web": "v1", "web-2": "v1", "web-3": "v1"}, otto.UpdateReverted, 1},
		"it stops":         {otto.Update{OnFailure: otto.FailurePause}, "v2", map[string]string{"web": "v2", "web-2": "v1", "web-3": "v1"}, otto.UpdatePaused, 1},
		"it goes on":       {otto.Update{OnFailure: otto.FailureContinue}, "v2", map[string]string{"web": "v2", "web-2": "v2", "web-3": "v2"}, "", 3},
		"all back at once": {otto.Update{Parallelism: 3}, "v2", map[string]string{"web": "v1", "web-2": "v1", "web-3": "v1"}, otto.UpdateReverted, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(3, "v1")
			f.bad = c.bad
			f.want(func(s *otto.Service) { s.Spec.Image, s.Update = "v2", c.update })
			f.pass(100)
			if diff := cmp.Diff(c.want, f.runs); diff != "" || f.onWay != c.onWay {
				t.Errorf("%d down at once %s", f.onWay, diff)
			}
			r, there := f.r["web"]
			if there != (c.state != "") || there && r.Status(f.service()).State != c.state {
				t.Errorf("it is %+v", r)
			}
			if f.bad != "" && there && r.Failed.String() != "web on n: it is bad" {
				t.Errorf("says %s", r.Failed)
			}
		})
	}
}

// TestUpdateThatWorkedAtFirst fails while it is watched: that counts, too.
func TestUpdateThatWorkedAtFirst(t *testing.T) {
	f := newFleet(2, "v1")
	f.want(image("v2"))
	f.pass(6) // web is up, and being watched
	f.bad = "v2"
	f.pass(30)
	if diff := cmp.Diff(map[string]string{"web": "v1", "web-2": "v1"}, f.runs); diff != "" {
		t.Error(diff)
	}
}

func TestUpdateOfAnUpdate(t *testing.T) {
	f := newFleet(3, "v1")
	f.want(image("v2"))
	f.pass(12) // web is done, web-2 on its way
	f.want(image("v3"))
	if got := []string{f.r["web"].Of(f.service(), "web").Spec.Image, f.r["web"].Of(f.service(), "web-3").Spec.Image}; !slices.Equal(got, []string{"v2", "v1"}) {
		t.Errorf("before their turn they are to be %v", got)
	}
	f.bad = "v3"
	f.pass(60)
	if diff := cmp.Diff(map[string]string{"web": "v1", "web-2": "v1", "web-3": "v1"}, f.runs); diff != "" {
		t.Error("not what all had last:", diff)
	}
	f.want(image("v1"))
	if len(f.r) > 0 {
		t.Errorf("the file is back to what runs, and left is %+v", f.r)
	}
}

func TestFailedUpdateIsTriedAgainWhenAskedFor(t *testing.T) {
	f := newFleet(2, "v1")
	f.bad = "v2"
	f.want(image("v2"))
	f.pass(60)
	f.want(func(s *otto.Service) { s.Replicas = 3 })
	f.bad = ""
	f.pass(60)
	if diff := cmp.Diff(map[string]string{"web": "v2", "web-2": "v2", "web-3": "v2"}, f.runs); diff != "" || len(f.r) > 0 {
		t.Error(f.r, diff)
	}
}

func TestSilentNodesHoldUpNobodyElse(t *testing.T) {
	f := newFleet(3, "v1")
	f.silent["web"] = true
	f.want(image("v2"))
	f.pass(60)
	if diff := cmp.Diff(map[string]string{"web": "v1", "web-2": "v2", "web-3": "v2"}, f.runs); diff != "" {
		t.Error(diff)
	}
	f.silent["web"] = false
	f.pass(20)
	if f.runs["web"] != "v2" || len(f.r) > 0 {
		t.Errorf("web runs %s, left is %+v", f.runs["web"], f.r)
	}
}

func TestRestartIsRolled(t *testing.T) {
	f := newFleet(3, "v1")
	f.r = map[string]Rollout{"web": Rollout{}.WithRestart(f.service(), f.names())}
	f.pass(60)
	if diff := cmp.Diff(map[string]int{"web": 1, "web-2": 1, "web-3": 1}, f.restart); diff != "" || f.onWay != 1 || len(f.r) > 0 {
		t.Error(f.onWay, f.r, diff)
	}
}

func TestNoRolloutOfWhatIsNotOne(t *testing.T) {
	was := service("web", "", 2)
	probed, data := was, was
	probed.Probe = &otto.Probe{TCP: 80}
	data.Spec.Exclusive = true
	for name, now := range map[string]otto.Service{"another probe": probed, "another kind of service": data, "another name": service("mail", "", 2), "more of them": service("web", "", 3)} {
		if got := Begin(NewIndex(otto.Wanted{Services: []otto.Service{was}}, nil), NewIndex(otto.Wanted{Services: []otto.Service{now}}, nil), nil); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	other := was
	other.Spec.Image = "v2"
	if got := Begin(NewIndex(otto.Wanted{Stopped: true, Services: []otto.Service{was}}, nil), NewIndex(otto.Wanted{Services: []otto.Service{other}}, nil), nil); len(got) > 0 {
		t.Errorf("nothing runs, and it is drawn out: %+v", got)
	}
}

// TestAnyUpdatesEnd edits the file at any time, with versions that do not work and
// nodes that fall silent, and then lets it be.
func TestAnyUpdatesEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFleet(rapid.IntRange(1, 4).Draw(t, "replicas"), "v1")
		f.bad = "bad"
		u := otto.Update{
			Parallelism: rapid.IntRange(0, 3).Draw(t, "parallelism"), OnFailure: rapid.SampledFrom([]string{"", otto.FailurePause, otto.FailureContinue}).Draw(t, "on_failure"),
			Delay: time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * time.Second,
		}
		for range rapid.IntRange(1, 6).Draw(t, "edits") {
			f.want(func(s *otto.Service) {
				s.Update, s.Replicas = u, rapid.IntRange(1, 4).Draw(t, "replicas")
				s.Spec.Image = rapid.SampledFrom([]string{"v1", "v2", "v3", "bad"}).Draw(t, "image")
			})
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				if f.r == nil {
					f.r = map[string]Rollout{}
				}
				f.r["web"] = f.r["web"].WithRestart(f.service(), f.names())
			}
			if name := rapid.SampledFrom(f.names()).Draw(t, "who"); rapid.Bool().Draw(t, "silent") {
				f.silent[name] = !f.silent[name]
			}
			for range rapid.IntRange(0, 30).Draw(t, "seconds") {
				before := len(f.r["web"].Given)
				if step := f.tick(); step.Failed == nil && len(step.Given) > max(1, u.Parallelism) {
					t.Fatalf("%d at once: %v after %d", len(step.Given), step.Given, before)
				}
			}
		}
		clear(f.silent)
		f.pass(200)
		s, want := f.service(), f.service().Spec.Image
		r, rolling := f.r["web"]
		switch {
		case !rolling:
		case r.Failed == nil:
			t.Fatalf("it does not end: %+v", r)
		case r.Back && r.Status(s).Left > 0 || r.Status(s).State == otto.UpdateGoing:
			t.Fatalf("it stays half done: %+v", r)
		case r.Back:
			want = r.Versions[r.Good].Spec.Image
		default:
			return // paused: of both
		}
		for _, name := range f.names() {
			if f.runs[name] != want {
				t.Fatalf("%s runs %s, not %s: %+v", name, f.runs[name], want, r)
			}
		}
	})
}
