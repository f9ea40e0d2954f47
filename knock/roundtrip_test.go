package knock

import (
	"net"
	"testing"
	"time"
)

// TestRoundTrip measures to this machine, which answers at once at any port.
func TestRoundTrip(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
			asked <- struct{}{}
		}
	}()
	defer l.Close()
	took, err := RoundTrip(t.Context(), l.Addr().String())
	if err != nil || took <= 0 || took > time.Second {
		t.Errorf("%s, %v", took, err)
	}
	select {
	case <-asked:
		t.Error("who listens was disturbed, though the host answers by itself")
	default:
	}
	if took, err := roundTrip(t.Context(), l.Addr().String()); err != nil || took <= 0 || took > time.Second {
		t.Errorf("where somebody listens: %s, %v", took, err)
	}
	for _, address := range []string{"", "nowhere", "nowhere.invalid:22"} {
		if took, err := RoundTrip(t.Context(), address); err == nil {
			t.Errorf("%q: %s", address, took)
		}
	}
}
