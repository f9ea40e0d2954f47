package service

import (
	"context"
	"net"
	"sync"
	"time"
)

const reachWithin = 3 * time.Second

// Reachable returns those of addrs, host:port each, that accept a TCP connection
// from this machine, in the order given. It takes 3 s at most.
func Reachable(ctx context.Context, addrs []string) []string {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	ok := make([]bool, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return
			}
			conn.Close()
			ok[i] = true
		})
	}
	wg.Wait()
	var reachable []string
	for i, addr := range addrs {
		if ok[i] {
			reachable = append(reachable, addr)
		}
	}
	return reachable
}
