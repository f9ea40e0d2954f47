package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otto-edge/otto"
)

const (
	resync     = time.Minute     // between two looks at the engine without any event
	engineWait = 2 * time.Second // between two looks at an engine that does not answer
	sickWait   = 4 * time.Second // for the answer of one that has not answered before
	backoffMin = time.Second     // after a start that failed; doubles
	backoffMax = time.Minute
	fenceRetry = 500 * time.Millisecond
	// resultsAhead is how many results work may leave without waiting for the loop, which
	// may itself wait for the broker.
	resultsAhead = 64
	tailLines    = 10
	listEvery    = 5 * time.Minute // between two looks at what images and volumes there are, without a reason
	maxImages    = 200
	maxVolumes   = 500 // with names of 255 bytes at most, half of a message
	maxData      = 100 // that are told of: more than any node has, and paths are long
	// devicesEvery is between two looks at whether devices are there that services ask
	// for: a few stat calls, and none on nodes of which nobody asks that.
	devicesEvery = 5 * time.Second
)

// converger is the state of the goroutine that owns it.
type converger struct {
	*Agent
	assignment *otto.Assignment
	adopted    *otto.Adopted // nil until that is known
	taken      *otto.Taken   // as the runtime was told; nil before
	containers []otto.Container
	engine     otto.Engine
	sickSaid   bool               // that the engine does not work
	known      bool               // whether containers are as the engine has them now
	listed     bool               // whether the engine has ever told this agent what there is
	images     []otto.Image       // that are there
	meanings   map[string]string  // of the names of images: their ids
	imagesAt   time.Time          // when to list them next
	volumes    []string           // that are there; nil if that is not known
	volumesAt  time.Time          // when to list them next
	refreshAt  time.Time          // when to look at the engine next, without an event
	rest       time.Time          // until when not to look at it, whatever happens
	work       map[string]*work   // under way, by instance
	attempts   map[string]attempt // by instance
	rerun      map[string]bool    // instances to start even if they have ended: it was we who ended them
	reported   string             // the last report, to send only what is new
	reports    uint64             // sent so far
	events     events
	fenceAt    time.Time          // when to try again to stop what has no lease
	cutting    bool               // work has just been cut short for that
	overdue    map[string]bool    // instances that are not wanted any more, and ran on after the end of their lease
	begun      map[string]begun   // by instance under a lease, since the last list
	probes     map[string]*prober // by instance
	devices    devices
	data       dataWatch
	waits      waits
	absent     map[string]bool     // built images that are wanted and not there
	needs      map[string][]string // the services that instances need, by instance
}

// work is something under way for an instance.
type work struct {
	do      verb
	why     string // of a restart
	asked   bool   // likewise: it is no failure
	hash    string
	folders []string // keys of the files that it uses
	volumes bool     // there may be more volumes after it
	pulling bool
	cut     bool // as its instance has no lease any more
	cancel  context.CancelFunc
	current *otto.Container // when it began
}

// result is how work ended, or with pulling set that it has come so far.
type result struct {
	instance string
	pulling  *bool
	hash     string
	warning  string
	err      error
	tail     []string
}

