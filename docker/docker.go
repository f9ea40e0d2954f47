// Package docker runs Otto's containers on a Docker engine, or on anything else
// that speaks its API from version 1.41 on.
//
// An engine is the least reliable thing on a node: it hangs on a worn SD card,
// is restarted by package upgrades, comes back as another version, or is not
// there at all. So nothing here believes in a connection. The client is made
// and its API version negotiated when a call needs it, and it is thrown away
// when a call could not reach the engine. Every call ends by a deadline of its
// own, even if its caller has none, and leaves no goroutine behind.
//
// What a container is made from is decided by pure functions (spec.go); the rest
// is a thin shell around the engine's API. Errors are one line for a person:
// what happened, and what to try. The values of a service's environment are
// never in them.
package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/otto-edge/otto"
)

// Deadlines of calls, for callers that have no shorter one.
const (
	shortCall = 10 * time.Second // asking
	longCall  = time.Minute      // making and starting, which wait for slow disks
	stopSlack = 10 * time.Second // beyond a container's own grace period
	pullStall = 5 * time.Minute  // without any progress of a pull
)

// Runtime is one container engine, used for one cluster. It may be used by
// several goroutines.
type Runtime struct {
	url   string // unix:///path or tcp://host:port
	owner otto.Owner
	log   *slog.Logger

	adopted    atomic.Pointer[otto.Adopted]  // nil for nothing
	taken      atomic.Pointer[otto.Taken]    // likewise
	replaced   sync.Map                      // when containers in it were found to be gone, by id
	client     atomic.Pointer[client.Client] // nil while the engine is out of reach
	working    gate                          // creating and starting containers
	connecting gate
	networking gate
	attaching  attaching // networks that containers are being put into
	pids       pidCache
	hanging    sync.Map // by container: the command of an Exec that could not be ended
	damage     damagedImages
	kills      killCount
	free       func(dir string) (uint64, error) // space on the disk of dir, in bytes
}

// New returns the engine at url, for the containers of owner. The engine need not
// be there yet.
func New(url string, owner otto.Owner, log *slog.Logger) (*Runtime, error) {
	network, address, ok := strings.Cut(url, "://")
	if !ok || address == "" || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("docker_url %q: write unix:///path/of/socket or tcp://host:port", url)
	}
	return &Runtime{
		url:        url,
		owner:      owner,
		log:        log,
		working:    make(gate, max(2, goruntime.NumCPU())),
		connecting: make(gate, 1),
		networking: make(gate, 1),
		free:       freeSpace,
	}, nil
}

// Local reports whether the engine runs on this machine, so that its files and
// processes can be looked at.
func (r *Runtime) Local() bool { return strings.HasPrefix(r.url, "unix://") }

// Close drops the connections to the engine. The Runtime may still be used.
func (r *Runtime) Close() {
	if c := r.client.Swap(nil); c != nil {
		_ = c.Close()
	}
}

// call does one thing with the engine within limit. The error of a call that
// fails is already one for people; what says what was tried, such as "start web".
func (r *Runtime) call(ctx context.Context, limit time.Duration, what string, do func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := r.connect(ctx)
	if err == nil {
		if err = do(ctx, c); err == nil {
			return nil
		}
		if unreachable(err) {
			r.drop(c)
		}
	}
	return fmt.Errorf("%s: %w", what, r.explain(err))
}

// connect returns a client whose API version is negotiated. One goroutine at a
// time connects; the others wait for it, but not beyond their own deadlines.
func (r *Runtime) connect(ctx context.Context) (*client.Client, error) {
	if c := r.client.Load(); c != nil {
		return c, nil
	}
	if err := r.connecting.enter(ctx); err != nil {
		return nil, err
	}
	defer r.connecting.leave()
	if c := r.client.Load(); c != nil {
		return c, nil
	}
	if err := r.dial(ctx); err != nil {
		return nil, err
	}
	c, err := client.New(client.WithHost(r.url))
	if err != nil {
		return nil, err
	}
	if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		_ = c.Close()
		return nil, err
	}
	r.log.Debug("engine connected", "url", r.url, "api", c.ClientVersion())
	r.client.Store(c)
	return c, nil
}

// Dial connects to the engine, for somebody else's client.
func (r *Runtime) Dial(ctx context.Context) (net.Conn, error) {
	network, address, _ := strings.Cut(r.url, "://")
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", r.explain(err))
	}
	return conn, nil
}

// dial tries the engine's address: the client's own errors no longer tell a
// missing socket from a forbidden one.
func (r *Runtime) dial(ctx context.Context) error {
	network, address, _ := strings.Cut(r.url, "://")
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// drop forgets a client, so that the next call connects anew: the engine that
// comes back may be another one.
func (r *Runtime) drop(c *client.Client) {
	if r.client.CompareAndSwap(c, nil) {
		_ = c.Close()
	}
}

func unreachable(err error) bool {
	return client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded)
}

// heavy is call for what keeps the engine busy. Fifty at once would make it deaf
// for everything else, and take as long.
func (r *Runtime) heavy(ctx context.Context, what string, do func(context.Context, *client.Client) error) error {
	if err := r.working.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, r.explain(err))
	}
	defer r.working.leave()
	return r.call(ctx, longCall, what, do)
}

// gate lets so many goroutines through at a time. Unlike a mutex it can be given
// up on.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }
