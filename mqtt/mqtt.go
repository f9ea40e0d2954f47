// Package mqtt moves bytes over MQTT 3.1.1: a Client that stays connected to any
// broker, and Probe, which says what answers at an address. Package broker beside
// it is a broker to embed in a program; a program that only talks to one does not
// carry it. What the bytes mean is not known here.
//
// MQTT 3.1.1 cannot refuse a publish: a forbidden one is acknowledged and
// dropped. An acknowledgement proves neither permission nor effect.
//
// # The client subscribes with QoS 0
//
// A QoS 1 subscription costs the broker a consumer: 100 KiB of memory, three
// files and several milliseconds at each connect. Whoever publishes state as
// retained messages needs none of that, since a subscriber that was away gets
// the latest state the moment it is back. Publishing with QoS 1 is cheap, and is
// how a publisher learns that the broker has stored its message.
//
// # The client has its own reconnect loop
//
// The library under it can reconnect, but then it also queues what is published
// meanwhile and replays it, stale, after the reconnect; and it does not let one
// do something on each connect before anything else is sent. Here every
// connection is a new, clean session: connect, subscribe again, tell the owner
// (who says again who he is), and only then the work goes on. Nothing is queued
// for a broker that is away: Publish fails at once.
package mqtt

import (
	"errors"
	"time"
)

// MaxPayload is the largest payload in bytes that the Client publishes and the
// broker takes.
const MaxPayload = 256 << 10

// connectTimeout bounds one attempt to connect, from the first packet to the
// broker's consent. A broker on a slow SD card needs seconds for a new session.
const connectTimeout = 10 * time.Second

// What a caller may want to tell apart.
var (
	// ErrNoAnswer: nothing answers at the address, or not in time.
	ErrNoAnswer = errors.New("no answer")
	// ErrNotMQTT: something answers, and it is not an MQTT broker. TLS on one side
	// only looks like this, too.
	ErrNotMQTT = errors.New("not an MQTT broker")
	// ErrRefused: an MQTT broker does not let this client in, as a rule because of
	// its user name or password.
	ErrRefused = errors.New("the broker refuses this client")
	// ErrNotConnected: there is no connection to publish on, or it was lost
	// before the broker confirmed. In the second case the message may have arrived.
	ErrNotConnected = errors.New("not connected to a broker")
	// ErrTooLarge: the payload is larger than MaxPayload.
	ErrTooLarge = errors.New("payload is too large")
)

// Message is what a broker publishes in a client's name, as its last will.
type Message struct {
	Topic   string
	QoS     byte
	Retain  bool
	Payload []byte
}
