package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
)

// Bounds on the node.
const (
	askerWithin  = 30 * time.Second // who asks and sends nothing for so long is gone
	hangUpWithin = time.Second      // from a hang-up to a kill
	askWithin    = 10 * time.Second // for what the engine answers at once
)

// Serve runs the command that the first frame of in asks for, and returns when it has
// ended. When in ends before, or is silent for too long, nobody waits for the command
// any more: it is ended. What goes wrong is said on out; the error is that of out.
func Serve(ctx context.Context, e Engine, in io.Reader, out io.Writer) error {
	frames, to := newReceiver(in), &sender{out: out}
	q, err := readRequest(frames)
	var c otto.Container
	if err == nil {
		c, err = containerOf(ctx, e, q.Instance)
	}
	var p Process
	switch {
	case err != nil:
	case q.Command.Port != 0:
		p, err = dial(ctx, c, q)
	default:
		p, err = e.Run(ctx, c.ID, q.Command)
	}
	if err != nil {
		return to.send(frameFailure, []byte(err.Error()))
	}
	s := &serving{process: p, frames: frames, to: to, input: newQueue()}
	return s.run(ctx)
}

func readRequest(frames *receiver) (q request, err error) {
	kind, content, err := frames.next()
	if err == nil && kind != frameRequest {
		err = fmt.Errorf("a frame %q", kind)
	}
	if err == nil {
		err = json.Unmarshal(content, &q)
	}
	if err == nil && len(q.Command.Args) == 0 && q.Command.Port == 0 && q.Once == nil {
		err = errors.New("no command")
	}
	if err != nil {
		return q, fmt.Errorf("no request: %w", err)
	}
	return q, nil
}

// containerOf is the container of an instance that runs.
func containerOf(ctx context.Context, e Engine, instance string) (c otto.Container, err error) {
	list, err := e.Containers(ctx)
	if err != nil {
		return c, err
	}
	var found *otto.Container
	for i, c := range list {
		if c.Instance == instance && (found == nil || liveliness(c) > liveliness(*found)) {
			found = &list[i]
		}
	}
	switch {
	case found == nil:
		return c, fmt.Errorf("there is no container of %s", instance)
	case found.State != otto.ContainerRunning:
		return c, fmt.Errorf("the container of %s does not run: it is %s", instance, found.State)
	}
	return *found, nil
}

// liveliness orders the containers of an instance: the one that people mean is highest.
func liveliness(c otto.Container) int {
	switch c.State {
	case otto.ContainerRunning:
		return 2
	case otto.ContainerPaused, otto.ContainerRestarting:
		return 1
	default:
		return 0
	}
}

// serving is a command that runs.
type serving struct {
	process Process
	frames  *receiver
	to      *sender
	input   *queue
}

func (s *serving) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer s.process.Close()
	defer cancel()
	alone := make(chan struct{}) // closed when nobody asks any more
	heard := make(chan struct{}, 1)
	go func() { // it ends with in, which is closed by whoever has made it
		defer close(alone)
		s.listen(ctx, heard)
	}()
	others.Go(func() { s.beat(ctx) })
	others.Go(func() { s.feed(ctx) })
	others.Go(func() { s.guard(ctx, alone, heard) })

	err := s.process.Output(s.to.stream(frameOut), s.to.stream(frameErr))
	if err != nil {
		s.hangUp(ctx)
		return s.to.send(frameFailure, []byte(err.Error()))
	}
	code, err := s.process.Wait(ctx)
	s.process.Close() // who asks may be gone as soon as it knows the exit code, and take this end with it
	if err != nil {
		return s.to.send(frameFailure, []byte(err.Error()))
	}
	return s.to.sendJSON(frameExit, code)
}

// listen does what is asked, and waits for nothing but the next frame.
func (s *serving) listen(ctx context.Context, heard chan<- struct{}) {
	defer s.input.end()
	for {
		kind, content, err := s.frames.next()
		if err != nil {
			return
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		switch kind {
		case frameIn:
			if !s.input.add(content) {
				return // it does not keep to what may be on its way
			}
		case frameInEnd:
			s.input.end()
		case frameSize:
			var size Size
			if json.Unmarshal(content, &size) == nil {
				s.ask(ctx, func(ctx context.Context) error { return s.process.Resize(ctx, size) })
			}
		case frameSignal:
			var n int
			if json.Unmarshal(content, &n) == nil {
				s.ask(ctx, func(ctx context.Context) error { return s.process.Signal(ctx, syscall.Signal(n)) })
			}
		}
	}
}

// ask asks the engine for something. That it fails is seen by what does not happen.
func (s *serving) ask(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	_ = do(ctx)
}

// feed gives the command its standard input.
func (s *serving) feed(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.input.end)
	defer stop()
	for {
		content, more := s.input.take()
		if len(content) > 0 {
			_, _ = s.process.Write(content) // if it reads no more, what comes is thrown away
		}
		if !more || ctx.Err() != nil {
			_ = s.process.CloseWrite()
			return
		}
		if s.to.sendJSON(frameInTaken, len(content)) != nil {
			return
		}
	}
}

func (s *serving) beat(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.to.send(frameBeat, nil) != nil {
			return
		}
	}
}

// guard ends the command when nobody waits for it any more.
func (s *serving) guard(ctx context.Context, alone, heard <-chan struct{}) {
	silent := time.NewTimer(askerWithin)
	defer silent.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			return
		case <-heard:
			silent.Reset(askerWithin)
		case <-silent.C:
			waiting = false
		case <-alone:
			waiting = false
		}
	}
	s.hangUp(ctx)
	s.process.Close() // what cannot be ended is left alone
}

// hangUp ends the command, unless ctx ends before: it is killed if a hang-up is not
// enough.
func (s *serving) hangUp(ctx context.Context) {
	s.ask(ctx, func(ctx context.Context) error { return s.process.Signal(ctx, syscall.SIGHUP) })
	select {
	case <-ctx.Done():
		return
	case <-time.After(hangUpWithin):
	}
	s.ask(ctx, func(ctx context.Context) error { return s.process.Signal(ctx, syscall.SIGKILL) })
}

// queue is standard input that the command has not taken yet: inAhead bytes at most.
type queue struct {
	mu      sync.Mutex
	content []byte
	ended   bool
	more    chan struct{}
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// add reports whether there was room.
func (q *queue) add(content []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.content)+len(content) > inAhead {
		return false
	}
	q.content = append(q.content, content...)
	q.wake()
	return true
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.wake()
}

// take waits for content and returns all there is, and whether more may come.
func (q *queue) take() (content []byte, more bool) {
	for {
		q.mu.Lock()
		content, ended := q.content, q.ended
		q.content = nil
		q.mu.Unlock()
		if len(content) > 0 || ended {
			return content, !ended
		}
		<-q.more
	}
}
