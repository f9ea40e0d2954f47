package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/control/journal"
	"github.com/otto-edge/otto/ottotest"
	"github.com/otto-edge/otto/wire"
)

// world is a cluster, what happens to it, and what is known of that in truth.
type world struct {
	*ottotest.Cluster
	truth *truth
	net   *network

	mu       sync.Mutex
	deaths   map[string]death         // by process
	points   map[string]int           // how often each point was passed, by process and point
	sent     map[string][][]byte      // assignments of before, by topic
	said     map[string][]message     // what hosts have said, if somebody listens
	obeyed   map[string]otto.Revision // the newest, by boot id of the agent
	accepted otto.Wanted              // what was acknowledged last
	possible []otto.Wanted            // what was asked for since then, and may have been stored
	copied   *ottotest.Store
	copiedAt []otto.Wanted // what it may hold; the first was acknowledged
	anew     []string      // services of which a person has said since that they begin anew
	applied  int
	healed   map[string]time.Time // when a host was reached again last
	stood    map[string]time.Time // since when a host was held up last
	cured    map[string]time.Time // when its engine went on to work, or it was not cut off any more
	thawed   map[string]time.Time // when a host that was frozen went on last
	filled   map[string]bool      // hosts whose disk was full
	overlap  time.Duration        // for which something ran twice then, at most
	broken   map[string]func()    // what a host needs to be whole again, by fault
	troubles int                  // steps that may move something
	memories int                  // copies that were restored, of what was done about requirements
	loads    []load
	over     atomic.Bool
	pending  sync.WaitGroup
	life     chan struct{} // taken by who starts or ends the control plane
	doing    *activity
}

// death is the point at which a process is to be killed.
type death struct {
	point string
	nth   int // time that it comes to it, from now on
}

const (
	restartAfter = time.Second // of a process that was killed, by its supervisor
	takeOver     = 5 * time.Second
)

