package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Client asks a service 100 times a second, each time over a new connection. It knows
// all its addresses (host:port) and asks the one that answered last, and the others if
// that does not answer: a request has failed if nobody answers it.
type Client struct {
	Addresses              []string
	Asked, Failed, Strayed atomic.Int64 // Strayed: answered by another one than the last
	Why                    atomic.Value // a string: when a request last failed, and how
}

// Run asks until ctx ends.
func (c *Client) Run(ctx context.Context) {
	h := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		c.Asked.Add(1)
		answered, began := false, time.Now()
		var failures error
		for i := range c.Addresses {
			at := (last + i) % len(c.Addresses)
			if err := ask(ctx, h, c.Addresses[at]); err != nil {
				failures = errors.Join(failures, err)
				continue
			}
			if i > 0 {
				c.Strayed.Add(1)
			}
			answered, last = true, at
			break
		}
		if !answered && ctx.Err() == nil {
			c.Failed.Add(1)
			c.Why.Store(fmt.Sprintf("%s, for %s: %v", began.Format(time.StampMilli), time.Since(began).Round(time.Millisecond), failures))
		}
	}
}

// ask returns why the address did not answer.
func ask(ctx context.Context, h *http.Client, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	resp, err := h.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
