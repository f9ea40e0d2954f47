package cli

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/config"
	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/mqtttest"
	"github.com/otto-edge/otto/wire"
)

// tap relays to an address and keeps all bytes of both directions.
type tap struct {
	addr string

	mu    sync.Mutex
	bytes []byte
}

// Write implements io.Writer.
func (w *tap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes = append(w.bytes, b...)
	return len(b), nil
}

func (w *tap) seen() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.bytes)
}

// listen has handle serve connections until the test ends.
func listen(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l.Addr().String()
}

func tapOn(t *testing.T, addr string) *tap {
	w := &tap{}
	w.addr = listen(t, func(from net.Conn) {
		defer from.Close()
		to, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(to, io.TeeReader(from, w)) }()
		_, _ = io.Copy(from, io.TeeReader(to, w))
	})
	return w
}

// TestTapSeesNothingOfANode is on the wire between a node and the broker while the node
// logs in, is told to run a service with a secret, and reports.
func TestTapSeesNothingOfANode(t *testing.T) {
	g := guard(t, "", "")
	e, _ := g.enrolment("n1")
	wire1 := tapOn(t, g.addr)
	target := g.target("n1")
	target.Addr = wire1.addr
	agent, orders := mqtttest.Subscribed(t, target.Options(e.ClientID), wire.NodeTopic("n1", wire.KindAssignment))

	w := otto.Wanted{Nodes: []otto.Node{{ID: "n1", Host: "n1"}, {ID: "n2", Host: "n2"}}, Services: []otto.Service{
		{
			Name:     "vault",
			Node:     "n1",
			Replicas: 1,
			Spec: otto.ContainerSpec{
				Image:       "vault:1",
				Environment: map[string]string{"TOKEN": "hunter2-environment"},
			},
		},
	}}
	if _, err := g.plane.Apply(t.Context(), w, g.plane.Cluster().Revision, false); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(mqtttest.Receive(t, orders), "hunter2-environment") { // the wire did carry it
	}
	agent.Send(t, wire.NodeTopic("n1", wire.KindInstances), 1, true, "hunter2-report")

	seen := wire1.seen()
	if len(seen) < 1000 {
		t.Fatalf("the tap has seen %d bytes", len(seen))
	}
	for _, secret := range []string{"hunter2", e.ClientID, e.NodeID + "-", "otto/", "assignment", "instances", "MQTT", "vault"} {
		if bytes.Contains(seen, []byte(secret)) {
			t.Errorf("the tap has seen %q", secret)
		}
	}
}

// TestManInTheMiddleIsRefused has others answer at the broker's address: one who holds
// certificates of another authority for the same name, one with another cluster's, and
// one who speaks in the clear.
func TestManInTheMiddleIsRefused(t *testing.T) {
	g := guard(t, "", "")
	e, _ := g.enrolment("n1")
	namesake := guardAs(t, identity{clusterID: g.plane.ClusterID()})
	for name, middle := range map[string]*guarded{"of the same name": namesake, "another cluster": guard(t, "", "")} {
		t.Run(name, func(t *testing.T) {
			w := tapOn(t, middle.addr)
			err := mqtt.Probe(t.Context(), w.addr, configOf(e.TLS), e.Username, e.Password)
			if !errors.Is(err, wire.ErrForeignBroker) {
				t.Errorf("it is taken for the cluster's broker: %v", err)
			}
			if bytes.Contains(w.seen(), []byte(e.ClientID)) {
				t.Error("the node has said its client id")
			}
		})
	}
	t.Run("in the clear", func(t *testing.T) {
		heard := make(chan []byte, 1)
		addr := listen(t, func(c net.Conn) {
			b := make([]byte, 4096)
			n, _ := c.Read(b)
			heard <- b[:n]
			_, _ = c.Write([]byte("\x20\x02\x00\x00")) // an accepting CONNACK
			_ = c.Close()
		})
		if err := mqtt.Probe(t.Context(), addr, configOf(e.TLS), e.Username, e.Password); err == nil {
			t.Error("it is taken for the cluster's broker")
		}
		if b := mqtttest.Receive(t, heard); len(b) == 0 || b[0] != 0x16 || bytes.Contains(b, []byte("MQTT")) {
			t.Errorf("it has heard %q", b)
		}
	})
}

