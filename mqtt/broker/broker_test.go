package broker_test

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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestStoreSurvivesARestartAndMessagesDoNot is what clients rely on: they say again all
// that is retained.
func TestStoreSurvivesARestartAndMessagesDoNot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	b := mqtttest.StartBroker(t, broker.Options{Dir: dir})
	mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("writer"), nil).Send(t, "home/state", 1, true, "stray")
	if _, err := bucket(t, b).Put(t.Context(), "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = mqtttest.StartBroker(t, broker.Options{Dir: dir})
	reader, box := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("reader"), "home/#")
	reader.Send(t, "home/end", 1, false, "")
	box.Want(t, "home/end ")
	entry, err := bucket(t, b).Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	if string(entry.Value()) != "value" {
		t.Errorf("the store has %q", entry.Value())
	}
}

func bucket(t testing.TB, b *broker.Broker) jetstream.KeyValue {
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

func TestDirectoryIsForOneBrokerAndItsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	b := mqtttest.StartBroker(t, broker.Options{Dir: dir})
	if _, err := broker.Start(t.Context(), broker.Options{Dir: dir}); !errors.Is(err, broker.ErrLocked) {
		t.Errorf("a second broker: %v", err)
	}
	mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("writer"), nil).Send(t, "home/state", 1, true, "x")
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
	mqtttest.StartBroker(t, broker.Options{Dir: dir})
}

func TestBrokerThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	mqtttest.WriteFile(t, file, nil)
	dir := filepath.Join(t.TempDir(), "store")
	tests := []struct {
		name string
		o    broker.Options
		want string
	}{
		{"port taken", broker.Options{Dir: dir, Listen: taken.Addr().String()}, "address already in use"},
		{"no port", broker.Options{Dir: dir, Listen: "127.0.0.1"}, "missing port"},
		{"bad port", broker.Options{Dir: dir, Listen: "127.0.0.1:70000"}, "not a number below 65536"},
		{
			"client mqtttest.Certificates", broker.Options{
				Dir: dir, Listen: "127.0.0.1:0", TLS: &tls.Config{ClientAuth: tls.RequireAnyClientCert},
			}, "cannot be required",
		},
		{"no directory", broker.Options{}, "not a directory"},
		{"a file as directory", broker.Options{Dir: file}, "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := broker.Start(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want a line with %q", err, tt.want)
			}
		})
	}
	mqtttest.StartBroker(t, broker.Options{Dir: dir}) // the lock is free again
}

func TestOnlyTheMQTTPortIsOpen(t *testing.T) {
	before := openPorts(t)
	b := mqtttest.StartBroker(t, broker.Options{})
	_, port, _ := net.SplitHostPort(b.Addr())
	if d := cmp.Diff(append(before, port), openPorts(t)); d != "" {
		t.Error(d)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := broker.Start(t.Context(), broker.Options{Dir: filepath.Join(t.TempDir(), "store")})
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
	b := mqtttest.StartBroker(t, broker.Options{})
	owner, all := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("owner"), "home/#")
	sensor := mqtttest.Connected(t, mqtttest.SensorOf(b).Options("sensor"), nil)

	forbidden := []string{
		"home/sensor/order",
		"home/other/status",
		"home",
		"home/sensor",
		"home/sensor/status/x",
		"garden",
		"$MQTT/rmsgs/home/other/status",
		"$MQTT/sess/x",
		"$MQTT/msgs/home/other/status",
		"$JS/API/STREAM/DELETE/$MQTT_rmsgs",
		"$JS/API/STREAM/PURGE/$MQTT_rmsgs",
		"$SYS/REQ/SERVER/PING",
		"$KV/test/key",
		"$nowhere",
		"_INBOX/x",
	}
	owner.Send(t, "home/keep", 1, true, "kept")
	all.Want(t, "home/keep kept")
	for _, topic := range forbidden {
		for _, qos := range []byte{0, 1} {
			sensor.Send(t, topic, qos, true, "forbidden")
		}
	}
	sensor.Send(t, "home/sensor/status", 1, true, "allowed")
	all.Want(t, "home/sensor/status allowed")

	_, later := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("later"), "home/#")
	got := map[string]bool{mqtttest.Receive(t, later): true, mqtttest.Receive(t, later): true}
	if d := cmp.Diff(map[string]bool{"home/keep kept": true, "home/sensor/status allowed": true}, got); d != "" {
		t.Errorf("retained: %s", d)
	}
	owner.Send(t, "home/end", 1, false, "")
	later.Want(t, "home/end ")
}

