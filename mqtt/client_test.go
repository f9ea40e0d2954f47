package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClient runs the same tests against each kind of broker that a user may
// have.
func TestClient(t *testing.T) {
	brokers := []struct {
		name  string
		start func(t *testing.T) target
	}{
		{"embedded", func(t *testing.T) target { return ownerOf(startTestBroker(t, BrokerOptions{})) }},
		{"embedded with TLS", func(t *testing.T) target {
			_, serverSide, clientSide := certificates(t)
			tg := ownerOf(startTestBroker(t, BrokerOptions{TLS: serverSide}))
			tg.tls = clientSide
			return tg
		}},
		{"mosquitto open", func(t *testing.T) target {
			return target{addr: startMosquitto(t, "allow_anonymous true")}
		}},
		{"mosquitto with password", func(t *testing.T) target {
			return target{addr: startMosquitto(t, mosquittoPasswords(t)), username: "owner", password: "secret"}
		}},
		{"mosquitto with TLS and password", func(t *testing.T) target {
			dir, _, clientSide := certificates(t)
			config := fmt.Sprintf("certfile %s/cert.pem\nkeyfile %s/key.pem\n", dir, dir)
			addr := startMosquitto(t, config+mosquittoPasswords(t))
			return target{addr: addr, tls: clientSide, username: "owner", password: "secret"}
		}},
	}
	tests := []struct {
		name string
		test func(t *testing.T, tg target)
	}{
		{"delivers in order", testDeliversInOrder},
		{"gets retained messages on connect", testGetsRetained},
		{"a cut connection publishes the will", testCutPublishesWill},
		{"a clean end publishes no will", testCleanEndPublishesNoWill},
		{"after a cut it subscribes again and says so", testSubscribesAgain},
		{"a takeover is one change of session, not a storm", testTakeover},
		{"a handler may publish", testHandlerMayPublish},
		{"a slow handler does not stop publishing", testSlowHandler},
		{"a subscription while connected works", testLateSubscription},
		{"the largest payload passes and a larger one is refused", testLargestPayload},
		{"an unknown broker address is passed over", testPassesOverDeadAddress},
		{"a wrong password is refused and logged once", testWrongPassword},
		{"probe finds a broker", testProbe},
	}
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			tg := b.start(t)
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { tt.test(t, tg) })
			}
		})
	}
}

func mosquittoPasswords(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "passwords")
	writeFile(t, file, []byte("owner:secret\n"))
	if out, err := exec.Command("mosquitto_passwd", "-U", file).CombinedOutput(); err != nil {
		t.Skipf("mosquitto_passwd: %v: %s", err, out)
	}
	return "allow_anonymous false\npassword_file " + file
}

func testDeliversInOrder(t *testing.T, tg target) {
	_, box := subscribed(t, tg.options("listener"), "home/order")
	speaker := connected(t, tg.options("speaker"), nil)
	for i := range 200 {
		speaker.publish(t, "home/order", byte(i%2), false, fmt.Sprint(i))
	}
	for i := range 200 {
		box.want(t, fmt.Sprint("home/order ", i))
	}
}

func testGetsRetained(t *testing.T, tg target) {
	speaker := connected(t, tg.options("speaker"), nil)
	speaker.publish(t, "home/retained/state", 1, true, "first")
	speaker.publish(t, "home/retained/state", 1, true, "second")
	_, box := subscribed(t, tg.options("listener"), "home/retained/#")
	box.want(t, "home/retained/state second")
}

func testCutPublishesWill(t *testing.T, tg target) {
	_, box := subscribed(t, tg.options("listener"), "home/cut")
	conn := rawConnect(t, tg, "victim", &Message{Topic: "home/cut", QoS: 1, Retain: true, Payload: []byte("gone")})
	_ = conn.Close()
	box.want(t, "home/cut gone")
	_, late := subscribed(t, tg.options("late"), "home/cut")
	late.want(t, "home/cut gone")
}

