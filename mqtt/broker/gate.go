package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	comqtt "github.com/wind-c/comqtt/v2/mqtt"
)

const (
	// firstByte and wholeLogin bound how long a connection may take before it is a
	// client. A TLS handshake takes seconds on an ARMv6.
	firstByte  = 5 * time.Second
	wholeLogin = 10 * time.Second
	// afterFailure is how long a wrong password waits for its answer.
	afterFailure = 250 * time.Millisecond
	// replaceWithin is how long the former connection of a client may take to end.
	replaceWithin = 5 * time.Second
)

// gate is the one door to the broker. It tells TLS from plain MQTT by the first byte,
// reads and bounds CONNECT, asks who may come in, keeps the places, and hands over
// what is left.
type gate struct {
	listener  net.Listener
	tls       *tls.Config // nil: only in the clear
	plain     bool        // in the clear, too
	authorize func(Login) (Permissions, bool)
	nodes     int
	log       *slog.Logger
	complaints

	handshakes handshakes
	closing    chan struct{}

	engine  atomic.Pointer[comqtt.Server]
	serving sync.WaitGroup
	numbers atomic.Uint64

	mu       sync.Mutex
	closed   bool
	waiting  *places[net.Conn]
	stranger *places[*guest]
	users    map[string]*places[*guest]
	ids      map[string]*guest // by user and client id
}

func newGate(ctx context.Context, o Options, log *slog.Logger) (*gate, error) {
	if o.TLS != nil &&
		(o.TLS.ClientAuth == tls.RequireAnyClientCert || o.TLS.ClientAuth == tls.RequireAndVerifyClientCert) {
		return nil, errors.New("client certificates cannot be required")
	}
	if err := checkListen(o.Listen); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	g := &gate{
		listener:   listener,
		tls:        o.TLS,
		plain:      o.TLS == nil || o.Plain,
		authorize:  o.Authorize,
		nodes:      o.MaxNodes,
		log:        log,
		complaints: complaints{log: log},
		closing:    make(chan struct{}),
		waiting:    newPlaces[net.Conn](256 + o.MaxNodes),
		stranger:   newPlaces[*guest](Stranger.limits().connections),
		users:      map[string]*places[*guest]{},
		ids:        map[string]*guest{},
	}
	if err := g.renew(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	g.serving.Go(g.accept)
	return g, nil
}

func checkListen(listen string) error {
	_, p, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", listen, err)
	}
	if _, err := strconv.ParseUint(p, 10, 16); err != nil {
		return fmt.Errorf("listen on %q: the port is not a number below 65536", listen)
	}
	return nil
}

// renew begins with an empty engine.
func (g *gate) renew() error {
	engine, err := newEngine(g.nodes, &g.complaints)
	if err == nil {
		g.engine.Store(engine)
	}
	return err
}