// converge makes the containers match the assignment, for as long as ctx lasts.
func (a *Agent) converge(ctx context.Context) error {
	c := &converger{
		Agent: a, assignment: a.stored, engine: otto.Engine{Problem: "not asked yet"},
		work: map[string]*work{}, attempts: map[string]attempt{}, rerun: map[string]bool{}, probes: map[string]*prober{},
		devices: devices{exists: a.Exists}, data: dataWatch{without: map[string]run{}}, overdue: a.lease.overdue(),
		begun: map[string]begun{},
	}
	if c.assignment != nil {
		c.noteNeeds(*c.assignment)
		c.expect(*c.assignment)
		c.measureFor(*c.assignment)
	}
	c.jobs.data = c.dataOf
	c.recall()
	c.noteOverdue()
	defer c.finish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case asg := <-a.assignments:
			c.adopt(asg)
		case <-a.changed:
			c.known = false
		case <-a.renamed:
			c.imagesAt, c.known = time.Time{}, false
		case err := <-a.lost: // said before the engine is asked, which may take its time to fail
			c.sick(err.Error())
			c.report(ctx, time.Now())
			c.known = false
		case r := <-a.results:
			c.settle(r)
			c.settleAll()
		case f := <-a.probed:
			c.found(f)
		case <-a.leased:
		case session := <-a.connected:
			c.greet(ctx, session)
		case <-timer.C:
		}
		c.adoptNewest()
		now := time.Now()
		left, fence := c.fenceIn()
		if (!c.known || !now.Before(c.refreshAt)) && (!now.Before(c.rest) || fence && left <= 0) {
			c.refresh(ctx)
			// Fifty containers that start are hundreds of events: the engine is not to
			// be kept busy with telling what it is doing.
			took := time.Since(now)
			now = time.Now()
			c.rest = now.Add(min(took, engineWait))
		}
		if !c.known { // what is known is out of date: decide nothing by it
			wait := c.rest.Sub(now)
			if fence {
				wait = min(wait, max(left, 0))
			}
			timer.Reset(wait)
			continue
		}
		c.probe(ctx)
		again := c.pass(ctx, now)
		if c.cutting { // what is to be stopped does not wait for a broker that does not answer
			c.cutting = false
		} else if !c.report(ctx, now) {
			again = min(again, fenceRetry)
		}
		again = c.waits.left(now, again)
		timer.Reset(min(again, max(c.refreshAt.Sub(now), c.rest.Sub(now), 0)))
	}
}

// adoptNewest takes in an assignment that is there by now, before the engine is asked, which
// may take its time.
func (c *converger) adoptNewest() {
	select {
	case asg := <-c.assignments:
		c.adopt(asg)
	default:
	}
}

// adopt makes a newer assignment the one in force.
func (c *converger) adopt(asg otto.Assignment) {
	if was := c.assignment; was != nil && was.Stopped && !asg.Stopped {
		for _, inst := range asg.Instances {
			c.rerun[inst.Name] = !c.jobs.done(inst.Name)
		}
	}
	c.Log.Info("assignment", "revision", asg.Revision.String(), "instances", len(asg.Instances), "stopped", asg.Stopped)
	for i := range asg.Instances { // each turn of the loop compares them with what runs
		asg.Instances[i].SpecHash = ""
		asg.Instances[i].SpecHash = asg.Instances[i].Hash()
	}
	was := c.assignment
	c.assignment = &asg
	if asg.Since != (otto.Revision{}) && (was == nil || was.Since != asg.Since) {
		replace(c.connected, c.prover.current()) // what was said before does not count any more
	}
	c.noteOverdue()
	c.lease.actsBy(asg.Revision)
	c.lease.covers(c.underLease())
	c.noteNeeds(asg)
	maps.DeleteFunc(c.rerun, func(name string, _ bool) bool { return c.wanted(name) == nil })
	c.devices.look(asg.Devices, time.Now())
	c.expect(asg)
	c.measureFor(asg)
	if c.lease.left() <= 0 && slices.ContainsFunc(asg.Instances, func(i otto.Instance) bool { return i.Spec.Stateful() }) {
		signal(c.beatNow) // only an answer to a heartbeat can be a lease
	}
	for name, at := range c.attempts { // what failed in another version says nothing of this one
		if inst := c.wanted(name); inst != nil && at.hash != "" && at.hash != inst.Hash() {
			delete(c.attempts, name)
		}
	}
	for name, w := range c.work { // a pull of what is no longer wanted has no purpose
		if inst := c.wanted(name); w.pulling && (inst == nil || inst.Hash() != w.hash) {
			w.cancel()
		}
	}
}