func TestForbiddenSubscriptionsGetNothing(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{})
	owner := mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("owner"), nil)
	for _, topic := range []string{"home/other/order", "home/sensor/order", "home/owner/status", "home/sensor/status"} {
		owner.Send(t, topic, 1, true, "retained")
	}
	forbidden := []string{
		"#", "+/#", "home/#", "home/+/order", "home/other/order", "home/sensor/#", "home/sensor/status",
		"$MQTT/#", "$MQTT/rmsgs/#", "$JS/#", "$SYS/#", "$KV/#", "_INBOX/#",
	}
	var book mqtttest.Logbook
	o := mqtttest.SensorOf(b).Options("sensor")
	o.Log = book.Logger()
	box := make(mqtttest.Mailbox, 100)
	mqtttest.Connected(t, o, func(c *mqtt.Client) {
		for _, f := range forbidden {
			c.Subscribe(f, func(topic string, _ []byte) { t.Errorf("%s is delivered to %s", topic, f) })
		}
	})
	if n := strings.Count(book.String(), "refuses a subscription"); n != len(forbidden) {
		t.Errorf("%d of %d subscriptions are refused:\n%s", n, len(forbidden), book.String())
	}

	mqtttest.Connected(t, mqtttest.SensorOf(b).Options("sensor2"), func(c *mqtt.Client) {
		c.Subscribe("home/sensor/order", box.Handle)
		c.Subscribe("home/owner/status", box.Handle)
	})
	box.Want(t, "home/sensor/order retained")
	box.Want(t, "home/owner/status retained")
}

func TestForgedWillIsDropped(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{})
	_, box := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("owner"), "home/#")
	_ = mqtttest.RawConnect(t, mqtttest.SensorOf(b), "forger",
		&mqtt.Message{Topic: "home/other/status", Payload: []byte("forged")}).Close()
	_ = mqtttest.RawConnect(t, mqtttest.SensorOf(b), "honest",
		&mqtt.Message{Topic: "home/sensor/status", Payload: []byte("gone")}).Close()
	box.Want(t, "home/sensor/status gone")
	if len(box) > 0 {
		t.Errorf("a forged will arrived: %s", <-box)
	}
}

// TestReplacedConnectionPublishesNoWill: its client is not gone.
func TestReplacedConnectionPublishesNoWill(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{})
	_, box := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("owner"), "home/#")
	for i := range 20 {
		_ = mqtttest.RawConnect(t, mqtttest.SensorOf(b), "one",
			&mqtt.Message{Topic: "home/sensor/status", Payload: []byte(strconv.Itoa(i))})
	}
	_ = mqtttest.RawConnect(t, mqtttest.SensorOf(b), "one",
		&mqtt.Message{Topic: "home/sensor/status", Payload: []byte("gone")}).Close()
	box.Want(t, "home/sensor/status gone")
	if len(box) > 0 {
		t.Errorf("a connection that was replaced published %s", <-box)
	}
}

func TestDisconnectedUserIsCutOffAtOnce(t *testing.T) {
	removed := make(chan struct{})
	b := mqtttest.StartBroker(t, broker.Options{Authorize: func(l broker.Login) (broker.Permissions, bool) {
		select {
		case <-removed:
			if l.Username == "sensor" {
				return broker.Permissions{}, false
			}
		default:
		}
		return mqtttest.HomeUsers(l)
	}})
	owner := mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("owner"), nil)
	first := mqtttest.Connected(t, mqtttest.SensorOf(b).Options("first"), nil)
	second := mqtttest.Connected(t, mqtttest.SensorOf(b).Options("second"), nil)

	close(removed)
	began := time.Now()
	b.Disconnect("sensor", nil)
	mqtttest.Receive(t, first.Lost)
	mqtttest.Receive(t, second.Lost)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if err := mqtt.Probe(t.Context(), b.Addr(), nil, "sensor", "secret"); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("a removed user connects again: %v", err)
	}
	owner.Send(t, "home/x", 1, false, "still here")
	b.Disconnect("nobody", nil)
}

