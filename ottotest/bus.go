// Package ottotest has what tests of any package need: a broker in memory, a
// container engine in memory, a store in memory, and a whole cluster made of
// them and of the real control plane and agents, in one process and without a
// network. It works inside testing/synctest, where time is virtual.
package ottotest

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// Bus is an MQTT broker in memory: topics, wildcards, retained messages, wills.
type Bus struct {
	mu       sync.Mutex
	retained map[string][]byte
	conns    map[*Conn]bool
	// Drop, if set, decides for each delivery whether it is lost.
	Drop func(from, to *Conn, topic string) bool
}

// NewBus returns a broker without clients.
func NewBus() *Bus { return &Bus{retained: map[string][]byte{}, conns: map[*Conn]bool{}} }

// Conn is one client's connection.
type Conn struct {
	Name string
	bus  *Bus

	mu        sync.Mutex
	subs      map[string]func(string, []byte)
	up        bool
	session   uint64
	queue     chan delivery
	onConnect func(uint64)
	willTopic string
	will      []byte
}

type delivery struct {
	handle  func(string, []byte)
	topic   string
	payload []byte
}

// Client returns a client that is not connected yet.
func (b *Bus) Client(name string) *Conn {
	return &Conn{Name: name, bus: b, subs: map[string]func(string, []byte){}, queue: make(chan delivery, 4096)}
}

// OnConnect sets what is called at each connect.
func (c *Conn) OnConnect(f func(session uint64)) { c.onConnect = f }

// Will sets the message that is published, retained, when the connection breaks.
func (c *Conn) Will(topic string, payload []byte) { c.willTopic, c.will = topic, payload }

// Run connects, and delivers messages in order until ctx ends; then it says
// goodbye without its will.
func (c *Conn) Run(ctx context.Context) error {
	c.Connect()
	defer c.disconnect()
	for {
		select {
		case d := <-c.queue:
			d.handle(d.topic, d.payload)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Connect begins a session: subscriptions are made, retained messages delivered.
func (c *Conn) Connect() {
	c.bus.mu.Lock()
	c.bus.conns[c] = true
	c.bus.mu.Unlock()
	c.mu.Lock()
	c.up = true
	c.session++
	session := c.session
	subs := make(map[string]func(string, []byte), len(c.subs))
	for f, h := range c.subs {
		subs[f] = h
	}
	c.mu.Unlock()
	for filter, handle := range subs {
		c.deliverRetained(filter, handle)
	}
	if c.onConnect != nil {
		c.onConnect(session)
	}
}

// Break cuts the connection; the broker publishes the will.
func (c *Conn) Break() {
	c.disconnect()
	if c.willTopic != "" {
		c.bus.publish(nil, c.willTopic, true, c.will)
	}
}

func (c *Conn) disconnect() {
	c.mu.Lock()
	c.up = false
	c.mu.Unlock()
	c.bus.mu.Lock()
	delete(c.bus.conns, c)
	c.bus.mu.Unlock()
}

// Publish implements the Conn of agent and control.
func (c *Conn) Publish(_ context.Context, topic string, _ byte, retain bool, payload []byte) error {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	if !up {
		return errors.New("not connected")
	}
	c.bus.publish(c, topic, retain, payload)
	return nil
}

// Subscribe implements the Conn of agent and control.
func (c *Conn) Subscribe(filter string, handle func(string, []byte)) {
	c.mu.Lock()
	c.subs[filter] = handle
	up := c.up
	c.mu.Unlock()
	if up {
		c.deliverRetained(filter, handle)
	}
}

func (c *Conn) deliverRetained(filter string, handle func(string, []byte)) {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	for topic, payload := range c.bus.retained {
		if Match(filter, topic) {
			c.queue <- delivery{handle, topic, payload}
		}
	}
}

func (b *Bus) publish(from *Conn, topic string, retain bool, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if retain {
		if len(payload) == 0 {
			delete(b.retained, topic)
		} else {
			b.retained[topic] = payload
		}
	}
	for c := range b.conns {
		if b.Drop != nil && b.Drop(from, c, topic) {
			continue
		}
		c.mu.Lock()
		for filter, handle := range c.subs {
			if Match(filter, topic) {
				c.queue <- delivery{handle, topic, payload}
			}
		}
		c.mu.Unlock()
	}
}

// Retained returns the retained message of a topic, or nil.
func (b *Bus) Retained(topic string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.retained[topic]
}

// Inject publishes a message as a stranger would.
func (b *Bus) Inject(topic string, retain bool, payload []byte) {
	b.publish(nil, topic, retain, payload)
}

// Match reports whether an MQTT topic filter matches a topic.
func Match(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}
