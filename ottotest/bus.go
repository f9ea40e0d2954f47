// Package ottotest has what tests of any package need: a broker in memory, a
// container engine in memory, a store in memory, and a whole cluster made of
// them and of the real control plane and agents, in one process and without a
// network. It works inside testing/synctest, where time is virtual.
package ottotest

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bus is an MQTT broker in memory: topics, wildcards, retained messages, wills.
type Bus struct {
	mu       sync.Mutex
	retained map[string][]byte
	conns    map[*Conn]bool
	cuts     map[string]cut // by client
	// Route, if set, says for each delivery how long its copies take; without any
	// it is lost.
	Route func(from, to *Conn, topic string) []time.Duration
	// Retain, if set, is called with each message that is to be retained.
	Retain func(topic string, payload []byte)
	held   map[string]int
}

// Held is how many messages a client's cuts have held up so far.
func (b *Bus) Held(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[name]
}

// cut is a network that is broken, in one direction or both.
type cut struct {
	since   time.Time
	in, out bool
	healed  chan struct{} // closed at its end
}

// NewBus returns a broker without clients.
func NewBus() *Bus {
	return &Bus{retained: map[string][]byte{}, conns: map[*Conn]bool{}, cuts: map[string]cut{}, held: map[string]int{}}
}

// Conn is one client's connection.
type Conn struct {
	Name string
	bus  *Bus
	by   *Process // nil for a client of the test's own
	// key and admit, if set, are of a client of the control plane's own broker: it is tried
	// at each connect whether they let each other in.
	key   []byte
	admit func() bool

	mu        sync.Mutex
	subs      map[string]func(string, []byte)
	up        bool
	ended     bool // for good
	session   uint64
	queue     chan delivery
	onConnect func(uint64)
	willOf    func(session uint64) (topic string, payload []byte)
	willTopic string
	will      []byte
	willSent  bool // by the broker, which takes the client for dead
	lateOut   []late
	lateIn    []delivery
}

type delivery struct {
	handle  func(string, []byte)
	topic   string
	payload []byte
}

// late is a message that waits in the buffers of a cut connection.
type late struct {
	topic   string
	retain  bool
	payload []byte
}

// KeepAlive is how long a connection outlives a cut.
const KeepAlive = 15 * time.Second

// Cut takes a client's network away. What it and others send meanwhile arrives
// late if Heal comes within KeepAlive, as TCP has it, and else never.
func (b *Bus) Cut(name string) { b.CutOneWay(name, true, true) }

// CutOneWay takes away what a client receives, what it sends, or both.
func (b *Bus) CutOneWay(name string, in, out bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, already := b.cuts[name]; !already {
		b.cuts[name] = cut{time.Now(), in, out, make(chan struct{})}
	}
}

// Heal ends a cut.
func (b *Bus) Heal(name string) {
	b.mu.Lock()
	was, cut := b.cuts[name]
	delete(b.cuts, name)
	var conns []*Conn
	for c := range b.conns {
		if c.Name == name {
			conns = append(conns, c)
		}
	}
	b.mu.Unlock()
	if !cut {
		return
	}
	defer close(was.healed)
	for _, c := range conns {
		c.mu.Lock()
		out, in := c.lateOut, c.lateIn
		c.lateOut, c.lateIn = nil, nil
		c.mu.Unlock()
		if time.Since(was.since) > KeepAlive {
			c.Break()
			c.Connect()
			continue
		}
		for _, m := range in {
			c.queue <- m
		}
		for _, m := range out {
			b.publish(c, m.topic, m.retain, m.payload)
		}
	}
}

// expire breaks the connections whose cut has outlasted KeepAlive, as the broker
// does; the caller holds the lock.
func (b *Bus) expire() (broken []*Conn) {
	for c := range b.conns {
		if was, cut := b.cuts[c.Name]; cut && time.Since(was.since) > KeepAlive && !c.willSent {
			c.willSent = true
			broken = append(broken, c)
		}
	}
	return broken
}

// Client returns a client that is not connected yet.
func (b *Bus) Client(name string) *Conn {
	return &Conn{Name: name, bus: b, subs: map[string]func(string, []byte){}, queue: make(chan delivery, 4096)}
}

// OnConnect sets what is called at each connect.
func (c *Conn) OnConnect(f func(session uint64)) { c.onConnect = f }

// Will sets the message that is published, retained, when the connection breaks.
func (c *Conn) Will(topic string, payload []byte) { c.willTopic, c.will = topic, payload }

// WillOf sets what is asked for that message before each session.
func (c *Conn) WillOf(will func(session uint64) (topic string, payload []byte)) { c.willOf = will }

// lastWill is that message of the last session.
func (c *Conn) lastWill() (topic string, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.willTopic, c.will
}

