package mqtt

import (
	"context"
	"sync"
)

// maxInbox is how many bytes of messages may wait for a slow handler.
const maxInbox = 16 << 20

// maxExpendable is what may wait where another expendable message is still let in.
const maxExpendable = maxInbox / 4

// overhead is about what a waiting message costs beside its payload.
const overhead = 128

// inbox keeps messages in order between the connection, which must never wait
// (acknowledgements and pings arrive on it), and a handler that may.
type inbox struct {
	filled  chan struct{} // has an entry after each put
	emptied chan struct{} // has an entry when nothing waits any more

	mu    sync.Mutex
	queue []delivery
	bytes int
}

type delivery struct {
	handle  func(topic string, payload []byte)
	topic   string
	payload []byte
}

func (d delivery) size() int { return len(d.topic) + len(d.payload) + overhead }

func newInbox() *inbox {
	return &inbox{filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
}

// put reports false, and keeps nothing, if more than limit would wait then.
func (b *inbox) put(d delivery, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+d.size() > limit {
		return false
	}
	b.queue = append(b.queue, d)
	b.bytes += d.size()
	signal(b.filled)
	return true
}

func (b *inbox) take() (delivery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.queue = nil
		signal(b.emptied)
		return delivery{}, false
	}
	d := b.queue[0]
	b.queue[0] = delivery{}
	b.queue = b.queue[1:]
	b.bytes -= d.size()
	return d, true
}

// empty returns when no message waits, or when ctx ends.
func (b *inbox) empty(ctx context.Context) {
	for b.waiting() {
		select {
		case <-b.emptied:
		case <-ctx.Done():
			return
		}
	}
}

func (b *inbox) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) > 0
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run calls the handlers, one at a time, until ctx ends.
func (b *inbox) run(ctx context.Context) {
	for ctx.Err() == nil {
		d, ok := b.take()
		if ok {
			d.handle(d.topic, d.payload)
			continue
		}
		select {
		case <-b.filled:
		case <-ctx.Done():
		}
	}
}