func testCleanEndPublishesNoWill(t *testing.T, tg target) {
	o := tg.options("leaver")
	o.Will = &Message{Topic: "home/clean", QoS: 1, Payload: []byte("gone")}
	leaver := connected(t, o, nil)
	watcher, box := subscribed(t, tg.options("listener"), "home/clean")
	leaver.stop()
	if err := receive(t, leaver.lost); err != nil {
		t.Errorf("a clean end reports %v", err)
	}
	watcher.publish(t, "home/clean", 1, false, "end of test")
	box.want(t, "home/clean end of test")
}

func testSubscribesAgain(t *testing.T, tg target) {
	relay := newRelay(t, tg.addr)
	tg.addr = relay.addr
	c, box := subscribed(t, tg.options("survivor"), "home/again")
	relay.cut()
	if err := receive(t, c.lost); err == nil {
		t.Error("a lost connection is reported as a clean end")
	}
	if n := receive(t, c.connects); n != 2 {
		t.Errorf("session %d after the first", n)
	}
	c.publish(t, "home/again", 1, false, "hello")
	box.want(t, "home/again hello")
}

func testTakeover(t *testing.T, tg target) {
	c := connected(t, tg.options("twin"), nil)
	thief := rawConnect(t, tg, "twin", nil)
	if err := receive(t, c.lost); err == nil {
		t.Error("a takeover is reported as a clean end")
	}
	receive(t, c.connects)
	_ = thief.SetReadDeadline(time.Now().Add(patience))
	if _, err := thief.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("the former holder of the id is still connected: %v", err)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

func testHandlerMayPublish(t *testing.T, tg target) {
	_, answers := subscribed(t, tg.options("asker"), "home/answer")
	published := make(chan error, 1)
	c := connected(t, tg.options("answerer"), func(c *Client) {
		c.Subscribe("home/question", func(_ string, payload []byte) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			published <- c.Publish(ctx, "home/answer", 1, false, payload)
		})
	})
	for i := range 20 {
		c.publish(t, "home/question", 1, false, fmt.Sprint(i))
		answers.want(t, fmt.Sprint("home/answer ", i))
		if err := receive(t, published); err != nil {
			t.Fatal(err)
		}
	}
}

// testSlowHandler holds the handler for longer than the keep-alive allows.
func testSlowHandler(t *testing.T, tg target) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	o := tg.options("sleeper")
	o.KeepAlive = time.Second
	c := connected(t, o, func(c *Client) {
		c.Subscribe("home/slow", func(string, []byte) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-release
		})
	})
	t.Cleanup(func() { close(release) })
	c.publish(t, "home/slow", 1, false, "wait")
	receive(t, entered)
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; {
		c.publish(t, "home/slow", 1, false, "more")
	}
	if len(c.lost) > 0 {
		t.Error("a slow handler cost the connection")
	}
}

func testLateSubscription(t *testing.T, tg target) {
	c := connected(t, tg.options("late"), nil)
	box := make(mailbox, 10)
	c.Subscribe("home/late", box.handle)
	c.publish(t, "home/late", 1, false, "hello")
	box.want(t, "home/late hello")
}

