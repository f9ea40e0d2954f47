package knock_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/knock"
)

func TestHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if reply, err := knock.Host(ctx, l.Addr().String()); reply != otto.ReplyKernel || err == nil {
		t.Errorf("nobody has taken the connection: %q, %v", reply, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for what, answer := range map[string]func(net.Conn){
		"it speaks":   func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-x\r\n")) },
		"it hangs up": func(c net.Conn) { _ = c.Close() },
	} {
		if reply, err := knock.Host(ctx, serve(t, answer)); reply != otto.ReplyProgram || err != nil {
			t.Errorf("%s: %q, %v", what, reply, err)
		}
	}
	address := l.Addr().String()
	l.Close()
	if reply, err := knock.Host(ctx, address); reply != otto.ReplyKernel || !knock.Refused(err) {
		t.Errorf("a closed port of a host that is there: %q, %v", reply, err)
	}
}

func TestSilentHost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if reply, err := knock.Host(ctx, "127.0.0.1:1"); reply != otto.ReplyNone || err == nil {
		t.Error("nobody was asked, and yet the host is alive")
	}
	if _, err := knock.Host(t.Context(), "no port"); err == nil || !strings.Contains(err.Error(), "port") {
		t.Errorf("an address that is none: %v", err)
	}
}

// serve answers connections in some way for the length of a test.
func serve(t *testing.T, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
		}
	}()
	return l.Addr().String()
}
