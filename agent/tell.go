package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/wire"
)

// statuses are the states of all wanted instances; containers are by instance.
func (c *converger) statuses(all map[string]situation, now time.Time) []otto.InstanceStatus {
	list := make([]otto.InstanceStatus, 0, len(c.assignment.Instances))
	for i := range c.assignment.Instances {
		inst := &c.assignment.Instances[i]
		s := all[inst.Name]
		s.want, s.stopped, s.rerun = inst, c.assignment.Stopped, c.rerun[inst.Name]
		if s.attempt = c.attempts[inst.Name]; s.attempt.hash != inst.Hash() {
			s.attempt = attempt{}
		}
		s.restart = c.asked.due(*inst, s.containers)
		s.detached, s.left = c.detached(*inst, s.containers), c.setups.of[inst.Name].Left
		c.hold(*inst, &s)
		var do verb
		var pulling bool
		if w := c.work[inst.Name]; w != nil {
			do, pulling = w.do, w.pulling
		}
		st := status(s, do, pulling, now)
		st.Fenced = st.Fenced && c.listed && c.begun[inst.Name] == ""
		c.tellImage(&st, s.containers)
		st.OOMKills = c.kills.of[inst.Name]
		list = append(list, st)
	}
	return list
}

// tellImage says which image an instance runs, and whether its name means another one on
// the node by now.
func (c *converger) tellImage(st *otto.InstanceStatus, have []otto.Container) {
	i := slices.IndexFunc(have, func(o otto.Container) bool { return o.ID == st.ContainerID })
	if i < 0 {
		return
	}
	st.ImageID = have[i].ImageID
	now := c.meanings[have[i].Image]
	if now == "" || st.ImageID == "" || now == st.ImageID || c.work[st.Name] != nil {
		return
	}
	st.ImageNow = now
	st.Warning = strings.TrimPrefix(fmt.Sprintf("%s; image %s is another one on this node now than the one it runs: "+
		"`otto service update --pull %s` takes it", st.Warning, have[i].Image, st.Service), "; ")
}

// greet publishes the birth at the begin of a session with the broker; the
// report follows in the same turn of the loop.
func (c *converger) greet(ctx context.Context, session uint64) {
	if c.engine.Version == "" {
		c.refresh(ctx)
	}
	ctx, cancel := c.inTime(ctx)
	defer cancel()
	if c.engine.Problem == "" && c.engine.Version == "" {
		c.engine = c.Runtime.Engine(ctx)
	}
	facts := c.Facts
	facts.Engine = c.engine
	b, err := wire.Encode(wire.Status{
		NodeID: c.Enrolment.NodeID, Online: true, BootID: c.BootID, Session: session,
		Timestamp: time.Now().UTC(), Facts: facts, SealKey: wire.SealKeyName(c.Enrolment.SealKey),
		Folders: c.folders.dir != "", Seeds: c.seeds.dir != "",
	})
	if err == nil {
		err = c.say(ctx, wire.KindStatus, 1, true, b)
	}
	if err != nil {
		c.Log.Warn("birth not published", "err", err)
		if ctx.Err() != nil { // other things came first
			select {
			case c.connected <- session:
			default: // there is a newer session
			}
		}
	}
	c.reported = ""
	c.events.unsaid = len(c.events.list) > 0
}

// publishPatience is how long the loop waits for an acknowledgement, whatever happens.
const publishPatience = 200 * time.Millisecond

var errOvertaken = errors.New("the engine has news, which come first")

// publish sends a message that is retained, and waits for its acknowledgement. Where that
// takes long, as on a link that is cut, news of the engine come first: what has begun must
// be known when its lease ends, to be ended without the engine.
func (c *converger) publish(ctx context.Context, kind wire.Kind, b []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.say(ctx, kind, 1, true, b) }()
	patience := time.NewTimer(publishPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
	}
	select {
	case err := <-done:
		return err
	case <-c.changed:
		signal(c.changed)
		cancel()
		if err := <-done; err != nil {
			return fmt.Errorf("%w: %w", errOvertaken, err)
		}
		return nil
	}
}

// sick notes that the engine does not work.
func (c *converger) sick(problem string) {
	if c.engine.Problem == "" {
		c.sickSaid = true
		c.note("engine-lost", "", problem)
	}
	c.engine.Problem = problem
	c.jobs.unheard()
}

// well notes that the engine works.
func (c *converger) well(engine otto.Engine) {
	if c.sickSaid {
		c.sickSaid = false
		c.note("engine-back", "", "the container engine works again")
	}
	c.engine = engine
}

// report publishes what runs when it differs from what was said last. It is false
// if there was no time for it.
func (c *converger) report(ctx context.Context, now time.Time) bool {
	ctx, cancel := c.inTime(ctx)
	defer cancel()
	r := wire.Report{
		NodeID: c.Enrolment.NodeID, BootID: c.BootID, Engine: c.engine,
		Problem: c.problem.Load().(string), Volumes: c.ownVolumes(), Devices: c.devices.there, Instances: []otto.InstanceStatus{},
	}
	r.Data = c.ledger.told()
	r.Data = r.Data[:min(len(r.Data), maxData)]
	for _, i := range c.images {
		r.Images, r.ImageBytes = append(r.Images, i.Name), append(r.ImageBytes, i.Bytes)
	}
	if c.assignment != nil {
		r.Revision, r.Warrant = c.assignment.Revision, c.assignment.Warrant
		all := c.situations()
		r.Instances = c.statuses(all, now)
		r.Strays = c.strays(all)
		r.Lacks, r.Unseeded = c.lacks(), c.unseeded()
		r.Settled = c.engine.Problem == "" && len(c.work) == 0 && c.settled(all, now)
	}
	c.noteWaits(r.Instances, now)
	c.tell(ctx)
	b, err := wire.Encode(r)
	if err != nil {
		c.Log.Error("report", "err", err)
		return true
	}
	if string(b) == c.reported {
		return true
	}
	c.reports++
	r.Seq = c.reports
	said := string(b)
	if b, err = wire.Encode(r); err != nil {
		c.Log.Error("report", "err", err)
		return true
	}
	c.reported = "" // one that is not acknowledged may arrive later all the same
	if c.publish(ctx, wire.KindInstances, b) == nil {
		c.reported = said
	}
	return ctx.Err() == nil // without a connection it is said after the next connect
}
