package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestStoreAndRetainedMessagesSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	connected(t, ownerOf(b).options("writer"), nil).publish(t, "home/state", 1, true, "kept")
	if _, err := bucket(t, b).Put(t.Context(), "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startTestBroker(t, BrokerOptions{Dir: dir})
	_, box := subscribed(t, ownerOf(b).options("reader"), "home/#")
	box.want(t, "home/state kept")
	entry, err := bucket(t, b).Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	if string(entry.Value()) != "value" {
		t.Errorf("the store has %q", entry.Value())
	}
}

func bucket(t testing.TB, b *Broker) jetstream.KeyValue {
	t.Helper()
	conn, err := b.Conn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(context.Background(), jetstream.KeyValueConfig{
		Bucket: "test", History: 5, MaxBytes: 64 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// TestFirstSubscriberMissesNothing has many messages to read at the start, and a
// subscriber who is waiting for the port to open.
func TestFirstSubscriberMissesNothing(t *testing.T) {
	const messages = 500
	dir, addr := filepath.Join(t.TempDir(), "store"), freeAddr(t)
	b := startTestBroker(t, BrokerOptions{Dir: dir, Listen: addr})
	writer := connected(t, ownerOf(b).options("writer"), nil)
	for i := range messages {
		writer.publish(t, fmt.Sprint("home/", i), 1, true, "kept")
	}
	writer.stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	box := make(mailbox, 2*messages)
	early := run(t, ownerOf(b).options("early"), func(c *Client) { c.Subscribe("home/#", box.handle) })
	startTestBroker(t, BrokerOptions{Dir: dir, Listen: addr})
	receive(t, early.connects)
	seen := map[string]bool{}
	for range messages {
		seen[receive(t, box)] = true
	}
	if len(seen) != messages {
		t.Errorf("%d of %d messages", len(seen), messages)
	}
}

func TestDirectoryIsForOneBrokerAndItsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	b := startTestBroker(t, BrokerOptions{Dir: dir})
	if _, err := StartBroker(t.Context(), BrokerOptions{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second broker: %v", err)
	}
	connected(t, ownerOf(b).options("writer"), nil).publish(t, "home/state", 1, true, "x")
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == filepath.Dir(dir) {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	startTestBroker(t, BrokerOptions{Dir: dir})
}

func TestBrokerThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	dir := filepath.Join(t.TempDir(), "store")
	tests := []struct {
		name string
		o    BrokerOptions
		want string
	}{
		{"port taken", BrokerOptions{Dir: dir, Listen: taken.Addr().String()}, "address already in use"},
		{"no port", BrokerOptions{Dir: dir, Listen: "127.0.0.1"}, "missing port"},
		{"bad port", BrokerOptions{Dir: dir, Listen: "127.0.0.1:70000"}, "not a number below 65536"},
		{
			"client certificates", BrokerOptions{
				Dir: dir, Listen: "127.0.0.1:0", TLS: &tls.Config{ClientAuth: tls.RequireAnyClientCert},
			}, "cannot be required",
		},
		{"no directory", BrokerOptions{}, "not a directory"},
		{"a file as directory", BrokerOptions{Dir: file}, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := StartBroker(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want a line with %q", err, tt.want)
			}
		})
	}
	startTestBroker(t, BrokerOptions{Dir: dir}) // the lock is free again
}

func TestOnlyTheMQTTPortIsOpen(t *testing.T) {
	before := openPorts(t)
	b := startTestBroker(t, BrokerOptions{})
	_, port, _ := net.SplitHostPort(b.Addr())
	if d := cmp.Diff(append(before, port), openPorts(t)); d != "" {
		t.Error(d)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := StartBroker(t.Context(), BrokerOptions{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if d := cmp.Diff(before, openPorts(t)); d != "" {
		t.Errorf("without MQTT: %s", d)
	}
	bucket(t, store)
}

// openPorts are the TCP ports that this process listens on.
func openPorts(t *testing.T) []string {
	t.Helper()
	mine := map[string]bool{}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Skip("there is no /proc here")
	}
	for _, fd := range fds {
		link, _ := os.Readlink(fd)
		mine[link] = true
	}
	var ports []string
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		table, _ := os.ReadFile(file) // no IPv6, no table
		for line := range strings.Lines(string(table)) {
			const listening = "0A"
			f := strings.Fields(line)
			if f[3] != listening || !mine["socket:["+f[9]+"]"] {
				continue
			}
			var port int
			_, hex, _ := strings.Cut(f[1], ":")
			if _, err := fmt.Sscanf(hex, "%X", &port); err != nil {
				t.Fatal(err)
			}
			ports = append(ports, fmt.Sprint(port))
		}
	}
	return ports
}

// TestPermissionsAreKept judges by what arrives, since every publish is
// acknowledged.
func TestPermissionsAreKept(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	owner, all := subscribed(t, ownerOf(b).options("owner"), "home/#")
	sensor := connected(t, sensorOf(b).options("sensor"), nil)

	forbidden := []string{
		"home/sensor/order", "home/other/status", "home", "home/sensor", "home/sensor/status/x", "garden",
		"$MQTT/rmsgs/home/other/status", "$MQTT/sess/x", "$MQTT/msgs/home/other/status", "$JS/API/STREAM/DELETE/$MQTT_rmsgs",
		"$JS/API/STREAM/PURGE/$MQTT_rmsgs", "$SYS/REQ/SERVER/PING", "$KV/test/key", "$nowhere", "_INBOX/x",
	}
	owner.publish(t, "home/keep", 1, true, "kept")
	all.want(t, "home/keep kept")
	for _, topic := range forbidden {
		for _, qos := range []byte{0, 1} {
			sensor.publish(t, topic, qos, true, "forbidden")
		}
	}
	sensor.publish(t, "home/sensor/status", 1, true, "allowed")
	all.want(t, "home/sensor/status allowed")

	_, later := subscribed(t, ownerOf(b).options("later"), "home/#")
	got := map[string]bool{receive(t, later): true, receive(t, later): true}
	if d := cmp.Diff(map[string]bool{"home/keep kept": true, "home/sensor/status allowed": true}, got); d != "" {
		t.Errorf("retained: %s", d)
	}
	owner.publish(t, "home/end", 1, false, "")
	later.want(t, "home/end ")
}

func TestForbiddenSubscriptionsGetNothing(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	owner := connected(t, ownerOf(b).options("owner"), nil)
	for _, topic := range []string{"home/other/order", "home/sensor/order", "home/owner/status", "home/sensor/status"} {
		owner.publish(t, topic, 1, true, "retained")
	}
	forbidden := []string{
		"#", "+/#", "home/#", "home/+/order", "home/other/order", "home/sensor/#", "home/sensor/status",
		"$MQTT/#", "$MQTT/rmsgs/#", "$JS/#", "$SYS/#", "$KV/#", "_INBOX/#",
	}
	var book logbook
	o := sensorOf(b).options("sensor")
	o.Log = book.logger()
	box := make(mailbox, 100)
	connected(t, o, func(c *Client) {
		for _, f := range forbidden {
			c.Subscribe(f, func(topic string, _ []byte) { t.Errorf("%s is delivered to %s", topic, f) })
		}
	})
	if n := strings.Count(book.String(), "refuses a subscription"); n != len(forbidden) {
		t.Errorf("%d of %d subscriptions are refused:\n%s", n, len(forbidden), book.String())
	}

	connected(t, sensorOf(b).options("sensor2"), func(c *Client) {
		c.Subscribe("home/sensor/order", box.handle)
		c.Subscribe("home/owner/status", box.handle)
	})
	box.want(t, "home/sensor/order retained")
	box.want(t, "home/owner/status retained")
}

func TestForgedWillIsDropped(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	_, box := subscribed(t, ownerOf(b).options("owner"), "home/#")
	_ = rawConnect(t, sensorOf(b), "forger", &Message{Topic: "home/other/status", Payload: []byte("forged")}).Close()
	_ = rawConnect(t, sensorOf(b), "honest", &Message{Topic: "home/sensor/status", Payload: []byte("gone")}).Close()
	box.want(t, "home/sensor/status gone")
	if len(box) > 0 {
		t.Errorf("a forged will arrived: %s", <-box)
	}
}

func TestDisconnectedUserIsCutOffAtOnce(t *testing.T) {
	removed := make(chan struct{})
	b := startTestBroker(t, BrokerOptions{Authorize: func(username, password string) (Permissions, bool) {
		select {
		case <-removed:
			if username == "sensor" {
				return Permissions{}, false
			}
		default:
		}
		return homeUsers(username, password)
	}})
	owner := connected(t, ownerOf(b).options("owner"), nil)
	first := connected(t, sensorOf(b).options("first"), nil)
	second := connected(t, sensorOf(b).options("second"), nil)

	close(removed)
	began := time.Now()
	b.Disconnect("sensor")
	receive(t, first.lost)
	receive(t, second.lost)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if err := Probe(t.Context(), b.Addr(), nil, "sensor", "secret"); !errors.Is(err, ErrRefused) {
		t.Errorf("a removed user connects again: %v", err)
	}
	owner.publish(t, "home/x", 1, false, "still here")
	b.Disconnect("nobody")
}

func TestStoreIsNotReachableOverMQTT(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{Authorize: func(string, string) (Permissions, bool) {
		return Permissions{Publish: []string{"home/#"}}, true
	}})
	kv := bucket(t, b)
	c := connected(t, target{addr: b.Addr()}.options("stranger"), nil)
	c.publish(t, "$KV/test/key", 1, true, "forged")
	if _, err := kv.Get(t.Context(), "key"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the store has %v", err)
	}

	private := startTestBroker(t, BrokerOptions{})
	err := Probe(t.Context(), private.Addr(), nil, storeUser, private.auth.password)
	if !errors.Is(err, ErrRefused) {
		t.Errorf("the store's password over MQTT: %v", err)
	}
	conn, err := nats.Connect("", nats.InProcessServer(private.server), nats.UserInfo("owner", "secret"))
	if err == nil {
		conn.Close()
		t.Error("an MQTT user is let into the store")
	}
}

func TestUnusablePermissionsLetNobodyIn(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{Authorize: func(string, string) (Permissions, bool) {
		return Permissions{Subscribe: []string{"#"}}, true
	}})
	if err := Probe(t.Context(), b.Addr(), nil, "any", "any"); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestOversizedAndQoS2PublishesEndTheConnection(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	tests := []struct {
		name string
		qos  byte
		size int
	}{
		{"oversized", 1, MaxPayload + envelope + 1},
		{"QoS 2", 2, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := rawConnect(t, ownerOf(b), "raw", nil)
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.MessageID, p.Qos, p.Payload = "home/x", 1, tt.qos, make([]byte, tt.size)
			_ = p.Write(conn) // may be cut in the middle
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
	connected(t, ownerOf(b).options("after"), nil)
}

func TestQoS2SubscriptionIsDowngraded(t *testing.T) {
	conn := rawConnect(t, ownerOf(startTestBroker(t, BrokerOptions{})), "raw", nil)
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{"home/x"}, []byte{2}
	if err := p.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer, err := packets.ReadPacket(conn)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]byte{1}, answer.(*packets.SubackPacket).ReturnCodes); d != "" {
		t.Error(d)
	}
}

func TestHealthyBrokerIsQuiet(t *testing.T) {
	var book logbook
	dir := filepath.Join(t.TempDir(), "store")
	for range 2 {
		b := startTestBroker(t, BrokerOptions{Dir: dir, Log: book.logger()})
		c, box := subscribed(t, ownerOf(b).options("owner"), "home/#")
		c.publish(t, "home/state", 1, true, "x")
		receive(t, box)
		c.stop()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if book.String() != "" {
		t.Error(book.String())
	}
}

func TestClientIDsAreNotLogged(t *testing.T) {
	var book logbook
	const id = "sensor-5ec4e7"
	b := startTestBroker(t, BrokerOptions{Log: book.logger()})
	c := connected(t, sensorOf(b).options(id), func(c *Client) { c.Subscribe("home/#", func(string, []byte) {}) })
	c.publish(t, "home/forbidden", 1, true, "x")
	rawConnect(t, sensorOf(b), id, nil)
	receive(t, c.connects)
	refused := sensorOf(b).options(id)
	refused.Password = "wrong"
	run(t, refused, nil)
	for _, event := range []string{"Subscription Violation", "Publish Violation", "Replacing old client", "authentication error"} {
		waitUntil(t, event+" is logged", func() bool { return strings.Contains(book.String(), event) })
	}
	if strings.Contains(book.String(), id) {
		t.Error(book.String())
	}
}

func TestRedact(t *testing.T) {
	tests := map[string]string{
		`1.2.3.4:5 - mid:7 - "a" - a User "owner"`:                                 `1.2.3.4:5 - mid:7 - (id) - a User "owner"`,
		`1.2.3.4:5 - mid:7 - "a\"b" - old "1.2.3.4:6 - mid:8 - \"a\\\"b\"" "a\"b"`: `1.2.3.4:5 - mid:7 - (id) - old "1.2.3.4:6 - mid:8 - (id)" (id)`,
		`1.2.3.4:5 - mid:7 - unable to connect`:                                    `1.2.3.4:5 - mid:7 - unable to connect`,
		`Store is "full"`:                                                          `Store is "full"`,
	}
	for line, want := range tests {
		if got := redact(line); got != want {
			t.Errorf("%s\nbecomes %s\n   want %s", line, got, want)
		}
	}
}

func TestIdleConnectionBeforeLoginIsClosed(t *testing.T) {
	b := startTestBroker(t, BrokerOptions{})
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func BenchmarkRetainedPublishQoS1(b *testing.B) {
	broker := startTestBroker(b, BrokerOptions{})
	c := connected(b, ownerOf(broker).options("writer"), nil)
	payload := []byte(strings.Repeat("x", 1024))
	for b.Loop() {
		if err := c.Publish(context.Background(), "home/state", 1, true, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartBroker(b *testing.B) {
	dirs := b.TempDir()
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(dirs, fmt.Sprint(i))
		broker, err := StartBroker(context.Background(), BrokerOptions{Dir: dir, Listen: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = broker.Close()
		b.StartTimer()
	}
}