// TestNoClockLocksANodeOut has clocks of both sides that are wrong by any amount.
func TestNoClockLocksANodeOut(t *testing.T) {
	g := guard(t, "", "")
	e, _ := g.enrolment("n1")
	server, err := serverTLS(g.plane, config.MQTT{})
	if err != nil {
		t.Fatal(err)
	}
	clocks := []time.Time{
		time.Unix(0, 0),
		time.Unix(0, 0).AddDate(-30, 0, 0),
		time.Now(),
		time.Now().AddDate(40, 0, 0),
		time.Now().AddDate(9000, 0, 0),
	}
	for _, node := range clocks {
		for _, plane := range clocks {
			here, there := net.Pipe()
			ours, theirs := configOf(e.TLS), server.Clone()
			ours.Time, theirs.Time = func() time.Time { return node }, func() time.Time { return plane }
			done := make(chan error, 1)
			go func() { done <- tls.Server(there, theirs).HandshakeContext(t.Context()) }()
			client := tls.Client(here, ours)
			if err := errors.Join(client.HandshakeContext(t.Context()), <-done); err != nil {
				t.Errorf("node in %d, control plane in %d: %v", node.Year(), plane.Year(), err)
			}
			_, _ = here.Close(), there.Close()
		}
	}
}

// TestNodeOfAFormerBuildIsTakenOver starts on a state of the builds before there were
// keys: its node logs in as it did until its new agent is there and has used its key,
// and then whoever has overheard the password is out.
func TestNodeOfAFormerBuildIsTakenOver(t *testing.T) {
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	installed := make(chan struct{})
	g := guardAs(t, identity{
		plain: config.PlainOff, // it does not count for such a node
		stored: map[string]any{
			"identity": map[string]any{"name": "guarded", "cluster_id": "c0ffee", "key": signing},
			"epoch":    3,
			"desired":  map[string]any{"wanted": otto.Wanted{Revision: 0}},
			"enrolled": map[string]any{"n1": map[string]string{"client_id": "n1-secret", "password": "in the clear"}},
		},
		installed: func(node string) {
			if node == "n1" {
				<-installed
			}
		},
	})
	e, _ := g.enrolment("n1")
	if e.ClientID != "n1-secret" || e.Password != "" || e.TLS == nil {
		t.Fatalf("the new enrolment is %+v", e)
	}
	former := mqtttest.Target{Addr: g.addr, Username: "n1", Password: "in the clear"}
	lets := func(tg mqtttest.Target) error {
		return mqtt.Probe(t.Context(), tg.Addr, tg.TLS, tg.Username, tg.Password)
	}
	thief := mqtttest.Connected(t, former.Options("thief"), nil)
	agent := mqtttest.Connected(t, g.target("n1").Options(e.ClientID), nil)
	if err := lets(former); err != nil {
		t.Errorf("the former agent could not be put back: %v", err)
	}
	close(installed)
	mqtttest.WaitUntil(t, "the password has ended", func() bool { return errors.Is(lets(former), mqtt.ErrRefused) })
	mqtttest.Receive(t, thief.Lost)
	agent.Send(t, wire.NodeTopic("n1", wire.KindStatus), 1, false, "still here")
	select {
	case err := <-agent.Lost:
		t.Errorf("the node has lost its connection: %v", err)
	default:
	}
	over := former
	over.TLS = configOf(g.plane.BrokerTLS())
	if err := lets(over); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("the password holds over TLS: %v", err)
	}
}

func TestWhoMaySpeakInTheClear(t *testing.T) {
	for addr, may := range map[string]map[config.Plain]bool{
		"127.0.0.1":     {config.PlainLAN: true, config.PlainLocal: true},
		"::1":           {config.PlainLAN: true, config.PlainLocal: true},
		"192.168.2.7":   {config.PlainLAN: true},
		"10.77.0.11":    {config.PlainLAN: true},
		"fe80::1":       {config.PlainLAN: true},
		"fd00::1":       {config.PlainLAN: true},
		"198.51.100.77": {},
		"2001:db8::1":   {},
	} {
		for _, plain := range []config.Plain{config.PlainLAN, config.PlainLocal, config.PlainOff} {
			if got := mayBePlain(plain, netip.MustParseAddr(addr)); got != may[plain] {
				t.Errorf("plain: %s, from %s: %t", plain, addr, got)
			}
		}
	}
	g := guardAs(t, identity{viewer: "viewer", viewerPassword: "may look", plain: config.PlainOff})
	people := g.target("viewer")
	if err := mqtt.Probe(t.Context(), g.addr, nil, people.Username, people.Password); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("in the clear, where that is off: %v", err)
	}
	people.TLS = configOf(
		&wire.TLS{CA: g.plane.BrokerTLS().CA, ServerName: "localhost"},
	) // as mosquitto_sub --cafile verifies
	if err := mqtt.Probe(t.Context(), g.addr, people.TLS, people.Username, people.Password); err != nil {
		t.Errorf("over TLS: %v", err)
	}
}

