package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

// TestClient runs the same tests against each kind of broker that a user may
// have.
func TestClient(t *testing.T) {
	brokers := []struct {
		name  string
		start func(t *testing.T) mqtttest.Target
	}{
		{"embedded", func(t *testing.T) mqtttest.Target { return mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{})) }},
		{"embedded with TLS", func(t *testing.T) mqtttest.Target {
			_, serverSide, clientSide := mqtttest.Certificates(t)
			tg := mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{TLS: serverSide}))
			tg.TLS = clientSide
			return tg
		}},
		{"mosquitto open", func(t *testing.T) mqtttest.Target {
			return mqtttest.Target{Addr: mqtttest.StartMosquitto(t, "allow_anonymous true")}
		}},
		{"mosquitto with password", func(t *testing.T) mqtttest.Target {
			return mqtttest.Target{Addr: mqtttest.StartMosquitto(t, mosquittoPasswords(t)), Username: "owner", Password: "secret"}
		}},
		{"mosquitto with TLS and password", func(t *testing.T) mqtttest.Target {
			dir, _, clientSide := mqtttest.Certificates(t)
			config := fmt.Sprintf("certfile %s/cert.pem\nkeyfile %s/key.pem\n", dir, dir)
			addr := mqtttest.StartMosquitto(t, config+mosquittoPasswords(t))
			return mqtttest.Target{Addr: addr, TLS: clientSide, Username: "owner", Password: "secret"}
		}},
	}
	tests := []struct {
		name string
		test func(t *testing.T, tg mqtttest.Target)
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
	mqtttest.WriteFile(t, file, []byte("owner:secret\n"))
	if out, err := exec.Command("mosquitto_passwd", "-U", file).CombinedOutput(); err != nil {
		t.Skipf("mosquitto_passwd: %v: %s", err, out)
	}
	return "allow_anonymous false\npassword_file " + file
}

func testDeliversInOrder(t *testing.T, tg mqtttest.Target) {
	_, box := mqtttest.Subscribed(t, tg.Options("listener"), "home/order")
	speaker := mqtttest.Connected(t, tg.Options("speaker"), nil)
	for i := range 200 {
		speaker.Send(t, "home/order", byte(i%2), false, fmt.Sprint(i))
	}
	for i := range 200 {
		box.Want(t, fmt.Sprint("home/order ", i))
	}
}

func testGetsRetained(t *testing.T, tg mqtttest.Target) {
	speaker := mqtttest.Connected(t, tg.Options("speaker"), nil)
	speaker.Send(t, "home/retained/state", 1, true, "first")
	speaker.Send(t, "home/retained/state", 1, true, "second")
	_, box := mqtttest.Subscribed(t, tg.Options("listener"), "home/retained/#")
	box.Want(t, "home/retained/state second")
}

func testCutPublishesWill(t *testing.T, tg mqtttest.Target) {
	_, box := mqtttest.Subscribed(t, tg.Options("listener"), "home/cut")
	conn := mqtttest.RawConnect(t, tg, "victim", &mqtt.Message{Topic: "home/cut", QoS: 1, Retain: true, Payload: []byte("gone")})
	_ = conn.Close()
	box.Want(t, "home/cut gone")
	_, late := mqtttest.Subscribed(t, tg.Options("late"), "home/cut")
	late.Want(t, "home/cut gone")
}

func testCleanEndPublishesNoWill(t *testing.T, tg mqtttest.Target) {
	o := tg.Options("leaver")
	o.Will = &mqtt.Message{Topic: "home/clean", QoS: 1, Payload: []byte("gone")}
	leaver := mqtttest.Connected(t, o, nil)
	watcher, box := mqtttest.Subscribed(t, tg.Options("listener"), "home/clean")
	leaver.Stop()
	if err := mqtttest.Receive(t, leaver.Lost); err != nil {
		t.Errorf("a clean end reports %v", err)
	}
	watcher.Send(t, "home/clean", 1, false, "end of test")
	box.Want(t, "home/clean end of test")
}

func testSubscribesAgain(t *testing.T, tg mqtttest.Target) {
	relay := mqtttest.NewRelay(t, tg.Addr)
	tg.Addr = relay.Addr
	c, box := mqtttest.Subscribed(t, tg.Options("survivor"), "home/again")
	relay.Cut()
	if err := mqtttest.Receive(t, c.Lost); err == nil {
		t.Error("a lost connection is reported as a clean end")
	}
	if n := mqtttest.Receive(t, c.Connects); n != 2 {
		t.Errorf("session %d after the first", n)
	}
	c.Send(t, "home/again", 1, false, "hello")
	box.Want(t, "home/again hello")
}

