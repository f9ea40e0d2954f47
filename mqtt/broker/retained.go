package broker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"github.com/otto-edge/otto/mqtt"
)

// The user that waitRetained connects as, and the root of its topics, which
// cannot be granted to anybody else.
const (
	starterUser  = "starter"
	starterTopic = "$start"
)

// waitRetained returns when the server knows all its retained messages. It reads
// them when the first client has come, and lets clients subscribe meanwhile: who
// is early misses those not read yet, and never gets them. They are read in the
// order of their publishing, so when one published now is known, all are.
func waitRetained(ctx context.Context, addr, password string, secure bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	o := mqtt.ClientOptions{
		Brokers: []string{addr}, ClientID: "starter-" + rand.Text(), Username: starterUser, Password: password, KeepAlive: time.Minute,
	}
	if secure {
		// The broker talks to itself, and its certificate need not name the
		// address that it listens on.
		o.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	connected := make(chan struct{}, 1)
	o.OnConnect = func(uint64) { connected <- struct{}{} }
	client := mqtt.NewClient(o)
	var running sync.WaitGroup
	running.Go(func() { _ = client.Run(ctx) })
	defer running.Wait()
	defer cancel()
	select {
	case <-connected:
	case <-ctx.Done():
		return errors.New("it lets nobody in")
	}

	topic := starterTopic + "/" + rand.Text()
	if err := client.Publish(ctx, topic, 1, true, []byte("known")); err != nil {
		return err
	}
	known := make(chan struct{}, 1)
	for {
		// Each subscription, also a repeated one, is answered with what is retained.
		client.Subscribe(topic, func(string, []byte) {
			select {
			case known <- struct{}{}:
			default:
			}
		})
		select {
		case <-known:
			return client.Publish(ctx, topic, 1, true, nil) // an empty one is none
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("the retained messages could not be read in time")
		}
	}
}
