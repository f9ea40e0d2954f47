package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// from is a connection that comes from an address.
type from struct {
	net.Conn
	addr string
}

// RemoteAddr implements net.Conn.
func (f from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.addr), Port: 1} }

// certificate is one for a broker.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}

// guardOf is a gate that nobody listens for.
func guardOf(t testing.TB) *gate {
	return &gate{
		tls: &tls.Config{
			MinVersion:             tls.VersionTLS12,
			Certificates:           []tls.Certificate{certificate(t)},
			ClientAuth:             tls.RequestClientCert,
			SessionTicketsDisabled: true,
		},
		closing:    make(chan struct{}),
		complaints: complaints{log: slog.New(slog.DiscardHandler)},
		waiting:    newPlaces[net.Conn](1000),
	}
}

// knock has a client come from an address, and do with its connection.
func (g *gate) knock(addr string, do func(net.Conn)) {
	client, server := net.Pipe()
	conn := from{server, addr}
	source := sourceOf(conn.RemoteAddr())
	var both sync.WaitGroup
	if g.wait(source, conn) {
		both.Go(func() { g.serve(source, conn) })
	}
	both.Go(func() { do(client); _ = client.Close() })
	both.Wait()
}

// shake has a client come from an address, do a handshake and go.
func (g *gate) shake(addr string) (done bool) {
	g.knock(addr, func(c net.Conn) {
		done = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake() == nil
	})
	return done
}

// TestStrangersHaveABudgetOfHandshakes has one come from many addresses of his network, as
// often as he can, while nodes come from others and from his.
func TestStrangersHaveABudgetOfHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guardOf(t)
		g.handshakes.know(netip.MustParseAddr("2001:db8::9"), time.Now())
		const attempts = 500
		var done atomic.Int64
		var all sync.WaitGroup
		began := time.Now()
		for i := range attempts {
			all.Go(func() {
				if g.shake(net.IP{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, byte(i >> 8), byte(i)}.String()) {
					done.Add(1)
				}
			})
		}
		synctest.Wait() // who has no place in the queue has been closed
		for _, addr := range []string{"2001:db8::9", "2001:db8:0:1::1", "10.0.0.9", "127.0.0.1", "::1"} {
			if !g.shake(addr) || time.Since(began) > 0 {
				t.Errorf("%s had to wait: %s", addr, time.Since(began))
			}
		}
		all.Wait()
		r := strangerHandshakes()
		if most := r.burst + r.perSecond*handshakeWait.Seconds(); float64(done.Load()) > most ||
			time.Since(began) > handshakeWait {
			t.Errorf("%d handshakes in %s, at most %g", done.Load(), time.Since(began), most)
		}
		if list := g.list(); len(list) != 1 || list[0].Recent != attempts-uint64(done.Load()) ||
			list[0].From != "2001:db8::/64" {
			t.Errorf("complaints %+v", list)
		}
		time.Sleep(time.Minute)
		if !g.shake("2001:db8::1") {
			t.Error("after a minute he is still kept out")
		}
	})
}

// TestComplaintsAreForgotten counts what was lately.
func TestComplaintsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := complaints{log: slog.New(slog.DiscardHandler)}
		want := func(total, recent uint64) {
			t.Helper()
			if is := c.list()[0]; is.Total != total || is.Recent != recent || is.From != "10.0.0.1" {
				t.Errorf("%+v, want %d and %d", is, total, recent)
			}
		}
		for i := range uint64(4) {
			c.add("noise", "from", netip.MustParsePrefix("10.0.0.1/32"))
			want(i+1, i+1)
			time.Sleep(time.Minute)
		}
		time.Sleep(Lately / 2)
		want(4, 4)
		c.add("noise", "user", "x")
		want(5, 5)
		time.Sleep(Lately / 2)
		want(5, 1)
		time.Sleep(Lately)
		want(5, 0)
	})
}

// TestManySourcesAreForgotten has a stranger come from more networks than are remembered.
func TestManySourcesAreForgotten(t *testing.T) {
	var h handshakes
	now := time.Now()
	for i := range 8 * mostSources {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		h.take(addr, netip.PrefixFrom(addr, 32), now)
		h.know(addr, now)
		now = now.Add(time.Millisecond)
	}
	if len(h.sources) > 2*mostSources || len(h.known) > 2*mostSources {
		t.Errorf("%d sources and %d nodes are remembered", len(h.sources), len(h.known))
	}
}

// BenchmarkFloodOfHandshakes has 64 clients say hello for a second, as often as they can, and
// hear no more than the first byte of the broker's answer: from this machine, which has no
// budget, and from elsewhere. The clients' own part is in the figures, and is small.
func BenchmarkFloodOfHandshakes(b *testing.B) {
	client, server := net.Pipe()
	go func() { _ = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	hello := make([]byte, 4096)
	n, err := server.Read(hello)
	if err != nil {
		b.Fatal(err)
	}
	_ = server.Close()
	hello = hello[:n]
	for name, addr := range map[string]string{"unbounded": "127.0.0.1", "budget": "10.0.0.66"} {
		b.Run(name, func(b *testing.B) {
			g := guardOf(b)
			var attempts, answers atomic.Int64
			before := cpu()
			for b.Loop() {
				var all sync.WaitGroup
				end := time.Now().Add(time.Second)
				for range 64 {
					all.Go(func() {
						for time.Now().Before(end) {
							attempts.Add(1)
							g.knock(addr, func(c net.Conn) {
								_ = c.SetDeadline(end)
								_, _ = c.Write(hello)
								if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
									answers.Add(1)
								}
							})
						}
					})
				}
				all.Wait()
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(attempts.Load()), "cpu-µs/attempt")
			b.ReportMetric(float64(answers.Load())/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
