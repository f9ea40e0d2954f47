package broker

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// complaintEvery is how often the log gets a line about the same thing.
	complaintEvery = time.Minute
	// Lately is the time in which Complaint.Recent were, at most.
	Lately = 10 * time.Minute
)

// complaints are what clients do that they may not. All are counted; the log gets the
// first of each kind, and then one line in a while that says how many there were, so
// that nobody who cannot log in can fill a disk.
type complaints struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*complaint
}

type complaint struct {
	Complaint
	untold uint64
	logged time.Time
	halves [2]uint64 // of the last Lately, the newer one first
	half   time.Time // when that began
}

// Complaint is something that clients did and may not.
type Complaint struct {
	What   string
	Total  uint64 // since the start
	Recent uint64 // within Lately
	Last   time.Time
	From   string // the address, or the network, of the last one; empty if it is not known
}

// add counts one thing of a kind. Kinds are constants; what a client may choose is
// only in args, and only in the lines that are written.
func (c *complaints) add(kind string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kinds[kind]
	if k == nil {
		k = &complaint{Complaint: Complaint{What: kind}}
		if c.kinds == nil {
			c.kinds = map[string]*complaint{}
		}
		c.kinds[kind] = k
	}
	now := time.Now()
	k.count(now)
	if i := slices.Index(args, any("from")); i >= 0 && i+1 < len(args) {
		k.From = sender(args[i+1])
	}
	if !k.logged.IsZero() && now.Sub(k.logged) < complaintEvery {
		k.untold++
		return
	}
	args = append([]any{"what", kind}, args...)
	if k.untold > 0 {
		args = append(args, "more_like_this", k.untold)
	}
	k.logged, k.untold = now, 0
	c.log.Warn("broker", args...)
}

func (k *complaint) count(now time.Time) {
	k.age(now)
	k.Total++
	k.halves[0]++
	k.Last = now
}

// age leaves out what is longer ago than Lately.
func (k *complaint) age(now time.Time) {
	switch past := now.Sub(k.half); {
	case past >= Lately:
		k.halves, k.half = [2]uint64{}, now
	case past >= Lately/2:
		k.halves, k.half = [2]uint64{0, k.halves[0]}, k.half.Add(Lately/2)
	}
}

// sender is an address without the length of its network where that is all of it.
func sender(from any) string {
	if p, ok := from.(netip.Prefix); ok && p.IsSingleIP() {
		return p.Addr().String()
	}
	return fmt.Sprint(from)
}

// list is what there was of each kind, what was most often lately first.
func (c *complaints) list() []Complaint {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Complaint, 0, len(c.kinds))
	for _, k := range c.kinds {
		k.age(time.Now())
		k.Recent = k.halves[0] + k.halves[1]
		list = append(list, k.Complaint)
	}
	slices.SortFunc(list, func(a, b Complaint) int {
		return cmp.Or(cmp.Compare(b.Recent, a.Recent), cmp.Compare(b.Total, a.Total), cmp.Compare(a.What, b.What))
	})
	return list
}
