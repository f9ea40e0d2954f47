package broker_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"golang.org/x/sync/errgroup"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// openHome lets strangers read home/+/metrics/#, as a cluster does.
func openHome(l broker.Login) (broker.Permissions, bool) {
	if l.Username == "" {
		return broker.Permissions{Subscribe: []string{"home/+/metrics/#"}}, true
	}
	return mqtttest.HomeUsers(l)
}

// session connects by hand and does not wait for more than the answer.
func session(t *testing.T, tg mqtttest.Target, clean bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", tg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(mqtttest.Patience))
	p := mqtttest.ConnectPacket(tg, "x"+rand.Text(), nil)
	p.CleanSession = clean
	_ = p.Write(conn)
	_, _ = packets.ReadPacket(conn)
	return conn
}

// TestSessionsOfStrangersFillNothing is an attack that has ended a control plane in
// twelve seconds, for good: sessions that are to be kept, with long subscriptions.
func TestSessionsOfStrangersFillNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	b := mqtttest.StartBroker(t, broker.Options{Dir: dir, Authorize: openHome})
	stranger := mqtttest.Target{Addr: b.Addr()}
	for size := 55_000; size > 500; size /= 10 {
		for range 700 {
			conn := session(t, stranger, false)
			for i := range 4 {
				p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
				p.MessageID, p.Qoss = uint16(i+1), []byte{1}
				p.Topics = []string{"home/+/metrics/" + strings.Repeat("x", size)}
				if p.Write(conn) != nil {
					break
				}
				if _, err := packets.ReadPacket(conn); err != nil {
					break
				}
			}
			_ = conn.Close()
		}
	}
	owner := mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("owner"), nil)
	owner.Send(t, "home/sensor/order", 1, true, "go")
	_, box := mqtttest.Subscribed(t, mqtttest.SensorOf(b).Options("sensor"), "home/sensor/order")
	box.Want(t, "home/sensor/order go")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	mqtttest.StartBroker(t, broker.Options{Dir: dir, Authorize: openHome})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it starts after %v", took)
	}
}

// TestStrangersFillNoLog does what is refused some thousand times.
func TestStrangersFillNoLog(t *testing.T) {
	var book mqtttest.Logbook
	b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome, Log: book.Logger()})
	sensor := session(t, mqtttest.SensorOf(b), true) // anybody who may log in
	for range 2000 {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Payload = "home/other/"+rand.Text(), []byte("forged")
		if err := p.Write(sensor); err != nil {
			t.Fatal(err)
		}
	}
	_ = packets.NewControlPacket(packets.Pingreq).Write(sensor)
	if _, err := packets.ReadPacket(sensor); err != nil {
		t.Fatal(err)
	}
	_ = sensor.Close()
	for range 200 {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\n\r\n", rand.Text())
		_ = conn.SetReadDeadline(time.Now().Add(mqtttest.Patience))
		_, _ = conn.Read(make([]byte, 1)) // it is closed
		_ = conn.Close()
	}
	if n := strings.Count(book.String(), "\n"); n == 0 || n > 20 {
		t.Errorf("%d lines, %d bytes in the log", n, len(book.String()))
	}
}

// TestMuteConnectionsKeepNobodyOut opens many connections that never log in, and some
// hundred that do and then say nothing.
func TestMuteConnectionsKeepNobodyOut(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome, MaxNodes: 2})
	for range 400 {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	for range 100 {
		conn := session(t, mqtttest.Target{Addr: b.Addr()}, true)
		t.Cleanup(func() { _ = conn.Close() })
	}
	for _, tg := range []mqtttest.Target{mqtttest.OwnerOf(b), mqtttest.SensorOf(b), {Addr: b.Addr()}} {
		if err := mqtt.Probe(t.Context(), tg.Addr, nil, tg.Username, tg.Password); err != nil {
			t.Errorf("%q is kept out: %v", tg.Username, err)
		}
	}
}