func TestStoreIsNotReachableOverMQTT(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: func(broker.Login) (broker.Permissions, bool) {
		return broker.Permissions{Publish: []string{"home/#"}, Class: broker.Node}, true
	}})
	kv := bucket(t, b)
	c := mqtttest.Connected(t, mqtttest.Target{Addr: b.Addr()}.Options("stranger"), nil)
	c.Send(t, "$KV/test/key", 1, true, "forged")
	if _, err := kv.Get(t.Context(), "key"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the store has %v", err)
	}
	server, _ := b.Secrets()
	conn, err := nats.Connect("", nats.InProcessServer(server), nats.UserInfo("owner", "secret"))
	if err == nil {
		conn.Close()
		t.Error("an MQTT user is let into the store")
	}
}

func TestUnusablePermissionsLetNobodyIn(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{Authorize: func(broker.Login) (broker.Permissions, bool) {
		return broker.Permissions{Subscribe: []string{"#"}}, true
	}})
	if err := mqtt.Probe(t.Context(), b.Addr(), nil, "any", "any"); !errors.Is(err, mqtt.ErrRefused) {
		t.Error(err)
	}
}

func TestOversizedAndQoS2PublishesEndTheConnection(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{})
	tests := []struct {
		name string
		qos  byte
		size int
	}{
		{"oversized", 1, mqtt.MaxPayload + broker.Envelope + 1},
		{"QoS 2", 2, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := mqtttest.RawConnect(t, mqtttest.OwnerOf(b), "raw", nil)
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.MessageID, p.Qos, p.Payload = "home/x", 1, tt.qos, make([]byte, tt.size)
			_ = p.Write(conn) // may be cut in the middle
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !mqtttest.IsReset(err) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
	mqtttest.Connected(t, mqtttest.OwnerOf(b).Options("after"), nil)
}

func TestSubscriptionsAreOfQoS0(t *testing.T) {
	conn := mqtttest.RawConnect(t, mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{})), "raw", nil)
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{"home/x"}, []byte{2}
	if err := p.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer, err := packets.ReadPacket(conn)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]byte{0}, answer.(*packets.SubackPacket).ReturnCodes); d != "" {
		t.Error(d)
	}
}

func TestHealthyBrokerIsQuiet(t *testing.T) {
	var book mqtttest.Logbook
	dir := filepath.Join(t.TempDir(), "store")
	for range 2 {
		b := mqtttest.StartBroker(t, broker.Options{Dir: dir, Log: book.Logger()})
		c, box := mqtttest.Subscribed(t, mqtttest.OwnerOf(b).Options("owner"), "home/#")
		c.Send(t, "home/state", 1, true, "x")
		mqtttest.Receive(t, box)
		c.Stop()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if book.String() != "" {
		t.Error(book.String())
	}
}

func TestClientIDsAreNotLogged(t *testing.T) {
	var book mqtttest.Logbook
	const id = "sensor-5ec4e7"
	b := mqtttest.StartBroker(t, broker.Options{Log: book.Logger()})
	c := mqtttest.Connected(t, mqtttest.SensorOf(b).Options(id),
		func(c *mqtt.Client) { c.Subscribe("home/#", func(string, []byte) {}) })
	c.Send(t, "home/forbidden", 1, true, "x")
	mqtttest.RawConnect(t, mqtttest.SensorOf(b), id, nil)
	mqtttest.Receive(t, c.Connects)
	refused := mqtttest.SensorOf(b).Options(id)
	refused.Password = "wrong"
	mqtttest.Run(t, refused, nil)
	for _, event := range []string{"may not read", "where it may not", "same client id", "wrong user name"} {
		mqtttest.WaitUntil(t, event+" is logged", func() bool { return strings.Contains(book.String(), event) })
	}
	if strings.Contains(book.String(), id) {
		t.Error(book.String())
	}
}

func TestIdleConnectionBeforeLoginIsClosed(t *testing.T) {
	b := mqtttest.StartBroker(t, broker.Options{})
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(mqtttest.Patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func BenchmarkRetainedPublishQoS1(b *testing.B) {
	broker := mqtttest.StartBroker(b, broker.Options{})
	c := mqtttest.Connected(b, mqtttest.OwnerOf(broker).Options("writer"), nil)
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
		broker, err := broker.Start(context.Background(), broker.Options{Dir: dir, Listen: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = broker.Close()
		b.StartTimer()
	}
}
