package sim

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/otto-edge/otto"
)

var (
	simShrink = flag.Bool("sim.shrink", false,
		"with -sim.seed: leave out of the history what it does not need to go wrong")
	simFor   = flag.Duration("sim.for", 20*time.Second, "how long to run random histories")
	simSeed  = flag.Uint64("sim.seed", 0, "run the history of this seed, and show it")
	simFrom  = flag.Uint64("sim.from", 1, "the first seed of the random histories")
	simHarsh = flag.Int("sim.harsh", 1, "how many times as many faults random histories have in the same time")
	simStuck = flag.Duration("sim.stuck", time.Minute, "how long one history may take, of real time")
)

const (
	aftermath  = 15 * time.Second // of the last fault: longer than a lease
	healWithin = 5 * time.Minute  // after it everything runs
	quietFor   = 30 * time.Second // and nothing happens any more
)

// judge waits until everything is as it should be, or should have been for long.
func (w *world) judge() outcome {
	w.doing.is("judge")
	time.Sleep(aftermath)
	mended := time.Now()
	why := w.whole(healWithin)
	o := outcome{healed: time.Since(mended), events: map[string]int{}}
	if why != "" {
		w.truth.broken("not whole %s after the last fault: %s", healWithin, why)
	} else {
		starts := w.truth.count()
		time.Sleep(quietFor)
		if n := w.truth.count() - starts; n > 0 {
			w.truth.broken("%d containers were started although nothing was wrong", n)
		}
		if why := w.whole(10 * time.Second); why != "" { // the guest may be on its way
			w.truth.broken("it did not stay whole: %s", why)
		}
	}
	w.checkEvents(o.events)
	w.checkLeftovers()
	w.mu.Lock()
	o.overlap = w.overlap
	w.mu.Unlock()
	w.truth.mu.Lock()
	defer w.truth.mu.Unlock()
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	o.wrong, o.told, o.did, o.points, o.applied = w.truth.wrong, w.truth.told, maps.Clone(
		w.net.did,
	), w.points, w.applied
	return o
}

// whole waits until nothing is amiss, and says what is if that takes too long.
func (w *world) whole(within time.Duration) (why string) {
	for began := time.Now(); ; time.Sleep(time.Second) {
		if why = w.amiss(); why == "" || time.Since(began) > within {
			return why
		}
	}
}