// pass starts what is to be done now and returns when to look again.
func (c *converger) pass(ctx context.Context, now time.Time) (again time.Duration) {
	again = resync
	c.noteOverdue()
	if left, fence := c.fenceIn(); fence && left > 0 {
		again = min(again, left)
	}
	if c.assignment != nil { // what is stored may be unusable
		again = min(again, c.takeIn(ctx, now))
	}
	for name, w := range c.work { // whose container is not known yet
		if c.overdue[name] && w.do != doFence && !w.cut {
			w.cancel()
			w.cut, c.cutting = true, true
		}
	}
	all := c.situations()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		if c.assignment == nil && !s.fenced {
			continue
		}
		if w := c.work[name]; s.fenced && w != nil && w.do != doFence && !w.cut {
			w.cancel()
			w.cut, c.cutting = true, true
		}
		if c.engine.Problem != "" && !s.fenced {
			continue // nothing is known of its containers; only a fence does not wait
		}
		if s.want != nil && len(s.containers) > 0 {
			if left := settlingLeft(s, now); left > 0 {
				again = min(again, left)
			}
		}
		if c.work[name] != nil {
			continue
		}
		st := next(s, now)
		if st.again > 0 {
			again = min(again, st.again)
		}
		if wait := c.fenceAt.Sub(now); st.do == doFence && wait > 0 {
			again = min(again, wait)
			continue
		}
		if st.do == doNothing || st.do != doFence && c.engine.Problem != "" {
			continue
		}
		c.launch(ctx, name, s.want, st)
	}
	return again
}

// takeIn takes in what else decides what is to be done, and returns when to look again.
func (c *converger) takeIn(ctx context.Context, now time.Time) (again time.Duration) {
	again = resync
	if wanted := c.assignment.Devices; len(wanted) > 0 {
		c.devices.look(wanted, now)
		again = devicesEvery
	}
	c.noteRestarts()
	again = min(again, c.watchData(ctx, now))
	if len(c.lacks())+len(c.unseeded()) > 0 {
		again = min(again, foldersEvery)
	}
	return again
}

func (c *converger) wanted(name string) *otto.Instance { return wantedBy(c.assignment, name) }

func wantedBy(asg *otto.Assignment, name string) *otto.Instance {
	if asg == nil {
		return nil
	}
	i := slices.IndexFunc(asg.Instances, func(i otto.Instance) bool { return i.Name == name })
	if i < 0 {
		return nil
	}
	return &asg.Instances[i]
}

// launch begins work for an instance.
func (c *converger) launch(ctx context.Context, name string, want *otto.Instance, st step) {
	ctx, cancel := context.WithCancel(ctx)
	w := &work{do: st.do, cancel: cancel, asked: st.asked || st.without || st.after != "", current: st.current}
	if st.do == doUpdate && want != nil && want.Release != nil {
		c.note("instance-released", name, "given back to Compose: it gets another container")
	} else if st.do == doUpdate && slices.ContainsFunc(st.others, isTaken) {
		c.note("instance-taken-over", name, "taken over from Compose: it gets another container")
	}
	if st.asked {
		c.note("instance-restarted", name, "restarted, as asked for")
	} else if st.without {
		c.note("instance-restarted", name, "restarted, because its data is back")
	} else if st.after != "" {
		c.note("instance-restarted", name, "restarted after "+st.after+", whose container it follows")
	} else if st.do == doRestart {
		c.note("instance-unhealthy", name, "restarted: "+st.current.Ailment)
		w.why = "it was unhealthy and has been restarted: " + st.current.Ailment
	}
	if st.do == doReturn {
		c.note("instance-returned", name, "container "+st.current.Name+" is Compose's again, and is started: the takeover had not ended")
	}
	if st.do == doFence && want != nil { // a lease that comes from now on is not for it
		st.grace = c.lease.grace()
	}
	if st.do == doAttach {
		c.note("instance-drifted", name, c.detached(*want, current(st))+": it is attached to its network again")
	}
	r := result{instance: name}
	var asked wish
	if c.assignment != nil {
		asked = wish{of: c.assignment.Revision, contents: c.assignment.Contents}
	}
	if want != nil {
		asked.Instance = *want
		asked.Lent, asked.Beside = c.lent(*want), c.networksBeside(*want)
		if len(followed(*want)) > 0 {
			c.bonds.begun[name] = c.beside(*want)
		}
		for _, m := range want.Spec.Folders() {
			w.folders = append(w.folders, m.Content)
		}
		w.hash, w.volumes = want.Hash(), len(want.Spec.Volumes()) > 0
		r.hash = w.hash
	}
	c.work[name] = w
	if want != nil && needsLease(*want) && st.do.starts() {
		c.begun[name] = begunAsked
	}
	c.Log.Info("converging", "instance", name, "step", string(st.do))
	go func() {
		defer cancel()
		r.warning, r.err = c.perform(ctx, asked, st)
		if down := (*downError)(nil); errors.As(r.err, &down) {
			r.tail = down.tail
		} else if r.err != nil && st.current != nil && st.do != doRetire {
			r.tail, _ = c.Runtime.Logs(ctx, st.current.ID, tailLines)
		}
		c.results <- r
	}()
}

