package mqtt

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto/retry"
)

// Between two attempts to connect.
const (
	minDelay = 200 * time.Millisecond
	maxDelay = 2 * time.Second
)

// ClientOptions says where and how a Client connects.
type ClientOptions struct {
	// Brokers are host:port addresses, all of the same broker. They are tried in
	// this order at each connect; the first that answers is used.
	Brokers            []string
	TLS                *tls.Config // nil: in the clear
	ClientID           string      // a second client with the same id throws this one out; no spaces
	Username, Password string
	Will               *Message
	// WillOf, if set, is asked for the will of each session before it begins; the number is
	// that of OnConnect.
	WillOf func(session uint64) *Message
	// KeepAlive is in whole seconds, 10 s if zero. A broker that is silent for
	// one and a half of it is given up.
	KeepAlive time.Duration
	// OnConnect and OnDisconnect are called in turn, OnConnect when all
	// subscriptions are in place, with 1 for the first session and one more for
	// each further one. The next thing waits until they return, so what they
	// publish needs a deadline. The error is nil if Run's context ended.
	OnConnect    func(session uint64)
	OnDisconnect func(err error)
	// Expendable, if set, says of which topics messages are left out while 4 MiB or more wait
	// for their handler: the next ones there say the same anew.
	Expendable func(topic string) bool
	Log        *slog.Logger // nil: silent; else changes of the connection's state
}

// Client stays connected to a broker for as long as it runs.
type Client struct {
	o       ClientOptions
	log     *slog.Logger
	inbox   *inbox
	current atomic.Pointer[session] // nil while not connected

	mu            sync.Mutex
	subscriptions []subscription
	saidLeftOut   time.Time // when the log last said that messages are left out
}

type subscription struct {
	filter string
	handle func(topic string, payload []byte)
}

// errFlooded ends a session of which more arrives than is handled.
var errFlooded = errors.New("too many messages are waiting for the handler")

// NewClient returns a client that connects as soon as it runs.
func NewClient(o ClientOptions) *Client {
	o.KeepAlive = max(cmp.Or(o.KeepAlive, 10*time.Second), time.Second)
	return &Client{
		o:     o,
		log:   cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		inbox: newInbox(),
	}
}

// Run connects, and connects again whenever the connection is lost, until ctx
// ends. Then it says goodbye, so that no will is published, and returns nil. It
// runs once.
func (c *Client) Run(ctx context.Context) error {
	if len(c.o.Brokers) == 0 {
		return errors.New("mqtt client: no address of a broker")
	}
	var handlers sync.WaitGroup
	handlers.Go(func() { c.inbox.run(ctx) })
	defer handlers.Wait()

	delay := retry.Doubling(minDelay, maxDelay)
	var sessions uint64
	var trouble error
	for ctx.Err() == nil {
		s, err := c.connect(ctx, sessions+1)
		if err == nil {
			sessions++
			trouble = nil
			began := time.Now()
			c.serve(ctx, s, sessions)
			if errors.Is(s.over(), errFlooded) {
				c.inbox.empty(ctx) // or the retained messages of the next session would be too many as well
			}
			// A connection that never lasts, because another client has the same
			// id, is no reason to hurry.
			if time.Since(began) > maxDelay {
				delay.Reset()
			}
		} else if ctx.Err() == nil && kind(err) != kind(trouble) {
			trouble = err
			c.log.Warn("not connected to the broker; trying again", "error", err)
		}
		sleep(ctx, delay.NextBackOff())
	}
	return nil
}

// Connected reports whether there is a connection now.
func (c *Client) Connected() bool { return c.current.Load() != nil }

// Subscribe has handle called for each message on a matching topic, from now on
// and in every session to come. All handlers of a client are called on one
// goroutine, in the order in which messages arrive, and may publish. One so slow
// that 16 MiB are waiting costs the client its session. The next one begins when
// these have been handled, with the retained messages. The filters of a client
// should not overlap: a message is handled once or twice then, depending on the
// broker.
func (c *Client) Subscribe(filter string, handle func(topic string, payload []byte)) {
	sub := subscription{filter, handle}
	c.mu.Lock()
	c.subscriptions = append(c.subscriptions, sub)
	s := c.current.Load()
	c.mu.Unlock()
	if s != nil {
		c.subscribe(context.Background(), s, sub)
	}
}

// Publish sends a message and returns when it is written (QoS 0) or when the
// broker has confirmed it (QoS 1), which says nothing about permissions. It
// fails at once with ErrNotConnected if there is no connection: nothing is
// queued. The payload must not be changed afterwards.
func (c *Client) Publish(ctx context.Context, topic string, qos byte, retain bool, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("publish %s: %w: %d bytes of %d", topic, ErrTooLarge, len(payload), MaxPayload)
	}
	err := ErrNotConnected
	if s := c.current.Load(); s != nil {
		err = s.publish(ctx, topic, qos, retain, payload)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}

// connect tries the brokers in turn.
func (c *Client) connect(ctx context.Context, number uint64) (*session, error) {
	o := c.o
	if o.WillOf != nil {
		o.Will = o.WillOf(number)
	}
	var errs []error
	for _, addr := range c.o.Brokers {
		s, err := newSession(ctx, addr, o)
		if err == nil {
			c.log.Info("connected to the broker", "broker", addr)
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// serve lives through one session.
func (c *Client) serve(ctx context.Context, s *session, number uint64) {
	defer s.close()
	c.mu.Lock()
	subscriptions := c.subscriptions
	c.current.Store(s)
	c.mu.Unlock()
	defer c.current.Store(nil)

	for _, sub := range subscriptions {
		c.subscribe(ctx, s, sub)
	}
	if s.over() != nil {
		c.log.Warn("lost the broker", "error", s.over())
		return
	}
	if c.o.OnConnect != nil {
		c.o.OnConnect(number)
	}
	select {
	case <-ctx.Done():
	case <-s.ended:
		c.log.Warn("lost the broker", "error", s.over())
	}
	c.current.Store(nil)
	if c.o.OnDisconnect != nil {
		c.o.OnDisconnect(s.over())
	}
}

// subscribe ends the session if the broker does not answer: a client that hears
// nothing must not look connected.
func (c *Client) subscribe(ctx context.Context, s *session, sub subscription) {
	err := s.subscribe(ctx, sub.filter, func(topic string, payload []byte) {
		switch d := (delivery{sub.handle, topic, payload}); {
		case c.o.Expendable != nil && c.o.Expendable(topic):
			if !c.inbox.put(d, maxExpendable) {
				c.leaveOut()
			}
		case !c.inbox.put(d, maxInbox):
			s.end(errFlooded)
		}
	})
	switch {
	case errors.Is(err, ErrRefused):
		c.log.Error("the broker refuses a subscription", "filter", sub.filter)
	case err != nil:
		s.end(fmt.Errorf("subscribe %s: %w", sub.filter, err))
	}
}

// leaveOut says at most once a minute that messages were left out.
func (c *Client) leaveOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.saidLeftOut) >= time.Minute {
		c.saidLeftOut = now
		c.log.Warn("messages are left out: more arrive than are handled")
	}
}

// kind is what must change in an error to be worth another line in the log.
func kind(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrNotMQTT):
		return "not mqtt"
	}
	return "unreachable"
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