// amiss says what is not as it should be, by truth and by what the control plane
// believes.
func (w *world) amiss() string {
	if !w.Up() {
		return "no control plane runs"
	}
	view := w.Plane.Cluster()
	if view.Problem != "" {
		return view.Problem
	}
	got := otto.Wanted{}
	instances, units := map[string]bool{}, map[string]string{}
	for _, s := range view.Services {
		got.Services = append(got.Services, s.Service)
		if s.Name == squat && len(w.truth.hostsOf(squat)) == 0 {
			continue
		}
		if r := s.Rollout; r != nil && r.State != otto.UpdateReverted {
			return fmt.Sprintf("the update of %s is %s, with %d left", s.Name, r.State, r.Left)
		}
		goneBack := s.Rollout != nil && isBad(s.Spec)
		for _, i := range s.Instances {
			instances[i.Name] = true
			if at, known := units[s.Unit]; known && s.Unit != "" && at != i.Node {
				return fmt.Sprintf("%s is on %s, and the rest of its stack on %s", i.Name, i.Node, at)
			}
			units[s.Unit] = i.Node
			if isBad(s.Spec) && !goneBack {
				if w.goesBack(i.Node, i.Name, s.Spec) {
					return i.Name + " has not gone back to the version that its node has kept"
				}
				continue // it has never run in another version
			}
			if !i.Up() && !(goneBack && i.State == otto.InstanceRunning) {
				return fmt.Sprintf("%s is %s: %s %s", i.Name, i.State, i.Reason, i.Error)
			}
			if hosts := w.truth.hostsOf(i.Name); !slices.Equal(hosts, []string{i.Node}) {
				return fmt.Sprintf("%s runs on %v, not on %s", i.Name, hosts, i.Node)
			}
			if !w.Hosts[i.Node].Runtime.Connected(i.Name) {
				return fmt.Sprintf("%s is in no network on %s", i.Name, i.Node)
			}
		}
	}
	for _, n := range view.Nodes {
		if n.State != otto.NodeReady {
			return fmt.Sprintf("node %s is %s: %s %s", n.ID, n.State, n.Reason, n.Problem)
		}
	}
	if why := w.truth.unwanted(instances); why != "" {
		return why
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(append(w.possible, w.accepted), func(p otto.Wanted) bool { return same(p, got) }) {
		return fmt.Sprintf("what was acknowledged is lost: wanted %s, but the control plane has %s",
			services(w.accepted), services(got))
	}
	return ""
}

// goesBack reports whether a node has kept another version of an instance, and nothing of it
// runs: after a restore the control plane does not know of that version, and the agent does.
func (w *world) goesBack(node, instance string, spec otto.ContainerSpec) bool {
	list, err := w.Hosts[node].Runtime.Containers(context.Background())
	kept := func(c otto.Container) bool { return c.Instance == instance && c.SpecHash != spec.Hash() }
	return err == nil && slices.ContainsFunc(list, kept) && len(w.truth.hostsOf(instance)) == 0
}

func services(w otto.Wanted) string {
	var names []string
	for _, s := range w.Services {
		names = append(names, s.Name+"@"+s.Spec.Environment["VERSION"])
	}
	return strings.Join(names, " ")
}

// checkEvents looks at the decisions: each has its reason, and there are not more
// of them than what happened can explain.
func (w *world) checkEvents(kinds map[string]int) {
	list, _ := w.Journal.After(0)
	moves := 0
	for _, e := range list {
		kinds[e.Kind]++
		if e.Kind != "service-moved" && e.Kind != "service-stand-in" {
			continue
		}
		moves++
		if _, reason, ok := strings.Cut(e.Message, ": "); !ok || strings.TrimSpace(reason) == "" {
			w.truth.broken("a move without a reason: %s", e.Message)
		}
	}
	w.checkActs(list)
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit := 6 * (w.troubles + 2); moves > limit {
		w.truth.broken("%d moves, and what happened explains %d", moves, limit)
	}
}

// What all that happens may leave behind, in the end.
const (
	maxFiles      = 12  // in an agent's directory
	maxRetained   = 40  // messages at the broker
	maxGoroutines = 120 // in two worlds at a time
)

func (w *world) checkLeftovers() {
	if n := w.Bus.RetainedCount(); n > maxRetained {
		w.truth.broken("the broker retains %d messages", n)
	}
	if n := runtime.NumGoroutine(); n > maxGoroutines {
		w.truth.broken("there are %d goroutines", n)
	}
	for _, id := range hosts() {
		if list, err := os.ReadDir(w.Hosts[id].Dir); err != nil || len(list) > maxFiles {
			w.truth.broken("%d files in the agent's directory on %s: %v", len(list), id, err)
		}
	}
}

// TestScenarios runs the histories that people wrote, and those that once went wrong.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil || len(a.Files) != 1 || a.Files[0].Name != "history" {
				t.Fatalf("%s: one file, named history: %v", file, err)
			}
			h, err := parse(string(a.Files[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			run(t, h).mustHold(t, h)
		})
	}
}

func (o outcome) mustHold(t *testing.T, h history) {
	t.Helper()
	if testing.Verbose() && !h.many {
		t.Logf("%s\n%s", h, strings.Join(o.told, "\n"))
	}
	if len(o.wrong) > 0 {
		t.Errorf("%s\n%s\nwhat happened:\n%s", strings.Join(o.wrong, "\n"), h, strings.Join(o.told, "\n"))
	}
}

// errand is a history that does a little of everything.
const errand = `
0s   apply web cache kept pair
12s  apply web@1 cache@1 kept@1
16s  off b
24s  on b
36s  cut a
55s  heal a
62s  rotate
70s  drain c
75s  undrain c
90s  kill control
`

