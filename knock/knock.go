// Package knock finds out whether a host is alive by knocking at one of its TCP
// ports. A host that refuses the connection is alive too: only a host that is
// there can refuse.
package knock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// tries are begun one after the other and run side by side: a first packet that
// is lost is sent again by the kernel only after a second.
const (
	tries = 3
	apart = 100 * time.Millisecond
)

// Host returns nil when the host of address, host:port, answers before ctx ends,
// and otherwise why it does not.
func Host(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, tries)
	for i := range tries {
		go func() {
			t := time.NewTimer(time.Duration(i) * apart)
			defer t.Stop()
			select {
			case <-t.C:
				results <- once(ctx, address)
			case <-ctx.Done():
				results <- ctx.Err()
			}
		}()
	}
	var last error
	for range tries {
		err := <-results
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
	}
	if errors.Is(last, context.DeadlineExceeded) {
		return fmt.Errorf("%s does not answer", address)
	}
	return last
}

func once(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err == nil {
		conn.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