func testTakeover(t *testing.T, tg mqtttest.Target) {
	c := mqtttest.Connected(t, tg.Options("twin"), nil)
	thief := mqtttest.RawConnect(t, tg, "twin", nil)
	if err := mqtttest.Receive(t, c.Lost); err == nil {
		t.Error("a takeover is reported as a clean end")
	}
	mqtttest.Receive(t, c.Connects)
	_ = thief.SetReadDeadline(time.Now().Add(mqtttest.Patience))
	if _, err := thief.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !mqtttest.IsReset(err) {
		t.Errorf("the former holder of the id is still connected: %v", err)
	}
}

func testHandlerMayPublish(t *testing.T, tg mqtttest.Target) {
	_, answers := mqtttest.Subscribed(t, tg.Options("asker"), "home/answer")
	published := make(chan error, 1)
	c := mqtttest.Connected(t, tg.Options("answerer"), func(c *mqtt.Client) {
		c.Subscribe("home/question", func(_ string, payload []byte) {
			ctx, cancel := context.WithTimeout(context.Background(), mqtttest.Patience)
			defer cancel()
			published <- c.Publish(ctx, "home/answer", 1, false, payload)
		})
	})
	for i := range 20 {
		c.Send(t, "home/question", 1, false, fmt.Sprint(i))
		answers.Want(t, fmt.Sprint("home/answer ", i))
		if err := mqtttest.Receive(t, published); err != nil {
			t.Fatal(err)
		}
	}
}

// testSlowHandler holds the handler for longer than the keep-alive allows.
func testSlowHandler(t *testing.T, tg mqtttest.Target) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	o := tg.Options("sleeper")
	o.KeepAlive = time.Second
	c := mqtttest.Connected(t, o, func(c *mqtt.Client) {
		c.Subscribe("home/slow", func(string, []byte) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-release
		})
	})
	t.Cleanup(func() { close(release) })
	c.Send(t, "home/slow", 1, false, "wait")
	mqtttest.Receive(t, entered)
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; {
		c.Send(t, "home/slow", 1, false, "more")
	}
	if len(c.Lost) > 0 {
		t.Error("a slow handler cost the connection")
	}
}

func testLateSubscription(t *testing.T, tg mqtttest.Target) {
	c := mqtttest.Connected(t, tg.Options("late"), nil)
	box := make(mqtttest.Mailbox, 10)
	c.Subscribe("home/late", box.Handle)
	c.Send(t, "home/late", 1, false, "hello")
	box.Want(t, "home/late hello")
}

