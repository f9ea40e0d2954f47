// Package broker serves MQTT 3.1.1 from inside a program, and keeps its state.
//
// It is a NATS server with a JetStream on disk, so that one embedded engine is both
// the broker and the key-value store, idles at a dozen megabytes, is released
// often, and can become a Raft cluster of several without another line here.
// It is used with care, because its defaults are made for data centres:
//
//   - It takes no lock on its directory, and two servers on one both
//     acknowledge writes of which one loses. Start takes the lock.
//   - It flushes to disk every two minutes. Here each write is synced before it
//     is acknowledged.
//   - It reads its retained messages beside its work, and an early subscriber
//     never gets those that were not read yet. Here nobody is let in before.
//   - It listens for NATS clients, too. Here only the MQTT port is open, and the
//     program's own connection to the store is made inside the process.
//   - MQTT and the store are two accounts of the server. No topic, however it is
//     written, leads from one into the other.
package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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
	// TLS nil is MQTT in the clear. It may not require client certificates.
	TLS *tls.Config
	// MaxNodes is how many nodes to be ready for; 64 if zero. The limits on
	// connections follow from it.
	MaxNodes int
	// Authorize says what a client may do, or that it may not connect at all. It is
	// asked at each connect, from several goroutines; comparing in constant time
	// is its duty. Nil lets nobody in.
	Authorize func(username, password string) (Permissions, bool)
	Log       *slog.Logger // nil: silent
}

// Broker is an MQTT broker and a key-value store in this process.
type Broker struct {
	server *server.Server
	auth   *authenticator
	addr   string
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

// Conn opens a connection to the store, inside the process and with all rights
// on it. It is closed with the broker and does not reconnect: after a new start
// ask the new broker.
func (b *Broker) Conn() (*nats.Conn, error) {
	return nats.Connect("", nats.InProcessServer(b.server),
		nats.UserInfo(storeUser, b.auth.password), nats.NoReconnect())
}

// Addr is the host:port that MQTT is served on, empty if it is not.
func (b *Broker) Addr() string { return b.addr }

// Disconnect ends all MQTT connections of a user at once. Their wills are
// published. To keep the user out, let Authorize refuse it first.
func (b *Broker) Disconnect(username string) {
	found, err := b.server.Connz(&server.ConnzOptions{
		Account: mqttAccount, Username: true, User: username, Limit: b.server.NumClients() + 1,
	})
	if err != nil {
		return // only wrong options are an error
	}
	for _, c := range found.Conns {
		_ = b.server.DisconnectClientByID(c.Cid) // gone already is as good
	}
}

// Close stops the broker, waits for the last write and gives the directory free.
func (b *Broker) Close() error {
	var err error
	b.closed.Do(func() {
		b.server.Shutdown()
		b.server.WaitForShutdown()
		err = b.lock.Close()
	})
	return err
}

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

func start(ctx context.Context, dir string, o Options) (*Broker, error) {
	auth := &authenticator{
		authorize: o.Authorize,
		password:  rand.Text(),
		open:      make(chan struct{}),
		log:       cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
	}
	options, err := serverOptions(dir, o)
	if err != nil {
		return nil, err
	}
	options.CustomClientAuthentication = auth
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	log := &serverLog{log: auth.log}
	s.SetLogger(log, false, false)
	if err := auth.findAccounts(s); err != nil {
		return nil, err
	}

	s.Start()
	b := &Broker{server: s, auth: auth}
	err = waitReady(ctx, s, log)
	if err == nil && o.Listen != "" {
		b.addr = net.JoinHostPort(options.MQTT.Host, strconv.Itoa(options.MQTT.Port))
		err = waitRetained(ctx, b.addr, auth.password, o.TLS != nil)
	}
	if err != nil {
		auth.authorize = nil // for those who wait already
	}
	close(auth.open)
	if err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return b, nil
}

// ErrLocked says that another process uses the directory.
var ErrLocked = errors.New("another process is using it")

// startTimeout bounds each step of the start.
const startTimeout = 30 * time.Second

func waitReady(ctx context.Context, s *server.Server, log *serverLog) error {
	limit := startTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	switch {
	case log.failure() != nil:
		return log.failure()
	case ctx.Err() != nil:
		return ctx.Err()
	case !s.ReadyForConnections(limit):
		return fmt.Errorf("not ready after %v", limit)
	case !s.JetStreamEnabled():
		return errors.New("the store did not start")
	}
	return nil
}
