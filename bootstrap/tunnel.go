package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/otto-edge/otto"
	"github.com/otto-edge/otto/retry"
)

const (
	firstTunnelPort = 20000
	tunnelPorts     = 40000
	portTries       = 10
	slowestRetry    = 30 * time.Second
)

// tunnel carries MQTT from a node that cannot reach the broker: a port on the
// node's loopback leads through an SSH connection to the broker as this machine
// reaches it.
type tunnel struct {
	fleet   *Fleet
	node    otto.Node
	brokers []string
	addr    string                 // on the node
	conn    atomic.Pointer[remote] // while it stands
	cancel  context.CancelFunc
	done    chan struct{}
}

// localBrokers are the ways to the broker from this machine.
func localBrokers(port int, configured []string) []string {
	if port == 0 {
		return configured
	}
	return append([]string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, configured...)
}

// tunnelPort is the same for a node each time, so that its agent.json stays valid.
func tunnelPort(cluster, node string) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, cluster+"/"+node)
	return firstTunnelPort + int(h.Sum32()%tunnelPorts)
}

// tunnel returns the address on the node of a tunnel that is kept up until Close.
func (f *Fleet) tunnel(ctx context.Context, node otto.Node, cluster string, brokers []string) (addr string, err error) {
	f.mu.Lock()
	t := f.tunnels[node.ID]
	f.mu.Unlock()
	if t != nil {
		return t.addr, nil
	}
	conn, err := f.connectSSH(ctx, node)
	if err != nil {
		return "", err
	}
	port := tunnelPort(cluster, node.ID)
	var l net.Listener
	for try := range portTries {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(firstTunnelPort+(port-firstTunnelPort+try)%tunnelPorts))
		if l, err = conn.Listen("tcp", addr); err == nil {
			break
		}
	}
	if err != nil {
		conn.Close()
		return "", fmt.Errorf("its SSH server forwards no port (AllowTcpForwarding): %w", err)
	}
	t = &tunnel{fleet: f, node: node, brokers: brokers, addr: addr, done: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		conn.Close()
		return "", f.ctx.Err()
	}
	tunnelCtx, cancel := context.WithCancel(f.ctx)
	t.cancel = cancel
	f.tunnels[node.ID] = t
	go t.keep(tunnelCtx, conn, l)
	return addr, nil
}

func (f *Fleet) closeTunnel(node string) {
	f.mu.Lock()
	t := f.tunnels[node]
	delete(f.tunnels, node)
	f.mu.Unlock()
	if t != nil {
		t.close()
	}
}

func (t *tunnel) close() {
	t.cancel()
	<-t.done
}

// keep serves the tunnel and opens it again whenever it breaks.
func (t *tunnel) keep(ctx context.Context, conn *remote, l net.Listener) {
	defer close(t.done)
	log := t.fleet.log.With("node", t.node.ID)
	delay := retry.Doubling(time.Second, slowestRetry)
	for {
		if conn != nil {
			t.conn.Store(conn)
			t.serve(ctx, conn, l)
			t.conn.Store(nil)
			delay.Reset()
			log.Info("tunnel ended")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay.NextBackOff()):
		}
		var err error
		if conn, l, err = t.open(ctx); err != nil {
			log.Debug("no tunnel", "error", err)
			continue
		}
		log.Info("tunnel is up again")
	}
}

func (t *tunnel) open(ctx context.Context) (*remote, net.Listener, error) {
	conn, err := t.fleet.connectSSH(ctx, t.node)
	if err != nil {
		return nil, nil, err
	}
	l, err := conn.Listen("tcp", t.addr)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, l, nil
}

// serve forwards connections until the SSH connection ends.
func (t *tunnel) serve(ctx context.Context, conn *remote, l net.Listener) {
	var forwards sync.WaitGroup
	defer forwards.Wait()
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Client.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		forwards.Go(func() { t.forward(ctx, c) })
	}
}

func (t *tunnel) forward(ctx context.Context, from net.Conn) {
	defer from.Close()
	to, err := dialFirst(ctx, t.brokers)
	if err != nil {
		t.fleet.log.Warn("tunnel leads nowhere", "node", t.node.ID, "error", err)
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { relay(to, from) })
	both.Go(func() { relay(from, to) })
	both.Wait()
}

// relay copies until either side ends, and ends both then.
func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}

func dialFirst(ctx context.Context, addrs []string) (net.Conn, error) {
	errs := []error{errors.New("no broker answers")}
	for _, addr := range addrs {
		d := net.Dialer{Timeout: 3 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
