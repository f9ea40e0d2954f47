package mqtt_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/otto-edge/otto/mqtt"
	"github.com/otto-edge/otto/mqtt/broker"
	"github.com/otto-edge/otto/mqtt/mqtttest"
)

func TestProbeTellsWhatAnswers(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	_, serverSide, clientSide := mqtttest.Certificates(t)
	plain := mqtttest.StartBroker(t, broker.Options{})
	secure := mqtttest.StartBroker(t, broker.Options{TLS: serverSide})
	_, _, foreign := mqtttest.Certificates(t)

	tests := []struct {
		name string
		addr string
		over mqtttest.Target
		want error
	}{
		{"nothing", mqtttest.FreeAddr(t), mqtttest.Target{}, mqtt.ErrNoAnswer},
		{"a name that does not exist", "broker.invalid:1883", mqtttest.Target{}, mqtt.ErrNoAnswer},
		{"a silent listener", listener(t, ""), mqtttest.Target{}, mqtt.ErrNoAnswer},
		{"a silent listener, over TLS", listener(t, ""), mqtttest.Target{TLS: clientSide}, mqtt.ErrNoAnswer},
		{"a web server", web.Listener.Addr().String(), mqtttest.Target{}, mqtt.ErrNotMQTT},
		{"an SSH server", listener(t, "SSH-2.0-OpenSSH\r\n"), mqtttest.Target{}, mqtt.ErrNotMQTT},
		{"a CONNACK of the wrong size", listener(t, "\x20\x03\x00\x00\x00"), mqtttest.Target{}, mqtt.ErrNotMQTT},
		{"TLS expected, clear text spoken", plain.Addr(), mqtttest.Target{TLS: clientSide}, mqtt.ErrNotMQTT},
		{"clear text expected, TLS spoken", secure.Addr(), mqtttest.OwnerOf(secure), mqtt.ErrNotMQTT},
		{"a wrong password", plain.Addr(), mqtttest.Target{Username: "owner", Password: "wrong"}, mqtt.ErrRefused},
		{"no password", plain.Addr(), mqtttest.Target{}, mqtt.ErrRefused},
		{"another refusal", listener(t, "\x20\x02\x00\x2a"), mqtttest.Target{}, mqtt.ErrRefused},
		{"a broker", plain.Addr(), mqtttest.OwnerOf(plain), nil},
		{"a broker with TLS", secure.Addr(), mqtttest.Target{TLS: clientSide, Username: "owner", Password: "secret"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := 20 * time.Second // a machine may be busy
			if errors.Is(tt.want, mqtt.ErrNoAnswer) {
				limit = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := mqtt.Probe(ctx, tt.addr, tt.over.TLS, tt.over.Username, tt.over.Password)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}

	err := mqtt.Probe(t.Context(), secure.Addr(), foreign, "owner", "secret")
	for _, known := range []error{nil, mqtt.ErrNoAnswer, mqtt.ErrNotMQTT, mqtt.ErrRefused} {
		if errors.Is(err, known) {
			t.Errorf("an untrusted certificate is reported as %v", err)
		}
	}
}

// listener accepts connections, says its greeting and then nothing.
func listener(t *testing.T, greeting string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Write([]byte(greeting))
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