// newWorld makes three hosts with nothing on them, and starts a control plane.
func newWorld(t *testing.T, h history, doing *activity) *world {
	w := &world{
		Cluster: ottotest.NewCluster(t, hosts(), image),
		truth:   newTruth(),
		net:     newNetwork(h.seed),
		deaths:  map[string]death{},
		points:  map[string]int{},
		sent:    map[string][][]byte{},
		obeyed:  map[string]otto.Revision{},
		broken:  map[string]func(){},
		healed:  map[string]time.Time{},
		stood:   map[string]time.Time{},
		cured:   map[string]time.Time{},
		thawed:  map[string]time.Time{},
		filled:  map[string]bool{},
		life:    make(chan struct{}, 1),
		doing:   doing,
	}
	w.Log = slog.New(slog.DiscardHandler)
	if testing.Verbose() && !h.many {
		w.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.Journal, _ = journal.Open("", journal.Limit)
	w.Bus.Route = w.net.route
	w.Bus.Retain = w.retain
	w.AtEffect = w.effect
	for i, id := range hosts() {
		h := w.Hosts[id]
		h.SSHTime = 100*time.Millisecond + time.Duration(i)*1237*time.Microsecond
		w.equip(id, h.Runtime)
		rivals(h.Runtime)
	}
	if slices.ContainsFunc(h.steps, func(s step) bool { return s.verb == "speak" }) {
		w.listenIn(t)
	}
	w.StartPlane()
	return w
}

// rivals gives an engine what is not the cluster's: containers of nobody, of a namesake
// that runs the same services, with its id and of a build that wrote none, and a volume.
func rivals(r *ottotest.Runtime) {
	r.AddForeign("mine")
	for _, instance := range []string{"web", "kept", "nobodys"} {
		r.AddOthers("rival-"+instance, instance, otto.OtherOwner)
		r.AddOthers("former-"+instance, instance, otto.Unproven)
	}
	r.SetVolume(squat, "label-of-rival")
	r.GiveVolume(squat, "cluster test of somebody else")
}

// image is the one of all services.
const image = "image"

// equip makes an engine take its time, and tell the truth.
func (w *world) equip(host string, r *ottotest.Runtime) {
	r.Detached = true
	r.StartTime, r.StopTime = 90*time.Millisecond, 200*time.Millisecond
	r.Delay = func(instance, change string) time.Duration {
		return time.Duration(
			w.net.chance(host, instance, change, time.Now().UnixMilli()).Int64N(int64(50 * time.Millisecond)),
		)
	}
	r.FailStart = func(i otto.Instance) error {
		if isBad(i.Spec) {
			return errors.New("this version does not start")
		}
		return nil
	}
	r.Trespass = func(what string) {
		w.truth.broken("%s touches what is another cluster's: %s", host, what)
	}
	r.Observe = func(c ottotest.Observed) {
		lost, stand := w.frozenHosts(host)
		w.measureOverlap(host, c)
		if gap := w.truth.observe(host, c, lost, stand); gap {
			w.net.hit("known gap")
			w.endsSoon(c.Instance)
		}
	}
}

// measureOverlap takes in that a container ends on a host, which may have been frozen
// until a moment ago, while the same runs on another one.
func (w *world) measureOverlap(host string, c ottotest.Observed) {
	if c.Theirs || c.State == otto.ContainerRunning || !menu()[c.Service].Stateful() ||
		len(w.truth.hostsOf(c.Instance)) < 2 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.thawed[host]; time.Since(at) < endsIn {
		w.overlap = max(w.overlap, time.Since(at))
	}
}

// frozenHosts are the hosts whose agent does not run, or has not for long enough since it did
// not to have ended what it should; and of those with an agent that does not run, or has only
// just gone on, the ones that nobody reaches as well: the known gap of docs/faults.md. The
// fence is the agent, and nobody else knows of it. What a starter does that was held up
// itself was decided before that.
func (w *world) frozenHosts(starter string) (lost, stand []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	decided := time.Now()
	if w.heldUp(starter) {
		decided = w.stood[starter]
	}
	for id := range w.Hosts {
		if w.unsteady(id) {
			stand = append(stand, id)
		}
		if !w.stands(id) {
			continue
		}
		if w.outOfReach(id) || decided.Sub(w.healed[id]) < noticed {
			lost = append(lost, id)
		}
	}
	return lost, stand
}

// heldUp reports whether a host stands still, is cut off, or its engine does not work, or
// whether that has only just ended; the caller holds the lock.
func (w *world) heldUp(host string) bool {
	_, sick := w.broken["engine "+host]
	_, cut := w.broken["cut "+host]
	return w.stands(host) || sick || cut || time.Since(w.cured[host]) < endsIn
}

// cure notes that a host is no longer held up.
func (w *world) cure(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cured[host] = time.Now()
}

// outOfReach reports whether nobody reaches a host; the caller holds the lock.
func (w *world) outOfReach(host string) bool {
	return slices.ContainsFunc([]string{"cut ", "ssh ", "address "}, func(fault string) bool {
		_, there := w.broken[fault+host]
		return there
	})
}

// noticed is how long it takes until the control plane finds out that a lost host is
// reached again.
const noticed = 10 * time.Second

// stands reports whether a host's agent does not run, or has only just gone on; the
// caller holds the lock.
func (w *world) stands(host string) bool { return w.still(host, thawed) }

// unsteady reports whether a host's agent does not run, or has not for long since it did
// not; the caller holds the lock.
func (w *world) unsteady(host string) bool { return w.still(host, endsIn) }

func (w *world) still(host string, since time.Duration) bool {
	_, frozen := w.broken["freeze "+host]
	_, halted := w.broken["halt "+host]
	return frozen || halted || time.Since(w.net.resumes(host)) < since
}

// endsSoon sees to it that an instance does not go on to run twice when all agents on
// its hosts have gone on.
func (w *world) endsSoon(instance string) {
	w.later(endsIn, func() {
		on := w.truth.hostsOf(instance)
		w.mu.Lock()
		stand := slices.ContainsFunc(on, w.unsteady)
		w.mu.Unlock()
		stand = stand || slices.ContainsFunc(on, func(id string) bool { return w.forgotten(id, instance) })
		switch {
		case len(on) < 2:
		case stand:
			w.endsSoon(instance)
		default:
			w.truth.broken("%s still runs twice: on %v", instance, on)
		}
	})
}

// forgotten reports whether the agent of a host, killed and started again, cannot know that
// an instance runs there: its disk was full when that began, and its engine does not answer.
func (w *world) forgotten(host, instance string) bool {
	w.mu.Lock()
	_, sick := w.broken["engine "+host]
	sick = sick && w.filled[host]
	w.mu.Unlock()
	var lease struct{ Runs []otto.Container }
	for _, file := range []string{"lease.json", "lease.json.ended"} {
		b, err := os.ReadFile(filepath.Join(w.Hosts[host].Dir, file))
		if err == nil && json.Unmarshal(b, &lease) == nil {
			break
		}
	}
	return sick && !slices.ContainsFunc(lease.Runs, func(c otto.Container) bool { return c.Instance == instance })
}

// endsIn is how long an instance may run twice after that, by an agent that is killed
// when it goes on, and started again.
const endsIn = 5 * time.Second

// thawed is how long an agent that goes on may need to stop what has no lease, also if it is
// killed at that moment and started again.
const thawed = restartAfter + time.Second

// retain keeps the assignments of before, and sees to it that no agent ever obeys
// an older one than it has obeyed.
func (w *world) retain(topic string, payload []byte) {
	id, kind, ok := wire.ParseNodeTopic(topic)
	if !ok || len(payload) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind {
	case wire.KindAssignment:
		w.sent[topic] = append(w.sent[topic], payload)
	case wire.KindInstances:
		r, err := wire.DecodeReport(id, payload)
		if err != nil {
			w.truth.broken("%s reports what cannot be read: %v", id, err)
			return
		}
		was := w.obeyed[r.BootID]
		if r.Revision.Before(was) {
			w.truth.broken("%s obeys %s after it has obeyed %s", id, r.Revision, was)
		}
		w.obeyed[r.BootID] = r.Revision
	default:
	}
}

// effect is what happens at each point of a process: it waits while it is paused,
// and is killed where it is to die.
func (w *world) effect(p *ottotest.Process, point string) {
	if wait := time.Until(w.net.resumes(p.Name)); wait > 0 {
		w.net.hit("pause")
		time.Sleep(wait)
	}
	w.mu.Lock()
	w.points[p.Name+" "+point]++
	d := w.deaths[p.Name]
	if d.point == point {
		d.nth--
		w.deaths[p.Name] = d
	}
	dies := d.point == point && d.nth <= 0
	if dies {
		delete(w.deaths, p.Name)
	}
	w.mu.Unlock()
	if dies {
		w.truth.tell("%s dies %s", p.Name, point)
		w.net.hit("die")
		p.Kill()
		w.later(0, func() { w.kill(p.Name) })
	}
}

// later does something after a time, unless the world has ended by then.
func (w *world) later(d time.Duration, f func()) {
	w.pending.Add(1)
	time.AfterFunc(d, func() {
		defer w.pending.Done()
		f()
	})
}

// kill kills a process; its supervisor starts it again.
func (w *world) kill(who string) {
	if who == "control" {
		w.endPlane()
		w.later(restartAfter, w.revive)
		return
	}
	w.KillAgent(who)
	w.later(restartAfter, func() { _ = w.StartAgent(who) })
}

// revive starts a control plane where none runs; on a disk that is full it tries
// again.
func (w *world) revive() {
	w.life <- struct{}{}
	defer func() { <-w.life }()
	if w.Up() {
		return
	}
	if err := w.TryPlane(); err != nil && !w.over.Load() {
		w.later(restartAfter, w.revive)
	}
}

// endPlane kills the control plane.
func (w *world) endPlane() {
	w.life <- struct{}{}
	defer func() { <-w.life }()
	w.cutDown()
}

// cutDown kills the control plane, for whatever reason, and counts that; the caller
// has taken its life.
func (w *world) cutDown() {
	if w.Up() {
		w.net.hit("control plane killed")
	}
	w.KillPlane()
}

// play performs a history, and then undoes every fault that is still there.
func (w *world) play(h history) error {
	for _, s := range h.steps {
		time.Sleep(time.Until(w.truth.began.Add(s.at)))
		w.truth.tell("STEP %s %s", s.verb, strings.Join(s.args, " "))
		w.doing.is(s.String())
		if err := w.perform(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// mend ends all faults.
func (w *world) mend() {
	w.mu.Lock()
	faults := slices.Sorted(maps.Keys(w.broken))
	mends := make([]func(), len(faults))
	for i, f := range faults {
		mends[i] = w.broken[f]
	}
	clear(w.deaths)
	clear(w.broken)
	w.mu.Unlock()
	for i, f := range mends {
		w.truth.tell("MEND %s", faults[i])
		w.doing.is("mend " + faults[i])
		f()
	}
	w.net.set("ok")
	w.doing.is("wait until the control plane runs")
	for _, who := range append(hosts(), "control") {
		time.Sleep(time.Until(w.net.resumes(who)))
	}
	w.revive()
}

// fault notes how a fault is undone.
func (w *world) fault(name string, undo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[name] = undo
}

// undo undoes a fault.
func (w *world) undo(name string) {
	w.mu.Lock()
	f := w.broken[name]
	delete(w.broken, name)
	w.mu.Unlock()
	if f != nil {
		f()
	}
}
