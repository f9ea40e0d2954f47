package broker

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// serverLog passes the server's log on: warnings and errors, which are about
// clients as a rule (wrong passwords, forbidden topics). Notices are about the
// server itself, so they are for debugging only. A line that repeats the one
// before is left out.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	last  string
	fatal error
}

// Noticef is part of server.Logger, as are the five below.
func (l *serverLog) Noticef(format string, args ...any) {
	l.log.Debug("broker", "message", redact(fmt.Sprintf(format, args...)))
}

func (l *serverLog) Warnf(format string, args ...any) {
	line := redact(fmt.Sprintf(format, args...))
	l.mu.Lock()
	repeated := line == l.last
	l.last = line
	l.mu.Unlock()
	if !repeated {
		l.log.Warn("broker", "message", line)
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

// redact takes the client's id out of a line. Whoever knows the id of a client
// can throw it out by connecting with it, so ids may be secrets. A line about a
// client begins with its address, its number and its id in quotes; further on
// the id is quoted once or twice.
func redact(line string) string {
	_, rest, ok := strings.Cut(line, " - mid:")
	if !ok {
		return line
	}
	_, rest, ok = strings.Cut(rest, " - ")
	if !ok {
		return line
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return line // before the client has said its id
	}
	line = strings.ReplaceAll(line, quoted, "(id)")
	twice := strconv.Quote(quoted)
	return strings.ReplaceAll(line, twice[1:len(twice)-1], "(id)")
}
