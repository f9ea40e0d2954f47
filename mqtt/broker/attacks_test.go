package broker_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// openHome lets strangers read home/+/metrics/#, as a cluster does.
func openHome(username, password string) (broker.Permissions, bool) {
	if username == "" {
		return broker.Permissions{Subscribe: []string{"home/+/metrics/#"}}, true
	}
	return mqtttest.HomeUsers(username, password)
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