// TestKilledAtEveryPoint kills control plane and agents before and after each
// thing that they do to the world in an errand: each state that is written, each
// message, each container that is made, started, stopped and removed. There are
// hundreds of such points: with a short -sim.for it takes a sample of them, which
// differs by -sim.from.
func TestKilledAtEveryPoint(t *testing.T) {
	h, err := parse(errand)
	if err != nil {
		t.Fatal(err)
	}
	calm := run(t, h)
	calm.mustHold(t, h)
	kinds := map[string]int{}
	var deaths []string
	for _, point := range slices.Sorted(maps.Keys(calm.points)) {
		kinds[strings.Fields(point)[2]]++
		for nth := 1; nth <= calm.points[point]; nth = nth*3 + 1 {
			deaths = append(deaths, fmt.Sprintf("%s #%d", point, nth))
		}
	}
	for _, kind := range []string{"store", "publish", "create", "start", "stop", "remove"} {
		if kinds[kind] < 2 {
			t.Errorf("the errand has no %s to be killed at", kind)
		}
	}
	random := rand.New(rand.NewPCG(*simFrom, 0))
	random.Shuffle(len(deaths), func(i, j int) { deaths[i], deaths[j] = deaths[j], deaths[i] })
	began := time.Now()
	var missed, done atomic.Int64
	t.Run("deaths", func(t *testing.T) {
		for half := range 2 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for i, d := range deaths {
					if i%2 != half || time.Since(began) > *simFor {
						continue
					}
					done.Add(1)
					h, err := parse("0s die " + d + errand)
					if err != nil {
						t.Error(err)
						return
					}
					h.many = true
					o := run(t, h)
					o.mustHold(t, h)
					if o.did["die"] == 0 {
						missed.Add(1)
					}
				}
			})
		}
	})
	t.Logf("killed at %d of %d points", done.Load()-missed.Load(), len(deaths))
	if 4*missed.Load() > done.Load() || done.Load() < 4 {
		t.Errorf("%d of %d deaths did not come about", missed.Load(), done.Load())
	}
}

// TestRandomHistories runs as many histories as there is time for, and says of each
// that has gone wrong how to see it again.
func TestRandomHistories(t *testing.T) {
	if *simSeed != 0 {
		replay(t, spoilt(*simSeed))
		return
	}
	sum := outcome{did: map[string]int{}, events: map[string]int{}}
	var mu sync.Mutex
	var histories, failed int
	var next atomic.Uint64
	next.Store(*simFrom - 1)
	began := time.Now()
	t.Run("histories", func(t *testing.T) {
		for range min(2, runtime.GOMAXPROCS(0)) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for time.Since(began) < *simFor {
					h := spoilt(next.Add(1))
					h.many = true
					o := run(t, h)
					mu.Lock()
					histories++
					sum.add(o)
					if histories%1000 == 0 {
						t.Logf("%d histories in %s, %d of them went wrong", histories, time.Since(began).Round(time.Second), failed)
					}

					if len(o.wrong) > 0 {
						failed++
						t.Errorf(
							"seed %d: %s\nto see it: go test ./control/sim -run RandomHistories -v -sim.seed %d -sim.harsh %d\n%s",
							h.seed,
							strings.Join(o.wrong, "\n"),
							h.seed,
							*simHarsh,
							h,
						)
					}
					enough := failed >= maxFailed
					mu.Unlock()
					if enough {
						return
					}
				}
			})
		}
	})
	t.Logf(
		"seeds %d to %d: %d histories in %s, %d of them went wrong; longest until all was well: %s; the longest took %s; at most %s twice after a freeze\nfaults: %v\nevents: %v",
		*simFrom,
		next.Load(),
		histories,
		time.Since(began).Round(time.Second),
		failed,
		sum.healed,
		sum.took.Round(time.Millisecond),
		sum.overlap.Round(time.Millisecond),
		sum.did,
		sum.events,
	)
	sum.checkEffects(t, histories)
}

// maxFailed is how many histories may go wrong in one run: more say the same again.
const maxFailed = 20

