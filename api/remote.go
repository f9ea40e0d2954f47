package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/otto-edge/otto"
)

// Bounds of what other machines may ask for.
const (
	maxConns        = 256              // at a time
	maxConnsFrom    = 32               // of one address, or one /64 of IPv6
	maxBusy         = 32               // requests of one token at a time
	maxHeader       = 16 << 10         // bytes
	maxPart         = 30 * time.Second // for a question to be told, unless it may last, and for a part of an answer to be taken
	maxBetween      = 2 * time.Minute  // of a connection between two requests
	complaintWindow = time.Hour
)

// RemoteOptions are how the API is served to other machines.
type RemoteOptions struct {
	TLS *tls.Config
	// Names are the host names, beside all addresses, under which this machine is asked.
	Names []string
	Log   *slog.Logger
}

// Remote serves the API of a Server to other machines: with TLS, to who has one of its
// Tokens, as far as the token's role goes. What browsers send for a page of another origin
// is refused, and so is what was meant for another name.
type Remote struct {
	server  *Server
	options RemoteOptions
	part    time.Duration // maxPart, but for tests
	http    *http.Server
	mu      sync.Mutex
	refused map[string]*otto.Refused // by what
}

// NewRemote returns the API of s for other machines.
func NewRemote(s *Server, o RemoteOptions) *Remote {
	r := &Remote{server: s, options: o, part: maxPart, refused: map[string]*otto.Refused{}}
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.pattern, r.guarded(route))
	}
	r.http = &http.Server{
		Handler:           r.known(mux),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       maxBetween,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // strangers write it
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return r
}

// Run answers on l until ctx ends.
func (r *Remote) Run(ctx context.Context, l net.Listener) error {
	c := r.options.TLS.Clone()
	c.NextProtos = []string{"http/1.1"} // what is upgraded to a command's frames is not there in 2
	c.MinVersion = tls.VersionTLS13
	return serveUntil(ctx, r.http, tls.NewListener(&bounded{Listener: l, from: map[netip.Prefix]int{}, full: r.refuse}, c))
}

// Complaints is what was refused lately, what was most often first.
func (r *Remote) Complaints() []otto.Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []otto.Refused
	for _, c := range r.refused {
		if time.Since(c.Last) < complaintWindow {
			list = append(list, *c)
		}
	}
	slices.SortFunc(list, func(a, b otto.Refused) int {
		return cmp.Or(cmp.Compare(b.Recent, a.Recent), cmp.Compare(a.What, b.What))
	})
	return list
}

func (r *Remote) refuse(what string, from string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.refused[what]
	if c == nil {
		c = &otto.Refused{What: what}
		r.refused[what] = c
	}
	if now := time.Now().UTC(); now.Sub(c.Last) > complaintWindow {
		c.Recent = 0
	}
	c.Total++
	c.Recent++
	c.Last, c.From = time.Now().UTC(), from
}

type tokenKey struct{}

// known refuses who has no token, and what a browser could be made to send.
func (r *Remote) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from, _, _ := net.SplitHostPort(req.RemoteAddr)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // that of the request before
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if req.Header.Get("Origin") != "" || req.Header.Get("Sec-Fetch-Site") != "" {
			r.refuse("requests of web pages to the API", from)
			http.Error(w, "no page may ask this API", http.StatusForbidden)
			return
		}
		if !r.isOurs(req.Host) {
			r.refuse("requests to the API by a name that is not this machine's", from)
			http.Error(w, "this is not the host that was asked for", http.StatusMisdirectedRequest)
			return
		}
		token, ctx, busy, end := r.server.Tokens.begin(req.Context(), bearer(req))
		if end == nil {
			r.refuse("requests to the API without a token that is known", from)
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token is not known: it may have been removed; make one with `otto token create`",
				http.StatusUnauthorized)
			return
		}
		defer end()
		if busy > maxBusy {
			r.refuse("requests to the API beyond what one token may have at a time", from)
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests of this token at a time", http.StatusTooManyRequests)
			return
		}
		ctx = context.WithValue(context.WithValue(ctx, roleKey{}, token.Role), tokenKey{}, token)
		next.ServeHTTP(&patient{w, http.NewResponseController(w), r.part}, req.WithContext(otto.WithBy(ctx, "token "+token.Name)))
	})
}

// guarded is a route for those whose role allows it. What they do is in the log.
func (r *Remote) guarded(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		token, _ := req.Context().Value(tokenKey{}).(Token)
		if !token.Role.may(route.role) {
			text := "token " + token.Name + " is for " + string(token.Role) + ", and this needs " + string(route.role)
			if route.role == Owner {
				text = "this is done on the machine of the control plane alone"
			}
			http.Error(w, text, http.StatusForbidden)
			return
		}
		if route.role != Look {
			r.options.Log.Info("asked over the API", "by", token.Name, "what", req.Method+" "+req.URL.Path, "from", req.RemoteAddr)
		}
		if !route.lasts {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(r.part))
			req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		}
		route.handle(w, req)
	})
}

// isOurs reports whether a Host header names this machine. A name that somebody else's
// server of names has made to mean this machine does not.
func (r *Remote) isOurs(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.Contains(r.options.Names, host)
}

// patient gives a reader so long for each part of an answer, and not for all of it.
type patient struct {
	http.ResponseWriter
	controller *http.ResponseController
	part       time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.controller.SetWriteDeadline(time.Now().Add(p.part))
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// bounded takes so many connections at a time, in all and from one address.
type bounded struct {
	net.Listener
	full func(what, from string)
	mu   sync.Mutex
	all  int
	from map[netip.Prefix]int
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(conn.RemoteAddr())
		if b.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		b.full("connections to the API beyond what it takes at a time", from.Addr().String())
		_ = conn.Close()
	}
}

func (b *bounded) enter(from netip.Prefix) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxConns || b.from[from] >= maxConnsFrom {
		return false
	}
	b.all++
	b.from[from]++
	return true
}

func (b *bounded) leave(from netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[from]--; b.from[from] == 0 {
		delete(b.from, from)
	}
}

// network is what counts as one address: of IPv6 a /64, of which a home has at least one.
func network(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// serveUntil answers on l until ctx ends, and then finishes what is under way.
func serveUntil(ctx context.Context, h *http.Server, l net.Listener) error {
	h.BaseContext = func(net.Listener) context.Context { return ctx }
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(finished)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if h.Shutdown(ctx) != nil {
			_ = h.Close()
		}
	})
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	<-finished // Serve returns when the shutdown begins
	return nil
}
