package bootstrap

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAddressOfTheConnectionBecomesABroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	_, port, _ := net.SplitHostPort(newBroker(t))
	var n int
	fmt.Sscan(port, &n)
	e := enrolment("rpi-01", freeAddr(t))
	if _, err := w.fleet().Ensure(t.Context(), m.node, e, n, bringing(func(string) {}, nil)); err != nil {
		t.Fatal(err)
	}
	want := []string{"127.0.0.1:" + port, e.Brokers[0]}
	if diff := cmp.Diff(want, m.state(t).Enrolment.Brokers); diff != "" {
		t.Error(diff)
	}
}

func TestTunnelCarriesMQTTAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01")
	link := newCable(t, m.addr)
	w.alias(m.node.Host, link.addr)
	w.know(link.addr, m.key)
	broker := newBroker(t)
	if err := os.WriteFile(filepath.Join(m.home, "blocked"), []byte(broker), 0o600); err != nil {
		t.Fatal(err)
	}
	f := w.fleet()
	mustEnsure(t, f, m, broker)
	got := m.state(t)
	if len(got.Enrolment.Brokers) != 2 || got.Enrolment.Brokers[1] != broker {
		t.Fatalf("brokers are %q", got.Enrolment.Brokers)
	}
	way := got.Enrolment.Brokers[0]
	if !echoes(way) {
		t.Fatalf("the tunnel at %s leads nowhere", way)
	}
	link.cut()
	eventually(t, "the tunnel is up again", func() bool { return echoes(way) })
	mustEnsure(t, f, m, broker)
	if diff := cmp.Diff(got, m.state(t)); diff != "" {
		t.Errorf("a second run with the tunnel up (-want +got)\n%s", diff)
	}
	f.Close()
	eventually(t, "the tunnel is down", func() bool { return !echoes(way) })
}

func echoes(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintln(c, "ping")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return line == "ping\n"
}

func TestServerThatForwardsNothingIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.machine("rpi-01", "AllowTcpForwarding no")
	_, err := ensure(t, w.fleet(), m, freeAddr(t), nil)
	wantError(t, err, "rpi-01 cannot reach the broker at 127.0.0.1:", "AllowTcpForwarding", "mqtt.host")
}
