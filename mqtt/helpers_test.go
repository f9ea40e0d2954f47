package mqtt

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
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// target is a broker under test and how to get in.
type target struct {
	addr     string
	tls      *tls.Config
	username string
	password string
}

func (tg target) options(id string) ClientOptions {
	return ClientOptions{
		Brokers: []string{tg.addr}, TLS: tg.tls, ClientID: id,
		Username: tg.username, Password: tg.password, KeepAlive: 2 * time.Second,
	}
}

// homeUsers lets in an owner of home/# and a sensor with little rights.
func homeUsers(username, password string) (Permissions, bool) {
	switch {
	case password != "secret":
		return Permissions{}, false
	case username == "owner":
		return Permissions{Publish: []string{"home/#"}, Subscribe: []string{"home/#"}}, true
	case username == "sensor":
		return Permissions{
			Publish:   []string{"home/sensor/status", "home/sensor/value"},
			Subscribe: []string{"home/sensor/order", "home/owner/status"},
		}, true
	}
	return Permissions{}, false
}

func startTestBroker(t testing.TB, o BrokerOptions) *Broker {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "store")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Authorize == nil {
		o.Authorize = homeUsers
	}
	b, err := StartBroker(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func ownerOf(b *Broker) target { return target{addr: b.Addr(), username: "owner", password: "secret"} }

func sensorOf(b *Broker) target {
	return target{addr: b.Addr(), username: "sensor", password: "secret"}
}

// running is a client that runs until the test or stop ends it.
type running struct {
	*Client
	connects chan uint64
	lost     chan error
	stop     func()
}

func run(t testing.TB, o ClientOptions, subscribe func(*Client)) *running {
	t.Helper()
	r := &running{connects: make(chan uint64, 1000), lost: make(chan error, 1000)}
	o.OnConnect = func(n uint64) { r.connects <- n }
	o.OnDisconnect = func(err error) { r.lost <- err }
	r.Client = NewClient(o)
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
	r.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(r.stop)
	return r
}

// connected runs a client and waits for its first session.
func connected(t testing.TB, o ClientOptions, subscribe func(*Client)) *running {
	t.Helper()
	r := run(t, o, subscribe)
	receive(t, r.connects)
	return r
}

func (r *running) publish(t testing.TB, topic string, qos byte, retain bool, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Publish(ctx, topic, qos, retain, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

// mailbox collects what a subscription delivers, as "topic payload".
type mailbox chan string

func (m mailbox) handle(topic string, payload []byte) { m <- topic + " " + string(payload) }

// subscribed connects a client with one subscription.
func subscribed(t testing.TB, o ClientOptions, filter string) (*running, mailbox) {
	t.Helper()
	box := make(mailbox, 1000)
	return connected(t, o, func(c *Client) { c.Subscribe(filter, box.handle) }), box
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func (m mailbox) want(t testing.TB, want string) {
	t.Helper()
	if got := receive(t, m); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func waitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// rawConnect opens a session by hand, to be ended without a goodbye.
func rawConnect(t testing.TB, tg target, id string, will *Message) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := dial(ctx, tg.addr, tg.tls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := connectPacket(tg, id, will).Write(conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if err := readConnack(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func connectPacket(tg target, id string, will *Message) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.Keepalive = "MQTT", 4, true, 60
	p.ClientIdentifier = id
	p.Username, p.UsernameFlag = tg.username, tg.username != ""
	p.Password, p.PasswordFlag = []byte(tg.password), tg.username != ""
	if will != nil {
		p.WillFlag, p.WillTopic, p.WillMessage = true, will.Topic, will.Payload
		p.WillQos, p.WillRetain = will.QoS, will.Retain
	}
	return p
}

// certificates writes a self-made authority's certificate for 127.0.0.1 and
// returns both sides' configuration.
func certificates(t testing.TB) (dir string, serverSide, clientSide *tls.Config) {
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
	writeFile(t, filepath.Join(dir, "cert.pem"), certPEM)
	writeFile(t, filepath.Join(dir, "key.pem"), keyPEM)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return dir, &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{RootCAs: pool}
}

func writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startMosquitto runs the real Mosquitto on loopback with extra configuration.
func startMosquitto(t testing.TB, config string) (addr string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !isFile(path) {
			t.Skip("mosquitto is not installed; apt-get install mosquitto to run this test")
		}
	}
	addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	writeFile(t, file, fmt.Appendf(nil, "user root\nlistener %s 127.0.0.1\n%s\n", port, config))
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
	waitUntil(t, "mosquitto listens", func() bool {
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

// logbook is a logger whose lines a test can look at.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
