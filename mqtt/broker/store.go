package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/otto-edge/otto/mqtt"
)

// The store's account of the server, and its user. Builds up to b0120a9 had a second
// account, with what MQTT retained and its sessions.
const (
	storeAccount  = "store"
	storeUser     = "store"
	formerAccount = "mqtt"
)

const (
	maxStore  = 128 << 20 // bytes on disk
	maxMemory = 16 << 20
)

// store is the key-value store: a NATS server that listens nowhere.
type store struct {
	server   *server.Server
	password string
	account  *server.Account
}

func openStore(ctx context.Context, dir string, log *slog.Logger) (*store, error) {
	// What clients have left there is nobody's state, and was never bounded well.
	if err := os.RemoveAll(filepath.Join(dir, "jetstream", formerAccount)); err != nil {
		return nil, err
	}
	st := &store{password: rand.Text()}
	options, err := serverOptions(dir)
	if err != nil {
		return nil, err
	}
	options.CustomClientAuthentication = st
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	logger := &serverLog{log: log}
	s.SetLogger(logger, false, false)
	if st.account, err = s.LookupAccount(storeAccount); err != nil {
		return nil, err
	}
	st.server = s
	s.Start()
	if err := waitReady(ctx, s, logger); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (st *store) close() {
	st.server.Shutdown()
	st.server.WaitForShutdown()
}

// Check implements server.Authentication. All connections are inside the process.
func (st *store) Check(c server.ClientAuthentication) bool {
	given := c.GetOpts()
	addr := c.RemoteAddress()
	if addr == nil || addr.Network() != "pipe" || given.Username != storeUser ||
		subtle.ConstantTimeCompare([]byte(given.Password), []byte(st.password)) != 1 {
		return false
	}
	c.RegisterUser(&server.User{Username: storeUser, Account: st.account})
	return true
}

// serverOptions are the limits that a store on a small machine needs. Whatever is not
// set here (MQTT, monitoring, profiling, routes, leaf nodes, web sockets) stays off.
func serverOptions(dir string) (*server.Options, error) {
	options := &server.Options{}
	// The limits of accounts can be set in the language of the configuration file only.
	err := options.ProcessConfigString(fmt.Sprintf(
		"accounts { %s { jetstream { max_mem: %d, max_file: %d, max_streams: 16, max_consumers: 64 } } }",
		storeAccount, maxMemory, maxStore))
	if err != nil {
		return nil, err
	}
	options.ServerName = "broker"
	options.DontListen = true
	options.NoSigs = true // else the server ends the process on SIGINT
	options.StoreDir = dir
	options.JetStream = true
	options.JetStreamMaxStore = maxStore
	options.JetStreamMaxMemory = maxMemory
	options.SyncAlways = true // the default loses two minutes in a power cut
	options.DisableJetStreamBanner = true
	options.MaxConn = 16
	options.MaxSubs = 64
	options.MaxPayload = mqtt.MaxPayload + envelope
	options.MaxPending = 4 << 20
	options.WriteDeadline = 5 * time.Second
	options.AuthTimeout = 5
	return options, nil
}

// startTimeout bounds the start.
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

// serverLog passes the server's log on: warnings and errors. Notices are for
// debugging only. A line that repeats the one before is left out.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	last  string
	fatal error
}

// Noticef is part of server.Logger, as are the five below.
func (l *serverLog) Noticef(format string, args ...any) {
	l.log.Debug("store", "message", fmt.Sprintf(format, args...))
}

func (l *serverLog) Warnf(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	l.mu.Lock()
	repeated := line == l.last
	l.last = line
	l.mu.Unlock()
	if !repeated {
		l.log.Warn("store", "message", line)
	}
}

func (l *serverLog) Errorf(format string, args ...any) { l.Warnf(format, args...) }
func (l *serverLog) Debugf(string, ...any)             {}
func (l *serverLog) Tracef(string, ...any)             {}

// Fatalf keeps what made the start fail. The server expects the process to exit
// here; Start returns it as an error instead.
func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, args...)
	}
}

func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