// TestOneUserKeepsNoOtherOut takes all connections that one node can get.
func TestOneUserKeepsNoOtherOut(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome, MaxNodes: 2})
	for range 200 {
		conn := session(t, mqtttest.SensorOf(b), true)
		t.Cleanup(func() { _ = conn.Close() })
	}
	for _, tg := range []mqtttest.Target{mqtttest.OwnerOf(b), {Addr: b.Addr()}} {
		if err := mqtt.Probe(t.Context(), tg.Addr, nil, tg.Username, tg.Password); err != nil {
			t.Errorf("%q is kept out: %v", tg.Username, err)
		}
	}
}

// TestClientIDOfAnotherUserIsOfNoUse connects with somebody else's client id.
func TestClientIDOfAnotherUserIsOfNoUse(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome})
	owner, box := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("stolen"), "home/#")
	for _, thief := range []mqtttest.Target{mqtttest.SensorOf(b), {Addr: b.Addr()}} {
		mqtttest.RawConnect(t, thief, "stolen", nil)
	}
	owner.Send(t, "home/x", 1, false, "still here")
	box.Want(t, "home/x still here")
	if len(owner.Lost) > 0 {
		t.Error("a client was thrown out by another user")
	}
}

// TestFirstPrototypesSubscriberReads sends byte for byte what commlib-py 0.13.1 does,
// which has a user name and a password always, and both empty as a rule.
func TestFirstPrototypesSubscriberReads(t *testing.T) {
	brokers := map[string]func(t *testing.T) (addr string, owner mqtttest.Target){
		"embedded": func(t *testing.T) (string, mqtttest.Target) {
			b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome})
			return b.Addr(), mqtttest.OwnerOf(b)
		},
		"mosquitto": func(t *testing.T) (string, mqtttest.Target) {
			addr := mqtttest.StartMosquitto(t, "allow_anonymous true")
			return addr, mqtttest.Target{Addr: addr}
		},
	}
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			addr, owner := start(t)
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(mqtttest.Patience))
			exchange := func(say, want string) {
				t.Helper()
				if _, err := conn.Write([]byte(say)); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(want))
				if n, err := conn.Read(got); err != nil || string(got[:n]) != want {
					t.Fatalf("it answers % x (%v), want % x", got[:n], err, want)
				}
			}
			exchange("\x10\x1c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x0ccommlib-node\x00\x00\x00\x00", "\x20\x02\x00\x00")
			exchange("\x82\x18\x00\x01\x00\x13home/+/metrics/node\x00", "\x90\x03\x00\x01\x00")
			mqtttest.Connected(t, owner.Options("owner"), nil).Send(t, "home/n1/metrics/node", 0, false, "{}")
			exchange("\xc0\x00", "")
			p, err := packets.ReadPacket(conn)
			for ; err == nil; p, err = packets.ReadPacket(conn) {
				if m, ok := p.(*packets.PublishPacket); ok {
					if m.TopicName != "home/n1/metrics/node" || string(m.Payload) != "{}" {
						t.Errorf("it gets %s %s", m.TopicName, m.Payload)
					}
					return
				}
			}
			t.Error(err)
		})
	}
}

// TestMQTT5IsSpoken is a subscriber of the version that home automation asks for.
func TestMQTT5IsSpoken(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: openHome})
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(mqtttest.Patience))
	receive := func() (kind byte, body string) {
		t.Helper()
		head := make([]byte, 2) // all lengths here are of one byte
		if _, err := io.ReadFull(conn, head); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, head[1])
		if _, err := io.ReadFull(conn, rest); err != nil {
			t.Fatal(err)
		}
		return head[0], string(rest)
	}
	// It wants a session of an hour, gives no client id, and has an empty user name.
	fmt.Fprint(conn, "\x10\x14\x00\x04MQTT\x05\x80\x00\x3c\x05\x11\x00\x00\x0e\x10\x00\x00\x00\x00")
	if kind, body := receive(); kind != 0x20 || body[:2] != "\x00\x00" || !strings.Contains(body, "\x12\x00") {
		t.Fatalf("CONNACK %x % x, without a client id", kind, body)
	}
	fmt.Fprint(conn, "\x82\x19\x00\x01\x00\x00\x13home/+/metrics/node\x01")
	if kind, body := receive(); kind != 0x90 || body != "\x00\x01\x00\x00" {
		t.Fatalf("SUBACK %x % x", kind, body)
	}
	fmt.Fprint(conn, "\x82\x0e\x00\x02\x00\x00\x08home/one\x00")
	if kind, body := receive(); kind != 0x90 || body[3] < 0x80 {
		t.Fatalf("a forbidden subscription: %x % x", kind, body)
	}
	mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("owner"), nil).Send(t, "home/n1/metrics/node", 0, false, "{}")
	if kind, body := receive(); kind != 0x30 || !strings.HasPrefix(body, "\x00\x14home/n1/metrics/node") ||
		!strings.HasSuffix(body, "{}") {
		t.Errorf("PUBLISH %x %q", kind, body)
	}
}

