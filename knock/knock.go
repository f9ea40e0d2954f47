// Package knock finds out over the network whether a host is alive, by connecting to
// one of its TCP ports.
//
// A kernel answers by itself: it accepts connections, or refuses them, although every
// process of its host is frozen or dead. So what counts as life is that a program
// says something.
package knock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
)

// tries are begun one after the other and run side by side: a first packet that
// is lost is sent again by the kernel only after a second.
const (
	tries = 3
	apart = 100 * time.Millisecond
)

// probes notice within some seconds that a host has gone to which nothing is sent. Its
// kernel answers them, whatever its programs do.
func probes() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}
}

// Host asks the SSH server, or another one that speaks first, at address, host:port, how
// much of its host answers before ctx ends. The error says why that is not a program.
func Host(ctx context.Context, address string) (otto.Reply, error) {
	conn, err := Dial(ctx, address)
	switch {
	case Refused(err):
		return otto.ReplyKernel, err
	case err != nil:
		return otto.ReplyNone, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err = conn.Read(make([]byte, 1))
	switch {
	case err == nil, errors.Is(err, io.EOF): // a program has written, or closed it in order
		return otto.ReplyProgram, nil
	case ctx.Err() != nil:
		return otto.ReplyKernel, fmt.Errorf("%s accepts connections and says nothing", address)
	default: // a kernel resets what no program has taken
		return otto.ReplyKernel, err
	}
}

// Refused reports whether a kernel has refused a connection, so that it is there.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// Dial connects to address, host:port, although packets may be lost.
func Dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, tries)
	for i := range tries {
		go func() {
			t := time.NewTimer(time.Duration(i) * apart)
			defer t.Stop()
			select {
			case <-t.C:
				results <- once(ctx, address)
			case <-ctx.Done():
				results <- result{err: ctx.Err()}
			}
		}()
	}
	var last error
	for left := tries - 1; left >= 0; left-- {
		r := <-results
		if r.err == nil || Refused(r.err) {
			cancel()
			go drop(results, left)
			return r.conn, r.err
		}
		if last == nil || !errors.Is(r.err, context.DeadlineExceeded) {
			last = r.err
		}
	}
	if errors.Is(last, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s does not answer", address)
	}
	return nil, last
}

type result struct {
	conn net.Conn
	err  error
}

func once(ctx context.Context, address string) result {
	conn, err := (&net.Dialer{KeepAliveConfig: probes()}).DialContext(ctx, "tcp", address)
	switch {
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	case Refused(err):
		err = fmt.Errorf("%s refuses connections: %w", address, syscall.ECONNREFUSED)
	}
	return result{conn, err}
}

// drop closes the connections of tries that were not needed.
func drop(results <-chan result, n int) {
	for range n {
		if r := <-results; r.err == nil {
			r.conn.Close()
		}
	}
}