// TestRekeyShutsACopyOut is about a node whose key somebody else has, too.
func TestRekeyShutsACopyOut(t *testing.T) {
	g := guard(t, "", "")
	was, _ := g.enrolment("n1")
	former := g.target("n1")
	copied := mqtttest.Connected(t, former.Options("copy"), nil)
	if err := g.plane.Rekey(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	mqtttest.WaitUntil(t, "the node has a new key", func() bool {
		e, _ := g.enrolment("n1")
		return e.TLS.Key != was.TLS.Key
	})
	if err := mqtt.Probe(t.Context(), g.addr, former.TLS, "n1", ""); err != nil {
		t.Errorf("a node that has not got its new key is kept out: %v", err)
	}
	if err := g.plane.Rekey(t.Context(), "n1"); err == nil ||
		!strings.Contains(err.Error(), "has not logged in with its last new key yet") {
		t.Errorf("a second new key before the first is used: %v", err)
	}
	agent := mqtttest.Connected(t, g.target("n1").Options(was.ClientID), nil)
	mqtttest.Receive(t, copied.Lost)
	if err := mqtt.Probe(t.Context(), g.addr, former.TLS, "n1", ""); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("the former key still holds: %v", err)
	}
	agent.Send(t, wire.NodeTopic("n1", wire.KindStatus), 1, false, "still here")
	select {
	case err := <-agent.Lost:
		t.Errorf("the node has lost its connection: %v", err)
	default:
	}
	other, _ := g.enrolment("n2")
	if err := mqtt.Probe(t.Context(), g.addr, configOf(other.TLS), "n2", ""); err != nil {
		t.Errorf("another node is kept out: %v", err)
	}
	if err := g.plane.Rekey(t.Context(), "n3"); err == nil {
		t.Error("a node that there is not gets a key")
	}
}

// TestBrokerShowsWhatIsRenewed is about the certificates and keys of before a renewal, at the
// broker that nodes and people speak to.
func TestBrokerShowsWhatIsRenewed(t *testing.T) {
	for _, compromised := range []bool{false, true} {
		t.Run(fmt.Sprintf("compromised %t", compromised), func(t *testing.T) {
			g := guard(t, "", "")
			was, _ := g.enrolment("n1")
			former, others := g.target("n1"), g.target("n2")
			lets := func(tg mqtttest.Target) error {
				return mqtt.Probe(t.Context(), tg.Addr, tg.TLS, tg.Username, tg.Password)
			}
			copied := mqtttest.Connected(t, former.Options("copy"), nil)
			file := g.plane.BrokerTLS().CA
			if err := g.plane.Rotate(t.Context(), compromised); err != nil {
				t.Fatal(err)
			}
			mqtttest.WaitUntil(t, "the nodes have new keys", func() bool {
				one, _ := g.enrolment("n1")
				two, _ := g.enrolment("n2")
				return one.TLS.Key != was.TLS.Key && one.TLS.CA != was.TLS.CA && two.TLS.CA != was.TLS.CA
			})
			if err := lets(former); compromised != (err != nil) {
				t.Errorf("a node that has not got its new key: %v", err)
			}
			if has := strings.HasPrefix(g.plane.BrokerTLS().CA, file); has == compromised {
				t.Errorf("ca.pem has the former authority: %t", has)
			}
			agent := mqtttest.Connected(t, g.target("n1").Options(was.ClientID), nil)
			mqtttest.Receive(t, copied.Lost)
			for _, e := range []*wire.TLS{was.TLS, {CA: was.TLS.CA, ServerName: was.TLS.ServerName, Own: true}} {
				tg := former
				if tg.TLS = configOf(e); lets(tg) == nil {
					t.Error("the node's former key still holds")
				}
			}
			if err := lets(others); compromised != (err != nil) {
				t.Errorf("another node's former key, before it has used its new one: %v", err)
			}
			two := mqtttest.Connected(t, g.target("n2").Options("two"), nil)
			mqtttest.WaitUntil(t, "it is over", func() bool { return g.plane.Cluster().Rotation == nil })
			if err := lets(former); !errors.Is(err, wire.ErrForeignBroker) {
				t.Errorf("who trusts the former authority alone: %v", err)
			}
			stolen := g.target("n1") // the former key, by who has learned of the new authority
			stolen.TLS.Certificates = former.TLS.Certificates
			if err := lets(stolen); !errors.Is(err, mqtt.ErrRefused) {
				t.Errorf("the former key still holds: %v", err)
			}
			if strings.Contains(g.plane.BrokerTLS().CA, file) {
				t.Error("ca.pem still has the former authority")
			}
			g.kick(controlUser, nil)
			mqtttest.WaitUntil(t, "the control plane notices", func() bool { return g.plane.Cluster().Problem != "" })
			mqtttest.WaitUntil(t, "the control plane is back", func() bool { return g.plane.Cluster().Problem == "" })
			people := configOf(&wire.TLS{CA: g.plane.BrokerTLS().CA, ServerName: "localhost"})
			if err := mqtt.Probe(t.Context(), g.addr, people, "", ""); err != nil {
				t.Errorf("people's tools: %v", err)
			}
			for _, c := range []*mqtttest.Running{agent, two} {
				c.Send(t, wire.NodeTopic("n1", wire.KindStatus), 1, false, "still here")
				select {
				case err := <-c.Lost:
					t.Errorf("a node has lost its connection: %v", err)
				default:
				}
			}
		})
	}
}