func testLargestPayload(t *testing.T, tg mqtttest.Target) {
	c, box := mqtttest.Subscribed(t, tg.Options("large"), "home/large")
	largest := strings.Repeat("x", mqtt.MaxPayload)
	c.Send(t, "home/large", 1, true, largest)
	if got := mqtttest.Receive(t, box); len(got) != len("home/large ")+mqtt.MaxPayload {
		t.Errorf("%d bytes arrived", len(got))
	}
	err := c.Publish(t.Context(), "home/large", 1, true, []byte(largest+"x"))
	if !errors.Is(err, mqtt.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func testPassesOverDeadAddress(t *testing.T, tg mqtttest.Target) {
	o := tg.Options("traveller")
	o.Brokers = []string{mqtttest.FreeAddr(t), tg.Addr}
	mqtttest.Connected(t, o, nil)
}

func testWrongPassword(t *testing.T, tg mqtttest.Target) {
	if tg.Username == "" {
		t.Skip("this broker has no passwords")
	}
	relay := mqtttest.NewRelay(t, tg.Addr)
	tg.Addr = relay.Addr
	var book mqtttest.Logbook
	o := tg.Options("stranger")
	o.Password = "wrong"
	o.Log = book.Logger()
	c := mqtttest.Run(t, o, nil)
	mqtttest.WaitUntil(t, "four attempts", func() bool { return relay.Accepted.Load() >= 4 })
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

func testProbe(t *testing.T, tg mqtttest.Target) {
	if err := mqtt.Probe(t.Context(), tg.Addr, tg.TLS, tg.Username, tg.Password); err != nil {
		t.Error(err)
	}
	if tg.Username == "" {
		return
	}
	if err := mqtt.Probe(t.Context(), tg.Addr, tg.TLS, tg.Username, "wrong"); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("wrong password: %v", err)
	}
}

func TestClientComesBackWhenTheBrokerRestarts(t *testing.T) {
	dir, addr := filepath.Join(t.TempDir(), "store"), mqtttest.FreeAddr(t)
	b := mqtttest.StartBroker(t, broker.Options{Dir: dir, Listen: addr})
	var book mqtttest.Logbook
	o := mqtttest.OwnerOf(b).Options("patient")
	o.Log = book.Logger()
	c, box := mqtttest.Subscribed(t, o, "home/#")
	for want := uint64(2); want < 4; want++ {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		mqtttest.Receive(t, c.Lost)
		if err := c.Publish(t.Context(), "home/x", 0, false, nil); !errors.Is(err, mqtt.ErrNotConnected) {
			t.Errorf("publish without a connection: %v", err)
		}
		b = mqtttest.StartBroker(t, broker.Options{Dir: dir, Listen: addr})
		if n := mqtttest.Receive(t, c.Connects); n != want {
			t.Errorf("session %d, want %d", n, want)
		}
		c.Send(t, "home/x", 1, false, "back")
		box.Want(t, "home/x back")
	}
	c.Stop()
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

// TestFloodedClientStartsAgain shows that memory is bounded if a handler hangs, and that the
// next session begins when all is handled that was waiting.
func TestFloodedClientStartsAgain(t *testing.T) {
	tg := mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{}))
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	var handled atomic.Int64
	before := make(chan int64, 1000) // each further session
	o := tg.Options("hanging")
	o.WillOf = func(session uint64) *mqtt.Message {
		if session > 1 {
			before <- handled.Load()
		}
		return nil
	}
	c := mqtttest.Connected(t, o, func(c *mqtt.Client) {
		c.Subscribe("home/flood", func(string, []byte) { <-release; handled.Add(1) })
	})
	t.Cleanup(let)
	speaker := mqtttest.Connected(t, tg.Options("speaker"), nil)
	chunk := strings.Repeat("x", mqtt.MaxPayload)
	for len(c.Lost) == 0 {
		speaker.Send(t, "home/flood", 1, false, chunk)
	}
	if err := mqtttest.Receive(t, c.Lost); !strings.Contains(fmt.Sprint(err), "waiting for the handler") {
		t.Errorf("lost for another reason: %v", err)
	}
	select {
	case <-before:
		t.Error("it connects again while all of that is waiting")
	case <-time.After(time.Second):
	}
	let()
	const fit = 16<<20/mqtt.MaxPayload - 1
	if n := mqtttest.Receive(t, before); n < fit-1 { // the last one may be in its handler
		t.Errorf("%d of %d messages were handled when it connects again", n, fit)
	}
	mqtttest.Receive(t, c.Connects)
}

// TestExpendableMessagesAreLeftOut shows that a client which gets more samples than it handles
// keeps its session, and everything else that is said to it.
func TestExpendableMessagesAreLeftOut(t *testing.T) {
	tg := mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{}))
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	arrived := make(chan struct{}, 10) // all that was sent before
	var book mqtttest.Logbook
	o := tg.Options("slow")
	o.Log = book.Logger()
	o.Expendable = func(topic string) bool {
		if topic == "home/word" {
			arrived <- struct{}{}
		}
		return topic == "home/samples"
	}
	samples, word := make(chan int, 1000), make(mqtttest.Mailbox, 10)
	c := mqtttest.Connected(t, o, func(c *mqtt.Client) {
		c.Subscribe("home/samples", func(_ string, payload []byte) { <-release; samples <- len(payload) })
		c.Subscribe("home/word", word.Handle)
	})
	t.Cleanup(let)
	speaker := mqtttest.Connected(t, tg.Options("speaker"), nil)
	const sent, fit = 40, 4<<20/mqtt.MaxPayload - 1
	chunk := strings.Repeat("x", mqtt.MaxPayload)
	for range sent {
		speaker.Send(t, "home/samples", 1, false, chunk)
	}
	speaker.Send(t, "home/word", 1, false, "heard")
	mqtttest.Receive(t, arrived)
	let()
	word.Want(t, "home/word heard")
	if n := len(samples); n != fit && n != fit+1 { // one more if the first was in its handler
		t.Errorf("%d samples are handled of %d, want %d", n, sent, fit)
	}
	speaker.Send(t, "home/samples", 1, false, "next")
	for mqtttest.Receive(t, samples) != len("next") {
	}
	if len(c.Lost) > 0 {
		t.Errorf("the session is lost: %v", <-c.Lost)
	}
	if n := strings.Count(book.String(), "messages are left out"); n != 1 {
		t.Errorf("the log says %d times that messages are left out", n)
	}
}

func TestClientEndsAtOnceWhileConnecting(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := mqtttest.Run(t, mqtttest.Target{Addr: silent.Addr().String()}.Options("hasty"), nil)
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	c.Stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSilentBrokerIsGivenUp(t *testing.T) {
	tg := mqtttest.OwnerOf(mqtttest.StartBroker(t, broker.Options{}))
	relay := mqtttest.NewRelay(t, tg.Addr)
	tg.Addr = relay.Addr
	o := tg.Options("lonely")
	o.KeepAlive = time.Second
	c := mqtttest.Connected(t, o, nil)
	began := time.Now()
	relay.Freeze()
	mqtttest.Receive(t, c.Lost)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("noticed after %v", took)
	}
	relay.Thaw()
	mqtttest.Receive(t, c.Connects)
}

func TestClientWithoutBrokersIsAnError(t *testing.T) {
	if err := mqtt.NewClient(mqtt.ClientOptions{}).Run(t.Context()); err == nil {
		t.Error("it runs")
	}
}
