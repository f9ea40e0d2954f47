package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/otto-edge/otto/durable"
)

// Token lets somebody ask from another machine. Of its secret only the hash is kept: there
// are 130 random bits in it, which nobody finds out by trying.
type Token struct {
	Name    string            `json:"name"`
	Role    Role              `json:"role"`
	Created time.Time         `json:"created"`
	Hash    [sha256.Size]byte `json:"hash,omitzero"`
}

// Access is all that a client on another machine needs, but for the address.
type Access struct {
	ClusterID   string `json:"cluster_id"`
	Cluster     string `json:"cluster"`     // its name
	Authorities string `json:"authorities"` // PEM: the cluster's own, by which it proves itself
	Name        string `json:"name"`        // of the token
	Role        Role   `json:"role"`
	Secret      string `json:"secret"`
}

// maxTokens bounds the file of them.
const maxTokens = 200

var tokenName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Tokens are the tokens of a cluster, in a file. They are asked from several goroutines.
type Tokens struct {
	path string
	mu   sync.Mutex
	list []Token
	// ends ends what is under way with a token.
	ends map[string]*use
}

// use is what is under way with a token.
type use struct {
	ctx    context.Context
	cancel context.CancelFunc
	busy   int
}

// OpenTokens reads the tokens of a file; none if there is no such file.
func OpenTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path, ends: map[string]*use{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t.list)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: move it away, and make the tokens anew", path, err)
	}
	return t, nil
}

// Add makes a token and returns its secret, which is not kept.
func (t *Tokens) Add(name string, role Role, now time.Time) (secret string, err error) {
	if !tokenName.MatchString(name) {
		return "", fmt.Errorf("the name %q of a token: use up to 32 of a-z, 0-9 and -", name)
	}
	if role != Look && role != Operate {
		return "", fmt.Errorf("a token is for %s or %s, and not %q", Look, Operate, role)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.list, func(a Token) bool { return a.Name == name }) {
		return "", fmt.Errorf("there is a token %s: run `otto token rm %s` first, or take another name", name, name)
	}
	if len(t.list) >= maxTokens {
		return "", fmt.Errorf("there are %d tokens already: run `otto token rm` for those nobody uses", maxTokens)
	}
	secret = rand.Text()
	list := append(slices.Clone(t.list), Token{name, role, now.UTC().Truncate(time.Second), sha256.Sum256([]byte(secret))})
	return secret, t.keep(list)
}

// Remove ends a token, and what is under way with it.
func (t *Tokens) Remove(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(t.list), func(a Token) bool { return a.Name == name })
	if len(list) == len(t.list) {
		return fmt.Errorf("there is no token %s: look at `otto token ls`", name)
	}
	if err := t.keep(list); err != nil {
		return err
	}
	if u := t.ends[name]; u != nil {
		u.cancel()
		delete(t.ends, name)
	}
	return nil
}

// keep makes these the tokens; the caller holds the lock.
func (t *Tokens) keep(list []Token) error {
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.Replace(t.path, b, 0o600); err != nil {
		return err
	}
	t.list = list
	return nil
}

// List returns the tokens without their hashes.
func (t *Tokens) List() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := slices.Clone(t.list)
	for i := range list {
		list[i].Hash = [sha256.Size]byte{}
	}
	return list
}

// begin takes a token into use for a request: the returned context ends with ctx, and when
// the token is removed; end is called when the request is over. It is nil if there is no
// such token.
func (t *Tokens) begin(ctx context.Context, secret string) (token Token, used context.Context, busy int, end func()) {
	hash := sha256.Sum256([]byte(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.list, func(a Token) bool { return a.Hash == hash })
	if i < 0 {
		return Token{}, nil, 0, nil
	}
	token = t.list[i]
	u := t.ends[token.Name]
	if u == nil {
		u = new(use)
		u.ctx, u.cancel = context.WithCancel(context.Background())
		t.ends[token.Name] = u
	}
	u.busy++
	used, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.ctx, cancel)
	return token, used, u.busy, func() {
		stop()
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		u.busy--
	}
}

func (s *Server) listTokens(w http.ResponseWriter, _ *http.Request) {
	if s.Tokens == nil {
		answerError(w, errNoTokens)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Tokens.List())
}

func (s *Server) addToken(w http.ResponseWriter, r *http.Request) {
	if s.Tokens == nil {
		answerError(w, errNoTokens)
		return
	}
	c := s.plane.Cluster()
	a := Access{
		ClusterID: c.ID, Cluster: c.Name, Authorities: s.Authorities(), Name: r.PathValue("name"),
		Role: Role(r.URL.Query().Get("role")),
	}
	var err error
	if a.Secret, err = s.Tokens.Add(a.Name, a.Role, time.Now()); answerError(w, err) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

func (s *Server) removeToken(w http.ResponseWriter, r *http.Request) {
	if s.Tokens == nil {
		answerError(w, errNoTokens)
		return
	}
	answerError(w, s.Tokens.Remove(r.PathValue("name")))
}

var errNoTokens = errors.New("this control plane has no tokens")

// ListTokens returns the tokens, without their secrets.
func (c *Client) ListTokens(ctx context.Context) (list []Token, err error) {
	return list, c.do(ctx, http.MethodGet, "/v1/tokens", nil, &list)
}

// AddToken makes a token. Its secret is told this once.
func (c *Client) AddToken(ctx context.Context, name string, role Role) (a Access, err error) {
	q := url.Values{"role": {string(role)}}
	return a, c.do(ctx, http.MethodPut, "/v1/tokens/"+url.PathEscape(name)+"?"+q.Encode(), nil, &a)
}

// RemoveToken ends a token, and what is under way with it.
func (c *Client) RemoveToken(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(name), nil, nil)
}

// bearer is the secret that a request brings.
func bearer(r *http.Request) string {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return secret
}
