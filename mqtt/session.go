package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// writeTimeout is how long a broker may take to accept a packet.
const writeTimeout = 5 * time.Second

// subackFailure is a broker's answer to a forbidden subscription.
const subackFailure = 0x80

// session is one connection to a broker, from its consent to the end. The
// library's client is made anew for each, and none of its state outlives it.
type session struct {
	client paho.Client
	conn   net.Conn
	ended  chan struct{} // closed when the session is over, with err set before

	once sync.Once
	err  error
}

func newSession(ctx context.Context, addr string, o ClientOptions) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := dial(ctx, addr, o.TLS)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()

	s := &session{conn: conn, ended: make(chan struct{})}
	s.client = paho.NewClient(s.options(o))
	t := s.client.Connect()
	<-t.Done()
	if err := t.Error(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("broker %s: %w", addr, connectError(ctx, err, t.(*paho.ConnectToken).ReturnCode()))
	}
	return s, nil
}

func (s *session) options(o ClientOptions) *paho.ClientOptions {
	p := paho.NewClientOptions().
		AddBroker("tcp://broker"). // never dialled: the connection is there
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return s.conn, nil }).
		SetProtocolVersion(4).
		SetClientID(o.ClientID).
		SetUsername(o.Username).
		SetPassword(o.Password).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(connectTimeout).
		SetWriteTimeout(writeTimeout).
		SetKeepAlive(o.KeepAlive).
		SetPingTimeout(o.KeepAlive / 2).
		SetConnectionLostHandler(func(_ paho.Client, err error) { s.end(err) })
	if w := o.Will; w != nil {
		p.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	return p
}

// connectError tells a refusal from a broker that answers something else or not
// at all.
func connectError(ctx context.Context, err error, code byte) error {
	switch {
	case code != packets.Accepted && code < packets.ErrNetworkError:
		return refusal(err, code)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
	return answerError(err)
}

// end marks the session as over. The first reason counts.
func (s *session) end(reason error) {
	s.once.Do(func() {
		s.err = reason
		close(s.ended)
	})
}

// over is why the session is over, nil while it is not.
func (s *session) over() error {
	select {
	case <-s.ended:
		return s.err
	default:
		return nil
	}
}

// close says goodbye if there is still somebody to hear it.
func (s *session) close() {
	s.client.Disconnect(250)
	_ = s.conn.Close()
}

func (s *session) publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error {
	return s.wait(ctx, s.client.Publish(topic, qos, retain, payload))
}

// subscribe fails with ErrRefused if the broker forbids it.
func (s *session) subscribe(ctx context.Context, filter string, deliver func(topic string, payload []byte)) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	t := s.client.Subscribe(filter, 0, func(_ paho.Client, m paho.Message) { deliver(m.Topic(), m.Payload()) })
	if err := s.wait(ctx, t); err != nil {
		return err
	}
	if t.(*paho.SubscribeToken).Result()[filter] == subackFailure {
		return ErrRefused
	}
	return nil
}

// wait returns when the broker has confirmed. It fails if that does not happen
// in this session.
func (s *session) wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		if err := t.Error(); errors.Is(err, paho.ErrNotConnected) {
			return ErrNotConnected
		} else if err != nil {
			return fmt.Errorf("%w: %w", ErrNotConnected, err)
		}
		return nil
	case <-s.ended:
		return fmt.Errorf("%w: %w", ErrNotConnected, s.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
