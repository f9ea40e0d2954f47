// Package mqtttest is what the tests of mqtt and of its broker share: brokers to
// test against, a client that runs for one test, certificates, a relay.
package mqtttest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
)

// Patience is how long a test waits for what must happen.
const Patience = 15 * time.Second

// Target is a broker under test and how to get in.
type Target struct {
	Addr               string
	TLS                *tls.Config
	Username, Password string
}

// Options are those of a client with this id.
func (tg Target) Options(id string) mqtt.ClientOptions {
	return mqtt.ClientOptions{
		Brokers: []string{tg.Addr}, TLS: tg.TLS, ClientID: id,
		Username: tg.Username, Password: tg.Password, KeepAlive: 2 * time.Second,
	}
}

// HomeUsers lets in an owner of home/# and a sensor with little rights.
func HomeUsers(l broker.Login) (broker.Permissions, bool) {
	switch {
	case l.Password != "secret":
		return broker.Permissions{}, false
	case l.Username == "owner":
		return broker.Permissions{
			Publish:   []string{"home/#"},
			Subscribe: []string{"home/#"},
			Class:     broker.Control,
		}, true
	case l.Username == "sensor":
		return broker.Permissions{
			Publish:   []string{"home/sensor/status", "home/sensor/value"},
			Subscribe: []string{"home/sensor/order", "home/owner/status"},
			Class:     broker.Node,
		}, true
	}
	return broker.Permissions{}, false
}

// StartBroker starts the embedded broker on loopback; HomeUsers may use it.
func StartBroker(t testing.TB, o broker.Options) *broker.Broker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "store")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Authorize == nil {
		o.Authorize = HomeUsers
	}
	b, err := broker.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// OwnerOf is the broker with the rights of its owner.
func OwnerOf(b *broker.Broker) Target {
	return Target{Addr: b.Addr(), Username: "owner", Password: "secret"}
}

// SensorOf is the broker with the rights of its sensor.
func SensorOf(b *broker.Broker) Target {
	return Target{Addr: b.Addr(), Username: "sensor", Password: "secret"}
}

// Running is a client that runs until the test or stop ends it.
type Running struct {
	*mqtt.Client
	Connects chan uint64
	Lost     chan error
	Stop     func()
}

// Run runs a client until the test ends.
func Run(t testing.TB, o mqtt.ClientOptions, subscribe func(*mqtt.Client)) *Running {
	t.Helper()
	r := &Running{Connects: make(chan uint64, 1000), Lost: make(chan error, 1000)}
	o.OnConnect = func(n uint64) { r.Connects <- n }
	o.OnDisconnect = func(err error) { r.Lost <- err }
	r.Client = mqtt.NewClient(o)
	if subscribe != nil {
		subscribe(r.Client)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	r.Stop = func() { cancel(); wg.Wait() }
	t.Cleanup(r.Stop)
	return r
}

// Connected runs a client and waits for its first session.
func Connected(t testing.TB, o mqtt.ClientOptions, subscribe func(*mqtt.Client)) *Running {
	t.Helper()
	r := Run(t, o, subscribe)
	Receive(t, r.Connects)
	return r
}

// Send publishes, or fails the test.
func (r *Running) Send(t testing.TB, topic string, qos byte, retain bool, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := r.Publish(ctx, topic, qos, retain, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// Mailbox collects what a subscription delivers, as "topic payload".
type Mailbox chan string

// Handle is the handler of a subscription.
func (m Mailbox) Handle(topic string, payload []byte) { m <- topic + " " + string(payload) }

// Subscribed connects a client with one subscription.
func Subscribed(t testing.TB, o mqtt.ClientOptions, filter string) (*Running, Mailbox) {
	t.Helper()
	box := make(Mailbox, 1000)
	return Connected(t, o, func(c *mqtt.Client) { c.Subscribe(filter, box.Handle) }), box
}

// Receive takes what comes from a channel in time.
func Receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatal("nothing came in time")
		var none T
		return none
	}
}

// Want fails the test unless this is what comes next.
func (m Mailbox) Want(t testing.TB, want string) {
	t.Helper()
	if got := Receive(t, m); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// WaitUntil waits for a condition.
func WaitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// RawConnect opens a session by hand, to be ended without a goodbye.
func RawConnect(t testing.TB, tg Target, id string, will *mqtt.Message) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", tg.Addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	if tg.TLS != nil {
		config := tg.TLS.Clone()
		if host, _, _ := net.SplitHostPort(tg.Addr); config.ServerName == "" {
			config.ServerName = host
		}
		conn = tls.Client(conn, config)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := ConnectPacket(tg, id, will).Write(conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(Patience))
	answer, err := packets.ReadPacket(conn)
	if err != nil {
		t.Fatal(err)
	}
	if ack, ok := answer.(*packets.ConnackPacket); !ok || ack.ReturnCode != packets.Accepted {
		t.Fatalf("the broker answers %v", answer)
	}
	return conn
}

// ConnectPacket is the first packet of a session.
func ConnectPacket(tg Target, id string, will *mqtt.Message) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.Keepalive = "MQTT", 4, true, 60
	p.ClientIdentifier = id
	p.Username, p.UsernameFlag = tg.Username, tg.Username != ""
	p.Password, p.PasswordFlag = []byte(tg.Password), tg.Username != ""
	if will != nil {
		p.WillFlag, p.WillTopic, p.WillMessage = true, will.Topic, will.Payload
		p.WillQos, p.WillRetain = will.QoS, will.Retain
	}
	return p
}

// Certificates writes a self-made authority's certificate for 127.0.0.1 and
// returns both sides' configuration.
func Certificates(t testing.TB) (dir string, serverSide, clientSide *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	WriteFile(t, filepath.Join(dir, "cert.pem"), certPEM)
	WriteFile(t, filepath.Join(dir, "key.pem"), keyPEM)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return dir, &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{RootCAs: pool}
}

// WriteFile writes a file that only its owner may read.
func WriteFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FreeAddr is an address on loopback that nobody listens on.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// StartMosquitto runs the real Mosquitto on loopback with extra configuration.
func StartMosquitto(t testing.TB, config string) (addr string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !isFile(path) {
			t.Skip("mosquitto is not installed; apt-get install mosquitto to run this test")
		}
	}
	addr = FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	WriteFile(t, file, fmt.Appendf(nil, "user root\nlistener %s 127.0.0.1\n%s\n", port, config))
	cmd := exec.Command(path, "-c", file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("mosquitto: %s", output.String())
		}
	})
	WaitUntil(t, "mosquitto listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return addr
}

func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// Logbook is a logger whose lines a test can look at.
type Logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is everything logged so far.
func (l *Logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger writes into the logbook.
func (l *Logbook) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// IsReset reports whether the other side has ended the connection.
func IsReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}
