package mqtttest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Relay passes TCP connections on until it is frozen: then they stay open and
// nothing gets through, as behind a wireless link that is gone.
type Relay struct {
	Addr     string
	Accepted atomic.Int64

	mu     sync.Mutex
	frozen chan struct{} // nil, or closed at the thaw
	conns  []net.Conn
}

// NewRelay relays to an address until the test ends.
func NewRelay(t *testing.T, to string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.Accepted.Add(1)
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			wg.Go(func() { r.pass(out, in) })
			wg.Go(func() { r.pass(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.Thaw()
		r.Cut()
		wg.Wait()
	})
	return r
}

func (r *Relay) pass(to io.WriteCloser, from io.Reader) {
	defer to.Close()
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if wait := r.barrier(); wait != nil {
			<-wait
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (r *Relay) barrier() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frozen
}

// Freeze lets nothing through until Thaw.
func (r *Relay) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
}

// Thaw ends Freeze.
func (r *Relay) Thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen != nil {
		close(r.frozen)
		r.frozen = nil
	}
}

// Cut closes all connections; new ones are welcome.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}
