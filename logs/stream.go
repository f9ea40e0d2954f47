package logs

import (
	"context"
	"io"
	"sync"
	"time"
)

// Stream is a Merger for goroutines: one takes entries, several give them.
type Stream struct {
	mu      sync.Mutex
	changed *sync.Cond // an entry came or went, a source came or ended
	merger  *Merger
	opening bool // sources may still be opened
}

// NewStream returns a Stream that ends once Done is called and its sources have
// ended.
func NewStream(follow bool) *Stream {
	s := &Stream{merger: NewMerger(follow, time.Now()), opening: true}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// Open adds a source.
func (s *Stream) Open() *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.merger.Open(time.Now())
}

// Greet says that a source is there and gives what it has.
func (s *Stream) Greet(from *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from.Greet(time.Now())
	s.changed.Broadcast()
}

// Close says that a source gives no more.
func (s *Stream) Close(from *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from.Close()
	s.changed.Broadcast()
}

// Done says that no more sources will be opened.
func (s *Stream) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = false
	s.changed.Broadcast()
}

// Push gives an entry, as soon as there is room for it. held says that it had to
// wait for room.
func (s *Stream) Push(ctx context.Context, from *Source, e Entry) (held bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.Full() {
		held = true
		defer context.AfterFunc(ctx, s.wake)()
		for from.Full() && ctx.Err() == nil {
			s.changed.Wait()
		}
	}
	if ctx.Err() != nil {
		return held, ctx.Err()
	}
	from.Push(e, time.Now())
	s.changed.Broadcast()
	return held, nil
}

// Next waits for the next entry. It returns io.EOF when all sources have ended.
// before is called before it waits, if it has to.
func (s *Stream) Next(ctx context.Context, before func() error) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop := func() bool { return true }
	defer func() { stop() }()
	for waited := false; ; waited = true {
		e, ok, wait := s.merger.Next(time.Now())
		switch {
		case ok:
			s.changed.Broadcast()
			return e, nil
		case ctx.Err() != nil:
			return e, ctx.Err()
		case !s.opening && len(s.merger.sources) == 0:
			return e, io.EOF
		}
		if !waited {
			s.mu.Unlock()
			err := before()
			s.mu.Lock()
			if err != nil {
				return e, err
			}
			stop = context.AfterFunc(ctx, s.wake)
			continue // something may have come meanwhile
		}
		s.sleep(wait)
	}
}

// sleep waits for a change, for so long at most; 0 is for ever.
func (s *Stream) sleep(atMost time.Duration) {
	if atMost > 0 {
		defer time.AfterFunc(atMost, s.wake).Stop()
	}
	s.changed.Wait()
}

func (s *Stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}
