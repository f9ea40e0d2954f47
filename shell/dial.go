package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"

	"github.com/otto-edge/otto"
)

// dial connects with a port of a container, as its node reaches it.
func dial(ctx context.Context, c otto.Container, q request) (Process, error) {
	address := c.Address
	if q.Host {
		address = "127.0.0.1"
	}
	if address == "" {
		return nil, fmt.Errorf("%s has no network of its own", q.Instance)
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(q.Command.Port)))
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // its address says nothing to a person
		}
		return nil, fmt.Errorf("port %d of %s: %w", q.Command.Port, q.Instance, err)
	}
	return connection{conn.(*net.TCPConn)}, nil
}

// connection implements Process for a connection.
type connection struct{ *net.TCPConn }

func (c connection) Output(stdout, _ io.Writer) error {
	_, err := io.Copy(stdout, c.TCPConn)
	return err
}

func (c connection) Resize(context.Context, Size) error { return nil }

// Signal ends the connection.
func (c connection) Signal(context.Context, syscall.Signal) error { return c.TCPConn.Close() }

func (c connection) Wait(context.Context) (int, error) { return 0, nil }

func (c connection) Close() { _ = c.TCPConn.Close() }
