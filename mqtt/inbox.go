package mqtt

import (
	"context"
	"sync"
)

// maxInbox is how many bytes of messages may wait for a slow handler.
const maxInbox = 16 << 20

// overhead is about what a waiting message costs beside its payload.
const overhead = 128

// inbox keeps messages in order between the connection, which must never wait
// (acknowledgements and pings arrive on it), and a handler that may.
type inbox struct {
	filled chan struct{} // has an entry after each put

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

func newInbox() *inbox { return &inbox{filled: make(chan struct{}, 1)} }

// put reports false, and keeps nothing, if too much is waiting already.
func (b *inbox) put(d delivery) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+d.size() > maxInbox {
		return false
	}
	b.queue = append(b.queue, d)
	b.bytes += d.size()
	select {
	case b.filled <- struct{}{}:
	default:
	}
	return true
}

func (b *inbox) take() (delivery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.queue = nil
		return delivery{}, false
	}
	d := b.queue[0]
	b.queue[0] = delivery{}
	b.queue = b.queue[1:]
	b.bytes -= d.size()
	return d, true
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
