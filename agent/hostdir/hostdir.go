// Package hostdir looks at directories of a node, and tells which ones they are: a
// directory is known by its file system and by its path in that, so that an empty one
// where a disk should be mounted is another one. ADR 10 has the reasons.
package hostdir

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// Patience is how long a look may take. On a healthy disk it takes microseconds; a disk
// that has to spin up needs some seconds.
const Patience = 3 * time.Second

// Looker looks at directories. A look that hangs, as on a server that is off, fails after
// Patience; until it ends, each further look at that directory fails at once. It may be used by several goroutines. The
// zero value is ready.
type Looker struct {
	Look func(path string) (otto.Directory, error) // nil for the real one

	mu    sync.Mutex
	under map[string]*looking
}

// looking is a look that is under way.
type looking struct {
	began time.Time
	done  chan struct{}
	dir   otto.Directory
	err   error
}

// Directory returns the directory at a path, or that there is none. The error says why
// that is not known.
func (l *Looker) Directory(ctx context.Context, path string) (otto.Directory, error) {
	k := l.begin(path)
	t := time.NewTimer(time.Until(k.began.Add(Patience)))
	defer t.Stop()
	select {
	case <-k.done:
		return k.dir, k.err
	case <-ctx.Done():
		return otto.Directory{}, ctx.Err()
	case <-t.C:
		since := time.Since(k.began).Round(time.Second)
		return otto.Directory{}, fmt.Errorf("its disk or server has not answered for %s", since)
	}
}

// begin begins a look, unless one is under way. Its goroutine ends when the kernel
// answers; nothing can end it before.
func (l *Looker) begin(path string) *looking {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.under[path]; k != nil {
		return k
	}
	k := &looking{began: time.Now(), done: make(chan struct{})}
	if l.under == nil {
		l.under = map[string]*looking{}
	}
	l.under[path] = k
	do := l.Look
	if do == nil {
		do = look
	}
	go func() {
		k.dir, k.err = do(path)
		l.mu.Lock()
		delete(l.under, path)
		l.mu.Unlock()
		close(k.done)
	}()
	return k
}
