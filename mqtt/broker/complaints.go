package broker

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// complaintEvery is how often the log gets a line about the same thing.
const complaintEvery = time.Minute

// complaints are what clients do that they may not. All are counted; the log gets the
// first of each kind, and then one line in a while that says how many there were, so
// that nobody who cannot log in can fill a disk.
type complaints struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*complaint
}

type complaint struct {
	total  uint64
	untold uint64
	last   time.Time
}

// add counts one thing of a kind. Kinds are constants; what a client may choose is
// only in args, and only in the lines that are written.
func (c *complaints) add(kind string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kinds[kind]
	if k == nil {
		k = &complaint{}
		if c.kinds == nil {
			c.kinds = map[string]*complaint{}
		}
		c.kinds[kind] = k
	}
	k.total++
	now := time.Now()
	if !k.last.IsZero() && now.Sub(k.last) < complaintEvery {
		k.untold++
		return
	}
	args = append([]any{"what", kind}, args...)
	if k.untold > 0 {
		args = append(args, "more_like_this", k.untold)
	}
	k.last, k.untold = now, 0
	c.log.Warn("broker", args...)
}

// totals are how often each kind was there.
func (c *complaints) totals() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := map[string]uint64{}
	for kind := range maps.Keys(c.kinds) {
		list[kind] = c.kinds[kind].total
	}
	return list
}
