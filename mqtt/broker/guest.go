package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// writeTimeout is for a client that does not read: it loses its connection.
	writeTimeout = 5 * time.Second
	// longestPause is how long a client that says too much is not listened to at a time.
	longestPause = time.Second
)

// guest is the connection of a client that is let in, as the broker sees it. It passes
// on only whole packets of the kinds and sizes that its class may send, and at the rate
// that it may.
type guest struct {
	net.Conn
	in     io.Reader // its CONNECT as the gate wrote it, then what comes from the network
	user   string
	key    []byte // of its certificate, nil without one
	id     string // client id, as the client knows it
	source netip.Prefix
	can    Permissions
	limits limits

	waiting        atomic.Int64 // bytes of what it has not read yet, about
	frames         frames       // of what comes from the network
	bytes, packets bucket

	ending chan struct{} // closed when the connection is closed
	ended  chan struct{} // closed when the broker is done with it
	once   sync.Once
	why    error // set before ending is closed
}

func newGuest(conn net.Conn, network io.Reader, hello []byte, user string, can Permissions) *guest {
	l := can.Class.limits()
	g := &guest{
		Conn: conn, user: user, can: can, limits: l, frames: frames{largest: l.packet},
		bytes: bucket{rate: l.bytes}, packets: bucket{rate: l.packets},
		ending: make(chan struct{}), ended: make(chan struct{}),
	}
	g.in = &hearing{g, bytes.NewReader(hello), network}
	return g
}

// Read implements net.Conn.
func (g *guest) Read(b []byte) (int, error) { return g.in.Read(b) }

// hearing is what is heard of a guest.
type hearing struct {
	guest   *guest
	hello   *bytes.Reader
	network io.Reader
}

// Read reads the CONNECT that the gate wrote, and then from the network.
func (h *hearing) Read(b []byte) (int, error) {
	if h.hello.Len() > 0 {
		return h.hello.Read(b)
	}
	n, err := h.network.Read(b)
	if n == 0 || err != nil {
		return n, err
	}
	g := h.guest
	packets, err := g.frames.follow(b[:n])
	if err != nil {
		g.end(err)
		return 0, err
	}
	now := time.Now()
	g.pause(max(g.bytes.take(n, now), g.packets.take(packets, now)))
	return n, nil
}

// pause does not listen for a while.
func (g *guest) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(min(d, longestPause))
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.ending:
	}
}

// Write implements net.Conn. What is written half cannot be gone on with.
func (g *guest) Write(b []byte) (int, error) {
	if err := g.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := g.Conn.Write(b)
	if err != nil {
		g.end(err)
	}
	return n, err
}

// SetDeadline implements net.Conn. The broker means by it how long it waits for the
// client; writing has a limit of its own.
func (g *guest) SetDeadline(t time.Time) error { return g.SetReadDeadline(t) }

// Close implements net.Conn.
func (g *guest) Close() error {
	g.end(nil)
	return nil
}

// end closes the connection; the first reason counts.
func (g *guest) end(why error) {
	g.once.Do(func() {
		g.why = why
		close(g.ending)
		_ = g.Conn.Close()
	})
}

// over reports whether the connection was ended.
func (g *guest) over() bool {
	select {
	case <-g.ending:
		return true
	default:
		return false
	}
}

// replaced tells whether the connection was ended for another one of the same client.
func (g *guest) replaced() bool {
	select {
	case <-g.ending:
		return errors.Is(g.why, errReplaced)
	default:
		return false
	}
}

var (
	errReplaced = errors.New("another connection has the same client id")
	errCrowded  = errors.New("there are too many connections like this one")
	errRemoved  = errors.New("the user is cut off")
	errSlow     = errors.New("it does not read what it has subscribed to")
	errGreedy   = errors.New("too many subscriptions")
	errClosing  = errors.New("the broker stops")

	errHandshakes = errors.New("too many TLS handshakes with its address")
)