func (g *gate) accept() {
	for {
		conn, err := g.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no more files, perhaps
			g.add("a connection cannot be accepted", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		source := sourceOf(conn.RemoteAddr())
		if g.wait(source, conn) {
			g.serving.Go(func() { g.serve(source, conn) })
		} else {
			_ = conn.Close()
		}
	}
}

// wait gives a connection a place among those that have not logged in.
func (g *gate) wait(source netip.Prefix, conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if evicted, full := g.waiting.add(source, conn); full {
		_ = evicted.Close()
		g.add("too many connections that do not log in; the oldest one of who has most is closed", "from", source)
	}
	return true
}

func (g *gate) leave(source netip.Prefix, conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.remove(source, conn)
}

// serve is the life of a connection.
func (g *gate) serve(source netip.Prefix, conn net.Conn) {
	defer conn.Close()
	guest, err := g.login(source, conn)
	if err != nil {
		g.leave(source, conn)
		var r *refusal
		if errors.Is(err, errHandshakes) {
			g.add("TLS is asked for too often from one address; it has to wait", "from", source)
			return
		}
		if !errors.Is(err, io.EOF) || errors.As(err, &r) {
			g.add("a client is not let in", "from", source, "error", err)
		}
		return
	}
	defer g.gone(guest)
	err = g.enter(guest)
	if why := guest.why; why != nil && !errors.Is(why, errClosing) && !errors.Is(why, net.ErrClosed) {
		err = why
	}
	switch {
	case errors.Is(err, errReplaced),
		errors.Is(err, errCrowded),
		errors.Is(err, errRemoved),
		errors.Is(err, errSlow),
		errors.Is(err, errGreedy),
		errors.Is(err, errQoS2),
		errors.Is(err, errPacket),
		errors.Is(err, errTooLarge),
		errors.Is(err, errMalformed):
		g.add("a client is cut off: "+rootOf(err).Error(), "user", guest.user, "from", source)
	}
}

// rootOf is the constant part of an error, which can be the name of a kind.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// enter hands a guest over and returns when it has left. A panic in the engine costs
// everybody the connection, and the next one is to a new engine.
func (g *gate) enter(guest *guest) (err error) {
	engine := g.engine.Load()
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("broker: it failed, and begins anew", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if g.engine.CompareAndSwap(engine, nil) {
				err = g.renew()
				g.endAll(errClosing)
			}
		}
	}()
	if engine == nil {
		return errClosing
	}
	return engine.EstablishConnection("gate", guest)
}

// login reads what a connection says first and gives it a place.
func (g *gate) login(source netip.Prefix, conn net.Conn) (*guest, error) {
	now := time.Now()
	if err := conn.SetDeadline(now.Add(firstByte)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 512)
	first, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(now.Add(wholeLogin)); err != nil {
		return nil, err
	}
	transport, said := conn, Login{Plain: true, From: addressOf(conn.RemoteAddr())}
	const tlsHandshake = 0x16
	switch {
	case first[0] == tlsHandshake && g.tls != nil:
		if err := g.await(said.From, source); err != nil {
			return nil, err
		}
		now = time.Now()
		if err := conn.SetDeadline(now.Add(wholeLogin)); err != nil {
			return nil, err
		}
		secure := secureConn{tls.Server(&peeked{conn, r}, g.tls), conn}
		// The connection has a deadline.
		if err := secure.HandshakeContext(context.Background()); err != nil {
			return nil, err
		}
		transport, r = secure, bufio.NewReaderSize(secure, 512)
		said.Plain = false
		if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
			said.Key = certs[0].RawSubjectPublicKeyInfo
		}
	case first[0] == tlsHandshake:
		return nil, errors.New("it speaks TLS, which is not served here")
	case !g.plain:
		return nil, errors.New("it does not speak TLS")
	}

	c, err := readConnect(r)
	if err != nil {
		return nil, g.refuse(transport, c.version, err)
	}
	can, ok := Permissions{}, false
	if g.authorize != nil {
		said.Username, said.Password = c.username, c.password
		can, ok = g.authorize(said)
	}
	if err := can.check(); ok && err != nil {
		g.log.Error("broker: permissions are unusable; the client is refused", "user", c.username, "error", err)
		ok = false
	}
	if !ok {
		time.Sleep(afterFailure)
		return nil, g.refuse(transport, c.version, errLogin())
	}
	if can.Class == Node && len(said.Key) > 0 || can.Class == Control {
		g.handshakes.know(said.From, now)
	}
	guest := g.guest(source, transport, r, c, can)
	guest.key = said.Key
	if err := g.place(guest, conn); err != nil {
		return nil, err
	}
	return guest, conn.SetDeadline(time.Time{})
}

// await waits until there may be one more TLS handshake with an address.
func (g *gate) await(from netip.Addr, source netip.Prefix) error {
	wait, ok := g.handshakes.take(from, source, time.Now())
	switch {
	case !ok:
		return errHandshakes
	case wait == 0:
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.closing:
		return errClosing
	}
}

// refuse tells a client that it is refused.
func (g *gate) refuse(conn net.Conn, version byte, err error) error {
	var r *refusal
	if errors.As(err, &r) {
		_, _ = conn.Write(connack(version, r))
	}
	return err
}