// Run connects, and delivers messages in order until ctx ends; then it says
// goodbye without its will.
func (c *Conn) Run(ctx context.Context) error {
	c.Connect()
	defer c.disconnect()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
	}()
	for {
		select {
		case d := <-c.queue:
			if c.by != nil {
				c.by.wait()
			}
			d.handle(d.topic, d.payload)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reconnectAfter is how long a client that was thrown out stays away.
const reconnectAfter = time.Second

// Connect begins a session: subscriptions are made, retained messages delivered.
// It throws out who is connected by the same name, as brokers do; he comes back.
func (c *Conn) Connect() {
	if c.admit != nil && !c.admit() {
		time.AfterFunc(reconnectAfter, c.Resume)
		return
	}
	c.bus.mu.Lock()
	for other := range c.bus.conns {
		if other != c && other.Name == c.Name {
			delete(c.bus.conns, other)
			other.thrownOut()
		}
	}
	c.bus.conns[c] = true
	c.bus.mu.Unlock()
	c.mu.Lock()
	c.up, c.willSent, c.lateIn, c.lateOut = true, false, nil, nil
	c.session++
	session := c.session
	if c.willOf != nil {
		c.willTopic, c.will = c.willOf(session)
	}
	subs := make(map[string]func(string, []byte), len(c.subs))
	for f, h := range c.subs {
		subs[f] = h
	}
	c.mu.Unlock()
	for filter, handle := range subs {
		c.deliverRetained(session, filter, handle)
	}
	if c.onConnect != nil {
		c.onConnect(session)
	}
}

func (c *Conn) thrownOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = false
	time.AfterFunc(reconnectAfter, c.Resume)
}

// Resume connects a client that runs and is not connected.
func (c *Conn) Resume() {
	c.mu.Lock()
	back := !c.ended && !c.up
	c.mu.Unlock()
	if back {
		c.Connect()
	}
}

// Break cuts the connection; the broker publishes the will.
func (c *Conn) Break() {
	c.disconnect()
	if topic, will := c.lastWill(); topic != "" {
		c.bus.publish(nil, topic, true, will)
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
func (c *Conn) Publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error {
	if c.by == nil {
		return c.publish(ctx, topic, qos, retain, payload)
	}
	return c.by.do("publish "+path.Base(topic), func() error { return c.publish(ctx, topic, qos, retain, payload) })
}

func (c *Conn) publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error {
	c.mu.Lock()
	up := c.up
	c.mu.Unlock()
	c.bus.mu.Lock()
	cut := c.bus.cuts[c.Name]
	if cut.out {
		c.bus.held[c.Name]++
	}
	c.bus.mu.Unlock()
	switch {
	case !up:
		return errors.New("not connected")
	case cut.out:
		c.mu.Lock()
		c.lateOut = append(c.lateOut, late{topic, retain, payload})
		c.mu.Unlock()
	default:
		c.bus.publish(c, topic, retain, payload)
	}
	if qos == 0 || !cut.in && !cut.out {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, KeepAlive-time.Since(cut.since))
	defer cancel()
	select {
	case <-cut.healed:
		return nil
	case <-within.Done():
		return errors.New("not acknowledged")
	}
}

// Subscribe implements the Conn of agent and control.
func (c *Conn) Subscribe(filter string, handle func(string, []byte)) {
	c.mu.Lock()
	c.subs[filter] = handle
	up, session := c.up, c.session
	c.mu.Unlock()
	if up {
		c.deliverRetained(session, filter, handle)
	}
}

func (c *Conn) deliverRetained(session uint64, filter string, handle func(string, []byte)) {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(c.bus.retained)) {
		if Match(filter, topic) {
			c.bus.send(nil, c, session, delivery{handle, topic, c.bus.retained[topic]})
		}
	}
}

// send puts a message on its way to a client.
func (b *Bus) send(from, to *Conn, session uint64, d delivery) {
	if b.Route == nil {
		to.queue <- d
		return
	}
	for _, delay := range b.Route(from, to, d.topic) {
		time.AfterFunc(delay, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			to.mu.Lock()
			defer to.mu.Unlock()
			switch {
			case !to.up || to.session != session:
			case b.cuts[to.Name].in:
				to.lateIn = append(to.lateIn, d)
			default:
				to.queue <- d
			}
		})
	}
}

func (b *Bus) publish(from *Conn, topic string, retain bool, payload []byte) {
	b.mu.Lock()
	broken := b.expire()
	b.mu.Unlock()
	for _, c := range broken {
		if topic, will := c.lastWill(); topic != "" {
			b.deliver(nil, topic, true, will)
		}
	}
	b.deliver(from, topic, retain, payload)
}

func (b *Bus) deliver(from *Conn, topic string, retain bool, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if retain {
		if b.Retain != nil {
			b.Retain(topic, payload)
		}
		if len(payload) == 0 {
			delete(b.retained, topic)
		} else {
			b.retained[topic] = payload
		}
	}
	for _, c := range slices.SortedFunc(maps.Keys(b.conns), func(x, y *Conn) int { return strings.Compare(x.Name, y.Name) }) {
		c.mu.Lock()
		for filter, handle := range c.subs {
			switch {
			case !Match(filter, topic):
			case b.cuts[c.Name].in:
				b.held[c.Name]++
				c.lateIn = append(c.lateIn, delivery{handle, topic, payload})
			default:
				b.send(from, c, c.session, delivery{handle, topic, payload})
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

// Everything is all retained messages, one behind the other.
func (b *Bus) Everything() (all []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for topic, payload := range b.retained {
		all = append(append(all, topic...), payload...)
	}
	return all
}

// RetainedCount is how many messages are retained.
func (b *Bus) RetainedCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.retained)
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
