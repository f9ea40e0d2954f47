package knock_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto/knock"
)

func TestHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := knock.Host(ctx, l.Addr().String()); err != nil {
		t.Errorf("an open port: %v", err)
	}
	address := l.Addr().String()
	l.Close()
	if err := knock.Host(ctx, address); err != nil {
		t.Errorf("a closed port of a host that is there: %v", err)
	}
}

func TestSilentHost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := knock.Host(ctx, "127.0.0.1:1"); err == nil {
		t.Error("nobody was asked, and yet the host is alive")
	}
	if err := knock.Host(t.Context(), "no port"); err == nil || !strings.Contains(err.Error(), "port") {
		t.Errorf("an address that is none: %v", err)
	}
}