// guest is the connection as the engine sees it: its client id is one that no other
// connection has, so that nobody can throw out another user by his client's id.
func (g *gate) guest(source netip.Prefix, conn net.Conn, r io.Reader, c connect, can Permissions) *guest {
	l := can.Class.limits()
	if c.will != nil && (!can.mayPublish(c.will.topic) || len(c.will.payload) > l.payload || c.will.qos > 1) {
		g.add("a will is dropped: it is for a topic that the client may not publish to", "user", c.username, "from",
			source)
		c.will = nil
	}
	if c.will != nil {
		c.will.retain = c.will.retain && l.retain
	}
	if c.keepAlive == 0 || c.keepAlive > l.keepAlive {
		c.keepAlive = l.keepAlive
	}
	id := "" // for MQTT 5 the engine has to draw one, and say it
	if c.clientID != "" || c.version != version5 {
		id = c.username + "#" + strconv.FormatUint(g.numbers.Add(1), 10)
	}
	guest := newGuest(conn, r, c.encode(id), c.username, can)
	guest.source, guest.id = source, c.clientID
	if guest.id == "" {
		guest.id = rand.Text()
	}
	return guest
}

// place moves a connection from those that wait to those that are in, and waits until
// the former one of the same client has ended.
func (g *gate) place(one *guest, conn net.Conn) error {
	key := one.user + "\x00" + one.id
	g.mu.Lock()
	g.waiting.remove(one.source, conn)
	if g.closed {
		g.mu.Unlock()
		return errClosing
	}
	room := g.roomOf(one)
	evicted, full := room.add(one.source, one)
	former := g.ids[key]
	g.ids[key] = one
	g.mu.Unlock()

	if full && evicted != former {
		evicted.end(errCrowded)
	}
	if former == nil {
		return nil
	}
	former.end(errReplaced)
	t := time.NewTimer(replaceWithin)
	defer t.Stop()
	select {
	case <-former.ended:
		return nil
	case <-one.ending:
	case <-t.C:
	}
	g.gone(one)
	return errReplaced
}

func (g *gate) roomOf(one *guest) *places[*guest] {
	if one.can.Class == Stranger {
		return g.stranger
	}
	room := g.users[one.user]
	if room == nil {
		room = newPlaces[*guest](one.limits.connections)
		g.users[one.user] = room
	}
	return room
}

// gone gives a guest's place free.
func (g *gate) gone(one *guest) {
	one.end(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	room := g.roomOf(one)
	room.remove(one.source, one)
	if room.taken == 0 && one.can.Class != Stranger {
		delete(g.users, one.user)
	}
	if key := one.user + "\x00" + one.id; g.ids[key] == one {
		delete(g.ids, key)
	}
	close(one.ended)
}

// disconnect ends the connections of a user but those with this key, if there is one.
func (g *gate) disconnect(username string, but []byte) {
	for _, one := range g.guests() {
		if one.user == username && (but == nil || !bytes.Equal(one.key, but)) {
			one.end(errRemoved)
		}
	}
}

func (g *gate) endAll(why error) {
	for _, one := range g.guests() {
		one.end(why)
	}
}

func (g *gate) guests() (list []*guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.ids {
		list = append(list, one)
	}
	return list
}

// close ends everything and waits for it.
func (g *gate) close() error {
	err := g.listener.Close()
	g.mu.Lock()
	g.closed = true
	close(g.closing)
	for _, list := range g.waiting.bySource {
		for _, conn := range list {
			_ = conn.Close()
		}
	}
	g.mu.Unlock()
	g.endAll(errClosing)
	g.serving.Wait()
	return err
}

// peeked is a connection of which something has been read.
type peeked struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// secureConn is closed without a farewell, which would wait for a client that does not
// read.
type secureConn struct {
	*tls.Conn
	raw net.Conn
}

// Close implements net.Conn.
func (c secureConn) Close() error { return c.raw.Close() }
