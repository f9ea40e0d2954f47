package broker

import (
	"time"

	"github.com/otto-edge/otto/mqtt"
)

// Class says how much of the broker a client may take. The zero one is the least.
type Class int

// Classes of clients. Each has its own places: whoever fills those of one class keeps
// nobody out of another.
const (
	Stranger Class = iota // anybody on the network
	Person                // with a user name: people's tools, and applications
	Node
	Control // the control plane
)

// limits of a client.
type limits struct {
	connections   int // of all strangers, or of one user
	packet        int // the largest that it may send, in bytes
	payload       int // of what it publishes, in bytes
	subscriptions int
	filter        int // the longest that it may subscribe to, in bytes
	keepAlive     uint16
	retain        bool
	bytes         rate // that it sends
	packets       rate
	waiting       int64 // bytes of what it does not read, and a message for each node; 0 for as much as may wait
}

// rate is a budget that fills up again: burst at once, and then perSecond.
type rate struct{ perSecond, burst float64 }

// envelope is room for a packet's topic and properties.
const envelope = 4 << 10

// longest keep-alive in seconds: one and a half of it still is a number of 16 bits.
const longestKeepAlive = 43690

func (c Class) limits() limits {
	switch c {
	case Control:
		return limits{
			connections:   16,
			packet:        mqtt.MaxPayload + envelope,
			payload:       mqtt.MaxPayload,
			subscriptions: 256,
			filter:        1024,
			keepAlive:     longestKeepAlive,
			retain:        true,
		}
	case Node:
		return limits{
			connections:   4,
			packet:        mqtt.MaxPayload + envelope,
			payload:       mqtt.MaxPayload,
			subscriptions: 32,
			filter:        256,
			keepAlive:     longestKeepAlive,
			retain:        true,
			bytes:         rate{1 << 20, 8 << 20},
			packets:       rate{100, 1000},
			waiting:       4 << 20,
		}
	case Person:
		return limits{
			connections: 32, packet: 68 << 10, payload: 64 << 10, subscriptions: 64, filter: 256,
			keepAlive: longestKeepAlive, bytes: rate{128 << 10, 512 << 10}, packets: rate{100, 500},
			waiting: 2 << 20,
		}
	}
	return limits{
		connections: 64, packet: 4 << 10, payload: 0, subscriptions: 16, filter: 128,
		keepAlive: 300, bytes: rate{4 << 10, 16 << 10}, packets: rate{10, 50},
		waiting: 512 << 10,
	}
}

// bucket is what is left of a rate.
type bucket struct {
	rate
	used float64
	at   time.Time
}

// take uses n up and returns how long to wait until that is made good. A zero rate
// has no limit.
func (b *bucket) take(n int, now time.Time) time.Duration {
	if b.perSecond == 0 {
		return 0
	}
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*b.perSecond)
	}
	b.at, b.used = now, b.used+float64(n)
	if b.used <= b.burst {
		return 0
	}
	return time.Duration((b.used - b.burst) / b.perSecond * float64(time.Second))
}