// replay runs one history and shows what it does; or what is left of it when it is
// shrunk.
func replay(t *testing.T, h history) {
	o := run(t, h)
	if *simShrink && len(o.wrong) > 0 {
		h.many = true
		h, o = shrink(t, h, o)
	}
	t.Logf("%s\n%s\n%v", h, strings.Join(o.told, "\n"), o.did)
	for _, wrong := range o.wrong {
		t.Error(wrong)
	}
}

// shrink leaves out steps, one after the other, for as long as the history goes wrong
// in the same way.
func shrink(t *testing.T, h history, o outcome) (history, outcome) {
	broken := promise(o.wrong[0])
	for i := 0; i < len(h.steps); {
		less := h
		less.steps = slices.Delete(slices.Clone(h.steps), i, i+1)
		if got := run(t, less); len(got.wrong) > 0 && promise(got.wrong[0]) == broken {
			h, o, i = less, got, 0
		} else {
			i++
		}
	}
	return h, o
}

// promise is which of the promises was broken.
func promise(wrong string) string {
	i := slices.IndexFunc(found, func(f string) bool { return strings.Contains(wrong, f) })
	if i < 0 {
		return wrong
	}
	return found[i]
}

func (o *outcome) add(other outcome) {
	for k, n := range other.did {
		o.did[k] += n
	}
	for k, n := range other.events {
		o.events[k] += n
	}
	o.applied += other.applied
	o.healed, o.took, o.overlap = max(o.healed, other.healed), max(o.took, other.took), max(o.overlap, other.overlap)
}

// enough histories have every fault in them, and everything that it can lead to.
const enough = 150

// checkEffects fails a run that has shown nothing.
func (o *outcome) checkEffects(t *testing.T, histories int) {
	if o.applied < histories || o.did["message"] < 500*histories {
		t.Errorf("%d orders acknowledged and %d messages in %d histories: too few to show anything", o.applied,
			o.did["message"], histories)
	}
	if histories < enough {
		return // for the rarer faults
	}
	for _, fault := range []string{
		"cut", "cut in", "cut out", "off", "tear", "kill host", "kill control", "pause", "engine down", "engine hung", "engine slow", "disk host", "disk control",
		"ssh", "address", "load", "clock", "twin", "exit", "drain", "net slow", "net lossy", "net doubled", "net shuffled", "replay", "forge", "lose", "restore", "die", "freeze", "halt", "suspend", "lie", "unmount", "prune", "accept", "disconnect",
	} {
		if o.did[fault] == 0 {
			t.Errorf("the fault %q has never had an effect", fault)
		}
	}
	for _, event := range []string{"node-lost", "node-suspect", "doubt", "asleep", "service-moved", "service-stand-in", "service-moving", "decision-helped", "service-kept", "service-waiting", "stepped-down", "instance-fenced", "engine-lost", "data-missing", "data-back", "instance-drifted"} {
		if o.events[event] == 0 {
			t.Errorf("no history has led to %q", event)
		}
	}
}

// TestHistoryReplaysExactly: what a seed shows once it shows again. Two things of
// the same moment may change places, which is rare; so one of five seeds may go
// another way.
func TestHistoryReplaysExactly(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var others []string
	for seed := range uint64(5) {
		h := draw(1000 + seed)
		first, again := run(t, h).course(), run(t, h).course()
		if diff := cmp.Diff(first, again); diff != "" {
			others = append(others, fmt.Sprintf("seed %d goes another way:\n%s", h.seed, diff))
		}
	}
	if len(others) > 1 {
		t.Error(strings.Join(others, "\n"))
	}
}

// course is what happened on each host, and in what order.
func (o outcome) course() map[string][]string {
	all := map[string][]string{}
	for _, line := range o.told {
		_, what, _ := strings.Cut(line, " ")
		what = strings.TrimSpace(what)
		host := ""
		if f := strings.Fields(what); len(f) == 5 && f[2] == "on" {
			host = f[0]
		}
		all[host] = append(all[host], what)
	}
	return all
}