// BenchmarkThousandNodes has each of them say what a node says in a second, to one reader.
func BenchmarkThousandNodes(b *testing.B) {
	b.Run("plain", func(b *testing.B) { thousandNodes(b, nil, nil) })
	b.Run("tls", func(b *testing.B) {
		_, server, client := mqtttest.Certificates(b)
		thousandNodes(b, server, client)
	})
}

func thousandNodes(b *testing.B, server, client *tls.Config) {
	const nodes = 1000
	home := startThousand(b, nodes, server)
	owner := mqtttest.OwnerOf(home)
	owner.TLS = client
	var got atomic.Int64
	mqtttest.Connected(b, owner.Options("owner"), func(c *mqtt.Client) {
		c.Subscribe("home/#", func(string, []byte) { got.Add(1) })
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, nodes)
	for i := range conns {
		conns[i] = mqtttest.RawConnect(b,
			mqtttest.Target{Addr: home.Addr(), TLS: client, Username: fmt.Sprint("n", i), Password: "x"}, "id", nil)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	spent := cpuTime()
	payload := []byte(strings.Repeat("x", 500))
	want := got.Load()
	for b.Loop() { // a second of all of them
		for i, conn := range conns {
			for _, kind := range []string{"heartbeat", "metrics/node", "metrics/containers"} {
				p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
				p.TopicName, p.Payload = fmt.Sprintf("home/n%d/%s", i, kind), payload
				if err := p.Write(conn); err != nil {
					b.Fatal(err)
				}
			}
		}
		want += 3 * nodes
		mqtttest.WaitUntil(b, "all have arrived", func() bool { return got.Load() >= want })
	}
	b.ReportMetric(float64((cpuTime()-spent).Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/nodes/1024, "KiB/node")
}

// BenchmarkThousandNodesComeBack has all of them connect at once, with a certificate each,
// as after a new start of the broker. The CPU time is of both sides.
func BenchmarkThousandNodesComeBack(b *testing.B) {
	const nodes = 1000
	_, server, client := mqtttest.Certificates(b)
	server.ClientAuth, server.SessionTicketsDisabled = tls.RequestClientCert, true
	client.Certificates = server.Certificates
	home := startThousand(b, nodes, server)
	spent := cpuTime()
	for b.Loop() {
		var all errgroup.Group
		all.SetLimit(100) // not to measure how patient a client is on a busy machine
		for i := range nodes {
			all.Go(func() error {
				return mqtt.Probe(context.Background(), home.Addr(), client, fmt.Sprint("n", i), "x")
			})
		}
		if err := all.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-spent).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// startThousand is a broker for an owner of home/# and for nodes.
func startThousand(b *testing.B, nodes int, over *tls.Config) *broker.Broker {
	b.Helper()
	return mqtttest.StartBroker(
		b,
		broker.Options{MaxNodes: nodes, TLS: over, Authorize: func(l broker.Login) (broker.Permissions, bool) {
			if l.Username == "owner" {
				return broker.Permissions{Subscribe: []string{"home/#"}, Class: broker.Control}, true
			}
			return broker.Permissions{
				Publish:   []string{"home/" + l.Username + "/#"},
				Subscribe: []string{"home/order"},
				Class:     broker.Node,
			}, true
		}},
	)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
