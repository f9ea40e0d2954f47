package knock

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// discard is a port at which nobody listens. A host that is there refuses it by
// itself, while an SSH server would begin a process and write to its log each time.
const discard = "9"

// patience is how long a host has to refuse it; a firewall may drop what is sent.
const patience = time.Second

// RoundTrip is how long it takes from here to the host of address, host:port, and
// back: from the first packet of a TCP connection to the answer, whatever it is. The
// port is tried if the one where nobody listens does not answer.
func RoundTrip(ctx context.Context, address string) (time.Duration, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	quiet, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if took, err := roundTrip(quiet, net.JoinHostPort(host, discard)); err == nil {
		return took, nil
	}
	return roundTrip(ctx, address)
}

func roundTrip(ctx context.Context, address string) (time.Duration, error) {
	var began time.Time
	dialer := net.Dialer{
		FallbackDelay: -1, // one address after the other, so that began is of the one that answers
		ControlContext: func(context.Context, string, string, syscall.RawConn) error {
			began = time.Now() // the name is resolved
			return nil
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	took := time.Since(began)
	switch {
	case err == nil:
		_ = conn.Close()
	case !errors.Is(err, syscall.ECONNREFUSED):
		return 0, err
	}
	return took, nil
}
