package lab

import (
	"context"
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
}

// Run asks until ctx ends.
func (c *Client) Run(ctx context.Context) {
	h := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		c.Asked.Add(1)
		answered := false
		for i := range c.Addresses {
			at := (last + i) % len(c.Addresses)
			if !answers(ctx, h, c.Addresses[at]) {
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
		}
	}
}

func answers(ctx context.Context, h *http.Client, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return false
	}
	resp, err := h.Do(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return err == nil && resp.StatusCode == http.StatusOK
}
