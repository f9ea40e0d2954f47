package docker

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// settle is how long Watch waits for the rest of a burst: stopping one
// container is a kill, a die and a stop.
const settle = 20 * time.Millisecond

// Watch calls changed once when it begins to watch and after anything happened
// to any container, network or image of the engine; images says that it was an image. It returns when the connection to the engine
// breaks, or when the engine does not answer.
func (r *Runtime) Watch(ctx context.Context, changed func(images bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connectCtx, stop := context.WithTimeout(ctx, shortCall)
	defer stop()
	c, err := r.connect(connectCtx)
	if err != nil {
		return r.watchError(err)
	}
	// Whatever ends the stream may have replaced the engine.
	defer r.drop(c)

	hung := time.AfterFunc(shortCall, func() { cancel(context.DeadlineExceeded) })
	stream := c.Events(ctx, client.EventsListOptions{
		Filters: client.Filters{}.Add("type", string(events.ContainerEventType), string(events.NetworkEventType),
			string(events.ImageEventType)),
	})
	hung.Stop()
	go func() { // a stream of an engine that hangs is silent, and so is one with nothing to tell
		if err := keepAsking(ctx, c); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(nil)
		for range stream.Err { // closed when the stream's goroutine has ended
		}
	}()

	r.pids.forget(true)
	defer r.pids.forget(false)
	err = follow(stream, r.kills.take, func(images bool) {
		r.pids.forget(true)
		changed(images)
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return r.watchError(err)
}

// pingEvery is how often a silent engine is asked whether it is alive. A ping
// costs it nothing: it takes no lock.
const pingEvery = 5 * time.Second

// keepAsking returns when the engine does not answer or ctx ends.
func keepAsking(ctx context.Context, c *client.Client) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		pingCtx, cancel := context.WithTimeout(ctx, shortCall)
		_, err := c.Ping(pingCtx, client.PingOptions{})
		late := pingCtx.Err() != nil && ctx.Err() == nil
		cancel()
		if late {
			return context.DeadlineExceeded
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (r *Runtime) watchError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return problem{"the engine at " + r.url + " closed its event stream", err}
	}
	return r.explain(err)
}

// follow calls seen with each event, and changed at once and after each burst of
// them, until the stream ends.
func follow(stream client.EventsResult, seen func(events.Message), changed func(images bool)) error {
	images := true // who begins to watch knows of none
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		select {
		case err := <-stream.Err:
			return err
		case event := <-stream.Messages:
			seen(event)
			if matters(event) {
				images = images || event.Type == events.ImageEventType
				quiet.Reset(settle)
			}
		case <-quiet.C:
			changed(images)
			images = false
		}
	}
}

// matters leaves out what changes nothing: each run of a health check is three
// events.
func matters(event events.Message) bool {
	return !strings.HasPrefix(string(event.Action), "exec_")
}

// killCount counts, by container, what an engine that is watched told of processes
// killed for want of memory, which containers it was asked to stop, and how the others
// have ended. How one has ended that has been started again can be learned in no other
// way, nor that one has not ended by itself.
type killCount struct {
	mu      sync.Mutex
	of      map[string]int
	stopped map[string]bool
	exits   map[string]int
}

func (k *killCount) take(event events.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch event.Action {
	case events.ActionOOM:
		if k.of == nil {
			k.of = map[string]int{}
		}
		k.of[event.Actor.ID]++
	case events.ActionKill:
		if !slices.Contains(harmless, event.Actor.Attributes["signal"]) {
			if k.stopped == nil {
				k.stopped = map[string]bool{}
			}
			k.stopped[event.Actor.ID] = true
		}
	case events.ActionDie:
		code, err := strconv.Atoi(event.Actor.Attributes["exitCode"])
		if err != nil || k.stopped[event.Actor.ID] {
			return
		}
		if k.exits == nil {
			k.exits = map[string]int{}
		}
		k.exits[event.Actor.ID] = code
	case events.ActionStart:
		delete(k.stopped, event.Actor.ID)
	case events.ActionDestroy:
		delete(k.of, event.Actor.ID)
		delete(k.stopped, event.Actor.ID)
		delete(k.exits, event.Actor.ID)
	}
}

// harmless are signals by which nothing is asked to end: HUP, USR1 and USR2.
var harmless = []string{"1", "10", "12"} //nolint:gochecknoglobals // a constant

func (k *killCount) count(id string) (kills int, stopped bool, exit *int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if code, known := k.exits[id]; known {
		exit = &code
	}
	return k.of[id], k.stopped[id], exit
}
