package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/otto-edge/otto"
)

// maxBody bounds a request, in bytes. A file of otto.yaml is at most 1 MiB.
const maxBody = 8 << 20

// Server answers on a socket.
type Server struct {
	plane  Plane
	nodes  Nodes
	exit   func()
	dir    string
	http   *http.Server
	views  views
	follow *follow
	// Past, if set, answers what was kept, without events.
	Past func(otto.HistoryQuery) (otto.History, error)
	// Tokens, if set, are who may ask from other machines, and Authorities the cluster's
	// in PEM, by which they know that it is this cluster.
	Tokens      *Tokens
	Authorities func() string
}

// NewServer returns a server for plane, whose state is in dir, and its nodes; exit is
// called when a client asks the control plane to end.
func NewServer(plane Plane, nodes Nodes, dir string, exit func()) *Server {
	s := &Server{plane: plane, nodes: nodes, dir: dir, exit: exit, follow: newFollow()}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, r.handle)
	}
	s.http = &http.Server{Handler: identified(mux), ReadHeaderTimeout: 10 * time.Second}
	return s
}

// Listen opens the socket for its owner alone. A socket that nobody answers on
// is left from a process that was killed, and is replaced.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := safeDir(path, os.Geteuid()); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// safeDir fails if another user may have put a socket at path: its directory is known to
// anybody, and may be in /tmp.
func safeDir(path string, owners ...int) error {
	dir := filepath.Dir(path)
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 || ok && !slices.Contains(owners, int(stat.Uid)) {
		return fmt.Errorf("others may write to %s, so the control plane's socket cannot be there: remove it", dir)
	}
	return nil
}

// Run answers on l until ctx ends, and then finishes what is under way.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	return serveUntil(ctx, s.http, l)
}

func (s *Server) move(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	d, err := s.plane.Move(r.Context(), r.PathValue("id"), q.Get("to"), q.Has("advised"))
	if answerError(w, err) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d)
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	var wanted wantedBody
	base, err := strconv.ParseUint(r.URL.Query().Get("base"), 10, 64)
	if err == nil {
		err = json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&wanted)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	var changes []otto.Change
	dry := r.URL.Query().Has("dry")
	if roleOf(r.Context()) != Owner {
		if err = foreignData(wanted.Wanted); err == nil {
			changes, err = s.plane.Apply(r.Context(), wanted.whole(), base, true)
		}
		if err == nil {
			err = nodesChanged(changes)
		}
	}
	if err == nil && (changes == nil || !dry) {
		changes, err = s.plane.Apply(r.Context(), wanted.whole(), base, dry)
	}
	if answerError(w, err) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(changes)
}

// identified notes who asks.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(otto.WithBy(r.Context(), r.Header.Get(headerBy))))
	})
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, err := strconv.ParseUint(cmp.Or(query.Get("after"), "0"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: after: %v", err), http.StatusBadRequest)
		return
	}
	left, err := limitOf(query, math.MaxInt)
	if err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", string(formLines))
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	for {
		list, more := s.plane.Events(after)
		for _, e := range list {
			after = e.Seq
			if !isOneOf(query, "kind", e.Kind) || !isOneOf(query, "node", e.Node) || !isOneOf(query, "service", e.Service) {
				continue
			}
			if enc.Encode(e) != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
		if !query.Has("follow") || flush.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) intend(w http.ResponseWriter, r *http.Request) {
	var intent otto.Intent
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&intent); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	answerError(w, s.plane.Intend(r.Context(), r.PathValue("id"), intent))
}

func (s *Server) acceptMachine(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.AcceptMachine(r.Context(), r.PathValue("id")))
}

func (s *Server) rekey(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Rekey(r.Context(), r.PathValue("id")))
}

func (s *Server) rotate(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Rotate(r.Context(), r.URL.Query().Has("compromised")))
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Remove(r.Context(), r.PathValue("id")))
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) {
	content, err := s.plane.Backup(r.Context())
	if answerError(w, err) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(content)
}

func explanation(of func(context.Context, string) (otto.Explanation, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e, err := of(r.Context(), r.PathValue("id"))
		if answerError(w, err) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(e)
	}
}

func (s *Server) lead(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.TakeOver(r.Context()))
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Stop(r.Context()))
}

func (s *Server) uninstall(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Uninstall(r.Context(), r.URL.Query().Has("volumes")))
}

func (s *Server) leave(http.ResponseWriter, *http.Request) { s.exit() }

// answerError reports whether there was an error, which it has answered then.
func answerError(w http.ResponseWriter, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, otto.ErrConflict):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	}
	return true
}

func (s *Server) plan(w http.ResponseWriter, r *http.Request) {
	var wanted wantedBody
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&wanted); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	p, err := s.plane.Plan(r.Context(), wanted.whole())
	if answerError(w, err) {
		return
	}
	if roleOf(r.Context()) != Owner {
		for _, why := range []error{foreignData(wanted.Wanted), nodesChanged(p.Changes)} {
			if why != nil {
				p.Refused = append(p.Refused, why.Error())
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(p)
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Restart(r.Context(), r.PathValue("id")))
}

func (s *Server) refresh(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.Refresh(r.Context(), r.PathValue("id")))
}

func (s *Server) acceptData(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.AcceptData(r.Context(), r.PathValue("id")))
}

func (s *Server) adopt(w http.ResponseWriter, r *http.Request) {
	var of otto.Adoption
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&of); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	answerError(w, s.plane.Adopt(r.Context(), of))
}

func (s *Server) release(w http.ResponseWriter, r *http.Request) {
	var ask otto.ReleaseRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&ask); err != nil {
		http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
		return
	}
	answerError(w, s.plane.Release(r.Context(), ask))
}

func (s *Server) adoptVolume(w http.ResponseWriter, r *http.Request) {
	answerError(w, s.plane.AdoptVolume(r.Context(), r.PathValue("id"), r.PathValue("volume")))
}
