package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// dial opens the connection that MQTT is then spoken on.
func dial(ctx context.Context, addr string, config *tls.Config) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w: %w", addr, ErrNoAnswer, err)
	}
	if config == nil {
		return conn, nil
	}
	secure := tls.Client(conn, withServerName(config, addr))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("broker %s: %w", addr, tlsError(err))
	}
	return secureConn{secure, conn}, nil
}

// secureConn closes without a farewell, for which a network that is cut could let it
// wait.
type secureConn struct {
	*tls.Conn
	raw net.Conn
}

// Close implements net.Conn.
func (c secureConn) Close() error { return c.raw.Close() }

func withServerName(config *tls.Config, addr string) *tls.Config {
	if config.ServerName != "" {
		return config
	}
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(addr) // dialled, so it is one
	return config
}

func tlsError(err error) error {
	var notTLS tls.RecordHeaderError
	switch {
	case isTimeout(err):
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case errors.As(err, &notTLS), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w over TLS: %w", ErrNotMQTT, err)
	}
	return err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// probeTimeout is for a broker in a home network, or one sleeping on a Pi.
const probeTimeout = 5 * time.Second

// newlines is a keep-alive of 0x0A0A seconds. In a CONNECT packet these are two
// line feeds, so that a server of a line-based protocol, such as HTTP, complains
// at once instead of waiting for the end of the line.
const newlines = 0x0A0A

// Probe says what answers at addr (host:port): nil is an MQTT broker that accepts
// the user; else the error is ErrNoAnswer, ErrNotMQTT or ErrRefused, or that
// of a certificate which is not trusted. It takes five seconds at most.
func Probe(ctx context.Context, addr string, config *tls.Config, username, password string) error {
	return visit(ctx, addr, login{config, username, password}, func(net.Conn) error { return nil })
}

// ErrMute is that of a broker which accepts a user and passes on nothing of his.
var ErrMute = errors.New("it passes on no message")

// Echo says whether a broker passes on what a user publishes to a topic that he may
// subscribe to: nil if it does, ErrMute if it does not, and else an error of Probe.
func Echo(ctx context.Context, addr string, config *tls.Config, username, password, topic string) error {
	return visit(ctx, addr, login{config, username, password}, func(conn net.Conn) error {
		subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{topic}, []byte{0}
		if err := subscribe.Write(conn); err != nil {
			return err
		}
		for {
			packet, err := packets.ReadPacket(conn)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrMute, err)
			}
			switch p := packet.(type) {
			case *packets.SubackPacket:
				if slices.Contains(p.ReturnCodes, 0x80) {
					return fmt.Errorf("%w: the subscription is refused", ErrMute)
				}
				publish := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
				publish.TopicName = topic
				if err := publish.Write(conn); err != nil {
					return err
				}
			case *packets.PublishPacket:
				if p.TopicName == topic {
					return nil
				}
			}
		}
	})
}

// login is how a client shows who it is.
type login struct {
	tls                *tls.Config
	username, password string
}

// visit connects to a broker for a moment, within probeTimeout.
func visit(ctx context.Context, addr string, as login, do func(net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := dial(ctx, addr, as.tls)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion = "MQTT", 4
	connect.CleanSession = true
	connect.Keepalive = newlines
	connect.ClientIdentifier = "probe-" + rand.Text()[:16]
	connect.Username, connect.UsernameFlag = as.username, as.username != ""
	connect.Password, connect.PasswordFlag = []byte(as.password), as.username != ""
	err = connect.Write(conn)
	if err == nil {
		err = readConnack(conn)
	}
	if err == nil {
		err = do(conn)
	}
	if err != nil {
		return fmt.Errorf("broker %s: %w", addr, err)
	}
	_ = packets.NewControlPacket(packets.Disconnect).Write(conn) // politeness
	return nil
}

// readConnack looks at the first byte before it waits for more, since whoever
// says anything else first is no broker.
func readConnack(r io.Reader) error {
	var b [4]byte // type, length 2, session present, return code
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return answerError(err)
	}
	if b[0] != packets.Connack<<4 {
		return fmt.Errorf("%w: it answered with byte 0x%02x", ErrNotMQTT, b[0])
	}
	if _, err := io.ReadFull(r, b[1:]); err != nil {
		return answerError(err)
	}
	switch code := b[3]; {
	case b[1] != 2:
		return fmt.Errorf("%w: its first packet is malformed", ErrNotMQTT)
	case code != packets.Accepted:
		return refusal(packets.ConnErrors[code], code)
	}
	return nil
}

func answerError(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return fmt.Errorf("%w: %w", ErrNotMQTT, err)
}

func refusal(reason error, code byte) error {
	if reason == nil {
		reason = fmt.Errorf("return code %d", code)
	}
	return fmt.Errorf("%w: %w", ErrRefused, reason)
}