// settleAll takes in what else has ended since.
func (c *converger) settleAll() {
	for {
		select {
		case r := <-c.results:
			c.settle(r)
		default:
			return
		}
	}
}

// settle takes in how work went.
func (c *converger) settle(r result) {
	w := c.work[r.instance]
	if r.pulling != nil {
		w.pulling = *r.pulling
		c.imagesAt = time.Time{} // there may be one more
		return
	}
	delete(c.work, r.instance)
	delete(c.rerun, r.instance)
	if c.begun[r.instance] != "" && r.err == nil && w.do.starts() {
		c.begun[r.instance] = begunDone
	}
	c.known, c.data.at = false, time.Time{}
	if c.assignment != nil && len(c.assignment.Taken.Back) > 0 { // it may have stopped one of those, or started it
		c.take(c.assignment.Taken)
	}
	if w.volumes && c.volumes != nil { // an engine that cannot list them is not asked each time
		c.volumesAt = time.Time{}
	}
	if w.do == doRestart && r.err != nil {
		c.rerun[r.instance] = true
	}
	if errors.Is(r.err, errSpoiled) {
		c.note("instance-files-spoiled", r.instance, r.err.Error())
	}
	switch {
	case w.do == doFence:
		c.fenced(r)
		return
	case errors.Is(r.err, errNotNow), errors.Is(r.err, context.Canceled):
		return // the next pass knows why
	}
	if w.do == doStop || w.do == doRetire || w.do == doKeepOne || w.do == doReturn && r.err == nil {
		if r.err != nil {
			c.Log.Warn("not stopped", "instance", r.instance, "err", r.err)
		}
		if r.err == nil {
			if w.hash == "" {
				delete(c.attempts, r.instance) // it is gone
			}
			return
		}
	}
	if w.do == doUpdate && r.err != nil {
		c.setups.giveUp(r.instance)
	}
	if w.do == doAttach && r.err == nil {
		c.attached(r.instance, *w.current)
		return
	}
	if w.asked && r.err == nil {
		return
	}
	at := c.attempts[r.instance]
	if at.hash != r.hash {
		at = attempt{hash: r.hash}
	}
	at.warning, at.alien = r.warning, errors.Is(r.err, otto.ErrPlatform)
	at.count++
	at.next = time.Now().Add(backoff(at.count, c.Enrolment.NodeID+r.instance))
	if r.err != nil {
		if at.err != r.err.Error() {
			c.note("instance-not-up", r.instance, r.err.Error())
		}
		at.err, at.tail = r.err.Error(), r.tail
		c.Log.Warn("instance not up", "instance", r.instance, "err", r.err, "attempt", at.count)
	} else {
		at.err, at.tail = w.why, nil
	}
	c.attempts[r.instance] = at
}

// backoff grows from one second to a minute, and differs by key so that what
// failed together is not tried again together.
func backoff(count int, key string) time.Duration {
	return otto.Spread(min(backoffMin<<min(count-1, 10), backoffMax), fmt.Sprint(key, count))
}

// finish waits for work and probes under way after the context has ended.
func (c *converger) finish() {
	for _, p := range c.probes {
		<-p.done
	}
	for len(c.work) > 0 {
		if r := <-c.results; r.pulling == nil {
			delete(c.work, r.instance)
		}
	}
}
