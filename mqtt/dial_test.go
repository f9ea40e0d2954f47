package mqtt

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestProbeTellsWhatAnswers(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	_, serverSide, clientSide := certificates(t)
	broker := startTestBroker(t, BrokerOptions{})
	secure := startTestBroker(t, BrokerOptions{TLS: serverSide})
	_, _, foreign := certificates(t)

	tests := []struct {
		name string
		addr string
		over target
		want error
	}{
		{"nothing", freeAddr(t), target{}, ErrNoAnswer},
		{"a name that does not exist", "broker.invalid:1883", target{}, ErrNoAnswer},
		{"a silent listener", listener(t, ""), target{}, ErrNoAnswer},
		{"a silent listener, over TLS", listener(t, ""), target{tls: clientSide}, ErrNoAnswer},
		{"a web server", web.Listener.Addr().String(), target{}, ErrNotMQTT},
		{"an SSH server", listener(t, "SSH-2.0-OpenSSH\r\n"), target{}, ErrNotMQTT},
		{"a CONNACK of the wrong size", listener(t, "\x20\x03\x00\x00\x00"), target{}, ErrNotMQTT},
		{"TLS expected, clear text spoken", broker.Addr(), target{tls: clientSide}, ErrNotMQTT},
		{"clear text expected, TLS spoken", secure.Addr(), ownerOf(secure), ErrNotMQTT},
		{"a wrong password", broker.Addr(), target{username: "owner", password: "wrong"}, ErrRefused},
		{"no password", broker.Addr(), target{}, ErrRefused},
		{"another refusal", listener(t, "\x20\x02\x00\x2a"), target{}, ErrRefused},
		{"a broker", broker.Addr(), ownerOf(broker), nil},
		{"a broker with TLS", secure.Addr(), target{tls: clientSide, username: "owner", password: "secret"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := Probe(ctx, tt.addr, tt.over.tls, tt.over.username, tt.over.password)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}

	err := Probe(t.Context(), secure.Addr(), foreign, "owner", "secret")
	for _, known := range []error{nil, ErrNoAnswer, ErrNotMQTT, ErrRefused} {
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