func testLargestPayload(t *testing.T, tg target) {
	c, box := subscribed(t, tg.options("large"), "home/large")
	largest := strings.Repeat("x", MaxPayload)
	c.publish(t, "home/large", 1, true, largest)
	if got := receive(t, box); len(got) != len("home/large ")+MaxPayload {
		t.Errorf("%d bytes arrived", len(got))
	}
	err := c.Publish(t.Context(), "home/large", 1, true, []byte(largest+"x"))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func testPassesOverDeadAddress(t *testing.T, tg target) {
	o := tg.options("traveller")
	o.Brokers = []string{freeAddr(t), tg.addr}
	connected(t, o, nil)
}

func testWrongPassword(t *testing.T, tg target) {
	if tg.username == "" {
		t.Skip("this broker has no passwords")
	}
	relay := newRelay(t, tg.addr)
	tg.addr = relay.addr
	var book logbook
	o := tg.options("stranger")
	o.Password = "wrong"
	o.Log = book.logger()
	c := run(t, o, nil)
	waitUntil(t, "four attempts", func() bool { return relay.accepted.Load() >= 4 })
	if n := strings.Count(book.String(), "\n"); n != 1 || !strings.Contains(book.String(), "refuses") {
		t.Errorf("%d lines in the log:\n%s", n, book.String())
	}
	if strings.Contains(book.String(), "wrong") {
		t.Error("the password is in the log")
	}
	if c.Connected() {
		t.Error("a wrong password gets in")
	}
}

func testProbe(t *testing.T, tg target) {
	if err := Probe(t.Context(), tg.addr, tg.tls, tg.username, tg.password); err != nil {
		t.Error(err)
	}
	if tg.username == "" {
		return
	}
	if err := Probe(t.Context(), tg.addr, tg.tls, tg.username, "wrong"); !errors.Is(err, ErrRefused) {
		t.Errorf("wrong password: %v", err)
	}
}

func TestClientComesBackWhenTheBrokerRestarts(t *testing.T) {
	dir, addr := filepath.Join(t.TempDir(), "store"), freeAddr(t)
	b := startTestBroker(t, BrokerOptions{Dir: dir, Listen: addr})
	var book logbook
	o := ownerOf(b).options("patient")
	o.Log = book.logger()
	c, box := subscribed(t, o, "home/#")
	for want := uint64(2); want < 4; want++ {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		receive(t, c.lost)
		if err := c.Publish(t.Context(), "home/x", 0, false, nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("publish without a connection: %v", err)
		}
		b = startTestBroker(t, BrokerOptions{Dir: dir, Listen: addr})
		if n := receive(t, c.connects); n != want {
			t.Errorf("session %d, want %d", n, want)
		}
		c.publish(t, "home/x", 1, false, "back")
		box.want(t, "home/x back")
	}
	c.stop()
	var messages []string
	for line := range strings.Lines(book.String()) {
		if strings.Contains(line, "not connected") {
			continue // whether an attempt falls into the short gap is chance
		}
		_, m, _ := strings.Cut(line, "msg=")
		messages = append(messages, strings.Split(m, `"`)[1])
	}
	up, down := "connected to the broker", "lost the broker"
	if d := cmp.Diff([]string{up, down, up, down, up}, messages); d != "" {
		t.Error(d)
	}
}

// TestFloodedClientStartsAgain shows that memory is bounded if a handler hangs.
func TestFloodedClientStartsAgain(t *testing.T) {
	tg := ownerOf(startTestBroker(t, BrokerOptions{}))
	release := make(chan struct{})
	c := connected(t, tg.options("hanging"), func(c *Client) {
		c.Subscribe("home/flood", func(string, []byte) { <-release })
	})
	t.Cleanup(func() { close(release) })
	speaker := connected(t, tg.options("speaker"), nil)
	chunk := strings.Repeat("x", MaxPayload)
	for len(c.lost) == 0 {
		speaker.publish(t, "home/flood", 1, false, chunk)
	}
	if err := receive(t, c.lost); !strings.Contains(fmt.Sprint(err), "waiting for the handler") {
		t.Errorf("lost for another reason: %v", err)
	}
}

func TestClientEndsAtOnceWhileConnecting(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := run(t, target{addr: silent.Addr().String()}.options("hasty"), nil)
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	c.stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSilentBrokerIsGivenUp(t *testing.T) {
	tg := ownerOf(startTestBroker(t, BrokerOptions{}))
	relay := newRelay(t, tg.addr)
	tg.addr = relay.addr
	o := tg.options("lonely")
	o.KeepAlive = time.Second
	c := connected(t, o, nil)
	began := time.Now()
	relay.freeze()
	receive(t, c.lost)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("noticed after %v", took)
	}
	relay.thaw()
	receive(t, c.connects)
}

func TestClientWithoutBrokersIsAnError(t *testing.T) {
	if err := NewClient(ClientOptions{}).Run(t.Context()); err == nil {
		t.Error("it runs")
	}
}
