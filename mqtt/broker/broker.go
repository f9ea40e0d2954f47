// Package broker serves MQTT 3.1, 3.1.1 and 5 from inside a program, and keeps its state.
//
// There is one port, and a gate at it. The gate reads the first packet of each
// connection, bounds it, asks who it is, and gives it a place of its class: strangers,
// people, nodes and the control plane have places and limits of their own, so that
// nobody can keep another class out. Behind it is comqtt, which holds what is retained
// in memory alone. Nothing of a client is on disk, and no session survives its
// connection: Otto says everything again on every connect.
//
// The state is kept by a NATS server's JetStream beside it, which listens nowhere. Its
// defaults are made for data centres:
//
//   - It takes no lock on its directory, and two servers on one both
//     acknowledge writes of which one loses. Start takes the lock.
//   - It flushes to disk every two minutes. Here each write is synced before it
//     is acknowledged.
package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"
)

// Options says how to start a Broker.
type Options struct {
	// Dir holds the store and is made if missing. The lock is the file Dir.lock
	// beside it.
	Dir string
	// Listen is host:port for MQTT. Port 0 takes a free one, see Broker.Addr.
	// Empty: no MQTT, only the store.
	Listen string
	// TLS nil is MQTT in the clear. It may ask for client certificates, which are not
	// verified beyond that the client holds the key, and may not require them. With
	// Plain, clients in the clear are served on the same port.
	TLS   *tls.Config
	Plain bool
	// MaxNodes is how many nodes to be ready for; 64 if zero.
	MaxNodes int
	// Authorize says what a client may do, or that it may not connect at all. It is
	// asked at each connect, from several goroutines; comparing in constant time
	// is its duty. Nil lets nobody in.
	Authorize func(Login) (Permissions, bool)
	Log       *slog.Logger // nil: silent
}

// Login is how a client presents itself.
type Login struct {
	Username, Password string
	// Key is the public key of its certificate, in PKIX form; nil without one. The
	// client has proven that it holds the private one.
	Key   []byte
	Plain bool // it came in the clear
	From  netip.Addr
}

// Broker is an MQTT broker and a key-value store in this process.
type Broker struct {
	store  *store
	gate   *gate // nil without MQTT
	lock   *os.File
	closed sync.Once
}

// Start starts a broker and returns when it is ready. ctx bounds the start
// only; the broker runs until Close.
func Start(ctx context.Context, o Options) (*Broker, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil || o.Dir == "" {
		return nil, fmt.Errorf("broker: %q is not a directory for its store", o.Dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b, err := start(ctx, dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("broker: %w", err), lock.Close())
	}
	b.lock = lock
	return b, nil
}

func start(ctx context.Context, dir string, o Options) (*Broker, error) {
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	st, err := openStore(ctx, dir, log)
	if err != nil {
		return nil, err
	}
	b := &Broker{store: st}
	if err := b.Serve(ctx, o); err != nil {
		st.close()
		return nil, err
	}
	return b, nil
}

// Serve begins to serve MQTT, if o.Listen is set, for a broker that was started without:
// what Authorize needs to know may be in the store. o.Dir does not count.
func (b *Broker) Serve(ctx context.Context, o Options) (err error) {
	if o.Listen == "" {
		return nil
	}
	o.MaxNodes = cmp.Or(o.MaxNodes, 64)
	b.gate, err = newGate(ctx, o, cmp.Or(o.Log, slog.New(slog.DiscardHandler)))
	return err
}

// Conn opens a connection to the store, inside the process and with all rights
// on it. It is closed with the broker and does not reconnect: after a new start
// ask the new broker.
func (b *Broker) Conn() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(b.store.server),
		nats.UserInfo(storeUser, b.store.password), nats.NoReconnect())
}

// Addr is the host:port that MQTT is served on, empty if it is not.
func (b *Broker) Addr() string {
	if b.gate == nil {
		return ""
	}
	return b.gate.listener.Addr().String()
}

// Disconnect ends all MQTT connections of a user at once, but those of a client with
// this key, if it is not nil. Their wills are published. To keep the user out, let
// Authorize refuse it first.
func (b *Broker) Disconnect(username string, but []byte) {
	if b.gate != nil {
		b.gate.disconnect(username, but)
	}
}

// Complaints are what clients did that they may not, what was most often lately first.
func (b *Broker) Complaints() []Complaint {
	if b.gate == nil {
		return nil
	}
	return b.gate.list()
}

// Close stops the broker, waits for the last write and gives the directory free.
func (b *Broker) Close() error {
	var err error
	b.closed.Do(func() {
		if b.gate != nil {
			err = b.gate.close()
		}
		b.store.close()
		err = errors.Join(err, b.lock.Close())
	})
	return err
}

// ErrLocked says that another process uses the directory.
var ErrLocked = errors.New("another process is using it")

// lockDir makes dir and takes the lock beside it, which ends with the process
// whatever happens to it. The file stays: removing it would free the lock for
// two at once.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("%s: %w", dir, ErrLocked)
	case err != nil:
		err = fmt.Errorf("lock %s: %w", f.Name(), err)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}
